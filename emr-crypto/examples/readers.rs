//! Prints what key directories of some numbers of readers take: bytes, and times on one core.
//!
//! `cargo run --release -p emr-crypto --example readers -- [READERS]..`

use std::sync::Arc;
use std::time::{Duration, Instant};

use emr_core::{AccountIndex, ClassMask};
use emr_crypto::{
    DirectoryRoot, EncryptionSecret, KeyDirectory, KeyProfile, KeyUnwrap, KeyWrap, Past, PatientDirectory, RsaBits,
    RsaSecret,
};

type Anything = Box<dyn std::error::Error>;

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(60);

/// The time that the processor worked for this program; on other systems than Linux, the time that passed.
fn now(start: Instant) -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let worked = times.as_deref().and_then(|times| times.split(' ').next()).and_then(|worked| worked.parse().ok());
    worked.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Runs a step for a while, several times. Returns the shortest average in milliseconds, and the last result. Steps are repeated because the
/// system counts a thread's time in ticks of some milliseconds.
fn timed<T>(mut step: impl FnMut() -> T) -> (f64, T) {
    let start = Instant::now();
    let mut result = step();
    let mut shortest = Duration::MAX;
    for _ in 0..ROUNDS {
        let before = now(start);
        let mut steps = 0;
        while now(start) - before < ROUND {
            result = step();
            steps += 1;
        }
        shortest = shortest.min((now(start) - before) / steps);
    }
    (shortest.as_secs_f64() * 1000.0, result)
}

/// The shortest and the longest time that one of these readers takes to find and open their section. Sections are in random order.
fn opening_times(directory: &KeyDirectory, readers: &[EncryptionSecret]) -> Result<(f64, f64), Anything> {
    let mut times = Vec::new();
    for reader in readers {
        let (time, opened) = timed(|| directory.open_for(reader as &dyn KeyUnwrap));
        opened?;
        times.push(time);
    }
    times.sort_by(f64::total_cmp);
    Ok((*times.first().ok_or("no readers")?, *times.last().ok_or("no readers")?))
}

fn measure(count: u64, profile: KeyProfile, rsa: &RsaSecret) -> Result<(), Anything> {
    let owner = EncryptionSecret::with_rsa(rsa.clone(), profile);
    let mut directory = PatientDirectory::create(&owner);
    // The last readers have keys of their own, and are timed. With RSA alone, the others may share one.
    let sample = count.min(8);
    let mut readers = Vec::new();
    let (mut others, mut full) = (Vec::new(), None);
    for number in 1..=count {
        let own = number > count - sample;
        let rsa =
            if own && profile == KeyProfile::RsaAlone { RsaSecret::generate(RsaBits::DEFAULT) } else { rsa.clone() };
        let reader = EncryptionSecret::with_rsa(rsa, profile);
        if number == count {
            full = Some(reader.public());
        } else {
            let key: Arc<dyn KeyWrap> = Arc::new(reader.public());
            others.push((AccountIndex::new(number)?, key, ClassMask::ALL));
        }
        if own {
            readers.push(reader);
        }
    }
    directory.grant_all(others, Past::Included)?;
    let last = full.ok_or("no readers")?;
    let account = AccountIndex::new(count)?;
    let (grant, directory) = timed(|| {
        let mut directory = directory.clone();
        directory.grant(account, last.clone(), ClassMask::ALL, Past::Included).map(|()| directory)
    });
    let directory = directory?;
    let published = directory.published();
    let (least, most) = opening_times(published, &readers)?;
    let (revoke, revoked) = timed(|| directory.clone().revoke(account, ClassMask::ALL));
    revoked?;
    let bytes = published.root().to_bytes();
    let blocks: Vec<_> = published.blocks().map(|(_, block)| block.to_vec()).collect();
    let (parse, root) = timed(|| DirectoryRoot::from_bytes(bytes));
    let root = root?;
    let (assemble, assembled) =
        timed(|| KeyDirectory::assemble(root.clone(), blocks[..blocks.len() - 1].iter().cloned()));
    let (open, opened) = timed(|| PatientDirectory::open(published.clone(), &owner));
    assert_eq!((assembled?.cid(), opened?.readers().count() as u64), (published.cid(), count));
    let profile = if profile == KeyProfile::Hybrid { "hybrid" } else { "RSA" };
    println!(
        "| {profile:<6} | {count:>5} | {:>9} | {:>6} | {grant:>7.1} | {revoke:>7.1} | {least:>6.1} | {most:>7.1} | {open:>7.1} | {parse:>5.2} | {assemble:>6.1} |",
        published.size(),
        bytes.len(),
    );
    Ok(())
}

fn main() -> Result<(), Anything> {
    let mut counts = std::env::args().skip(1).map(|count| count.parse()).collect::<Result<Vec<u64>, _>>()?;
    if counts.is_empty() {
        counts = vec![1, 10, 200, 2000];
    }
    let rsa = RsaSecret::generate(RsaBits::DEFAULT);
    println!(
        "Sizes in bytes, times in ms. Readers read all 16 classes. One reader is granted or revoked. RSA keys have 3072 bits."
    );
    println!(
        "| keys | readers | bytes | root | grant | revoke | a first reader opens | a last reader opens | owner opens | parse root | assemble |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for profile in [KeyProfile::Hybrid, KeyProfile::RsaAlone] {
        for count in &counts {
            measure(*count, profile, &rsa)?;
        }
    }
    Ok(())
}
