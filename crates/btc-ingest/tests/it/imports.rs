//! Files as people have them: each kind of docs/import.md is written here and read back.

use crate::service::day;
use btc_ingest::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampSecondArray, UInt64Array,
};
use btc_ingest::arrow::datatypes::{Date32Type, Float64Type, Int32Type, TimestampNanosecondType};
use btc_ingest::{
    ColumnMapping, DateFormat, Duplicates, Error, FileOptions, FileSource, FileTable, Preset,
    Reason, Revisions, Table, import_file, read_parquet, read_table, status, verify, write_parquet,
};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Closes of the days from 29 December 2024 on.
const CLOSES: [f64; 6] = [95_000.5, 95_100.5, 95_200.5, 95_300.5, 95_400.5, 95_500.5];

fn days() -> Vec<NaiveDate> {
    let first = day("2024-12-29");
    first.iter_days().take(CLOSES.len()).collect()
}

fn rows() -> Vec<(NaiveDate, f64)> {
    days().into_iter().zip(CLOSES).collect()
}

/// A file with `head` and a line for each day.
fn file(head: &str, line: impl Fn(NaiveDate, f64) -> String) -> String {
    let lines = rows()
        .into_iter()
        .map(|(day, close)| line(day, close) + "\n");
    format!("{head}{}", lines.collect::<String>())
}

fn newest_first(head: &str, line: impl Fn(NaiveDate, f64) -> String) -> String {
    let lines = rows()
        .into_iter()
        .rev()
        .map(|(day, close)| line(day, close) + "\n");
    format!("{head}{}", lines.collect::<String>())
}

fn seconds(day: NaiveDate) -> i64 {
    day.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp()
}

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("a.csv");
        fs::write(&path, content).unwrap();
        path
    }

    fn parquet(&self, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
        let path = self.path("a.parquet");
        write_parquet(&path, &RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        path
    }
}

fn read_with(
    path: &Path,
    columns: ColumnMapping,
    options: FileOptions,
) -> btc_ingest::Result<FileTable> {
    FileSource::new("file", path, columns)?
        .with_options(options)
        .read()
}

fn read(content: impl AsRef<[u8]>, date: &str, close: &str) -> btc_ingest::Result<FileTable> {
    let folder = Folder::new();
    let path = folder.write(content);
    let columns = ColumnMapping::new(date).with(close, "close");
    read_with(&path, columns, FileOptions::default())
}

fn closes(table: &FileTable) -> Vec<(NaiveDate, f64)> {
    let column = |name: &str| table.batch.column_by_name(name).unwrap();
    let days = column("date").as_primitive::<Date32Type>();
    let close = column("close").as_primitive::<Float64Type>();
    (0..table.batch.num_rows())
        .filter(|row| close.is_valid(*row))
        .map(|row| (days.value_as_date(row).unwrap(), close.value(row)))
        .collect()
}

#[track_caller]
fn is_whole(name: &str, content: impl AsRef<[u8]>, date: &str, close: &str) -> FileTable {
    let table = read(content, date, close).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(closes(&table), rows(), "{name}: {}", table.recognised);
    assert_eq!(table.rejected, [], "{name}");
    table
}

#[track_caller]
fn fails(content: impl AsRef<[u8]>, date: &str, close: &str, expected: &[&str]) {
    let message = read(content, date, close).unwrap_err().to_string();
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

fn preset(content: &str, preset: Preset) -> FileTable {
    let folder = Folder::new();
    let path = folder.write(content);
    read_with(&path, preset.columns(), FileOptions::default()).unwrap()
}

/// The values of a series by row; none where there is no such column.
fn values(table: &FileTable, name: &str) -> Vec<Option<f64>> {
    let column = table.batch.column_by_name(name);
    column.map_or(Vec::new(), |column| {
        column.as_primitive::<Float64Type>().iter().collect()
    })
}

#[test]
fn coinmarketcap() {
    let text = newest_first(
        "\u{feff}timeOpen;timeClose;timeHigh;timeLow;name;open;high;low;close;volume;marketCap;circulatingSupply;timestamp\n",
        |day, close| {
            format!(
                "\"{day}T00:00:00.000Z\";\"{day}T23:59:59.999Z\";\"{day}T10:00:00.000Z\";\
                 \"{day}T11:00:00.000Z\";\"2781\";94000.25;96000;93000;{close};3.1E10;1.8E12;\
                 19800000;\"{day}T23:59:59.999Z\""
            )
        },
    );
    let table = preset(&text, Preset::CoinMarketCap);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "open")[0], Some(94_000.25));
    assert_eq!(values(&table, "market_cap")[0], Some(1.8e12));
    for part in [
        "byte order mark",
        "';'",
        "header in line 1",
        "newest first",
        "daily: 6 rows",
    ] {
        assert!(table.recognised.contains(part), "{}", table.recognised);
    }
    let old = newest_first(
        "Date,Open*,High,Low,Close**,Volume,Market Cap\n",
        |day, close| {
            format!(
                "\"{}\",\"1\",2,1,\"{close}\",\"1,234,567\",5",
                day.format("%b %d, %Y")
            )
        },
    );
    let table = preset(&old, Preset::CoinMarketCap);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "volume")[0], Some(1_234_567.0));
}

#[test]
fn crypto_data_download() {
    let text = newest_first(
        "https://www.example.com\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USD\n",
        |day, close| {
            format!(
                "{}000,{day} 00:00:00,BTC/USD,1,1,1,{close},1.5,99",
                seconds(day)
            )
        },
    );
    let table = preset(&text, Preset::CryptoDataDownload);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "volume")[0], Some(1.5));
    assert!(
        table.recognised.contains("header in line 2"),
        "{}",
        table.recognised
    );
    // The coin's volume is taken, not the currency's.
    let ether = text.replace("Volume BTC", "Volume ETH");
    assert_eq!(
        values(&preset(&ether, Preset::CryptoDataDownload), "volume")[0],
        Some(1.5)
    );
}

