//! From the bytes of a file to what is packed in it: gzip, zip, and encodings of text.

use super::options::TextEncoding;
use crate::error::{Error, Result};
use crate::number::short;
use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use flate2::Crc;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use std::borrow::Cow;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// The most bytes that are unpacked; a minute's candles of a whole market are a tenth of it.
const LARGEST: u64 = 4 << 30;

/// What a file holds.
pub(super) struct Unpacked {
    pub(super) bytes: Bytes,
    /// How it was packed, in a word or two.
    pub(super) packed: Option<String>,
    pub(super) is_parquet: bool,
}

/// Unpacks what a file holds, and tells what it is by its first bytes, not by its name.
///
/// # Errors
///
/// Fails if the archive is broken, holds no file of data or more than one, or what is in it is
/// neither text nor Parquet; the message says what to do.
pub(super) fn unpack(path: &Path, bytes: Bytes) -> Result<Unpacked> {
    unpack_at_most(path, bytes, LARGEST)
}

fn unpack_at_most(path: &Path, bytes: Bytes, limit: u64) -> Result<Unpacked> {
    let invalid = |problem: &str| Error::invalid(path, problem);
    let (bytes, packed) = if bytes.starts_with(&[0x1f, 0x8b]) {
        let unpacked = read_at_most(MultiGzDecoder::new(&*bytes), limit);
        let unpacked = unpacked.map_err(|problem| invalid(&format!("gzip: {problem}")))?;
        (Bytes::from(unpacked), Some("gzip".to_owned()))
    } else if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        let (name, unpacked) = unzip(path, &bytes, limit)?;
        (
            Bytes::from(unpacked),
            Some(format!("zip ({})", short(&name))),
        )
    } else {
        (bytes, None)
    };
    if let Some(what) = other_kind(&bytes) {
        return Err(invalid(what));
    }
    let is_parquet = bytes.starts_with(b"PAR1");
    Ok(Unpacked {
        bytes,
        packed,
        is_parquet,
    })
}

fn read_at_most(reader: impl Read, limit: u64) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let read = reader.take(limit + 1).read_to_end(&mut unpacked);
    match read {
        Ok(read) if read as u64 > limit => Err(format!(
            "more than {limit} bytes are packed in it; unpack it and split it"
        )),
        Ok(_) => Ok(unpacked),
        Err(problem) => Err(problem.to_string()),
    }
}

/// The one file of data in an archive.
fn unzip(path: &Path, bytes: &[u8], limit: u64) -> Result<(String, Vec<u8>)> {
    let invalid = |problem: String| Error::invalid(path, problem);
    let broken = |problem: zip::result::ZipError| invalid(format!("zip: {problem}"));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let mut found: Vec<(usize, String)> = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        let file = name.rsplit('/').next().unwrap_or_default();
        if name == "[Content_Types].xml" {
            return Err(invalid(
                "it is a workbook of a spreadsheet; save its sheet as CSV first".to_owned(),
            ));
        }
        // What macOS adds, checksums and notes are no data.
        let lower = file.to_ascii_lowercase();
        let is_other = [".md", ".checksum", ".sha256", ".pdf", ".json"]
            .iter()
            .any(|ending| lower.ends_with(ending));
        if !file.is_empty() && !file.starts_with('.') && !name.starts_with("__MACOSX/") && !is_other
        {
            found.push((index, name));
        }
    }
    let (index, name) = match found.as_slice() {
        [one] => one.clone(),
        [] => {
            return Err(invalid(
                "there is no file of data in the archive".to_owned(),
            ));
        }
        many => {
            let names: Vec<&str> = many.iter().map(|(_, name)| name.as_str()).collect();
            return Err(invalid(format!(
                "there are {} files in the archive: {}; unpack it and import them one by one",
                many.len(),
                short(&names.join(", "))
            )));
        }
    };
    let entry = archive.by_index_raw(index).map_err(broken)?;
    if entry.encrypted() {
        return Err(invalid(
            "the archive is encrypted; unpack it first".to_owned(),
        ));
    }
    let (method, checksum) = (entry.compression(), entry.crc32());
    let unpacked = match method {
        CompressionMethod::Stored => read_at_most(entry, limit),
        CompressionMethod::DEFLATE => read_at_most(DeflateDecoder::new(entry), limit),
        other => Err(format!("it is packed by {other}; unpack it first")),
    };
    let unpacked = unpacked.map_err(|problem| invalid(format!("zip: {name:?}: {problem}")))?;
    let mut crc = Crc::new();
    crc.update(&unpacked);
    if crc.sum() != checksum {
        return Err(invalid(format!(
            "zip: {name:?} is damaged: its checksum differs"
        )));
    }
    Ok((name, unpacked))
}

