//! How what the libraries answer is shown, for people and as JSON.

pub(crate) mod backtest;
pub(crate) mod data;
pub(crate) mod features;
pub(crate) mod model;
pub(crate) mod prediction;
pub(crate) mod studies;
pub(crate) mod text;
pub(crate) mod track;
