//! A mutate-and-repair fuzzer (after arXiv 2504.14881). It changes some hints of an honest batch. The builder computes what
//! follows from them, and [`Story::tell_in_its_world`] repairs what a prover may choose: roots, signatures, the message's
//! contents, the public inputs. If the circuit then accepts, the hints are read back as a witness, and the plain statement
//! must accept it too. So it needs no list of hints that are free.

use std::{env, fmt, time::Instant};

use rand_chacha_03::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{every_hint::compensated, *};
use crate::{
    operation::{Domain, Kind},
    primitive::field,
    state::tree::Path,
    statement::{GrantFields, Header, IdentityFields, OperationWitness, RecordFields, check_batch},
};

/// How many cases every run of the tests tries.
const CASES: u64 = 2_000;
/// So many demands are found to be needed in these cases, at least.
const NEEDED: usize = 40;
/// Cases that the circuit accepted, each the first of its kind in a long run, and so the deepest that were seen. One in
/// a line: the story's number, and each hint with its value.
const KEPT: &str = include_str!("fuzz_cases.txt");

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// The circuit refuses it.
    Refused,
    /// The circuit refuses it by one demand only, and the statement refuses it too.
    RefusedBy(Demand),
    /// Circuit and statement accept it: it is another honest batch.
    Accepted,
    /// The circuit accepts what the statement refuses, for this reason.
    Hole(String),
}

/// The lies of a case, as they are written down.
struct Told<'a>(usize, &'a [(Hint, Lie)]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        for (hint, lie) in self.1 {
            let (sign, value) = match lie {
                Lie::Is(value) => ("", value),
                Lie::More(value) => ("+", value),
            };
            let place = if hint.part == Part::Frame { "frame" } else { "slot" };
            let value = hex::encode(field::to_bytes(value));
            write!(f, "; {place}, {}, {}: {sign}{}", hint.name, hint.index, value.trim_start_matches('0'))?;
        }
        Ok(())
    }
}

/// Reads a line of [`KEPT`]. `None` if a story or a hint is not there any more.
fn parse(line: &str, stories: &[Story]) -> Option<(usize, Vec<(Hint, Lie)>)> {
    let mut parts = line.split("; ");
    let number: usize = parts.next()?.parse().ok()?;
    let story = stories.get(number)?;
    let lies = parts.map(|part| {
        let (place, value) = part.split_once(": ")?;
        let mut place = place.split(", ");
        let part = if place.next()? == "frame" { Part::Frame } else { story.used() };
        let (name, index) = (place.next()?, place.next()?.parse().ok()?);
        let is = |hint: &&Hint| (hint.part, hint.name, hint.index) == (part, name, index);
        let hint = *story.record.hints.iter().map(|(hint, _)| hint).find(is)?;
        let digits = value.trim_start_matches('+');
        let bytes = hex::decode(format!("{digits:0>64}")).ok()?.try_into().ok()?;
        let element = field::from_bytes(&bytes).ok()?;
        Some((hint, if value.starts_with('+') { Lie::More(element) } else { Lie::Is(element) }))
    });
    Some((number, lies.collect::<Option<_>>()?))
}

/// The hints of a trial by name.
struct Claims(BTreeMap<Hint, Fr>, Part);

impl Claims {
    fn of(&self, part: Part, name: &'static str, index: u32) -> Fr {
        *self.0.get(&Hint { part, name, index }).unwrap_or_else(|| panic!("no hint {name} {index}"))
    }

    fn fields<const N: usize>(&self, name: &'static str, first: u32) -> [Fr; N] {
        std::array::from_fn(|i| self.of(self.1, name, first + i as u32))
    }

    fn path(&self, name: &'static str) -> Path {
        let count = self.0.keys().filter(|hint| hint.part == self.1 && hint.name == name).count() as u32;
        let siblings = 3;
        Path::new((0..count / siblings).map(|level| self.fields(name, siblings * level)))
    }

    fn identity(&self, name: &'static str) -> IdentityFields {
        let [role, status, org, epoch, key_x, key_y, encryption] = self.fields(name, 0);
        IdentityFields { role, status, org, epoch, key_x, key_y, encryption }
    }

