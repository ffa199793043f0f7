//! Flag > environment > `btc.toml` > default, resolved once to plain values.

pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod flags;
pub(crate) mod layer;
pub(crate) mod proxy;
pub(crate) mod requests;
pub(crate) mod resolve;
