//! Which process evaluates a trial, and whether that process is still there.
//!
//! A sign of life that does not come says little until a grace period is over. On one machine the
//! operating system knows at once.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::frozen::FrozenTrial;

/// The system attribute that names the process a trial runs in.
pub(super) const WORKER: &str = "btc:worker";

/// A process, recognisable among all that this and other machines run, ran and will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Worker {
    /// This boot of this machine, and the namespaces in which process ids and times mean the same.
    host: String,
    /// Whose process it is: those of others may be hidden.
    user: u32,
    process: u32,
    /// When it began, in clock ticks since boot: process ids are used again.
    started: u64,
}

impl Worker {
    /// The process that calls; `None` where the platform does not tell who that is.
    pub(super) fn current() -> Option<Self> {
        platform::current()
    }

    /// Who evaluates a trial, if it says so.
    pub(super) fn of(trial: &FrozenTrial) -> Option<Self> {
        let kept = trial.system_attrs.get(WORKER)?;
        // The attribute of another trial came along with a copy.
        if kept.get("trial")?.as_u64() != u64::try_from(trial.number).ok() {
            return None;
        }
        Self::deserialize(kept).ok()
    }

    /// The attribute by which trial `number` names this process.
    pub(super) fn attribute(&self, number: usize) -> Value {
        let mut value = json!(self);
        value["trial"] = number.into();
        value
    }

    /// Whether it can be proved from here that the process has ended.
    ///
    /// Of processes of other machines, of an earlier boot and of other users nothing can.
    pub(super) fn is_dead(&self, here: &Self) -> bool {
        self.host == here.host && self.user == here.user && platform::has_ended(self)
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::MetadataExt as _;

    use super::Worker;

    /// What `/proc/PID/stat` says of a process (proc_pid_stat(5)).
    struct Stat {
        process: u32,
        state: char,
        started: u64,
    }

    fn parse(stat: &str) -> Option<Stat> {
        let (process, rest) = stat.split_once(' ')?;
        // The name of the program stands in parentheses and may itself contain some.
        let (_, fields) = rest.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        Some(Stat {
            process: process.parse().ok()?,
            state: fields.next()?.chars().next()?,
            // The state is field 3, the time of the start field 22.
            started: fields.nth(18)?.parse().ok()?,
        })
    }

    pub(super) fn current() -> Option<Worker> {
        let namespace = |kind: &str| {
            let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
            Some(link.to_string_lossy().into_owned())
        };
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        // Kernels before 5.6 have no namespace of times.
        let times = namespace("time").unwrap_or_default();
        let own = parse(&fs::read_to_string("/proc/self/stat").ok()?)?;
        // A process file system of another namespace numbers processes differently.
        (own.process == std::process::id()).then_some(())?;
        Some(Worker {
            host: format!("{} {} {times}", boot.trim(), namespace("pid")?),
            user: fs::metadata("/proc/self").ok()?.uid(),
            process: own.process,
            started: own.started,
        })
    }

    pub(super) fn has_ended(worker: &Worker) -> bool {
        let folder = format!("/proc/{}", worker.process);
        let stat = match fs::read_to_string(format!("{folder}/stat")) {
            Ok(stat) => stat,
            Err(error) => return error.kind() == ErrorKind::NotFound,
        };
        let Some(stat) = parse(&stat) else {
            return false;
        };
        // What is dead and was not waited for is no thread any more except the first.
        let is_zombie = || {
            matches!(stat.state, 'Z' | 'X')
                && fs::read_dir(format!("{folder}/task")).is_ok_and(|tasks| tasks.count() <= 1)
        };
        stat.started != worker.started || is_zombie()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_program_may_have_any_name() {
            let text = "42 (a) R (b) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 777 9 8";
            let stat = parse(text).unwrap();
            assert_eq!((stat.process, stat.state, stat.started), (42, 'S', 777));
            assert!(parse("42 (a) S 1").is_none());
        }

        #[test]
        fn a_process_lives_until_it_has_ended() {
            let here = current().unwrap();
            assert!(!here.is_dead(&here));
            let mut child = std::process::Command::new("sleep")
                .arg("600")
                .spawn()
                .unwrap();
            let stat = parse(&fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap());
            let worker = Worker {
                process: child.id(),
                started: stat.unwrap().started,
                ..here.clone()
            };
            assert!(!worker.is_dead(&here));
            let earlier = Worker {
                started: worker.started - 1,
                ..worker.clone()
            };
            assert!(earlier.is_dead(&here), "its id is used again");
            child.kill().unwrap();
            // Between the signal and the wait it is a zombie at some time.
            while !worker.is_dead(&here) {
                std::thread::yield_now();
            }
            child.wait().unwrap();
            assert!(worker.is_dead(&here));
            for elsewhere in [
                Worker {
                    host: "another boot".to_owned(),
                    ..worker.clone()
                },
                Worker {
                    user: worker.user + 1,
                    ..worker.clone()
                },
            ] {
                assert!(!elsewhere.is_dead(&here));
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::Worker;

    pub(super) fn current() -> Option<Worker> {
        None
    }

    pub(super) fn has_ended(_: &Worker) -> bool {
        false
    }
}
