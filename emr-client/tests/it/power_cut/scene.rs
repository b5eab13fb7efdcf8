//! A profile, calls that change it, and what each call promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use alloy::primitives::Address;
use emr_api::Receipt;
use emr_client::profile::{
    OwnedAccount, Profile, ProfileError, Settings,
    outbox::{Entry, NewEntry, Refusal},
    seen::SeenError,
};
use emr_core::{AccountIndex, GrantSlot, Role, UnixTime, Version};
use emr_crypto::{Identity, KeyProfile, RsaBits, RsaSecret, ScryptCost};
use emr_durable::crash::{ALL, Journal, Promises, no_sync};
use emr_rollup::primitive::field::{self, Fr};

use crate::operation::{blocks, entry, id};

pub(super) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Two folders deep, so that the test includes the folder above the profile.
const FOLDER: &str = "data/profile";
const PASSPHRASE: &str = "correct horse";

static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity::with_rsa(Role::Patient, RsaSecret::generate(RsaBits::MIN), KeyProfile::Hybrid));

/// The subject of a promise. Values are numbers. 0 is the value before anything was promised.
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
    /// 1 if an undelivered operation is kept.
    Refused(u64),
    /// 1 if an undelivered operation is kept, or the operation that replaced it.
    Kept(u64),
    /// 1 if the receipt of an operation is kept, with the operation or without it.
    Receipt(u64),
}

fn patient() -> OwnedAccount {
    OwnedAccount { account: AccountIndex::new(4).expect("in range"), owner: Address::repeat_byte(7) }
}

fn settings(port: u64) -> Settings {
    Settings {
        node: format!("http://127.0.0.1:{port}"),
        rpc: vec!["http://127.0.0.1:8545".to_owned()],
        agree: None,
        chain_id: 31337,
        contract: Address::repeat_byte(1),
        deployed_at: 0,
        hospital: None,
        account: None,
    }
}

pub(super) struct Scene {
    journal: Arc<Journal>,
    profile: Option<Profile>,
    promises: Promises<Thing, u64>,
    /// The operation that each replaced.
    replaced: BTreeMap<u64, u64>,
}

impl Scene {
    pub(super) fn new() -> Outcome<Self> {
        let mut scene =
            Self { journal: Journal::new()?, profile: None, promises: Promises::new(), replaced: BTreeMap::new() };
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

    /// Kills the process this number of steps ago, and starts the next one. It opens the profile, or creates it if it
    /// does not exist.
    pub(super) fn killed(&mut self, ago: usize) -> Outcome {
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

    /// Does one call, and records what it promises.
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

    pub(super) fn join(&mut self, port: u64) -> Outcome {
        self.call("join", &[(Thing::Settings, port)], |profile| profile.join(settings(port)))
    }

    pub(super) fn note_version(&mut self, slot: u64) -> Outcome {
        let slot_name = GrantSlot::new(64 + slot)?;
        let next = self.profile.as_ref().ok_or("closed")?.highest_signed(patient(), slot_name).get() + 1;
        let version = Version::new(next)?;
        self.call("version", &[(Thing::Version(slot), next)], |profile| {
            profile.note_version(patient(), slot_name, version)
        })
    }

    pub(super) fn see(&mut self, batches: u64) -> Outcome {
        self.call("see", &[(Thing::Seen, batches)], |profile| {
            profile.seen().note(batches, field::to_root(&Fr::from(batches)))
        })
    }

    pub(super) fn add(&mut self, salt: u64) -> Outcome {
        let new = entry(salt)?;
        self.call("add", &[(Thing::Waits(salt), 1)], |profile| profile.outbox().add(new).map(drop))
    }

    pub(super) fn acknowledge(&mut self, salt: u64) -> Outcome {
        let id = id(salt)?;
        let (acknowledged, settle_by) = (UnixTime::new(1)?, UnixTime::new(2)?);
        let receipt = Receipt { operation: id, acknowledged, settle_by, signature: [0; 65] };
        self.call("acknowledge", &[(Thing::Receipt(salt), 1)], |profile| profile.outbox().acknowledge(id, &receipt))
    }

    pub(super) fn remove(&mut self, salt: u64) -> Outcome {
        let id = id(salt)?;
        let promised: Vec<_> = [(Thing::Waits(salt), 0)].into_iter().chain(self.goes_with(salt)).collect();
        self.call("remove", &promised, |profile| profile.outbox().remove(id))
    }

    /// If an operation goes, nothing stands for the one that it replaced any more.
    fn goes_with(&self, salt: u64) -> Option<(Thing, u64)> {
        self.replaced.get(&salt).map(|old| (Thing::Kept(*old), 0))
    }

    pub(super) fn refuse(&mut self, salt: u64) -> Outcome {
        let id = id(salt)?;
        let promised = [(Thing::Waits(salt), 0), (Thing::Refused(salt), 1), (Thing::Kept(salt), 1)];
        self.call("refuse", &promised, |profile| {
            let time = UnixTime::now();
            profile.outbox().refuse(id, Refusal { time, reason: "the slot is taken".to_owned() })
        })
    }

    pub(super) fn replace(&mut self, old: u64, salt: u64) -> Outcome {
        let new = NewEntry { replaces: Some(id(old)?), ..entry(salt)? };
        let promised = [(Thing::Refused(old), 0), (Thing::Kept(old), 1), (Thing::Waits(salt), 1)];
        let promised: Vec<_> = promised.into_iter().chain(self.goes_with(old)).collect();
        self.replaced.insert(salt, old);
        self.call("replace", &promised, |profile| profile.outbox().add(new).map(drop))
    }

    pub(super) fn discard(&mut self, salt: u64) -> Outcome {
        let id = id(salt)?;
        let promised = [(Thing::Refused(salt), 0), (Thing::Kept(salt), 0)];
        let promised: Vec<_> = promised.into_iter().chain(self.goes_with(salt)).collect();
        self.call("discard", &promised, |profile| profile.outbox().discard(id).map(drop))
    }

    pub(super) fn waits(&self, salt: u64) -> Outcome<bool> {
        let id = id(salt)?;
        Ok(self.profile.as_ref().ok_or("closed")?.outbox().entries().iter().any(|entry| entry.draft().operation == id))
    }

    pub(super) fn is_refused(&self, salt: u64) -> Outcome<bool> {
        let id = id(salt)?;
        let refused = self.profile.as_ref().ok_or("closed")?.outbox().refused();
        Ok(refused.iter().any(|entry| entry.draft().operation == id))
    }

    /// Checks what must hold after a crash that follows this many steps.
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

    pub(super) fn steps(&self) -> usize {
        self.journal.steps()
    }

    pub(super) fn survives(&self) -> Outcome {
        Ok(self.journal.check(&ALL, no_sync, |steps, image| self.check(steps, image))?)
    }

    pub(super) fn syncs(&self) -> Vec<String> {
        self.journal.syncs().iter().map(ToString::to_string).collect()
    }

    pub(super) fn unneeded_syncs(&self) -> Vec<String> {
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
            // An identity file takes long to open, and there are few.
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
        Thing::Version(slot) => profile.highest_signed(patient(), GrantSlot::new(64 + slot)?).get(),
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
            // A damaged entry counts as missing.
            let kept = kept.is_some_and(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            u64::from(waits || kept)
        }
    })
}