    fn grant(&self, name: &'static str) -> GrantFields {
        let [grantee, rights, scope, not_after, uses, version, salt] = self.fields(name, 0);
        GrantFields { grantee, rights, scope, not_after, uses, version, salt }
    }

    fn record(&self, name: &'static str) -> RecordFields {
        let [status, class, author, custodian, version, revision, authored, stored] = self.fields(name, 0);
        RecordFields { status, class, author, custodian, version, revision, authored, stored }
    }

    fn medical(&self) -> crate::statement::MedicalFields {
        let [grants_root, records_root, audit_head, key_directory] = self.fields("medical", 0);
        crate::statement::MedicalFields { grants_root, records_root, audit_head, key_directory: key_directory.into() }
    }

    /// The witness that the hints claim.
    fn witness(&self, story: &Story) -> BatchWitness {
        let mut witness = story.case.0.clone();
        [witness.identity_root, witness.medical_root] = [0, 1].map(|i| self.of(Part::Frame, "root before", i));
        if let Some(entry) = witness.entries.first_mut() {
            let fields = &mut entry.entry;
            [fields.kind, fields.account, fields.role, fields.status] = self.fields("entry", 0);
            [fields.org, fields.tree, fields.slot, fields.replace_directory] = self.fields("entry", 4);
            [fields.key_x, fields.key_y, fields.opaque] = self.fields("entry", 8);
            entry.identity = self.identity("account");
            entry.identity_path = self.path("identity sibling");
            entry.medical = self.medical();
            entry.medical_path = self.path("medical sibling");
            let [leaf] = self.fields("grant leaf", 0);
            entry.grant = leaf.into();
            entry.grant_path = self.path("grant sibling");
        }
        if let Some(operation) = witness.operations.first_mut() {
            let message = &mut operation.message;
            let header = &mut message.header;
            [header.kind, header.tree] = self.fields("kind, tree", 0);
            [header.signer, header.signer_epoch, header.patient, header.patient_epoch] = self.fields("header", 0);
            [header.slot, header.expected, header.purpose, header.valid_until] = self.fields("header", 4);
            [message.new_packed, message.opaque_1, message.opaque_2] = self.fields("body", 0);
            [message.directory_before, message.directory_after, message.salt] = self.fields("body", 3);
            let signature = &mut operation.signature;
            [signature.r_x, signature.r_y, signature.s] = self.fields("signature", 0);
            operation.signer = self.identity("signer");
            operation.signer_path = self.path("signer sibling");
            operation.patient = self.identity("patient");
            operation.patient_path = self.path("patient sibling");
            operation.medical = self.medical();
            operation.medical_path = self.path("medical sibling");
            // The circuit does not read the leaves of the other tree, and no authority of those who need none. The
            // statement wants such leaves empty, or as they are.
            let header = &operation.message.header;
            if needs_authority(header) {
                let turn = |level| self.of(self.1, "authority turn", level);
                let turns = (0..levels(SINGLE.grant_depth) as u32).rev().map(turn);
                operation.authority_slot = turns.fold(Fr::ZERO, |slot, turn| slot * Fr::from(ARITY as u64) + turn);
                operation.authority = self.grant("authority");
                operation.authority_path = self.path("authority sibling");
            }
            if header.tree == Fr::from(Tree::Records as u64) {
                operation.old_record = self.record("old record");
                operation.new_record = self.record("new record");
            } else {
                operation.old_grant = self.grant("old grant");
                operation.new_grant = self.grant("new grant");
            }
            operation.target_path = self.path("target sibling");
        }
        witness
    }
}

/// Whether the signer acts under a grant.
fn needs_authority(header: &Header) -> bool {
    let kinds = [Kind::PutRecord, Kind::Tombstone, Kind::SetGrant, Kind::Revoke];
    header.signer != header.patient && kinds.iter().any(|kind| Fr::from(u64::from(kind.code())) == header.kind)
}

