//! The integration tests of the `btc` command.

mod tidy;
