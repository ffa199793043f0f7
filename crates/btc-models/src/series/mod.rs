//! Values in time: a frame of columns, its frequency and holes, and how it is split.

mod covariates;
pub(crate) mod frame;
mod frequency;
mod holes;
pub(crate) mod panel;
mod split;

pub use covariates::{Category, Role};
pub use frame::SeriesFrame;
pub use frequency::{Frequency, MAX_STEPS};
pub use holes::{Hole, HolePolicy, MAX_MISSING};
pub use panel::Panel;
#[cfg(feature = "nn")]
pub(crate) use panel::{Stretch, Timeline};
pub use split::Split;