/// What people give by mistake, and what to do.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 9] = [
        (
            b"\xd0\xcf\x11\xe0",
            "it is a workbook of a spreadsheet; save its sheet as CSV first",
        ),
        (b"\xfd7zXZ", "it is packed by xz; unpack it first"),
        (b"BZh", "it is packed by bzip2; unpack it first"),
        (b"7z\xbc\xaf", "it is a 7z archive; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "it is packed by zstd; unpack it first"),
        (b"ARROW1", "it is an Arrow file; save it as Parquet or CSV"),
        (
            b"SQLite format 3",
            "it is a database; export a table as CSV",
        ),
        (
            b"version https://git-lfs",
            "it is a pointer of Git LFS; fetch the file itself with `git lfs pull`",
        ),
        (b"%PDF", "it is a PDF; it has to be CSV or Parquet"),
    ];
    let found = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic));
    if let Some((_, what)) = found {
        return Some(what);
    }
    let start = bytes.get(..512).unwrap_or(bytes).to_ascii_lowercase();
    let start = start.trim_ascii_start();
    if start.starts_with(b"<!doctype") || start.starts_with(b"<html") || start.starts_with(b"<?xml")
    {
        return Some("it is a web page, not a table; the download may have failed");
    }
    None
}

/// Decodes a text: by its byte order mark, as asked for, or as it looks.
///
/// # Errors
///
/// Fails, with the reason, if the bytes are no text of the encoding.
pub(super) fn decode(
    bytes: &[u8],
    asked: Option<TextEncoding>,
) -> Result<(Cow<'_, str>, String), String> {
    let (encoding, mark) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => (encoding, length),
        None => match asked {
            Some(TextEncoding(encoding)) => (encoding, 0),
            None => (looks_like(bytes), 0),
        },
    };
    let (text, had_errors) = encoding.decode_without_bom_handling(&bytes[mark..]);
    if had_errors {
        return Err(format!("the text is not {}", encoding.name()));
    }
    if text.contains('\0') {
        return Err("it is neither text nor Parquet: it holds NUL bytes".to_owned());
    }
    let name = match mark {
        0 => encoding.name().to_owned(),
        _ => format!("{} with a byte order mark", encoding.name()),
    };
    Ok((text, name))
}

