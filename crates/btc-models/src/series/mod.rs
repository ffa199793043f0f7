//! Tables of values in time.

pub(crate) mod frame;

pub use frame::SeriesFrame;
