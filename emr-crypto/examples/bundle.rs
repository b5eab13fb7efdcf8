//! Prints how long a large FHIR Bundle takes from its bytes to sealed blocks, and back. The entries are those of a Synthea bundle, repeated.
//! Each line is the shortest of several runs, because other programs only make it longer. On Linux it is the time that the processor worked
//! for this program; elsewhere, the time that passed.
//!
//! `cargo run --release -p emr-crypto --example bundle -- [ENTRIES]..`

use std::collections::HashMap;
use std::time::{Duration, Instant};

use emr_core::{AccountIndex, Class, Commitment, Record, RecordSlot, SaltSeed, Version, fhir};
use emr_crypto::{
    AuthoredRecord, EncryptionKey, OpenedRecord, PatientDirectory, RecordContext, RsaBits, RsaSecret, SealedRecord,
    SigningContext,
};

type Anything = Box<dyn std::error::Error>;

const SYNTHEA: &[u8] = include_bytes!("../../emr-core/fixtures/synthea-bundle.json");
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(300);

/// A Bundle of so many entries.
fn bundle(entries: usize) -> Result<Vec<u8>, Anything> {
    let mut bundle: serde_json::Value = serde_json::from_slice(SYNTHEA)?;
    let list = bundle.get_mut("entry").and_then(|list| list.as_array_mut()).ok_or("a Bundle has entries")?;
    *list = list.iter().cycle().take(entries).cloned().collect();
    Ok(serde_json::to_vec(&bundle)?)
}

/// The time so far.
fn now(start: Instant) -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let worked = times.as_deref().and_then(|times| times.split(' ').next()).and_then(|worked| worked.parse().ok());
    worked.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Runs a step for a while, several times, and prints the shortest average. Returns it with the last result. Steps are repeated because the
/// system counts a thread's time in ticks of some milliseconds.
fn timed<T>(what: &str, mut step: impl FnMut() -> T) -> (T, Duration) {
    let start = Instant::now();
    let mut result = step();
    let mut shortest = Duration::MAX;
    for _ in 0..ROUNDS {
        let (round, before) = (Instant::now(), now(start));
        let mut steps = 0;
        while steps == 0 || round.elapsed() < ROUND {
            result = step();
            steps += 1;
        }
        shortest = shortest.min((now(start) - before) / steps);
    }
    println!("  {what:<28}{:>9.2} ms", shortest.as_secs_f64() * 1000.0);
    (result, shortest)
}

fn measure(entries: usize) -> Result<(), Anything> {
    let document = bundle(entries)?;
    let author = RsaSecret::generate(RsaBits::DEFAULT);
    let directory = PatientDirectory::create(&RsaSecret::generate(RsaBits::DEFAULT));
    let context = RecordContext {
        domain: [1; 32],
        patient: AccountIndex::new(5)?,
        slot: RecordSlot::new(0)?,
        version: Version::new(1)?,
        class: Class::Summary,
    };
    let seed = SaltSeed::new([7; 32]);
    let fields = fhir::import(&document)?.fields().len();
    println!("{entries} entries, {} bytes, {fields} fields", document.len());
    let (record, import) = timed("import", || fhir::import(&document));
    let record = record?;
    let (bytes, encode) = timed("encode", || record.to_dag_cbor());
    let (root, commit) = timed("commit", || Commitment::of(&record, &seed).root());
    let (signature, sign) = timed("sign", || author.sign_pss(SigningContext::AUTHORSHIP, root.as_bytes()));
    let authored = AuthoredRecord {
        record: bytes?,
        authorship: root.as_bytes().to_vec(),
        signature,
        author: AccountIndex::new(7)?,
        author_key: EncryptionKey::from(author.public()).committed(None),
        commitment_seed: *seed.as_bytes(),
        attachments: Vec::new(),
    };
    let to = directory.published().current_public(Class::Summary);
    let (sealed, seal) = timed("seal", || SealedRecord::seal(&authored, &context, &to));
    let total = import + encode + commit + sign + seal;
    println!("  {:<28}{:>9.2} ms", "all of these", total.as_secs_f64() * 1000.0);
    let sealed = sealed?;
    let blocks: HashMap<_, _> = sealed.blocks.iter().cloned().collect();
    let (opened, _) = timed("open", || {
        let fetch = |cid: &cid::Cid| blocks.get(cid).cloned().ok_or(std::io::Error::other("no such block"));
        OpenedRecord::open(&sealed.manifest, fetch, &directory.keyring(), &context)
    });
    let opened = opened?;
    let (decoded, _) = timed("decode", || Record::from_dag_cbor(&opened.authored.record));
    let decoded = decoded?;
    let (exported, _) = timed("export", || fhir::export(&decoded));
    assert!(exported? == document, "the document came back");
    Ok(())
}

fn main() -> Result<(), Anything> {
    let mut sizes = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1000, 5200];
    }
    sizes.into_iter().try_for_each(measure)
}