#[test]
fn binance_in_milliseconds_and_microseconds() {
    let line = |day: NaiveDate, close: f64| {
        let unit = if day.year() < 2025 { 1_000 } else { 1_000_000 };
        let open = seconds(day) * unit;
        format!(
            "{open},1,1,1,{close},1.5,{},1,1,1,1,0",
            open + 86_400 * unit - 1
        )
    };
    let table = preset(&file("", line), Preset::Binance);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "volume")[0], Some(1.5));
    for part in ["no header", "milliseconds and epoch in microseconds"] {
        assert!(table.recognised.contains(part), "{}", table.recognised);
    }
    let head = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n";
    assert_eq!(closes(&preset(&file(head, line), Preset::Binance)), rows());
}

#[test]
fn kaggle() {
    let head = "SNo,Name,Symbol,Date,High,Low,Open,Close,Volume,Marketcap\n";
    let text = file(head, |day, close| {
        format!("1,Bitcoin,BTC,{day} 23:59:59,1,1,1,{close},7.0,1.8e12")
    });
    let table = preset(&text, Preset::Kaggle);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "market_cap")[0], Some(1.8e12));
    let text = file(
        "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price\n",
        |day, close| format!("{}.0,NaN,1,1,{close},1.5,2,3", seconds(day)),
    );
    let table = preset(&text, Preset::Kaggle);
    assert_eq!(closes(&table), rows());
    assert_eq!(
        (values(&table, "open")[0], values(&table, "volume")[0]),
        (None, Some(1.5))
    );
}

#[test]
fn yahoo_with_one_and_with_three_header_lines() {
    let text = file(
        "Date,Open,High,Low,Close,Adj Close,Volume\n",
        |day, close| format!("{day},1,1,1,{close},{close},null"),
    );
    let table = preset(&text, Preset::Yahoo);
    assert_eq!(closes(&table), rows());
    assert!(
        table.recognised.contains("6 cells marked as missing"),
        "{}",
        table.recognised
    );
    let head = "Price,Close,High,Low,Open,Volume\nTicker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\nDate,,,,,\n";
    let text = file(head, |day, close| format!("{day},{close},3,2,1,9"));
    let table = preset(&text, Preset::Yahoo);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "open")[0], Some(1.0));
    assert!(
        table.recognised.contains("header in lines 1 to 3"),
        "{}",
        table.recognised
    );
}

#[test]
fn coin_metrics() {
    let text = file(
        "time,AdrActCnt,CapMrktCurUSD,HashRate,PriceUSD,TxCnt\n",
        |day, close| format!("{day},800000,1.8e12,750000000.5,{close},400000"),
    );
    let table = preset(&text, Preset::CoinMetrics);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "hash_rate")[0], Some(750_000_000.5));
    assert_eq!(values(&table, "n_transactions")[0], Some(400_000.0));
}

#[test]
fn bitstamp() {
    let text = newest_first("timestamp,open,high,low,close,volume\n", |day, close| {
        format!("{},1,1,1,{close},1.5", seconds(day))
    });
    assert_eq!(closes(&preset(&text, Preset::Bitstamp)), rows());
}

#[test]
fn investing() {
    let english = newest_first(
        "\"Date\",\"Price\",\"Open\",\"High\",\"Low\",\"Vol.\",\"Change %\"\n",
        |day, close| {
            let price = format!("95,{:05.1}", close - 95_000.0);
            format!(
                "\"{}\",\"{price}\",\"1,000.0\",\"2,000.0\",\"900.0\",\"68.18K\",\"-1.23%\"",
                day.format("%m/%d/%Y")
            )
        },
    );
    let table = preset(&english, Preset::Investing);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "volume")[0], Some(68_180.0));
    for part in ["month first", "grouped thousands", "K/M/B/T"] {
        assert!(table.recognised.contains(part), "{}", table.recognised);
    }
    let german = newest_first(
        "\"Datum\",\"Zuletzt\",\"Eröffn.\",\"Hoch\",\"Tief\",\"Vol.\",\"+/- %\"\n",
        |day, close| {
            let price = format!("95.{:05.1}", close - 95_000.0)
                .replace('.', ",")
                .replacen(',', ".", 1);
            format!(
                "\"{}\",\"{price}\",\"1.000,0\",\"2.000,0\",\"900,0\",\"1,17M\",\"-1,23%\"",
                day.format("%d.%m.%Y")
            )
        },
    );
    let table = preset(&german, Preset::Investing);
    assert_eq!(closes(&table), rows());
    assert_eq!(values(&table, "volume")[0], Some(1_170_000.0));
}

#[test]
fn dates_in_many_notations() {
    type Line = fn(NaiveDate) -> String;
    let notations: [(&str, Line); 16] = [
        ("12/29/24", |d| d.format("%m/%d/%y").to_string()),
        ("29/12/2024", |d| d.format("%d/%m/%Y").to_string()),
        ("29-12-2024", |d| d.format("%d-%m-%Y").to_string()),
        ("20241229", |d| d.format("%Y%m%d").to_string()),
        ("2024/12/29", |d| d.format("%Y/%m/%d").to_string()),
        ("\"Dec 29, 2024\"", |d| {
            d.format("\"%b %d, %Y\"").to_string()
        }),
        ("29 December 2024", |d| d.format("%d %B %Y").to_string()),
        ("29-Dec-24", |d| d.format("%d-%b-%y").to_string()),
        ("with UTC", |d| format!("{d} 00:00:00 UTC")),
        ("with +00:00", |d| format!("{d} 00:00:00+00:00")),
        ("the same instant elsewhere", |d| {
            format!("{d}T05:30:00+05:30")
        }),
        ("seconds", |d| seconds(d).to_string()),
        ("seconds with a fraction", |d| format!("{}.0", seconds(d))),
        ("milliseconds", |d| format!("{}000", seconds(d))),
        ("microseconds", |d| format!("{}000000", seconds(d))),
        ("nanoseconds", |d| format!("{}000000000", seconds(d))),
    ];
    for (name, notation) in notations {
        let text = file("Date,Close\n", |day, close| {
            format!("{},{close}", notation(day))
        });
        is_whole(name, text, "Date", "Close");
    }
}