/// Whether some state holds what the witness says it does. A grant's version begins at 1, so no tree holds a leaf of version
/// 0 with contents, and the circuit need not refuse one as authority. The statement does.
fn is_reachable(witness: &BatchWitness) -> bool {
    let without_version = |operation: &OperationWitness| {
        needs_authority(&operation.message.header) && operation.authority.version == Fr::ZERO
    };
    !witness.operations.iter().any(without_version)
}

/// Public inputs from their elements. `None` if a number among them is out of range.
fn inputs(domain: Domain, elements: &[Fr]) -> Option<PublicInputs> {
    let number = |i: usize| to_u64(&elements[i]);
    assert_eq!(elements[0], domain.element(), "no case changes the domain");
    Some(PublicInputs {
        domain,
        pre: field::to_root(&elements[1]),
        post: field::to_root(&elements[2]),
        time: number(3)?,
        n1: number(4)?,
        n: number(5)?,
        commitment: elements[6],
        z: elements[7],
        y1: elements[8],
        y2: elements[9],
    })
}

/// Whether the plain statement accepts what the hints of a trial claim, if a state can hold it.
fn statement(story: &Story, trial: &Trial) -> Result<(), String> {
    let public = inputs(story.case.1.domain, &published(&trial.table, &story.case.1));
    let public = public.ok_or("a public input is out of range")?;
    let claims = Claims(trial.record.hints.iter().copied().collect(), story.used());
    let mut witness = claims.witness(story);
    // A slot that the lies made unused holds nothing.
    witness.entries.truncate(public.n1 as usize);
    witness.operations.truncate(public.n as usize);
    let checked = check_batch(&witness, &public).map_err(|violation| violation.to_string());
    if is_reachable(&witness) { checked } else { Ok(()) }
}

fn verdict(story: &Story, lies: &[(Hint, Lie)]) -> Verdict {
    let trial = story.tell_in_its_world(lies);
    let refusals: BTreeSet<_> = trial.assertions().into_iter().map(|assertion| assertion.demand).collect();
    let mut refusals = refusals.into_iter();
    match (refusals.next(), refusals.next()) {
        (None, _) => statement(story, &trial).map_or_else(Verdict::Hole, |()| Verdict::Accepted),
        // Without this demand, there would be a hole.
        (Some(only), None) if statement(story, &trial).is_err() => Verdict::RefusedBy(only),
        _ => Verdict::Refused,
    }
}

/// Some hints of a story, each with another value.
fn lies(story: &Story, rng: &mut ChaCha20Rng) -> Vec<(Hint, Lie)> {
    let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
    let used = story.used();
    let hints: Vec<_> =
        story.record.hints.iter().filter(|(hint, _)| [used, Part::Frame].contains(&hint.part)).collect();
    // Hints of range checks are four of five, and tell little.
    let (digits, others): (Vec<_>, Vec<_>) = hints.into_iter().partition(|(hint, _)| hint.name == "digits");
    let others: Vec<_> = others.into_iter().filter(|(hint, _)| (hint.name, hint.index) != ("public", 0)).collect();
    let mut lies: Vec<(Hint, Lie)> = Vec::new();
    if below(4) == 0 {
        let pairs = compensated(story);
        lies.extend(pairs[below(pairs.len())]);
    }
    for _ in 0..=below(3) {
        let among = if below(16) == 0 { &digits } else { &others };
        let (hint, honest) = among[below(among.len())];
        let power = Fr::from(2).pow_vartime([below(254) as u64]);
        let value = match below(10) {
            0 => Fr::ZERO,
            1 => Fr::ONE,
            2 => Fr::from(below(32) as u64),
            3 => honest + Fr::ONE,
            4 => honest - Fr::ONE,
            5 => honest + power,
            6 => honest - power,
            7 => others[below(others.len())].1,
            8 => -honest,
            _ => power - Fr::ONE,
        };
        if value != honest && !lies.iter().any(|(other, _)| *other == hint) {
            lies.push((hint, Lie::Is(value)));
        }
    }
    lies
}

