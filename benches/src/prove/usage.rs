//! What a computation takes.

use std::{
    ops::{Add, Div},
    time::Instant,
};

use serde::{Deserialize, Serialize};

/// Wall-clock time, and user CPU time of all threads.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Time {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

impl Time {
    /// Runs a computation and measures it.
    pub(crate) fn of<R>(compute: impl FnOnce() -> R) -> (R, Self) {
        let (start, before) = (Instant::now(), cpu_seconds());
        let result = compute();
        (result, Self { seconds: start.elapsed().as_secs_f64(), cpu_seconds: cpu_seconds() - before })
    }
}

impl Add for Time {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { seconds: self.seconds + other.seconds, cpu_seconds: self.cpu_seconds + other.cpu_seconds }
    }
}

impl Div<f64> for Time {
    type Output = Self;

    fn div(self, count: f64) -> Self {
        Self { seconds: self.seconds / count, cpu_seconds: self.cpu_seconds / count }
    }
}

/// User CPU time of this process so far, if `/proc` shows it, in steps of 10 ms.
fn cpu_seconds() -> f64 {
    let ticks = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| {
        // The name in parentheses can contain spaces. utime is the 12th field after it.
        stat.rsplit_once(')')?.1.split_whitespace().nth(11)?.parse::<f64>().ok()
    });
    ticks.map_or(f64::NAN, |ticks| ticks / 100.0)
}

/// Peak resident memory of this process, if `/proc` shows it.
pub(crate) fn peak_gibibytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes / 1_048_576.0)
}