/// UTF-8 if it is such, UTF-16 if every other byte is mostly zero, otherwise windows-1252, which
/// Latin-1 is a part of.
fn looks_like(bytes: &[u8]) -> &'static Encoding {
    const ENOUGH: usize = 4096;
    let start = &bytes[..bytes.len().min(ENOUGH)];
    let zeros = |odd: usize| {
        start
            .iter()
            .enumerate()
            .filter(|(at, byte)| at % 2 == odd && **byte == 0)
            .count()
    };
    let half = start.len() / 2;
    if half > 0 && bytes.len().is_multiple_of(2) {
        if zeros(1) * 10 >= half * 7 && zeros(0) == 0 {
            return UTF_16LE;
        }
        if zeros(0) * 10 >= half * 7 && zeros(1) == 0 {
            return UTF_16BE;
        }
    }
    if std::str::from_utf8(bytes).is_ok() {
        UTF_8
    } else {
        WINDOWS_1252
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use std::io::Write as _;

    const TEXT: &[u8] = b"Date,Close\n2024-01-01,5\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// An archive as the format's specification (PKWARE APPNOTE 4.3) has it, deflated.
    pub(in crate::file) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in files {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content).unwrap();
            let packed = encoder.finish().unwrap();
            let mut crc = Crc::new();
            crc.update(content);
            let offset = u32::try_from(bytes.len()).unwrap();
            let mut common = Vec::new();
            for part in [20_u16, 0, 8, 0, 0x21] {
                common.extend(part.to_le_bytes());
            }
            common.extend(crc.sum().to_le_bytes());
            common.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
            common.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
            common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
            common.extend(0_u16.to_le_bytes());
            bytes.extend(b"PK\x03\x04");
            bytes.extend(&common);
            bytes.extend(name.as_bytes());
            bytes.extend(packed);
            directory.extend(b"PK\x01\x02\x14\x00");
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend(offset.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let start = u32::try_from(bytes.len()).unwrap();
        let count = u16::try_from(files.len()).unwrap();
        bytes.extend(&directory);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend(count.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend(0_u16.to_le_bytes());
        bytes
    }

    fn open(bytes: Vec<u8>) -> Result<Unpacked> {
        unpack(Path::new("x"), bytes.into())
    }

    #[track_caller]
    fn fails(bytes: Vec<u8>, expected: &str) {
        let message = open(bytes).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn gzip_and_zip_are_unpacked() {
        let plain = open(TEXT.to_vec()).unwrap();
        assert_eq!((&*plain.bytes, plain.packed), (TEXT, None));
        assert_eq!(open(gzip(TEXT)).unwrap().bytes, TEXT);
        let two = [gzip(TEXT), gzip(TEXT)].concat();
        assert_eq!(open(two).unwrap().bytes, [TEXT, TEXT].concat());
        let archive = zip(&[
            ("__MACOSX/._a.csv", b"x"),
            ("d/a.csv", TEXT),
            ("README.md", b"x"),
        ]);
        let unpacked = open(archive).unwrap();
        assert_eq!(unpacked.bytes, TEXT);
        assert_eq!(unpacked.packed.as_deref(), Some("zip (d/a.csv)"));
    }

    #[test]
    fn what_cannot_be_unpacked_is_an_error_that_says_what_to_do() {
        fails(zip(&[("a.csv", TEXT), ("b.csv", TEXT)]), "a.csv, b.csv");
        fails(zip(&[]), "no file of data");
        fails(
            zip(&[("[Content_Types].xml", b"x")]),
            "save its sheet as CSV",
        );
        fails(gzip(TEXT)[..20].to_vec(), "gzip");
        fails(b"PK\x03\x04cut".to_vec(), "zip");
        fails(b"<!DOCTYPE html><html>".to_vec(), "web page");
        fails(
            b"version https://git-lfs.github.com/spec/v1".to_vec(),
            "LFS",
        );
        let mut damaged = zip(&[("a.csv", TEXT)]);
        damaged[14] ^= 1;
        let at = damaged.len() - 22 - 46 - 5 + 16;
        damaged[at] ^= 1;
        fails(damaged, "zip");
        let bomb = gzip(&vec![0; 1 << 16]);
        let error = unpack_at_most(Path::new("x"), bomb.into(), 1000).map(|_| ());
        assert!(error.unwrap_err().to_string().contains("more than 1000"));
    }

    #[test]
    fn texts_of_several_encodings_are_decoded() {
        let utf16 = |big: bool, mark: bool| -> Vec<u8> {
            let text = if mark {
                "\u{feff}Datum;é\n"
            } else {
                "Datum;x\n"
            };
            text.encode_utf16()
                .flat_map(|unit| {
                    if big {
                        unit.to_be_bytes()
                    } else {
                        unit.to_le_bytes()
                    }
                })
                .collect()
        };
        let decoded =
            |bytes: &[u8]| decode(bytes, None).map(|(text, name)| (text.into_owned(), name));
        assert_eq!(decoded(&utf16(true, true)).unwrap().0, "Datum;é\n");
        assert_eq!(decoded(&utf16(false, true)).unwrap().0, "Datum;é\n");
        assert_eq!(decoded(&utf16(true, false)).unwrap().1, "UTF-16BE");
        assert_eq!(decoded(&utf16(false, false)).unwrap().0, "Datum;x\n");
        assert_eq!(decoded(b"Er\xf6ffn.").unwrap().0, "Eröffn.");
        assert_eq!(decoded("\u{feff}a".as_bytes()).unwrap().0, "a");
        assert!(decoded(b"a\0b").is_err());
        assert!(decode(b"Er\xf6ffn.", Some("utf-8".parse().unwrap())).is_err());
        let greek = decode(b"\xe1", Some("iso-8859-7".parse().unwrap())).unwrap();
        assert_eq!(greek.0, "α");
    }
}