#[test]
fn layouts_and_encodings() {
    let german = file("Datum;Zuletzt\n", |day, close| {
        format!(
            "{};{}",
            day.format("%d.%m.%Y"),
            close.to_string().replace('.', ",")
        )
    });
    is_whole("German", &german, "Datum", "Zuletzt");
    let utf16: Vec<u8> = "\u{feff}"
        .encode_utf16()
        .chain(german.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    is_whole("UTF-16", utf16, "Datum", "Zuletzt");
    let latin1: Vec<u8> = german
        .replace("Zuletzt", "Schlu\u{df}")
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let table = is_whole("Latin-1", latin1, "Datum", "Schluß");
    assert!(
        table.recognised.starts_with("windows-1252"),
        "{}",
        table.recognised
    );
    let tabs = file("Date\tClose\n", |day, close| format!("{day}\t{close}"));
    is_whole("tabs", &tabs, "Date", "Close");
    is_whole("pipes", tabs.replace('\t', "|"), "Date", "Close");
    let plain = tabs.replace('\t', ",");
    is_whole(
        "Windows line ends",
        plain.replace('\n', "\r\n"),
        "Date",
        "Close",
    );
    is_whole("old Macs", plain.replace('\n', "\r"), "Date", "Close");
    is_whole("empty lines", plain.replace('\n', "\n\n"), "Date", "Close");
    is_whole(
        "a comma at the end",
        plain.replace('\n', ",\n"),
        "Date",
        "Close",
    );
    is_whole("told by Excel", format!("sep=,\n{plain}"), "Date", "Close");
    is_whole("spaces", plain.replace(',', " , "), "Date", "Close");
    is_whole("by place", &plain, "0", "1");
    is_whole("no header", plain.replace("Date,Close\n", ""), "0", "1");
    is_whole(
        "a title",
        format!("Prices of 2024,,\n\n{plain}"),
        "Date",
        "Close",
    );
}

#[test]
fn packed_files() {
    use std::io::Write as _;
    let plain = file("Date,Close\n", |day, close| format!("{day},{close}"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(plain.as_bytes()).unwrap();
    let table = is_whole("gzip", gzip.finish().unwrap(), "Date", "Close");
    assert!(
        table.recognised.starts_with("gzip, UTF-8"),
        "{}",
        table.recognised
    );
}

#[test]
fn marks_of_missing_values_leave_a_hole() {
    for mark in [
        "", "NA", "N/A", "#N/A", "-", "<NA>", "NULL", "null", "NaN", "None", ".",
    ] {
        let text = file("Date,Close\n", |day, close| {
            let value = if day == days()[2] {
                mark.to_owned()
            } else {
                close.to_string()
            };
            format!("{day},{value}")
        });
        let table = read(text, "Date", "Close").unwrap();
        let expected: Vec<_> = rows()
            .into_iter()
            .filter(|(day, _)| *day != days()[2])
            .collect();
        assert_eq!(closes(&table), expected, "{mark:?}");
        assert_eq!(table.rejected, [], "{mark:?}");
    }
}

#[test]
fn an_ambiguous_date_is_asked_for_and_never_guessed() {
    let text = "Date,Close\n01/02/2024,1\n02/02/2024,2\n03/02/2024,3\n";
    fails(
        text,
        "Date",
        "Close",
        &["line 2", "01/02/2024", "date-format", "dmy or mdy"],
    );
    for (format, expected) in [("dmy", "2024-02-01"), ("mdy", "2024-01-02")] {
        let folder = Folder::new();
        let path = folder.write(text);
        let mut options = FileOptions::default();
        options.date_format = Some(format.parse().unwrap());
        let columns = ColumnMapping::new("Date").with("Close", "close");
        let table = read_with(&path, columns, options).unwrap();
        assert_eq!(closes(&table)[0], (day(expected), 1.0));
    }
    let error = read(text, "Date", "Close").unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unclear {
                option: "date-format",
                ..
            }
        ),
        "{error:?}"
    );
    // One day past the twelfth tells all.
    let told = format!("{text}13/02/2024,4\n");
    assert_eq!(
        closes(&read(told, "Date", "Close").unwrap())[0].0,
        day("2024-02-01")
    );
}

#[test]
fn an_ambiguous_decimal_mark_is_asked_for() {
    let text = "Date;Close\n2024-01-01;95.123\n2024-01-02;96.456\n";
    fails(
        text,
        "Date",
        "Close",
        &["line 2", "95.123", "option decimal"],
    );
    fails(
        "Date,Close\n2024-01-01,\"95,123\"\n",
        "Date",
        "Close",
        &["95,123", "option decimal"],
    );
    let mixed = "Date;Close\n2024-01-01;95,5\n2024-01-02;96.5\n";
    fails(
        mixed,
        "Date",
        "Close",
        &["line 3", "line 2", "option decimal"],
    );
    let folder = Folder::new();
    let path = folder.write(text);
    let mut options = FileOptions::default();
    options.decimal = Some("comma".parse().unwrap());
    let columns = ColumnMapping::new("Date").with("Close", "close");
    let table = read_with(&path, columns, options).unwrap();
    assert_eq!(closes(&table)[0].1, 95_123.0);
}

#[test]
fn a_day_never_lands_in_1970() {
    for number in ["45655", "86400", "2024", "202412"] {
        let text = format!("Date,Close\n{number},5\n");
        fails(
            text,
            "Date",
            "Close",
            &["line 2", "column \"Date\"", number],
        );
    }
    for number in [45_655_i64, 202_412] {
        let folder = Folder::new();
        let columns = || ColumnMapping::new("Date").with("Close", "close");
        let close: ArrayRef = Arc::new(Float64Array::from(vec![95_000.5]));
        let narrow = i32::try_from(number).unwrap();
        let types: [ArrayRef; 3] = [
            Arc::new(Int64Array::from(vec![number])),
            Arc::new(Int32Array::from(vec![narrow])),
            Arc::new(Float64Array::from(vec![f64::from(narrow)])),
        ];
        for dates in types {
            let path = folder.parquet(vec![("Date", dates), ("Close", close.clone())]);
            let error = read_with(&path, columns(), FileOptions::default())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("row 1") && error.contains(&number.to_string()),
                "{error}"
            );
        }
    }
    let table = read("Date,Close\n20241229,5\n", "Date", "Close").unwrap();
    assert_eq!(closes(&table), [(day("2024-12-29"), 5.0)]);
}

