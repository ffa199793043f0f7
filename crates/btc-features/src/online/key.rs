//! The bytes that a row of the online store is found by: Feast's entity key,
//! version 3.

use super::proto::Val;
use crate::error::{Error, Result};
use crate::feast::proto::DUMMY_KEY;

/// The number of `STRING` in Feast's types.
const STRING: u32 = 2;

/// Encodes join keys and their values. Without any, it is the key of values
/// that hold for everything.
pub(super) fn encode(keys: &[(&str, Val)]) -> Result<Vec<u8>> {
    let dummy = [(DUMMY_KEY, Val::String(String::new()))];
    let keys = if keys.is_empty() { &dummy[..] } else { keys };
    let mut sorted: Vec<&(&str, Val)> = keys.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut bytes = Vec::with_capacity(64);
    put(&mut bytes, sorted.len())?;
    for (name, _) in &sorted {
        bytes.extend(STRING.to_le_bytes());
        put(&mut bytes, name.len())?;
        bytes.extend(name.as_bytes());
    }
    for (name, value) in &sorted {
        let (number, value): (u32, Vec<u8>) = match value {
            Val::Bytes(bytes) => (1, bytes.clone()),
            Val::String(text) => (STRING, text.as_bytes().to_vec()),
            Val::Int32(value) => (3, value.to_le_bytes().into()),
            Val::Int64(value) => (4, value.to_le_bytes().into()),
            Val::UnixTimestamp(seconds) => (8, seconds.to_le_bytes().into()),
            _ => {
                return Err(Error::InvalidRequest(format!(
                    "the key {name:?} is of a type that cannot be a key online; \
                     use text, integers, bytes or timestamps"
                )));
            }
        };
        bytes.extend(number.to_le_bytes());
        put(&mut bytes, value.len())?;
        bytes.extend(value);
    }
    Ok(bytes)
}

fn put(bytes: &mut Vec<u8>, length: usize) -> Result<()> {
    let length = u32::try_from(length)
        .map_err(|_| Error::InvalidRequest("a key is longer than 4 GiB".into()))?;
    bytes.extend(length.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that `feast.infra.key_encoding_utils.serialize_entity_key` of
    /// Feast 0.67 gives.
    #[test]
    fn keys_are_encoded_as_feast_encodes_them() {
        let hex = |keys: &[(&str, Val)]| -> String {
            encode(keys)
                .unwrap()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        assert_eq!(
            hex(&[]),
            "01000000020000000a0000005f5f64756d6d795f69640200000000000000"
        );
        assert_eq!(
            hex(&[("b", Val::Int64(7)), ("a", Val::String("x".into()))]),
            "020000000200000001000000610200000001000000620200000001000000780400000008000000\
             0700000000000000"
        );
        assert!(encode(&[("a", Val::Double(1.0))]).is_err());
    }
}
