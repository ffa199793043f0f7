//! The checks that whoever implements a trait of this crate runs.
//!
//! They panic with what is broken, as a test does.

mod metric;
mod model;
#[cfg(feature = "nn")]
mod training;
mod transform;

pub use metric::check_metric;
pub use model::check_model;
#[cfg(feature = "nn")]
pub use training::{check_callback, check_loss, check_optimizer, check_schedule};
pub use transform::{check_scaler, check_target, check_transform};

/// Fails with the reason if the settings of what is checked are refused.
fn accepted(result: crate::Result<()>) {
    if let Err(error) = result {
        panic!("its settings are refused: {error}");
    }
}

/// The results of the same work on two threads.
fn twice<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads = [scope.spawn(&work), scope.spawn(&work)];
        let joined = threads.map(|thread| thread.join().ok());
        joined.into_iter().flatten().collect()
    })
}