#[test]
fn parquet_of_many_types() {
    let seconds: Vec<i64> = days().into_iter().map(seconds).collect();
    let texts: Vec<String> = days().iter().map(NaiveDate::to_string).collect();
    let close: ArrayRef = Arc::new(Float64Array::from(CLOSES.to_vec()));
    let scaled = |factor: i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            seconds.iter().map(|s| s * factor),
        ))
    };
    let compact = days()
        .into_iter()
        .map(|d| d.year() * 10_000 + i32::try_from(d.month() * 100 + d.day()).unwrap());
    let dates: Vec<(&str, ArrayRef)> = vec![
        ("seconds", scaled(1)),
        ("milliseconds", scaled(1_000)),
        ("microseconds", scaled(1_000_000)),
        ("nanoseconds", scaled(1_000_000_000)),
        (
            "unsigned",
            Arc::new(UInt64Array::from_iter_values(
                seconds.iter().map(|s| *s as u64),
            )),
        ),
        (
            "floats",
            Arc::new(Float64Array::from_iter_values(
                seconds.iter().map(|s| *s as f64 + 0.25),
            )),
        ),
        ("20241229", Arc::new(Int32Array::from_iter_values(compact))),
        ("texts", Arc::new(StringArray::from(texts.clone()))),
        (
            "large texts",
            Arc::new(LargeStringArray::from(texts.clone())),
        ),
        (
            "dictionary",
            Arc::new(
                texts
                    .iter()
                    .map(String::as_str)
                    .collect::<DictionaryArray<Int32Type>>(),
            ),
        ),
        (
            "days",
            Arc::new(Date32Array::from_iter_values(
                seconds.iter().map(|s| i32::try_from(s / 86_400).unwrap()),
            )),
        ),
        (
            "instants",
            Arc::new(TimestampSecondArray::from(seconds.clone())),
        ),
        (
            "zoned",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(seconds.iter().map(|s| s * 1_000_000))
                    .with_timezone("America/New_York"),
            ),
        ),
    ];
    for (name, dates) in dates {
        let folder = Folder::new();
        let path = folder.parquet(vec![("d", dates), ("c", close.clone())]);
        let columns = ColumnMapping::new("d").with("c", "close");
        let table = read_with(&path, columns, FileOptions::default()).unwrap();
        assert_eq!(closes(&table), rows(), "{name}");
    }
    let values: Vec<(&str, ArrayRef)> = vec![
        (
            "texts",
            Arc::new(StringArray::from_iter_values(
                CLOSES.iter().map(f64::to_string),
            )),
        ),
        (
            "decimals",
            Arc::new(
                Decimal128Array::from_iter_values(CLOSES.iter().map(|c| (c * 100.0) as i128))
                    .with_precision_and_scale(20, 2)
                    .unwrap(),
            ),
        ),
    ];
    for (name, values) in values {
        let folder = Folder::new();
        let dates: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let path = folder.parquet(vec![("d", dates), ("c", values)]);
        let columns = ColumnMapping::new("d").with("c", "close");
        let table = read_with(&path, columns, FileOptions::default()).unwrap();
        assert_eq!(closes(&table), rows(), "{name}");
    }
    // By its content, not by its name.
    let folder = Folder::new();
    let dates: ArrayRef = Arc::new(StringArray::from(texts));
    let path = folder.parquet(vec![("d", dates), ("c", close)]);
    for name in ["a.pq", "a.PARQUET", "a.csv", "a"] {
        fs::copy(&path, folder.path(name)).unwrap();
        let columns = ColumnMapping::new("d").with("c", "close");
        let table = read_with(&folder.path(name), columns, FileOptions::default()).unwrap();
        assert_eq!(closes(&table), rows(), "{name}");
    }
}

