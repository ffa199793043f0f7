//! Values of attributes.

use serde_json::{Map, Value};

/// The value of an attribute: anything JSON can say.
///
/// JSON has no number for NaN and the infinities. They become the texts `NaN`, `Infinity` and
/// `-Infinity`, which is how those of other programs are read too.
///
/// ```
/// use btc_tune::Attr;
/// assert_eq!(Attr::from(1.5).0, 1.5);
/// assert_eq!(Attr::from(f64::NEG_INFINITY).0, "-Infinity");
/// assert_eq!(Attr::from(vec![0.5, f64::NAN]).0, serde_json::json!([0.5, "NaN"]));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Attr(pub Value);

impl From<f64> for Attr {
    fn from(value: f64) -> Self {
        Self(match value {
            value if value.is_nan() => "NaN".into(),
            f64::INFINITY => "Infinity".into(),
            f64::NEG_INFINITY => "-Infinity".into(),
            value => value.into(),
        })
    }
}

impl From<f32> for Attr {
    fn from(value: f32) -> Self {
        f64::from(value).into()
    }
}

macro_rules! from_value {
    ($($type:ty),*) => {$(
        impl From<$type> for Attr {
            fn from(value: $type) -> Self {
                Self(value.into())
            }
        }
    )*};
}

from_value!(Value, Map<String, Value>, &str, String, bool, i32, i64, u32, u64, usize, ());

impl<T: Into<Attr>> From<Vec<T>> for Attr {
    fn from(values: Vec<T>) -> Self {
        Self(values.into_iter().map(|value| value.into().0).collect())
    }
}

impl<T: Into<Attr>> From<Option<T>> for Attr {
    fn from(value: Option<T>) -> Self {
        Self(value.map_or(Value::Null, |value| value.into().0))
    }
}
