//! What the tests of the workspace share. A dev-dependency only, never published.
//!
//! The environment steers the tests here and nowhere else:
//!
//! | Variable | What it does |
//! |---|---|
//! | `PROPTEST_CASES`, `PROPTEST_RNG_SEED` | more cases, other cases, for every property test |
//! | `BTC_VECTORS` | a folder of golden files that are read in place of the committed ones |
//! | `BTC_PYTHON`, `BTC_REQUIRE` | the interpreter of the Python peers, and the peers that must be there |

mod golden;
mod peers;
mod properties;
mod wait;

pub use golden::{golden, known};
pub use peers::python_with;
pub use properties::cases;
pub use wait::wait_until;

/// A server that is not there: nobody listens at port 1. A port that was free a moment ago can be
/// anybody's the next.
pub const NO_SERVER: &str = "http://127.0.0.1:1";

/// A variable of the environment, if it is set to text: how a test speaks to a process it starts.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "tests are steered by the environment"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
