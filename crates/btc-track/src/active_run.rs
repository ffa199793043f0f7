//! A run that is being recorded, and ends when it goes out of scope.

use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::client::TrackingClient;
use crate::entity::*;
use crate::error::Result;
use crate::store::*;

const PARENT_TAG: &str = "mlflow.parentRunId";
const USER_TAG: &str = "mlflow.user";

/// What a run starts with.
#[derive(Debug, Clone, Default)]
pub struct RunSpec {
    /// Its name; none lets the store choose.
    pub name: Option<String>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// The run it is part of.
    pub parent: Option<RunId>,
    /// Who starts it; may be empty.
    pub user: String,
    /// Milliseconds since 1970 UTC; none takes the client's clock.
    pub start_time: Option<i64>,
}

impl RunSpec {
    /// A run called `name`.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::default()
        }
    }

    /// Adds a tag.
    #[must_use]
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push(Tag::new(key, value));
        self
    }

    /// Adds tags.
    #[must_use]
    pub fn with_tags<K: Into<String>, V: Into<String>>(
        mut self,
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.tags
            .extend(tags.into_iter().map(|(key, value)| Tag::new(key, value)));
        self
    }

    /// Makes it part of another run.
    #[must_use]
    pub fn with_parent(mut self, parent: impl Into<RunId>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Says who starts it.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }
}

/// A run that is being recorded; dropped before its end it ends as failed.
///
/// ```
/// use btc_track::{ActiveRun, RunSpec, RunStatus, TrackingClient};
///
/// # let folder = tempfile::tempdir()?;
/// let client = TrackingClient::in_memory(folder.path())?;
/// let run = ActiveRun::start(&client, "0", RunSpec::named("first"))?;
/// run.log_param("units", 64)?;
/// run.log_metric("loss", 0.5, 0)?;
/// let id = run.id().to_owned();
/// run.end(RunStatus::Finished)?;
/// assert_eq!(client.run(&id)?.metric("loss"), Some(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ActiveRun {
    client: TrackingClient,
    info: RunInfo,
    /// What is logged but not yet written, and how many values may wait.
    buffer: Mutex<Batch>,
    capacity: usize,
    ended: bool,
    #[cfg(feature = "system-metrics")]
    monitor: Option<crate::system_metrics::SystemMonitor>,
}

impl ActiveRun {
    /// Creates a run in an active experiment.
    ///
    /// # Errors
    ///
    /// `NotFound` or `Inactive` if the experiment takes no runs.
    pub fn start(client: &TrackingClient, experiment_id: &str, spec: RunSpec) -> Result<Self> {
        let mut tags = spec.tags;
        tags.extend(spec.parent.map(|parent| Tag::new(PARENT_TAG, parent)));
        if !spec.user.is_empty() {
            tags.push(Tag::new(USER_TAG, &spec.user));
        }
        let run = client.tracking.create_run(&NewRun {
            experiment_id: experiment_id.to_owned(),
            run_name: spec.name,
            user_id: spec.user,
            start_time: Some(spec.start_time.unwrap_or_else(|| client.clock.now_ms())),
            tags,
        })?;
        Ok(Self::of(client, run.info))
    }

    /// Goes on recording a run that was started before.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such run, `Inactive` if it is deleted.
    pub fn resume(client: &TrackingClient, run_id: &str) -> Result<Self> {
        let update = RunUpdate {
            status: Some(RunStatus::Running),
            ..Default::default()
        };
        Ok(Self::of(
            client,
            client.tracking.update_run(run_id, &update)?,
        ))
    }

    fn of(client: &TrackingClient, info: RunInfo) -> Self {
        let buffer = Mutex::default();
        Self {
            client: client.clone(),
            info,
            buffer,
            capacity: 0,
            ended: false,
            #[cfg(feature = "system-metrics")]
            monitor: None,
        }
    }

    /// Lets up to `values` metric values wait to be written together.
    ///
    /// They are written when the buffer is full, by [`ActiveRun::flush`], and
    /// when the run ends, however it ends.
    #[must_use]
    pub fn with_buffer(mut self, values: usize) -> Self {
        self.capacity = values;
        self
    }

    /// Logs what the machine and this process do: every `interval` (at least
    /// 200 ms) and at the end of the run.
    ///
    /// The metrics are `system/cpu_utilization_percentage`,
    /// `system/system_memory_usage_megabytes` and `…_percentage` as MLflow logs
    /// them, and `system/process_cpu_utilization_percentage` (100 is one core)
    /// and `system/process_memory_usage_megabytes`. They are logged by a thread
    /// of their own; what it cannot write is left out.
    #[cfg(feature = "system-metrics")]
    #[must_use]
    pub fn with_system_metrics(mut self, interval: std::time::Duration) -> Self {
        let monitor =
            crate::system_metrics::SystemMonitor::start(&self.client, &self.info.run_id, interval);
        self.monitor = Some(monitor);
        self
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.info.run_id
    }

    /// The run as it was started.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Logs a parameter.
    ///
    /// # Errors
    ///
    /// `ParamChanged` if it has another value already.
    pub fn log_param(&self, key: &str, value: impl Display) -> Result<()> {
        self.log_params([(key, value)])
    }

