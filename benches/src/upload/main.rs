//! A large FHIR Bundle from its bytes to the node's receipt: a patient's client and a real node in one process, on a real chain, with blocks on the disk.
//! The entries are those of a Synthea bundle, repeated. The peer is what the client computes before it sends anything, measured alone: the rest is the
//! node's work and the way to it.
//!
//! `cargo run --release --package benches --bin upload`

use std::{
    error::Error,
    time::{Duration, Instant},
};

use clap::Parser;
use emr_api::invitation::Invitation;
use emr_client::{Client, profile::Profile, verify::card::Card};
use emr_core::{AccountIndex, Class, Commitment, Record, RecordSlot, SaltSeed, UnixTime, Version, fhir};
use emr_crypto::{
    AuthoredRecord, EncryptionKey, PatientDirectory, RecordContext, RsaBits, RsaSecret, ScryptCost, SealedRecord,
    SigningContext,
};
use emr_node::{Node, NodeConfig, ProverConfig, RunningNode};
use emr_testkit::{
    node::{World, admit},
    people::{Member, registrar},
};
use serde::Serialize;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const SYNTHEA: &[u8] = include_bytes!("../../../emr-core/fixtures/synthea-bundle.json");

/// Measure a large Bundle from its bytes to the receipt
#[derive(Debug, Parser)]
struct Arguments {
    /// Entries of the Bundle; 5200 make 7.8 MB
    #[arg(long, default_value = "5200")]
    entries: usize,
    /// How many Bundles are handed in; the median counts
    #[arg(long, default_value = "7")]
    rounds: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Medians of wall-clock time, in milliseconds.
#[derive(Debug, Serialize)]
struct Figures {
    bytes: usize,
    fields: usize,
    rounds: usize,
    /// From the bytes of the document to the checked receipt.
    all: f64,
    fastest: f64,
    /// From the bytes of the document to the record.
    import: f64,
    /// From the record to the checked receipt.
    upload: f64,
    /// Alone: the record's bytes.
    encode: f64,
    /// Alone: the commitment to all fields.
    commit: f64,
    /// Alone: the signature, and sealing with all CIDs.
    seal: f64,
}

/// A Bundle of so many entries. Each number gives another one.
fn bundle(entries: usize, number: usize) -> Outcome<Vec<u8>> {
    let mut bundle: serde_json::Value = serde_json::from_slice(SYNTHEA)?;
    bundle["id"] = format!("bench-{number}").into();
    let list = bundle.get_mut("entry").and_then(|list| list.as_array_mut()).ok_or("a Bundle has entries")?;
    *list = list.iter().cycle().take(entries).cloned().collect();
    Ok(serde_json::to_vec(&bundle)?)
}

/// A hospital's node, and a patient who is registered at it.
struct Site {
    _world: World,
    _node: RunningNode,
    patient: Client,
}

async fn client(world: &World, node: &RunningNode, person: Member) -> Outcome<Client> {
    let folder = world.folder.path().join(person.name);
    let profile = Profile::create(&folder, &person.identity, &"bench".into(), ScryptCost::Development)?;
    let identity = profile.identity(&"bench".into())?;
    Ok(Client::join_over(profile, identity, node.url().as_str(), &world.endpoint()).await?)
}

impl Site {
    async fn new() -> Outcome<Self> {
        const SOON: Duration = Duration::from_millis(20);
        const LONG: Duration = Duration::from_secs(60);
        let world = World::where_the_hospital_pays().await?;
        let config = world.config()?;
        let prover = ProverConfig { local: false, ..config.prover };
        let node = Node::start(NodeConfig { prover, ..config }).await?;
        let hospital = client(&world, &node, Member::Hospital).await?;
        let account = hospital.register_on_l1(None).await?;
        admit(&world.rollup_as(registrar()).await?, account).await?;
        hospital.wait_registered(false, SOON, LONG).await?;
        let invitation: Invitation = hospital.profile().invite(hospital.keys(), UnixTime::now().saturating_add(600))?;
        let patient = client(&world, &node, Member::Patient).await?;
        patient.register(None, Some(&invitation)).await?;
        patient.wait_registered(false, SOON, LONG).await?;
        Ok(Self { _world: world, _node: node, patient })
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut times: Vec<f64>) -> Outcome<f64> {
    times.sort_unstable_by(f64::total_cmp);
    Ok(*times.get(times.len() / 2).ok_or("no rounds")?)
}

fn timed<T>(times: &mut Vec<f64>, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    times.push(milliseconds(began.elapsed()));
    done
}

/// What the client computes, alone: encoding, commitment, signature and sealing.
fn alone(record: &Record, rounds: usize) -> Outcome<[f64; 3]> {
    let author = RsaSecret::generate(RsaBits::DEFAULT);
    let directory = PatientDirectory::create(&RsaSecret::generate(RsaBits::DEFAULT));
    let context = RecordContext {
        domain: [1; 32],
        patient: AccountIndex::new(5)?,
        slot: RecordSlot::new(0)?,
        version: Version::new(1)?,
        class: Class::Document,
    };
    let to = directory.published().current_public(Class::Document);
    let seed = SaltSeed::new([7; 32]);
    let (mut encode, mut commit, mut seal) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let bytes = timed(&mut encode, || record.to_dag_cbor())?;
        let root = timed(&mut commit, || Commitment::of(record, &seed).root());
        let sealed = timed(&mut seal, || {
            let authored = AuthoredRecord {
                record: bytes,
                authorship: root.as_bytes().to_vec(),
                signature: author.sign_pss(SigningContext::AUTHORSHIP, root.as_bytes()),
                author: AccountIndex::new(7)?,
                author_key: EncryptionKey::from(author.public()).committed(None),
                commitment_seed: *seed.as_bytes(),
                attachments: Vec::new(),
            };
            Outcome::Ok(SealedRecord::seal(&authored, &context, &to)?)
        });
        sealed?;
    }
    Ok([median(encode)?, median(commit)?, median(seal)?])
}

async fn measure(arguments: &Arguments) -> Outcome<Figures> {
    let site = Site::new().await?;
    let card = Card::from_json(site.patient.card().to_json().as_bytes())?;
    // The patient's first record also publishes a key directory.
    site.patient.upload(&card, Class::Document, &fhir::import(&bundle(1, 0)?)?).await?;
    let (mut all, mut import, mut upload, mut last) = (Vec::new(), Vec::new(), Vec::new(), None);
    for number in 1..=arguments.rounds {
        let document = bundle(arguments.entries, number)?;
        let began = Instant::now();
        let record = timed(&mut import, || fhir::import(&document))?;
        let imported = Instant::now();
        site.patient.upload(&card, Class::Document, &record).await?;
        upload.push(milliseconds(imported.elapsed()));
        all.push(milliseconds(began.elapsed()));
        last = Some((document.len(), record));
    }
    let (bytes, record) = last.ok_or("no rounds")?;
    let [encode, commit, seal] = alone(&record, arguments.rounds)?;
    Ok(Figures {
        bytes,
        fields: record.fields().len(),
        rounds: arguments.rounds,
        fastest: all.iter().copied().fold(f64::INFINITY, f64::min),
        all: median(all)?,
        import: median(import)?,
        upload: median(upload)?,
        encode,
        commit,
        seal,
    })
}

#[tokio::main]
async fn main() -> Outcome {
    let arguments = Arguments::parse();
    let figures = measure(&arguments).await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(());
    }
    let Figures { bytes, fields, rounds, all, fastest, import, upload, encode, commit, seal } = figures;
    println!("{bytes} bytes, {fields} fields, median of {rounds}");
    println!("from the bytes to the receipt     {all:8.1} ms (fastest: {fastest:.1} ms)");
    println!("  import                          {import:8.1} ms");
    println!("  upload, to the checked receipt  {upload:8.1} ms");
    println!("of the upload, each measured alone:");
    println!("  encode                          {encode:8.1} ms");
    println!("  commit                          {commit:8.1} ms");
    println!("  sign and seal                   {seal:8.1} ms");
    println!("  the node, and the way to it     {:8.1} ms", upload - encode - commit - seal);
    Ok(())
}
