//! The `btc` command.
fn main() {}
