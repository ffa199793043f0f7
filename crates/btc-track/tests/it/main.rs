//! The integration tests of btc-track.

mod smoke;