    /// Logs parameters together, all or none.
    ///
    /// # Errors
    ///
    /// As [`ActiveRun::log_param`].
    pub fn log_params<K: Into<String>, V: Display>(
        &self,
        params: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let params = params
            .into_iter()
            .map(|(key, value)| Param::new(key, value.to_string()))
            .collect();
        self.write(&Batch {
            params,
            ..Default::default()
        })
    }

    /// Logs a metric value, measured now.
    ///
    /// # Errors
    ///
    /// If the name is not allowed or the store fails. With a buffer, an error
    /// can belong to values logged earlier.
    pub fn log_metric(&self, key: &str, value: f64, step: i64) -> Result<()> {
        self.log_metrics([(key, value)], step)
    }

    /// Logs values of several metrics at one step, measured now.
    ///
    /// # Errors
    ///
    /// As [`ActiveRun::log_metric`].
    pub fn log_metrics<K: Into<String>>(
        &self,
        metrics: impl IntoIterator<Item = (K, f64)>,
        step: i64,
    ) -> Result<()> {
        let now = self.client.clock.now_ms();
        let metrics = metrics
            .into_iter()
            .map(|(key, value)| Metric::new(key, value, now, step))
            .collect();
        let batch = Batch {
            metrics,
            ..Default::default()
        };
        if self.capacity == 0 {
            return self.write(&batch);
        }
        check_batch(&batch)?;
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.metrics.extend(batch.metrics);
        if buffer.metrics.len() >= self.capacity {
            self.write(&buffer)?;
            buffer.metrics.clear();
        }
        Ok(())
    }

    /// Writes what waits in the buffer.
    ///
    /// # Errors
    ///
    /// If the store fails; the values then still wait.
    pub fn flush(&self) -> Result<()> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if !buffer.metrics.is_empty() {
            self.write(&buffer)?;
            buffer.metrics.clear();
        }
        Ok(())
    }

    /// Sets or replaces a tag.
    ///
    /// # Errors
    ///
    /// If the name or value is not allowed or the store fails.
    pub fn set_tag(&self, key: &str, value: impl Display) -> Result<()> {
        self.set_tags([(key, value)])
    }

    /// Sets or replaces tags together, all or none.
    ///
    /// # Errors
    ///
    /// As [`ActiveRun::set_tag`].
    pub fn set_tags<K: Into<String>, V: Display>(
        &self,
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let tags = tags
            .into_iter()
            .map(|(key, value)| Tag::new(key, value.to_string()))
            .collect();
        self.write(&Batch {
            tags,
            ..Default::default()
        })
    }

    /// Adds a data set to the run's inputs; `context` says what it is used
    /// for, such as `training`.
    ///
    /// # Errors
    ///
    /// If the data set has no name or digest, or the store fails.
    pub fn log_input(&self, dataset: Dataset, context: &str) -> Result<()> {
        let tags = if context.is_empty() {
            vec![]
        } else {
            vec![Tag::new(CONTEXT_TAG, context)]
        };
        self.client
            .tracking
            .log_inputs(self.id(), &[DatasetInput { dataset, tags }], &[])
    }

    /// Copies a local file, or everything in a local folder, to the run's
    /// artifacts below `artifact_path`.
    ///
    /// # Errors
    ///
    /// `Artifact` if something cannot be read or written.
    pub fn log_artifacts(&self, local: &Path, artifact_path: &str) -> Result<()> {
        self.client
            .artifacts
            .log_artifacts(&self.info.artifact_uri, local, artifact_path)
    }

    /// Copies a model's folder to the run's artifacts with an `MLmodel` file
    /// beside its own files, which tells MLflow's clients what it is.
    ///
    /// Path, run, time and size of `file` are filled in here; the file is also
    /// written into the local folder.
    ///
    /// # Errors
    ///
    /// `Artifact` if something cannot be read or written.
    #[cfg(feature = "yaml")]
    pub fn log_model(
        &self,
        local: &Path,
        artifact_path: &str,
        file: crate::mlmodel::ModelFile,
    ) -> Result<()> {
        let file = crate::mlmodel::ModelFile {
            artifact_path: artifact_path.to_owned(),
            run_id: Some(self.info.run_id.clone()),
            created: self.client.clock.now_ms(),
            model_size_bytes: Some(crate::mlmodel::folder_size(local)?),
            ..file
        };
        file.write(local)?;
        self.log_artifacts(local, artifact_path)
    }

    /// Writes what waits and ends the run.
    ///
    /// # Errors
    ///
    /// If the store fails; the run is then still marked as failed if possible.
    pub fn end(mut self, status: RunStatus) -> Result<()> {
        self.stop_monitor();
        self.flush()?;
        self.close(status)?;
        self.ended = true;
        Ok(())
    }

    /// The last sample belongs to the run, and is written before its end.
    fn stop_monitor(&mut self) {
        #[cfg(feature = "system-metrics")]
        drop(self.monitor.take());
    }

    fn close(&self, status: RunStatus) -> Result<()> {
        let end_time = Some(self.client.clock.now_ms());
        let update = RunUpdate {
            status: Some(status),
            end_time,
            run_name: None,
        };
        self.client
            .tracking
            .update_run(self.id(), &update)
            .map(|_| ())
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        self.client.tracking.log_batch(self.id(), batch)
    }
}

impl Drop for ActiveRun {
    fn drop(&mut self) {
        if !self.ended {
            self.stop_monitor();
            // Nobody is left to take an error.
            let _ = self.flush();
            let _ = self.close(RunStatus::Failed);
        }
    }
}