/// The finding that gave the contract its name: what CSV refused, Parquet took for nothing.
#[test]
fn both_readers_set_aside_the_same_cells() {
    let folder = Folder::new();
    let text = folder.write("d,c\n2012-01-01,5.1\n2012-01-02,oops\nnever,1\n0001-01-01,2\n9999-12-31,3\n2012-01-03,5.3\n2012-01-04,true\n");
    let parquet = folder.parquet(vec![
        (
            "d",
            Arc::new(StringArray::from(vec![
                "2012-01-01",
                "2012-01-02",
                "never",
                "0001-01-01",
                "9999-12-31",
                "2012-01-03",
                "2012-01-04",
            ])),
        ),
        (
            "c",
            Arc::new(StringArray::from(vec![
                "5.1", "oops", "1", "2", "3", "5.3", "true",
            ])),
        ),
    ]);
    let read = |path: &Path| {
        let columns = ColumnMapping::new("d").with("c", "close");
        read_with(path, columns, FileOptions::default()).unwrap()
    };
    let (csv, parquet) = (read(&text), read(&parquet));
    assert_eq!(
        closes(&csv),
        [(day("2012-01-01"), 5.1), (day("2012-01-03"), 5.3)]
    );
    assert_eq!(closes(&csv), closes(&parquet));
    let seen = |table: &FileTable| -> Vec<(String, String, Reason)> {
        let rejected = table.rejected.iter();
        rejected
            .map(|one| (one.series.clone(), one.value.clone(), one.reason))
            .collect()
    };
    assert_eq!(seen(&csv), seen(&parquet));
    let origin = |table: &FileTable, value: &str| {
        let found = table.rejected.iter().find(|one| one.value == value);
        found.unwrap().origin.clone().unwrap()
    };
    assert_eq!(origin(&csv, "oops"), "a.csv, line 3, column \"c\"");
    assert_eq!(origin(&parquet, "oops"), "a.parquet, row 2, column \"c\"");
    let reason = |value: &str| {
        csv.rejected
            .iter()
            .find(|one| one.value == value)
            .unwrap()
            .reason
    };
    assert_eq!(reason("never"), Reason::BadStamp);
    assert_eq!(
        (reason("0001-01-01"), reason("9999-12-31")),
        (Reason::OutOfRange, Reason::OutOfRange)
    );
    assert_eq!(
        (reason("oops"), reason("true")),
        (Reason::NotANumber, Reason::NotANumber)
    );
    assert!(
        csv.notes
            .iter()
            .any(|note| note.contains("line 3, column \"c\": \"oops\" is not a number")),
        "{:?}",
        csv.notes
    );
}

#[test]
fn numbers_and_truth_values_of_parquet() {
    let folder = Folder::new();
    let date: ArrayRef = Arc::new(StringArray::from(vec!["2012-01-01", "2012-01-02"]));
    let columns = || ColumnMapping::new("d").with("c", "close");
    let path = folder.parquet(vec![
        ("d", date.clone()),
        ("c", Arc::new(BooleanArray::from(vec![true, false]))),
    ]);
    let error = read_with(&path, columns(), FileOptions::default());
    let table = error.unwrap_err().to_string();
    assert!(table.contains("\"true\" is not a number"), "{table}");
    let large = UInt64Array::from(vec![u64::MAX, 1 << 53]);
    let path = folder.parquet(vec![("d", date.clone()), ("c", Arc::new(large))]);
    let table = read_with(&path, columns(), FileOptions::default()).unwrap();
    assert_eq!(
        values(&table, "close"),
        [Some(u64::MAX as f64), Some(9_007_199_254_740_992.0)]
    );
    let floats = Float64Array::from(vec![f64::NAN, f64::INFINITY]);
    let path = folder.parquet(vec![
        ("d", date),
        ("c", Arc::new(floats)),
        ("x", Arc::new(Int32Array::from(vec![1, 2]))),
    ]);
    let table = read_with(&path, columns().with("x", "fees"), FileOptions::default()).unwrap();
    assert_eq!(values(&table, "close"), [None, None]);
    assert_eq!(table.rejected.len(), 1);
    assert_eq!(table.rejected[0].reason, Reason::NotFinite);
}

#[test]
fn instants_out_of_the_range_of_nanoseconds() {
    let seconds = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp();
    let stamps = [
        "0001-01-01T00:00:00Z",
        "1500-01-01T00:00:00Z",
        "1969-12-31T23:00:00Z",
        "2024-12-29T00:00:00Z",
        "9999-12-31T00:00:00Z",
    ]
    .map(seconds);
    let folder = Folder::new();
    let close: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 4.0, 5.0]));
    let micros = TimestampMicrosecondArray::from_iter_values(stamps.iter().map(|s| s * 1_000_000));
    let arrays: [ArrayRef; 2] = [
        Arc::new(TimestampSecondArray::from(stamps.to_vec())),
        Arc::new(micros),
    ];
    for dates in arrays {
        let path = folder.parquet(vec![("d", dates), ("c", close.clone())]);
        let columns = ColumnMapping::new("d").with("c", "close");
        let table = read_with(&path, columns, FileOptions::default()).unwrap();
        assert_eq!(
            closes(&table),
            [(day("1969-12-31"), 3.0), (day("2024-12-29"), 4.0)]
        );
        let reasons: Vec<Reason> = table.rejected.iter().map(|one| one.reason).collect();
        assert_eq!(reasons, [Reason::OutOfRange; 3]);
    }
}

