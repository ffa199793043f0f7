//! See the README beside; the benches are `workflow.rs` and those of the crates.
