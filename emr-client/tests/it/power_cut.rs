//! A profile on a disk that forgets what was not synced.

use std::{
    collections::BTreeSet,
    error::Error,
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use alloy::primitives::Address;
use emr_api::{Receipt, Submission};
use emr_client::profile::{
    Profile, ProfileError, Settings,
    outbox::{Entry, NewEntry, Parties, Refusal},
    seen::SeenError,
};
use emr_core::{
    AccountEpoch, AccountIndex, Cid, Class, Codec, GrantSlot, Purpose, Reason, Role, UnixTime, Uses, Version,
    cid::cid_of,
};
use emr_crypto::{Identity, RsaBits, RsaSecret, ScryptCost};
use emr_durable::crash::{ALL, Journal, Promises, no_sync};
use emr_rollup::{
    operation::{Action, Domain, Operation, OperationId, RequestAccess},
    primitive::{
        eddsa::SigningKey,
        field::{self, Fr},
    },
};
use proptest::prelude::*;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Two folders deep, so that the folder above the profile is part of the test.
const FOLDER: &str = "data/profile";
const PASSPHRASE: &str = "correct horse";

static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity::with_rsa(Role::Patient, RsaSecret::generate(RsaBits::MIN)));

/// What a promise is about. Values are numbers; 0 is what there is before anything was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    /// 1 if the identity file opens.
    Identity,
    /// Port of the node.
    Settings,
    /// The highest version signed for a grant slot.
    Version(u64),
    /// The number of batches of the newest state.
    Seen,
    /// 1 if an operation waits.
    Waits(u64),
    /// 1 if an operation came to nothing and is kept.
    Refused(u64),
    /// 1 if the blocks of an operation that came to nothing are kept, with it or with its successor.
    Kept(u64),
    /// 1 if the receipt of an operation is kept, with the operation or without it.
    Receipt(u64),
}

/// Who owned the accounts.
const PARTIES: Parties = Parties { signer: Address::repeat_byte(2), patient: Address::repeat_byte(3) };

fn account() -> AccountIndex {
    AccountIndex::new(4).expect("in range")
}

fn settings(port: u64) -> Settings {
    Settings {
        node: format!("http://127.0.0.1:{port}"),
        rpc: "http://127.0.0.1:8545".to_owned(),
        chain_id: 31337,
        contract: Address::repeat_byte(1),
        hospital: None,
        account: None,
    }
}

fn submission(salt: u64) -> Outcome<(OperationId, Submission)> {
    let domain = Domain::new(31337, [1; 20]);
    let operation = Operation {
        signer: AccountIndex::new(2)?,
        signer_epoch: AccountEpoch::FIRST,
        patient: AccountIndex::new(3)?,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: UnixTime::new(1000)?,
        salt: Fr::from(salt),
        action: Action::RequestAccess(RequestAccess {
            slot: GrantSlot::FIRST_ORDINARY,
            expected: Uses::ZERO,
            purpose: Purpose { reason: Reason::Treatment, class: Class::Summary },
        }),
    };
    let signed = operation.sign(domain, &SigningKey::from_seed(&[1; 32]), None);
    Ok((signed.id(domain), Submission { signed, stored: None, epoch: None, directory: None }))
}

fn id(salt: u64) -> Outcome<OperationId> {
    Ok(submission(salt)?.0)
}

fn blocks(salt: u64) -> Vec<(Cid, Vec<u8>)> {
    (0..2).map(|block| vec![block; 700 + salt as usize]).map(|bytes| (cid_of(Codec::Raw, &bytes), bytes)).collect()
}

struct Scene {
    journal: Arc<Journal>,
    profile: Option<Profile>,
    promises: Promises<Thing, u64>,
}

impl Scene {
    fn new() -> Outcome<Self> {
        let mut scene = Self { journal: Journal::new()?, profile: None, promises: Promises::new() };
        scene.create("create")?;
        Ok(scene)
    }

    fn folder(&self) -> std::path::PathBuf {
        self.journal.root().join(FOLDER)
    }

    fn create(&mut self, operation: &'static str) -> Outcome {
        self.journal.begin(operation);
        self.promises.begin(&self.journal, Thing::Identity, 1);
        let (disk, folder, passphrase) = (self.journal.disk(), self.folder(), PASSPHRASE.into());
        self.profile = Some(Profile::create_on(disk, &folder, &IDENTITY, &passphrase, ScryptCost::Development)?);
        self.promises.acknowledge(&self.journal);
        Ok(())
    }