/// The case of a seed.
fn case(seed: u64, stories: &[Story]) -> (usize, Vec<(Hint, Lie)>) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let number = (rng.next_u64() % stories.len() as u64) as usize;
    (number, lies(&stories[number], &mut rng))
}

/// What a run saw.
#[derive(Default)]
struct Seen {
    tried: u64,
    accepted: u64,
    /// The first accepted case of each story and set of hints.
    kinds: BTreeMap<(usize, BTreeSet<Hint>), String>,
    /// Demands without which a case would have been a hole.
    needed: BTreeSet<Demand>,
}

/// Tries seeds until `goes_on` says no.
///
/// # Panics
/// With the case, if the circuit accepts what the statement refuses.
fn search(stories: &[Story], seeds: impl Iterator<Item = u64>, goes_on: impl Fn() -> bool) -> Seen {
    let mut seen = Seen::default();
    for seed in seeds.take_while(|_| goes_on()) {
        let (number, lies) = case(seed, stories);
        seen.tried += 1;
        match verdict(&stories[number], &lies) {
            Verdict::Refused => {}
            Verdict::RefusedBy(demand) => drop(seen.needed.insert(demand)),
            Verdict::Accepted => {
                seen.accepted += 1;
                let hints = lies.iter().map(|(hint, _)| *hint).collect();
                seen.kinds.entry((number, hints)).or_insert_with(|| Told(number, &lies).to_string());
            }
            Verdict::Hole(reason) => panic!("seed {seed}: {reason}: {}", Told(number, &lies)),
        }
    }
    seen
}

/// Searches in several threads. Each thread makes its own stories, because they cannot be shared.
fn search_in_threads(seeds: std::ops::Range<u64>, goes_on: impl Fn() -> bool + Sync) -> Seen {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let goes_on = &goes_on;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let seeds = seeds.clone().skip(part as usize).step_by(threads as usize);
                scope.spawn(move || search(&stories(), seeds, goes_on))
            })
            .collect();
        parts.into_iter().fold(Seen::default(), |mut all, part| {
            let seen = part.join().expect("no hole");
            all.tried += seen.tried;
            all.accepted += seen.accepted;
            all.kinds.extend(seen.kinds);
            all.needed.extend(seen.needed);
            all
        })
    })
}

/// `cargo xtask soak hints` sets how many minutes, and the first seed. It prints the accepted cases of new kinds, for
/// `fuzz_cases.txt`.
#[test]
fn changed_hints_are_refused_or_honest() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let first = number("EMR_SOAK_SEED").unwrap_or(0) << 32;
    let minutes = number("EMR_SOAK_MINUTES");
    let started = Instant::now();
    let goes_on = || minutes.is_none_or(|minutes| started.elapsed().as_secs() < 60 * minutes);
    let count = if minutes.is_some() { 1 << 32 } else { CASES };
    let seen = search_in_threads(first..first + count, goes_on);
    let told = KEPT.lines().collect::<BTreeSet<_>>();
    if minutes.is_some() {
        seen.kinds.values().filter(|kind| !told.contains(kind.as_str())).for_each(|kind| println!("kept: {kind}"));
    }
    println!(
        "{} cases, {} accepted by circuit and statement, of {} kinds",
        seen.tried,
        seen.accepted,
        seen.kinds.len()
    );
    println!("{} demands alone keep a case from being a hole", seen.needed.len());
    // The repair works: a good part of the cases becomes another honest batch. And without any of many demands, there would
    // be a hole.
    assert!(seen.accepted * 20 > seen.tried);
    assert!(seen.needed.len() >= NEEDED, "{:?}", seen.needed);
}

#[test]
fn kept_cases_are_still_accepted() {
    let stories = stories();
    let mut kept = 0;
    for line in KEPT.lines() {
        let (number, lies) = parse(line, &stories).unwrap_or_else(|| panic!("no case any more: {line}"));
        assert_eq!(Told(number, &lies).to_string(), line);
        assert_eq!(verdict(&stories[number], &lies), Verdict::Accepted, "{line}");
        kept += 1;
    }
    assert!(kept >= 300);
}
