//! Locks around state that is whole at any moment.
//!
//! What this crate guards changes only after all checks, or in one step. A panic of somebody who holds
//! the lock, such as a callback of the user, therefore leaves the state right, and the others go on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the next notification, which may come for no reason.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_outlives_a_panic_of_its_holder() {
        let state = Mutex::new(1);
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                *lock(&state) = 2;
                let _guard = lock(&state);
                panic!("while the lock is held");
            });
            assert!(holder.join().is_err());
        });
        assert!(state.is_poisoned());
        assert_eq!(*lock(&state), 2);
        assert_eq!(into_inner(state), 2);
    }
}
