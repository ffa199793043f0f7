//! The integration tests of btc-track.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

#[cfg(feature = "sqlite")]
mod agreement;
#[cfg(all(feature = "server", feature = "sqlite"))]
mod answers;
#[cfg(feature = "conformance")]
mod conformance;
#[cfg(all(feature = "server", feature = "rest"))]
mod copying;
#[cfg(all(unix, feature = "server", feature = "sqlite"))]
mod durability;
#[cfg(feature = "server")]
mod fields;
#[cfg(all(unix, feature = "server", feature = "sqlite"))]
mod full;
#[cfg(feature = "server")]
mod hostile;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "sqlite")]
mod large;
#[cfg(all(feature = "server", feature = "sqlite"))]
mod mlflow;
#[cfg(all(feature = "server", feature = "sqlite"))]
mod pinned;
#[cfg(feature = "yaml")]
mod project;
#[cfg(feature = "server")]
mod random;
#[cfg(feature = "sqlite")]
mod removal;
#[cfg(feature = "sqlite")]
mod smoke;
#[cfg(feature = "server")]
mod stalling;
#[cfg(feature = "server")]
mod surface;
#[cfg(feature = "system-metrics")]
mod system_metrics;
#[cfg(feature = "sqlite")]
mod waiting;
