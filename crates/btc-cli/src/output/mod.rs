//! What is shown: data on stdout, everything else on stderr.

pub(crate) mod bars;
pub(crate) mod file;
pub(crate) mod printer;
pub(crate) mod profile;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod views;
