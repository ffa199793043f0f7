//! The integration tests of btc-track.

#[cfg(feature = "conformance")]
mod conformance;
#[cfg(all(feature = "server", feature = "rest"))]
mod copying;
#[cfg(all(feature = "server", feature = "sqlite"))]
mod durability;
#[cfg(feature = "server")]
mod hostile;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "sqlite")]
mod large;
#[cfg(all(feature = "server", feature = "sqlite"))]
mod mlflow;
mod programs;
#[cfg(feature = "yaml")]
mod project;
#[cfg(feature = "sqlite")]
mod smoke;
#[cfg(feature = "server")]
mod surface;
