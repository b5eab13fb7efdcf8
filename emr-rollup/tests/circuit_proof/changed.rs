//! Thousands of changed proofs, presented to every verifier there is.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::Write as _,
    num::NonZero,
    path::PathBuf,
    thread,
    time::Instant,
};

use emr_rollup::prover::{KeyDigest, Verifier, calldata, default_cache};
use revm::primitives::hex;

use crate::{
    changes::{Change, Key, Originals, Proven, kind},
    contract::Contract,
    full_depth, sizes, small,
};

/// The number of changes that every run of the tests makes.
const CHANGES: u64 = 10_000;
/// After so many changes the progress is written down.
const ROUND: u64 = 1_000;

/// Everything that verifies proofs of one key.
struct Verifiers {
    native: Verifier,
    contract: Contract,
    /// snark-verifier's contract, where it was compiled for the key.
    oracle: Option<Contract>,
}

impl Verifiers {
    /// Who accepts.
    fn accept(&self, Proven { public, proof }: &Proven) -> BTreeMap<&'static str, bool> {
        let data = calldata(public, proof);
        let mut accept = BTreeMap::from([
            ("native", self.native.verify(public, proof).is_ok()),
            ("contract", self.contract.call(&data).is_some()),
        ]);
        if let Some(oracle) = &self.oracle {
            accept.insert("snark-verifier's contract", oracle.call(&data).is_some());
        }
        accept
    }

    fn assert_all(&self, proven: &Proven, expected: bool, what: impl Fn() -> String) {
        let accept = self.accept(proven);
        assert!(
            accept.values().all(|accepts| *accepts == expected),
            "{}: accepted by {accept:?}: {}",
            what(),
            hex::encode(calldata(&proven.public, &proven.proof))
        );
    }
}

/// How long the test runs. Every run of the tests makes [`CHANGES`]. `cargo xtask soak verifier` makes more, and can
/// continue.
struct Plan {
    seed: u64,
    changes: u64,
    seconds: u64,
    /// Whether it writes down its progress, and continues an earlier run.
    resumes: bool,
}

impl Plan {
    fn from_environment() -> Self {
        let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
        let seed = number("EMR_SOAK_SEED").unwrap_or(0);
        let changes = number("EMR_SOAK_CHANGES");
        Self {
            seed,
            changes: changes.unwrap_or(CHANGES),
            seconds: number("EMR_SOAK_MINUTES").map_or(u64::MAX, |minutes| 60 * minutes),
            resumes: changes.is_some(),
        }
    }
}

/// A file with the number of changes so far, one line after each round. A line that a kill cut short has a smaller
/// number, so it does not count.
struct Progress(PathBuf);

impl Progress {
    /// The progress with one seed and one key. After a change of the circuit, the count starts at 0.
    fn new(seed: u64, key: KeyDigest) -> Self {
        let folder = default_cache().unwrap().with_file_name("soak");
        fs::create_dir_all(&folder).unwrap();
        Self(folder.join(format!("verifier-{key}-seed-{seed}")))
    }

    fn done(&self) -> u64 {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).max().unwrap_or(0)
    }

    fn write(&self, done: u64) {
        let mut file = File::options().append(true).create(true).open(&self.0).unwrap();
        // It begins a new line, also if the last line was cut short.
        write!(file, "\n{done}\n").unwrap();
    }
}

/// The native verifier, the contract and snark-verifier's contract refuse every change.
#[test]
fn changed_proofs_are_refused_by_all_verifiers() {
    let Plan { seed, changes, seconds, resumes } = Plan::from_environment();
    let (verifier, current) = full_depth();
    let progress = resumes.then(|| Progress::new(seed, verifier.key_digest()));
    let (prover, small) = small();
    let originals = Originals { current, small };
    let full = Verifiers {
        native: verifier.clone(),
        contract: Contract::with_key(&sizes::STANDARD.key_code()),
        oracle: Some(Contract::oracle()),
    };
    let native = prover.verifier();
    let other = Verifiers { contract: Contract::with_key(&native.key_contract()), native, oracle: None };
    full.assert_all(current, true, || "unchanged".to_owned());
    small.iter().for_each(|proven| other.assert_all(proven, true, || "unchanged".to_owned()));

    let refuse = |number: u64| {
        let Change { key, proven } = Change::new(originals, seed, number);
        let verifiers = match key {
            Key::Current => &full,
            Key::Small => &other,
        };
        verifiers.assert_all(&proven, false, || format!("seed {seed}, change {number}, {}", kind(number)));
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let first = progress.as_ref().map_or(0, Progress::done);
    if first > 0 {
        eprintln!("seed {seed}: continues after {first} changes");
    }
    let (start, mut done) = (Instant::now(), first);
    while done < changes && start.elapsed().as_secs() < seconds {
        let round = done..changes.min(done + ROUND);
        thread::scope(|scope| {
            for worker in 0..workers {
                let mine = round.clone().skip(worker as usize).step_by(workers as usize);
                scope.spawn(move || mine.for_each(refuse));
            }
        });
        done = round.end;
        if let Some(progress) = &progress {
            progress.write(done);
            let rate = (done - first) as f64 / start.elapsed().as_secs_f64();
            eprintln!("{done} of {changes} changes, 0 accepted, no disagreement; {rate:.0} a second");
        }
    }
    let mut kinds = BTreeMap::new();
    (0..done).for_each(|number| *kinds.entry(kind(number)).or_insert(0u64) += 1);
    for (kind, count) in kinds {
        eprintln!("{count:>8} {kind}");
    }
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("seed {seed}: {done} changes ({} in {seconds:.0} s), 0 accepted, no disagreement", done - first);
    assert!(done > 0);
}