/// `INT96` as Spark, Hive and Impala write it; in nanoseconds the first and the last day would be
/// others, of the years 1754 and 1816.
#[test]
fn int96_is_read_in_a_unit_that_holds_it() {
    use parquet::data_type::{DoubleType, Int96, Int96Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    let schema = parse_message_type("message m { required int96 d; required double c; }").unwrap();
    // Julian days of 0001-01-01, 1969-12-31 with 23 hours, 2024-12-29, 9999-12-31.
    let stamps: Vec<Int96> = [
        (1_721_426, 0),
        (2_440_587, 82_800),
        (2_460_674, 0),
        (5_373_484, 0),
    ]
    .into_iter()
    .map(|(day, seconds): (u32, u64)| {
        let nanos = seconds * 1_000_000_000;
        let mut stamp = Int96::new();
        stamp.set_data(nanos as u32, (nanos >> 32) as u32, day);
        stamp
    })
    .collect();
    let folder = Folder::new();
    let path = folder.path("spark.parquet");
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(
        fs::File::create(&path).unwrap(),
        Arc::new(schema),
        properties,
    )
    .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<Int96Type>()
        .write_batch(&stamps, None, None)
        .unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<DoubleType>()
        .write_batch(&[1.0, 2.0, 3.0, 4.0], None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();

    let columns = ColumnMapping::new("d").with("c", "close");
    let table = read_with(&path, columns, FileOptions::default()).unwrap();
    assert_eq!(
        closes(&table),
        [(day("1969-12-31"), 2.0), (day("2024-12-29"), 3.0)]
    );
    let years: Vec<&str> = table.rejected.iter().map(|one| &one.value[..4]).collect();
    assert_eq!(years, ["0001", "9999"]);
}

#[test]
fn dates_are_read_whole_and_in_utc() {
    let text = "Date,Close\n2012-01-01T23:00:00-05:00,1\n2012-01-03garbage,2\n2012-01-04,3\n2012-01-05T10:00:00 CET,4\n";
    let table = read(text, "Date", "Close").unwrap();
    assert_eq!(
        closes(&table),
        [(day("2012-01-02"), 1.0), (day("2012-01-04"), 3.0)]
    );
    let values: Vec<&str> = table
        .rejected
        .iter()
        .map(|one| one.value.as_str())
        .collect();
    assert_eq!(values, ["2012-01-03garbage", "2012-01-05T10:00:00 CET"]);
}

#[test]
fn rows_of_another_width_are_refused_by_line() {
    let table = read("Date,Close,Vol\n2012-01-01,1,1\n2012-01-02,2\n2012-01-03\n2012-01-04,4,4,9\n2012-01-05,5,5\n", "Date", "Close").unwrap();
    assert_eq!(
        closes(&table),
        [(day("2012-01-01"), 1.0), (day("2012-01-05"), 5.0)]
    );
    let origins: Vec<&str> = table
        .rejected
        .iter()
        .filter_map(|one| one.origin.as_deref())
        .collect();
    assert_eq!(origins, ["a.csv, line 3", "a.csv, line 4", "a.csv, line 5"]);
    assert!(
        table
            .rejected
            .iter()
            .all(|one| one.reason == Reason::WrongWidth)
    );
    assert!(
        table
            .notes
            .iter()
            .any(|note| note.contains("line 4") && note.contains("1 cells in place of 3")),
        "{:?}",
        table.notes
    );
    // A quotation mark that is not closed would take the rest of the file into its cell.
    fails(
        "Date,Close\n2012-01-01,\"1\n2012-01-02,2\n2012-01-03,3\n",
        "Date",
        "Close",
        &["line 2", "quotation mark"],
    );
    fails(
        "Date,Note,Close\n2012-01-01,\"a,1\n2012-01-02,b,2\n",
        "Date",
        "Close",
        &["line 2", "quotation mark"],
    );
}

#[test]
fn days_given_twice_follow_a_rule_that_is_told() {
    let equal = file("Date,Close\n", |day, close| {
        format!("{day} 00:00:00 UTC,{close}")
    }) + "2025-01-03 13:37:00 UTC,95500.5\n";
    let table = read(equal, "Date", "Close").unwrap();
    assert_eq!(closes(&table), rows());
    assert!(
        table.notes[0].contains("1 day is given more than once with the same values"),
        "{:?}",
        table.notes
    );

    let text = "Date,Close,Vol\n2012-01-01,1,\n2012-01-01,3,7\n2012-01-02,5,1\n";
    let by = |rule: Option<&str>| {
        let folder = Folder::new();
        let path = folder.write(text);
        let mut options = FileOptions::default();
        options.duplicates = rule.map_or(Duplicates::default(), |rule| rule.parse().unwrap());
        let columns = ColumnMapping::new("Date")
            .with("Close", "close")
            .with("Vol", "volume");
        read_with(&path, columns, options).unwrap()
    };
    let kept = |rule| values(&by(rule), "close");
    assert_eq!(kept(None), [None, Some(5.0)]);
    assert_eq!(kept(Some("first")), [Some(1.0), Some(5.0)]);
    assert_eq!(kept(Some("last")), [Some(3.0), Some(5.0)]);
    assert_eq!(kept(Some("mean")), [Some(2.0), Some(5.0)]);
    // What does not differ is kept.
    assert_eq!(values(&by(None), "volume"), [Some(7.0), Some(1.0)]);
    let table = by(None);
    assert_eq!(table.rejected.len(), 2);
    assert!(
        table
            .rejected
            .iter()
            .all(|one| one.reason == Reason::Duplicate)
    );
    assert!(
        table
            .notes
            .iter()
            .any(|note| note.contains("line 2") && note.contains("set aside")),
        "{:?}",
        table.notes
    );
}

#[test]
fn what_is_no_table_is_an_error_with_its_reason() {
    fails("", "Date", "Close", &["no column"]);
    fails("Date,Close\n", "Date", "Close", &["no row"]);
    fails(
        "Date,Open\n2012-01-01,1\n",
        "Date",
        "Close",
        &["no column \"Close\"", "Date, Open"],
    );
    fails(
        "<!DOCTYPE html><html></html>",
        "Date",
        "Close",
        &["web page"],
    );
    fails(b"\0\x01\x02\x03", "Date", "Close", &["NUL"]);
    fails(b"PAR1", "Date", "Close", &["Parquet"]);
    fails(b"PK\x03\x04", "Date", "Close", &["zip"]);
    let missing = FileSource::new("x", "none.csv", ColumnMapping::new("d").with("c", "close"));
    assert!(matches!(missing.unwrap().read(), Err(Error::Read { .. })));
    let folder = Folder::new();
    let path = folder.parquet(vec![("d", Arc::new(Int64Array::from(vec![1])))]);
    let columns = ColumnMapping::new("d").with("close", "close");
    let error = read_with(&path, columns, FileOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no column \"close\"; there are d"),
        "{error}"
    );
}

#[test]
fn options_override_what_is_recognised() {
    let folder = Folder::new();
    let path = folder.write("# 2024-01-01;x\n# two\n1;2;k.A.\n1705276800;5,5;7\n");
    let mut options = FileOptions::default();
    options.skip_lines = 2;
    options.header_lines = Some(0);
    options.delimiter = Some(';');
    options.date_format = Some("s".parse::<DateFormat>().unwrap());
    options.decimal = Some("comma".parse().unwrap());
    options.missing = vec!["k.A.".to_owned()];
    let columns = ColumnMapping::new("0")
        .with("1", "close")
        .with("2", "volume");
    let table = read_with(&path, columns.clone(), options.clone()).unwrap();
    assert_eq!(
        closes(&table),
        [(day("1970-01-01"), 2.0), (day("2024-01-15"), 5.5)]
    );
    assert_eq!(values(&table, "volume"), [None, Some(7.0)]);
    options.strict = true;
    options.missing.clear();
    let error = read_with(&path, columns, options).unwrap_err().to_string();
    assert!(
        error.contains("line 3") && error.contains("k.A."),
        "{error}"
    );
}

#[tokio::test]
async fn hours_are_stored_as_a_table_of_their_own() {
    let folder = Folder::new();
    let data = folder.path("data");
    let now = "2024-01-02T00:30:00Z".parse().unwrap();
    let line =
        |hour: i64, close: f64| format!("{},{close}\n", 1_704_067_200_000 + hour * 3_600_000);
    let lines = |change: f64| -> String {
        (0..25)
            .map(|hour| {
                line(
                    hour,
                    100.0 + hour as f64 + if hour == 3 { change } else { 0.0 },
                )
            })
            .collect()
    };
    let source = |text: String| {
        let path = folder.write(format!("open_time,close\n{text}"));
        FileSource::new(
            "hourly",
            path,
            ColumnMapping::new("open_time").with("close", "close"),
        )
        .unwrap()
    };
    let report = import_file(&data, &source(lines(0.0)), now).await.unwrap();
    assert_eq!(
        (report.step.as_str(), report.table.as_deref()),
        ("1h", Some("processed/hourly"))
    );
    assert!(
        report.recognised.contains("in steps of 1h"),
        "{}",
        report.recognised
    );
    // The running hour is not over at half past.
    assert_eq!(
        (
            report.pull.series[0].new_rows,
            report.pull.series[0].rejected
        ),
        (24, 1)
    );
    let again = import_file(&data, &source(lines(0.0)), now).await.unwrap();
    assert_eq!(
        (again.pull.changes(), again.pull.data_hash),
        (0, report.pull.data_hash)
    );

    let later = "2024-01-02T01:30:00Z".parse().unwrap();
    let report = import_file(&data, &source(lines(0.5)), later)
        .await
        .unwrap();
    assert_eq!(
        (
            report.pull.series[0].new_rows,
            report.pull.series[0].changed_rows
        ),
        (1, 1)
    );
    let table = read_parquet(data.join("processed/hourly/2024.parquet")).unwrap();
    assert_eq!(table.num_rows(), 26);
    let time = |name: &str, row: usize| {
        table
            .column_by_name(name)
            .unwrap()
            .as_primitive::<TimestampNanosecondType>()
            .value(row)
    };
    let hour = 3_600_000_000_000;
    assert_eq!(time("event_timestamp", 0), time("time", 0) + hour);
    assert_eq!(
        (time("time", 3), time("time", 4)),
        (time("time", 0) + 3 * hour, time("time", 0) + 3 * hour)
    );
    let close = table
        .column_by_name("close")
        .unwrap()
        .as_primitive::<Float64Type>();
    assert_eq!((close.value(3), close.value(4)), (103.0, 103.5));

    // It stays beside what is imported otherwise, and is told and checked as all data is.
    let path = folder.write("Date,Close\n2012-01-01,5\n");
    let daily = FileSource::new(
        "old",
        path,
        ColumnMapping::new("Date").with("Close", "close"),
    )
    .unwrap();
    import_file(&data, &daily, later).await.unwrap();
    assert!(data.join("processed/hourly/2024.parquet").exists());
    assert!(verify(&data).unwrap().is_ok());
    let status = status(&data, later).unwrap();
    let hourly = status
        .series
        .iter()
        .find(|series| series.source == "hourly")
        .unwrap();
    assert_eq!((hourly.days, hourly.revisions), (25, 1));
    assert_eq!(
        read_table(&data, Table::Ohlcv, Revisions::Latest)
            .unwrap()
            .num_rows(),
        1
    );
}

#[tokio::test]
async fn weeks_and_months_are_known_when_they_are_over() {
    for (text, step, known) in [
        (
            "2024-01-01,1\n2024-01-08,2\n2024-01-15,3\n",
            "1w",
            "2024-01-08T00:00:00Z",
        ),
        (
            "2024-01-01,1\n2024-02-01,2\n2024-03-01,3\n2024-04-01,4\n",
            "1mo",
            "2024-02-01T00:00:00Z",
        ),
    ] {
        let folder = Folder::new();
        let data = folder.path("data");
        let path = folder.write(format!("Date,Close\n{text}"));
        let columns = || ColumnMapping::new("Date").with("Close", "close");
        let plain = read_with(&path, columns(), FileOptions::default()).unwrap();
        assert!(plain.step.is_day());
        let told = format!("the rows are {step} apart and each is taken for one day");
        assert!(plain.notes[0].contains(&told), "{:?}", plain.notes);
        let mut options = FileOptions::default();
        options.step = Some(step.parse().unwrap());
        let source = FileSource::new("slow", path, columns()).unwrap();
        let source = source.with_options(options);
        let now = "2024-06-01T00:00:00Z".parse().unwrap();
        let report = import_file(&data, &source, now).await.unwrap();
        assert_eq!(report.step, step);
        let table = read_parquet(data.join("processed/slow/2024.parquet")).unwrap();
        let event = table
            .column_by_name("event_timestamp")
            .unwrap()
            .as_primitive::<TimestampNanosecondType>();
        let expected: DateTime<Utc> = known.parse().unwrap();
        assert_eq!(event.value(0), expected.timestamp_nanos_opt().unwrap());
    }
}

#[tokio::test]
async fn what_is_set_aside_of_a_file_is_kept_with_its_place() {
    let folder = Folder::new();
    let data = folder.path("data");
    let path = folder.write("Date,Close\n2012-01-01,5.1\n2012-01-02,oops\n1500-01-01,3\n");
    let source = FileSource::new(
        "old",
        path,
        ColumnMapping::new("Date").with("Close", "close"),
    )
    .unwrap();
    let report = import_file(&data, &source, "2024-01-01T00:00:00Z".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (
            report.pull.series[0].new_rows,
            report.pull.series[0].rejected
        ),
        (1, 2)
    );
    let table = read_parquet(data.join("raw/old/quarantine.parquet")).unwrap();
    let column = |name: &str| -> Vec<String> {
        let column = table.column_by_name(name).unwrap().as_string::<i32>();
        column.iter().map(|text| text.unwrap().to_owned()).collect()
    };
    assert_eq!(column("value"), ["oops", "1500-01-01"]);
    assert_eq!(column("reason"), ["not-a-number", "out-of-range"]);
    assert_eq!(
        column("origin"),
        [
            "a.csv, line 3, column \"Close\"",
            "a.csv, line 4, column \"Date\""
        ]
    );
    // A year before the first that a file can have is stored nowhere.
    let years: Vec<String> = fs::read_dir(data.join("raw/old"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(years.len(), 2, "{years:?}");
}

/// Bytes of which many are those of tables, so that more than the first check is met.
fn table_bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "Date",
        "Close",
        ",",
        ";",
        "\t",
        "\n",
        "\r\n",
        "\"",
        "2024-01-02",
        "01/02/2024",
        "13.02.24",
        "1735430400",
        "1735430400000",
        "20241229",
        "9999-12-31",
        "0001-01-01",
        "5.5",
        "5,5",
        "1.234",
        "1,234,567.8",
        "68.18K",
        "-1.2%",
        "NaN",
        "1e999",
        "é",
        "\u{feff}",
        "T00:00:00",
        "+05:30",
        "Z",
        " ",
        "sep=;",
        "Dec 29, 2024",
        "-",
        "#",
        "\u{202f}",
    ]);
    let part = prop_oneof![
        8 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

/// Whatever is read is what the contract says: times ascend, and no row is empty.
fn check_contract(bytes: &[u8], date: &str, close: &str) {
    let folder = Folder::new();
    let path = folder.write(bytes);
    let columns = ColumnMapping::new(date).with(close, "close");
    let Ok(table) = read_with(&path, columns.clone(), FileOptions::default()) else {
        return;
    };
    assert!(table.batch.num_rows() > 0);
    let now = "2030-01-01T00:00:00Z".parse().unwrap();
    if table.step.is_day() {
        let days = table.batch.column(0).as_primitive::<Date32Type>();
        assert!(days.values().is_sorted_by(|a, b| a < b));
    }
    let close = table.batch.column(1).as_primitive::<Float64Type>();
    assert!(close.iter().flatten().all(f64::is_finite));
    assert!(table.rejected.iter().all(|one| one.origin.is_some()));
    let stored = FileSource::new("x", &path, columns)
        .unwrap()
        .preview(now)
        .unwrap();
    assert!(stored.batch.num_rows() <= table.batch.num_rows());
}

proptest! {
    #[test]
    fn no_text_makes_the_recogniser_panic(bytes in table_bytes()) {
        check_contract(&bytes, "Date", "Close");
        check_contract(&bytes, "0", "1");
        check_contract(&[b"Date,Close\n".as_slice(), &bytes].concat(), "Date", "Close");
        check_contract(&[b"Date;Close\n".as_slice(), &bytes].concat(), "Date", "Close");
        for preset in Preset::ALL {
            let _ = preset.columns().read_csv(&bytes);
        }
    }

    #[test]
    fn no_damage_makes_the_reader_of_parquet_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = Folder::new();
        let dates: ArrayRef = Arc::new(StringArray::from(vec!["2024-01-01", "2024-01-02"]));
        let stamps: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 1 << 50]));
        let close: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
        let path = folder.parquet(vec![("d", dates), ("t", stamps), ("c", close)]);
        let mut bytes = fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check_contract(&bytes, "d", "c");
        check_contract(&bytes, "t", "c");
    }

    /// Every row is stored or set aside: nothing goes, whatever stands in the cells.
    #[test]
    fn every_row_is_stored_or_set_aside(
        cells in prop::collection::vec((0_u16..400, prop::option::of("[a-z]{1,4}|[0-9]{1,3}")), 1..40)
    ) {
        let first = day("2020-01-01");
        let text: String = cells
            .iter()
            .map(|(offset, cell)| {
                let day = first + chrono::Days::new((*offset).into());
                format!("{day},{}\n", cell.as_deref().unwrap_or(""))
            })
            .collect();
        let folder = Folder::new();
        let path = folder.write(format!("Date,Close\n{text}"));
        let columns = ColumnMapping::new("Date").with("Close", "close");
        let read = read_with(&path, columns, FileOptions::default());
        let is_mark = |cell: &str| matches!(cell, "na" | "nan" | "null" | "none");
        let given = cells.iter().filter(|(_, cell)| cell.as_deref().is_some_and(|c| !is_mark(c)));
        let mut by_day: std::collections::BTreeMap<u16, Vec<&str>> = Default::default();
        for (day, cell) in given {
            by_day.entry(*day).or_default().push(cell.as_deref().unwrap_or_default());
        }
        let (mut stored, mut set_aside) = (0, 0);
        for cells in by_day.values() {
            let numbers: Vec<f64> = cells
                .iter()
                .filter(|cell| cell.starts_with(|c: char| c.is_ascii_digit()))
                .filter_map(|cell| cell.parse().ok())
                .collect();
            set_aside += cells.len() - numbers.len();
            match numbers.as_slice() {
                [] => {}
                [first, rest @ ..] if rest.iter().all(|other| other == first) => stored += 1,
                many => set_aside += many.len(),
            }
        }
        match read {
            Ok(table) => {
                prop_assert_eq!((table.batch.num_rows(), table.rejected.len()), (stored, set_aside));
            }
            Err(_) => prop_assert_eq!(stored, 0),
        }
    }
}
