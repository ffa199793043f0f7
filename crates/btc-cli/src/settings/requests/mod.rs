//! What the flags ask of a command, in the libraries' words.
//!
//! A flag that a setting stands for is in the settings already; here is the
//! rest, read once and free of anything that was typed.

pub(crate) mod data;
pub(crate) mod features;
pub(crate) mod models;
pub(crate) mod studies;
pub(crate) mod tracking;
