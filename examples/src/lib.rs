//! Examples that use several btc crates together; see the README beside.
