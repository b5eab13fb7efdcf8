//! Runs the fuzzers of `fuzz/libfuzzer` one after the other.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, io};

use crate::checks::{self, CheckError};

/// Fuzzes one target or all of them, for `time` in all. What they find is kept in the cache, so the next run goes on from there; inputs that
/// break something are in `fuzz/libfuzzer/artifacts`.
///
/// # Errors
/// Returns [`CheckError`] if a fuzzer finds something, if there is no such target, or without nightly Rust and cargo-fuzz.
pub(crate) fn run(root: &Path, target: Option<&str>, time: Duration) -> Result<(), CheckError> {
    let unreadable = |source: io::Error| CheckError::Start { command: "cargo fuzz".into(), source };
    let all = targets(root).map_err(unreadable)?;
    let chosen: Vec<&String> = all.iter().filter(|name| target.is_none_or(|target| target == *name)).collect();
    if chosen.is_empty() {
        return Err(unreadable(io::Error::other(format!("there is no such target; choose one of {}", all.join(", ")))));
    }
    let seconds = time.as_secs().div_ceil(chosen.len() as u64);
    let cache =
        env::var_os("EMR_CACHE").map(Into::into).or_else(|| env::home_dir().map(|home| home.join(".cache/emr")));
    let cache = cache.ok_or(io::ErrorKind::NotFound).map_err(|kind| unreadable(kind.into()))?.join("fuzz");
    for name in chosen {
        let (found, committed) = (cache.join(name), root.join("fuzz/corpus").join(name));
        fs::create_dir_all(&found).map_err(unreadable)?;
        // rustup chooses the toolchain: `cargo` itself is the one that runs this program.
        let mut command = Command::new("rustup");
        command.current_dir(root).args([
            "run",
            "nightly",
            "cargo",
            "fuzz",
            "run",
            "--fuzz-dir",
            "fuzz/libfuzzer",
            name,
        ]);
        command.args([&found, &committed]).arg("--").arg(format!("-max_total_time={seconds}"));
        checks::run(command.args(["-max_len=8192", "-rss_limit_mb=1024", "-timeout=20", "-print_final_stats=1"]))?;
    }
    Ok(())
}

/// The names of all targets, sorted.
fn targets(root: &Path) -> io::Result<Vec<String>> {
    let stem =
        |entry: io::Result<fs::DirEntry>| Ok(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    let names = fs::read_dir(root.join("fuzz/libfuzzer/fuzz_targets"))?.filter_map(|entry| stem(entry).transpose());
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
