//! The integration tests: a service that answers as the real ones do, and fails as they do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;
mod files;
mod imports;
mod kill;
mod properties;
mod pulls;
mod real_bodies;
mod service;
mod snapshots;
mod sources;
