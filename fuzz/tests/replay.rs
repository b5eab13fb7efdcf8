//! Replays the committed corpora. Each file that once broke something is one of them.

use std::{fs, io, path::PathBuf};

use emr_fuzz::{LONGEST, TARGETS, Target};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What a file may cost, in nanoseconds of this thread's own time: other programs do not add to it. Most take less than a thousandth.
#[cfg(target_os = "linux")]
const LIMIT: u64 = 5_000_000_000;

fn folder(part: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(part)
}

/// The names in a folder, sorted.
fn names(folder: &PathBuf) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The CPU time of this thread so far.
#[cfg(target_os = "linux")]
fn cpu_time() -> Result<u64, Box<dyn std::error::Error>> {
    let times = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(times.split(' ').next().ok_or("no time")?.parse()?)
}

fn replay(target: &Target) -> Outcome {
    let corpus = folder("corpus").join(target.name);
    let mut accepted = 0;
    let files = names(&corpus)?;
    assert!(!files.is_empty(), "{}: no corpus", target.name);
    for file in files {
        let data = fs::read(corpus.join(&file))?;
        assert!(data.len() <= LONGEST, "{}/{file}: longer than the fuzzer tries", target.name);
        #[cfg(target_os = "linux")]
        let before = cpu_time()?;
        accepted += usize::from((target.check)(&data));
        #[cfg(target_os = "linux")]
        assert!(cpu_time()? - before < LIMIT, "{}/{file} takes too long", target.name);
    }
    assert!(accepted > 0, "{}: nothing is accepted; run: cargo run -p emr-fuzz --example seeds", target.name);
    Ok(())
}

#[test]
fn every_input_that_was_found_is_handled() -> Outcome {
    TARGETS.iter().try_for_each(replay)
}

#[test]
fn seeds_are_accepted() -> Outcome {
    for target in TARGETS {
        let seeds = (target.seeds)()?;
        assert!(seeds.iter().any(|seed| (target.check)(seed)), "{}", target.name);
        assert!(seeds.iter().all(|seed| seed.len() <= LONGEST), "{}", target.name);
    }
    Ok(())
}

/// A parser without a fuzzer or without a corpus would look tested.
#[test]
fn every_target_has_a_fuzzer_and_a_corpus() -> Outcome {
    let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names(&folder("corpus"))?, targets);
    let programs: Vec<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&folder("libfuzzer/fuzz_targets"))?, programs);
    let manifest = fs::read_to_string(folder("libfuzzer/Cargo.toml"))?;
    for name in &targets {
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
        let program = fs::read_to_string(folder("libfuzzer/fuzz_targets").join(format!("{name}.rs")))?;
        assert!(program.contains(&format!("emr_fuzz::{name}(data)")), "{name}");
    }
    Ok(())
}
