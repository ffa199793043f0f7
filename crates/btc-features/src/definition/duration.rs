//! Durations as people write them: `10d`, `1h 30m`, `250ms`, or a number of
//! seconds.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Writes a duration with as few units as it takes.
pub(crate) fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut parts = Vec::new();
    for (unit, nanos) in UNITS {
        let count = rest / nanos;
        rest %= nanos;
        if count != 0 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if parts.is_empty() {
        "0s".into()
    } else {
        parts.join(" ")
    }
}

/// Reads `10d`, `1h 30m`, `90s`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write one as \"10d\", \"1h 30m\" or \"90s\"");
    let mut total = 0_u128;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let count: u128 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit = if letters == 0 { "s" } else { &rest[..letters] };
        let nanos = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?
            .1;
        total = count
            .checked_mul(nanos)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("{text:?} is longer than a duration can be"))?;
        rest = rest[letters..].trim_start();
    }
    let seconds = u64::try_from(total / 1_000_000_000)
        .map_err(|_| format!("{text:?} is longer than a duration can be"))?;
    Ok(Duration::new(seconds, (total % 1_000_000_000) as u32))
}

pub(crate) fn serialize<S: Serializer>(
    ttl: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(ttl.unwrap_or_default()))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Seconds(u64),
        Text(String),
    }
    let duration = match Text::deserialize(deserializer)? {
        Text::Seconds(seconds) => Duration::from_secs(seconds),
        Text::Text(text) => parse_duration(&text).map_err(D::Error::custom)?,
    };
    Ok((!duration.is_zero()).then_some(duration))
}

/// A duration that must be there, for `#[serde(with)]`.
pub(crate) mod required {
    use super::{Deserializer, Duration, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize(&Some(*duration), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        Ok(super::deserialize(deserializer)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for nanos in [
            0,
            1,
            1_500_000,
            90_000_000_000,
            864_000_000_000_000,
            93_784_000_000_001,
        ] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        assert_eq!(format_duration(Duration::from_secs(864_000)), "10d");
        assert_eq!(format_duration(Duration::from_secs(5_400)), "1h 30m");
        assert_eq!(parse_duration("3600"), Ok(Duration::from_secs(3_600)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "d",
            "10 weeks",
            "-1d",
            "1.5h",
            "99999999999999999999999999d",
            "½h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
