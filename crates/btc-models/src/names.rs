//! One home for enums that are called by name: all values, the name, reading and writing.

/// Gives an enum without fields `ALL`, `name`, `Display` and `FromStr`, which takes a name in
/// capital or small letters and otherwise suggests the nearest one.
macro_rules! named {
    ($type:ident, $what:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name, as [`FromStr`](std::str::FromStr) takes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::Error;

            fn from_str(name: &str) -> $crate::Result<Self> {
                Self::ALL
                    .into_iter()
                    .find(|value| value.name().eq_ignore_ascii_case(name))
                    .ok_or_else(|| $crate::Error::unknown($what, name, &Self::ALL.map(Self::name)))
            }
        }
    };
}