    /// kill -9 that many steps ago, and the next process: it opens the profile, or creates it if it is not there yet.
    fn killed(&mut self, ago: usize) -> Outcome {
        let steps = self.journal.steps().saturating_sub(ago);
        self.profile = None;
        self.promises.killed_after(steps);
        self.journal = self.journal.killed_after(steps)?;
        self.journal.begin("open");
        self.promises.begin(&self.journal, Thing::Identity, 1);
        match Profile::open_on(self.journal.disk(), &self.folder()) {
            Ok(profile) => {
                self.profile = Some(profile);
                self.promises.acknowledge(&self.journal);
            }
            Err(ProfileError::NotFound(_)) => self.create("create again")?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// One call, and what it promises.
    fn call<T, E: Error + 'static>(
        &mut self,
        operation: &'static str,
        promised: &[(Thing, u64)],
        call: impl FnOnce(&mut Profile) -> Result<T, E>,
    ) -> Outcome<T> {
        self.journal.begin(operation);
        for (thing, value) in promised {
            self.promises.begin(&self.journal, *thing, *value);
        }
        let done = call(self.profile.as_mut().ok_or("closed")?)?;
        self.promises.acknowledge(&self.journal);
        Ok(done)
    }

    fn join(&mut self, port: u64) -> Outcome {
        self.call("join", &[(Thing::Settings, port)], |profile| profile.join(settings(port)))
    }

    fn note_version(&mut self, slot: u64) -> Outcome {
        let slot_name = GrantSlot::new(64 + slot)?;
        let next = self.profile.as_ref().ok_or("closed")?.highest_signed(account(), slot_name).get() + 1;
        let version = Version::new(next)?;
        self.call("version", &[(Thing::Version(slot), next)], |profile| {
            profile.note_version(account(), slot_name, version)
        })
    }

    fn see(&mut self, batches: u64) -> Outcome {
        self.call("see", &[(Thing::Seen, batches)], |profile| {
            profile.seen().note(batches, field::to_root(&Fr::from(batches)))
        })
    }

    fn add(&mut self, salt: u64) -> Outcome {
        let (id, submission) = submission(salt)?;
        self.call("add", &[(Thing::Waits(salt), 1)], |profile| {
            profile
                .outbox()
                .add(NewEntry { blocks: blocks(salt), ..NewEntry::plain(id, PARTIES, submission) })
                .map(drop)
        })
    }

    fn acknowledge(&mut self, salt: u64) -> Outcome {
        let id = id(salt)?;
        let (acknowledged, settle_by) = (UnixTime::new(1)?, UnixTime::new(2)?);
        let receipt = Receipt { operation: id, acknowledged, settle_by, signature: String::new() };
        self.call("acknowledge", &[(Thing::Receipt(salt), 1)], |profile| profile.outbox().acknowledge(id, &receipt))
    }

    fn remove(&mut self, salt: u64) -> Outcome {
        let id = id(salt)?;
        self.call("remove", &[(Thing::Waits(salt), 0)], |profile| profile.outbox().remove(id))
    }

    fn refuse(&mut self, salt: u64) -> Outcome {
        let id = id(salt)?;
        let promised = [(Thing::Waits(salt), 0), (Thing::Refused(salt), 1), (Thing::Kept(salt), 1)];
        self.call("refuse", &promised, |profile| {
            let time = UnixTime::now();
            profile.outbox().refuse(id, Refusal { time, reason: "the slot is taken".to_owned() })
        })
    }

    fn replace(&mut self, old: u64, salt: u64) -> Outcome {
        let replaces = Some(id(old)?);
        let (id, submission) = submission(salt)?;
        let promised = [(Thing::Refused(old), 0), (Thing::Kept(old), 1), (Thing::Waits(salt), 1)];
        self.call("replace", &promised, |profile| {
            let new = NewEntry { blocks: blocks(salt), replaces, ..NewEntry::plain(id, PARTIES, submission) };
            profile.outbox().add(new).map(drop)
        })
    }

    fn discard(&mut self, salt: u64) -> Outcome {
        let id = id(salt)?;
        let promised = [(Thing::Refused(salt), 0), (Thing::Kept(salt), 0)];
        self.call("discard", &promised, |profile| profile.outbox().discard(id).map(drop))
    }

    fn waits(&self, salt: u64) -> Outcome<bool> {
        let id = id(salt)?;
        Ok(self.profile.as_ref().ok_or("closed")?.outbox().entries().iter().any(|entry| entry.draft().operation == id))
    }

    fn is_refused(&self, salt: u64) -> Outcome<bool> {
        let id = id(salt)?;
        let refused = self.profile.as_ref().ok_or("closed")?.outbox().refused();
        Ok(refused.iter().any(|entry| entry.draft().operation == id))
    }

    /// What must hold after a crash after so many steps.
    fn check(&self, steps: usize, image: &Path) -> Outcome {
        let folder = image.join(FOLDER);
        let profile = match Profile::open(&folder) {
            Ok(profile) => Some(profile),
            Err(ProfileError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        for thing in self.promises.keys() {
            let value = match &profile {
                Some(profile) => value(profile, &folder, thing)?,
                None => 0,
            };
            let allowed = self.promises.allowed(&thing, steps, 0);
            if !allowed.contains(&value) {
                return Err(format!("{thing:?} is {value}, not one of {allowed:?}").into());
            }
        }
        Ok(())
    }

    fn survives(&self) -> Outcome {
        Ok(self.journal.check(&ALL, no_sync, |steps, image| self.check(steps, image))?)
    }

    fn syncs(&self) -> Vec<String> {
        self.journal.syncs().iter().map(ToString::to_string).collect()
    }

    fn unneeded_syncs(&self) -> Vec<String> {
        self.journal.unneeded_syncs(&ALL, |steps, image| self.check(steps, image))
    }
}

/// 1 if an operation is among these, with all its blocks.
fn kept(entries: &[Entry], salt: u64) -> Outcome<u64> {
    let id = id(salt)?;
    let Some(entry) = entries.iter().find(|entry| entry.draft().operation == id) else { return Ok(0) };
    let read: Vec<_> = entry.blocks().collect::<Result<_, _>>()?;
    assert_eq!(read, blocks(salt));
    Ok(1)
}

/// What a profile that was opened after a crash says about a thing.
fn value(profile: &Profile, folder: &Path, thing: Thing) -> Outcome<u64> {
    Ok(match thing {
        Thing::Identity => {
            // Opening one takes long, and there are few.
            static GOOD: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
            let bytes = std::fs::read(folder.join("identity"))?;
            let mut good = GOOD.lock().unwrap_or_else(PoisonError::into_inner);
            if !good.contains(&bytes) {
                profile.identity(&PASSPHRASE.into())?;
                good.insert(bytes);
            }
            1
        }
        Thing::Settings => match profile.settings() {
            Ok(settings) => settings.node.rsplit(':').next().unwrap_or_default().parse()?,
            Err(_) => 0,
        },
        Thing::Version(slot) => profile.highest_signed(account(), GrantSlot::new(64 + slot)?).get(),
        // A state before the first one is refused with the newest.
        Thing::Seen => match profile.seen().note(0, field::to_root(&Fr::from(u64::MAX))) {
            Err(SeenError::RolledBack { before, .. }) => before,
            Ok(()) => 0,
            Err(error) => return Err(error.into()),
        },
        Thing::Waits(salt) => kept(&profile.outbox().entries(), salt)?,
        Thing::Refused(salt) => kept(&profile.outbox().refused(), salt)?,
        Thing::Kept(salt) => {
            let id = id(salt)?;
            let all = profile.outbox().entries().into_iter().chain(profile.outbox().refused());
            let replaced = all.filter(|entry| entry.draft().replaces == Some(id)).count();
            kept(&profile.outbox().refused(), salt)?.max(replaced as u64)
        }
        Thing::Receipt(salt) => {
            let id = id(salt)?;
            let mut entries = profile.outbox().entries().into_iter().chain(profile.outbox().refused());
            let waits = entries.any(|entry| entry.draft().operation == id && entry.receipt().is_some());
            let kept = std::fs::read(folder.join(format!("receipts/{id}.json"))).ok();
            // Damaged is as bad as missing.
            let kept = kept.is_some_and(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            u64::from(waits || kept)
        }
    })
}

#[test]
fn each_sync_is_needed() -> Outcome {
    let mut scene = Scene::new()?;
    scene.add(0)?;
    scene.acknowledge(0)?;
    scene.remove(0)?;
    scene.add(1)?;
    scene.refuse(1)?;
    scene.replace(1, 2)?;
    scene.add(3)?;
    scene.refuse(3)?;
    scene.discard(3)?;
    scene.note_version(1)?;
    scene.note_version(1)?;
    scene.see(3)?;
    scene.join(1)?;
    scene.join(2)?;
    scene.survives()?;
    let syncs = [
        "acknowledge: file data/profile/outbox/*/*",
        "acknowledge: folder data/profile/outbox/*",
        "add: file data/profile/outbox/*/*",
        "add: file data/profile/outbox/*/* #2",
        "add: file data/profile/outbox/*/entry.json",
        "add: folder data/profile/outbox",
        "add: folder data/profile/outbox/*",
        "create: file data/profile/*",
        "create: folder .",
        "create: folder data",
        "create: folder data/profile",
        "create: folder data/profile #2",
        "discard: folder data/profile/outbox",
        "join: file data/profile/*",
        "join: folder data/profile",
        "refuse: file data/profile/outbox/*/*",
        "refuse: folder data/profile/outbox/*",
        "remove: file data/profile/receipts/*",
        "remove: folder data/profile/outbox",
        "remove: folder data/profile/receipts",
        "replace: file data/profile/outbox/*/*",
        "replace: file data/profile/outbox/*/* #2",
        "replace: file data/profile/outbox/*/entry.json",
        "replace: folder data/profile/outbox",
        "replace: folder data/profile/outbox #2",
        "replace: folder data/profile/outbox/*",
        "see: file data/profile/*",
        "see: folder data/profile",
        "version: file data/profile/*",
        "version: folder data/profile",
    ];
    assert_eq!(scene.syncs(), syncs);
    // `IdentityFile::create` promises by itself that the file is durable; here the folder is synced again before `create` returns. The
    // successor of a refused record and the record leave one folder, in this order: the second sync is for both.
    assert_eq!(scene.unneeded_syncs(), ["create: folder data/profile", "replace: folder data/profile/outbox"]);
    Ok(())
}

/// A process dies before it syncs; the next one relies on what it finds.
#[test]
fn what_a_killed_process_left_is_synced_by_the_next_one() -> Outcome {
    let mut needed = BTreeSet::new();
    let whole = Scene::new()?.journal.steps();
    for ago in 1..whole {
        let mut scene = Scene::new()?;
        scene.killed(ago)?;
        scene.add(1)?;
        scene.survives()?;
        let unneeded = scene.unneeded_syncs();
        let next = ["open:", "create again:"];
        let of_next = |sync: &String| next.iter().any(|name| sync.starts_with(name)) && !unneeded.contains(sync);
        needed.extend(scene.syncs().into_iter().filter(of_next));
    }
    let expected = [
        "create again: file data/profile/*",
        "create again: folder .",
        "create again: folder data",
        "create again: folder data/profile #2",
        "open: folder data/profile",
    ];
    assert_eq!(needed.into_iter().collect::<Vec<_>>(), expected);
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Join(u64),
    Version(u64),
    See,
    Add,
    Acknowledge(u64),
    Remove(u64),
    Refuse(u64),
    Replace(u64),
    Discard(u64),
    Kill(usize),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        1 => (1..9_u64).prop_map(Call::Join),
        2 => (0..3_u64).prop_map(Call::Version),
        1 => Just(Call::See),
        4 => Just(Call::Add),
        3 => (0..4_u64).prop_map(Call::Acknowledge),
        3 => (0..4_u64).prop_map(Call::Remove),
        3 => (0..4_u64).prop_map(Call::Refuse),
        2 => (0..4_u64).prop_map(Call::Replace),
        1 => (0..4_u64).prop_map(Call::Discard),
        2 => (0..9_usize).prop_map(Call::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_after_any_crash(calls in proptest::collection::vec(call(), 14)) {
        let history = || -> Outcome {
            let mut scene = Scene::new()?;
            let (mut next, mut batches) = (0, 0);
            for call in calls {
                match call {
                    Call::Join(port) => scene.join(port)?,
                    Call::Version(slot) => scene.note_version(slot)?,
                    Call::See => {
                        batches += 1;
                        scene.see(batches)?;
                    }
                    Call::Add => {
                        scene.add(next)?;
                        next += 1;
                    }
                    Call::Acknowledge(salt) if scene.waits(salt)? => scene.acknowledge(salt)?,
                    Call::Remove(salt) if scene.waits(salt)? => scene.remove(salt)?,
                    Call::Refuse(salt) if scene.waits(salt)? => scene.refuse(salt)?,
                    Call::Replace(salt) if scene.is_refused(salt)? => {
                        scene.replace(salt, next)?;
                        next += 1;
                    }
                    Call::Discard(salt) if scene.is_refused(salt)? => scene.discard(salt)?,
                    Call::Acknowledge(_) | Call::Remove(_) | Call::Refuse(_) | Call::Replace(_) | Call::Discard(_) => {}
                    Call::Kill(ago) => scene.killed(ago)?,
                }
            }
            scene.survives()
        };
        history().map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}
