//! Steps in decimal arithmetic, as a reader of `0.1` expects, and numbers as Python writes them.

/// A number `digits * 10^exponent`, exact for the shortest decimal text of a float.
#[derive(Clone, Copy)]
struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    fn parse(value: f64) -> Option<Self> {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let exponent: i32 = exponent.parse().ok()?;
        let decimals = mantissa.split_once('.').map_or(0, |(_, rest)| rest.len());
        let digits: i128 = mantissa.replace('.', "").parse().ok()?;
        Some(Self {
            digits,
            exponent: exponent - i32::try_from(decimals).ok()?,
        })
    }

    fn scaled(self, exponent: i32) -> Option<i128> {
        let power = u32::try_from(self.exponent - exponent).ok()?;
        self.digits.checked_mul(10_i128.checked_pow(power)?)
    }
}

/// Returns the largest `low + k * step` that does not exceed `high`.
pub(crate) fn last_step(low: f64, high: f64, step: f64) -> f64 {
    exact_last_step(low, high, step).unwrap_or_else(|| {
        // The scales differ by more than 38 digits: decimals make no difference there.
        low + ((high - low) / step).floor() * step
    })
}

fn exact_last_step(low: f64, high: f64, step: f64) -> Option<f64> {
    let [low_decimal, high_decimal, step_decimal] = [low, high, step].map(Decimal::parse);
    let (l, h, s) = (low_decimal?, high_decimal?, step_decimal?);
    let exponent = l.exponent.min(h.exponent).min(s.exponent);
    let (l, h, s) = (
        l.scaled(exponent)?,
        h.scaled(exponent)?,
        s.scaled(exponent)?,
    );
    let range = h.checked_sub(l)?;
    if range % s == 0 {
        return Some(high);
    }
    format!("{}e{exponent}", l + range / s * s).parse().ok()
}

/// Writes a float as Python's `repr` and `json.dumps` do: shortest digits, `1e-05`, `NaN`, `Infinity`.
pub(crate) fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_in_python() {
        for (value, text) in [
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.5e300, "1.5e+300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }

    #[test]
    fn the_last_step_is_found_in_decimals() {
        assert_eq!(last_step(-1.0, 1.0, 0.3), 0.8);
        assert_eq!(last_step(0.0, 1.0, 0.1), 1.0);
        assert_eq!(last_step(0.0, 0.6, 0.05), 0.6);
        assert_eq!(last_step(0.0, 1.0, 0.33), 0.99);
        assert_eq!(last_step(1e-300, 1e300, 0.5e299), 1e300);
    }
}
