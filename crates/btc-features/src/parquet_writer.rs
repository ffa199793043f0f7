//! Parquet files whose columns are encoded by several threads at once: the
//! bytes are those that one thread would write.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use datafusion::parquet::errors::{ParquetError, Result};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::writer::SerializedFileWriter;

/// Batches that may wait for a thread, each.
const WAITING: usize = 2;

/// Writes batches of one schema to a Parquet file.
pub(crate) struct ParallelWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    workers: Vec<Worker>,
    /// The field that each column of the file belongs to.
    fields: Vec<usize>,
    /// Rows of the row group that is being written.
    rows: usize,
    max_rows: usize,
    groups: usize,
}

/// A thread that encodes some of the fields.
struct Worker {
    jobs: SyncSender<Job>,
    chunks: Receiver<Result<Vec<(usize, ArrowColumnChunk)>>>,
}

enum Job {
    /// A row group begins: the thread's columns, by number.
    Start(Vec<(usize, ArrowColumnWriter)>),
    Write(RecordBatch),
    /// The row group ends: its columns are wanted.
    Finish,
}

impl<W: Write + Send> ParallelWriter<W> {
    /// Begins a file that as many as `threads` threads encode.
    pub(crate) fn try_new(
        file: W,
        schema: &SchemaRef,
        properties: WriterProperties,
        threads: usize,
    ) -> Result<Self> {
        let max_rows = properties.max_row_group_row_count().unwrap_or(usize::MAX);
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties))?;
        let (file, factory) = writer.into_serialized_writer()?;
        let parquet = file.schema_descr();
        let fields = (0..parquet.num_columns())
            .map(|column| parquet.get_column_root_idx(column))
            .collect();
        let threads = threads.clamp(1, schema.fields().len().max(1));
        let workers = (0..threads)
            .map(|number| Worker::start(SchemaRef::clone(schema), number, threads))
            .collect::<Result<_>>()?;
        Ok(Self {
            file,
            factory,
            workers,
            fields,
            rows: 0,
            max_rows,
            groups: 0,
        })
    }

    /// Adds the rows of a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut first = 0;
        while first < batch.num_rows() {
            if self.rows == 0 {
                self.start_group()?;
            }
            let rows = (batch.num_rows() - first).min(self.max_rows - self.rows);
            let piece = batch.slice(first, rows);
            for worker in &self.workers {
                worker.send(Job::Write(piece.clone()))?;
            }
            first += rows;
            self.rows += rows;
            if self.rows == self.max_rows {
                self.finish_group()?;
            }
        }
        Ok(())
    }

    /// Ends the file and gives back what it was written to.
    pub(crate) fn finish(mut self) -> Result<W> {
        if self.rows != 0 {
            self.finish_group()?;
        }
        self.file.into_inner()
    }

    fn start_group(&mut self) -> Result<()> {
        let mut parts: Vec<Vec<(usize, ArrowColumnWriter)>> =
            self.workers.iter().map(|_| Vec::new()).collect();
        let columns = self.factory.create_column_writers(self.groups)?;
        for (number, column) in columns.into_iter().enumerate() {
            parts[self.fields[number] % self.workers.len()].push((number, column));
        }
        for (worker, columns) in self.workers.iter().zip(parts) {
            worker.send(Job::Start(columns))?;
        }
        self.groups += 1;
        Ok(())
    }

    fn finish_group(&mut self) -> Result<()> {
        for worker in &self.workers {
            worker.send(Job::Finish)?;
        }
        let mut chunks = Vec::with_capacity(self.fields.len());
        for worker in &self.workers {
            chunks.extend(worker.chunks.recv().map_err(|_| gone())??);
        }
        chunks.sort_by_key(|(number, _)| *number);
        let mut group = self.file.next_row_group()?;
        for (_, chunk) in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Worker {
    /// Starts the thread that encodes each field whose number is `number`
    /// modulo `of`. It ends when nobody can send it anything more.
    fn start(schema: SchemaRef, number: usize, of: usize) -> Result<Self> {
        let (jobs, to_do) = sync_channel(WAITING);
        let (done, chunks) = sync_channel(1);
        thread::Builder::new()
            .name("parquet columns".into())
            .spawn(move || {
                let mut columns = Vec::new();
                let mut failed = None;
                for job in to_do {
                    match job {
                        Job::Start(new) => columns = new,
                        Job::Write(batch) if failed.is_none() => {
                            failed = encode(&mut columns, &schema, &batch, number, of).err();
                        }
                        Job::Write(_) => {}
                        Job::Finish => {
                            let closed = std::mem::take(&mut columns)
                                .into_iter()
                                .map(|(number, column)| Ok((number, column.close()?)))
                                .collect();
                            let chunks = failed.take().map_or(closed, Err);
                            if done.send(chunks).is_err() {
                                return;
                            }
                        }
                    }
                }
            })
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok(Self { jobs, chunks })
    }

    fn send(&self, job: Job) -> Result<()> {
        self.jobs.send(job).map_err(|_| gone())
    }
}

fn gone() -> ParquetError {
    ParquetError::General("a thread that encodes columns has ended".into())
}

/// Writes the own fields of a batch; a nested field has several columns.
fn encode(
    columns: &mut [(usize, ArrowColumnWriter)],
    schema: &SchemaRef,
    batch: &RecordBatch,
    number: usize,
    of: usize,
) -> Result<()> {
    let mut columns = columns.iter_mut();
    for field in (number..schema.fields().len()).step_by(of) {
        for leaf in compute_leaves(schema.field(field), batch.column(field))? {
            let (_, column) = columns.next().ok_or_else(gone)?;
            column.write(&leaf)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray, StructArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn batch(first: i64, rows: i64) -> RecordBatch {
        let numbers = || first..first + rows;
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers()));
        let floats: ArrayRef = Arc::new(Float64Array::from_iter(
            numbers().map(|n| (n % 7 != 0).then_some(n as f64 / 3.0)),
        ));
        let texts: ArrayRef = Arc::new(StringArray::from_iter(
            numbers().map(|n| (n % 5 != 0).then(|| format!("t{}", n % 100))),
        ));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            numbers().map(|n| (n % 3 != 0).then(|| (0..n % 4).map(Some))),
        ));
        let parts = [("a", &ids), ("b", &texts)].map(|(name, column)| {
            let field = Arc::new(Field::new(name, column.data_type().clone(), true));
            (field, ArrayRef::clone(column))
        });
        let structs: ArrayRef = Arc::new(StructArray::from(parts.to_vec()));
        let columns = [
            ("ids", ids),
            ("floats", floats),
            ("structs", structs),
            ("texts", texts),
            ("lists", lists),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_one_thread() {
        let batches = [batch(0, 700), batch(700, 1), batch(701, 2_600)];
        let properties = || {
            WriterProperties::builder()
                .set_max_row_group_row_count(Some(1_000))
                .set_data_page_row_count_limit(100)
                .build()
        };
        let schema = batches[0].schema();
        let mut one =
            ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties())).unwrap();
        batches.iter().for_each(|batch| one.write(batch).unwrap());
        let expected = one.into_inner().unwrap();
        for threads in [1, 2, 3, 5, 9] {
            let mut writer =
                ParallelWriter::try_new(Vec::new(), &schema, properties(), threads).unwrap();
            batches
                .iter()
                .for_each(|batch| writer.write(batch).unwrap());
            assert_eq!(writer.finish().unwrap(), expected, "{threads} threads");
        }
    }

    #[test]
    fn a_file_without_rows_is_a_file_too() {
        let schema = batch(0, 1).schema();
        let writer =
            ParallelWriter::try_new(Vec::new(), &schema, WriterProperties::default(), 2).unwrap();
        assert!(writer.finish().unwrap().starts_with(b"PAR1"));
    }

    #[test]
    fn a_column_that_cannot_be_encoded_is_an_error_and_no_hang() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Utf8, true)]));
        let mut writer =
            ParallelWriter::try_new(Vec::new(), &schema, WriterProperties::default(), 2).unwrap();
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let wrong = RecordBatch::try_from_iter([("x", ids)]).unwrap();
        let outcome = writer.write(&wrong).and_then(|()| writer.finish());
        assert!(outcome.is_err());
    }
}
