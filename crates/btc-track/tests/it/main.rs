//! The integration tests of btc-track.

#[cfg(feature = "conformance")]
mod conformance;
#[cfg(feature = "sqlite")]
mod smoke;
