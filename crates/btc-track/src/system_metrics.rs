//! What the machine and this process did while a run went on.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sysinfo::{
    MINIMUM_CPU_UPDATE_INTERVAL, Pid, ProcessRefreshKind, ProcessesToUpdate, System,
    get_current_pid,
};

use crate::client::TrackingClient;
use crate::entity::{Metric, RunId};
use crate::store::Batch;

/// How the names of the machine's metrics start: MLflow's page shows these
/// apart from the others.
pub const SYSTEM_METRICS_PREFIX: &str = "system/";

/// Samples the machine until it is dropped.
#[derive(Debug)]
pub(crate) struct SystemMonitor {
    /// Dropped to end the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SystemMonitor {
    /// Starts a thread that logs a sample to a run every `interval`, and one
    /// when it ends.
    pub(crate) fn start(client: &TrackingClient, run_id: &RunId, interval: Duration) -> Self {
        let (running, ended) = channel();
        let (client, run_id) = (client.clone(), run_id.clone());
        let interval = interval.max(MINIMUM_CPU_UPDATE_INTERVAL);
        let thread = std::thread::Builder::new()
            .name("system-metrics".into())
            .spawn(move || sample_until(&ended, &client, &run_id, interval))
            // A machine that is out of threads has worse troubles than this.
            .ok();
        Self {
            running: Some(running),
            thread,
        }
    }
}

impl Drop for SystemMonitor {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // The thread has nothing to tell but what it has logged.
            let _ = thread.join();
        }
    }
}

fn sample_until(ended: &Receiver<()>, client: &TrackingClient, run_id: &RunId, interval: Duration) {
    let mut step = next_step(client, run_id);
    let mut sampler = Sampler::new();
    loop {
        let end = ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
        let time = client.clock.now_ms();
        let metrics = sampler
            .sample()
            .into_iter()
            .map(|(key, value)| {
                Metric::new(format!("{SYSTEM_METRICS_PREFIX}{key}"), value, time, step)
            })
            .collect();
        let batch = Batch {
            metrics,
            ..Batch::default()
        };
        // A run must not fail for want of these; the next sample may succeed.
        let _ = client.tracking.log_batch(run_id, &batch);
        step += 1;
        if end {
            return;
        }
    }
}

/// A run that is resumed goes on where it stopped.
fn next_step(client: &TrackingClient, run_id: &RunId) -> i64 {
    let run = client.run(run_id).ok();
    let metrics = run.iter().flat_map(|run| &run.data.metrics);
    metrics
        .filter(|metric| metric.key.starts_with(SYSTEM_METRICS_PREFIX))
        .map(|metric| metric.step + 1)
        .max()
        .unwrap_or(0)
}

struct Sampler {
    system: System,
    process: Option<Pid>,
    refreshed: Instant,
}

impl Sampler {
    fn new() -> Self {
        let mut sampler = Self {
            system: System::new(),
            process: get_current_pid().ok(),
            refreshed: Instant::now(),
        };
        sampler.refresh();
        sampler
    }

    fn refresh(&mut self) {
        self.system.refresh_memory();
        self.system.refresh_cpu_usage();
        if let Some(process) = self.process {
            let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
            self.system.refresh_processes_specifics(
                ProcessesToUpdate::Some(&[process]),
                false,
                what,
            );
        }
        self.refreshed = Instant::now();
    }

    /// The names are MLflow's, and two of the process alone.
    fn sample(&mut self) -> Vec<(&'static str, f64)> {
        // A share of processor time needs some time to be a share of.
        let long_enough = self.refreshed.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL;
        self.refresh();
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (used, total) = (self.system.used_memory(), self.system.total_memory());
        let mut sample = vec![("system_memory_usage_megabytes", megabytes(used))];
        if total != 0 {
            let share = 100.0 * used as f64 / total as f64;
            sample.push(("system_memory_usage_percentage", share));
        }
        let process = self
            .process
            .and_then(|process| self.system.process(process));
        if let Some(process) = process {
            sample.push((
                "process_memory_usage_megabytes",
                megabytes(process.memory()),
            ));
        }
        if long_enough {
            let cpu = f64::from(self.system.global_cpu_usage());
            sample.push(("cpu_utilization_percentage", cpu));
            if let Some(process) = process {
                let cpu = f64::from(process.cpu_usage());
                sample.push(("process_cpu_utilization_percentage", cpu));
            }
        }
        sample
    }
}
