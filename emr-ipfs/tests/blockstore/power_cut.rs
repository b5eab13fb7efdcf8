//! The block store on a disk that loses unsynced writes at a crash.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use emr_core::cid::cid_of;
use emr_durable::crash::{ALL, Journal, Promises, no_sync};
use emr_ipfs::{Blockstore, Cid, Codec, DagLimits, DiskStore, walk};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::contract::node;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Two folders deep, so that the test covers the folders above the store.
const FOLDER: &str = "data/store";

/// What the store acknowledged: a block or a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Block(u8),
    Pin(u8),
}

/// Blocks with even numbers are leaves. The block with the next number links to the leaf.
fn block(number: u8) -> (Codec, Vec<u8>) {
    if number.is_multiple_of(2) {
        return (Codec::Raw, vec![number; 100 + 500 * usize::from(number)]);
    }
    let (codec, bytes) = block(number - 1);
    (Codec::DagCbor, node(&format!("root {number}"), &[cid_of(codec, &bytes)]))
}

fn address(number: u8) -> Cid {
    let (codec, bytes) = block(number);
    cid_of(codec, &bytes)
}

/// A store, and what it acknowledged.
struct Scene {
    runtime: Arc<Runtime>,
    journal: Arc<Journal>,
    store: Option<DiskStore>,
    promises: Promises<Thing, bool>,
}

impl Scene {
    fn new() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut scene =
            Self { runtime: Arc::new(runtime), journal: Journal::new()?, store: None, promises: Promises::new() };
        scene.open("open")?;
        Ok(scene)
    }

    fn open(&mut self, operation: &'static str) -> Outcome {
        self.journal.begin(operation);
        self.store = Some(DiskStore::open_on(self.journal.disk(), self.journal.root().join(FOLDER))?);
        Ok(())
    }

    /// Kills the process (kill -9) as of `ago` steps before, and starts the next one.
    fn killed(&mut self, ago: usize) -> Outcome {
        let steps = self.journal.steps().saturating_sub(ago);
        self.store = None;
        self.promises.killed_after(steps);
        self.journal = self.journal.killed_after(steps)?;
        self.open("open again")
    }

    fn run<'a, T>(&'a self, work: impl Future<Output = Result<T, emr_ipfs::StoreError>> + 'a) -> Outcome<T> {
        Ok(self.runtime.block_on(work)?)
    }

    fn put(&mut self, number: u8, operation: &'static str) -> Outcome {
        let (codec, bytes) = block(number);
        self.journal.begin(operation);
        self.promises.begin(&self.journal, Thing::Block(number), true);
        let store = self.store.clone().ok_or("closed")?;
        assert_eq!(self.run(store.put(codec, &bytes))?, address(number));
        self.promises.acknowledge(&self.journal);
        Ok(())
    }

    fn is_pinned(&self, number: u8) -> Outcome<bool> {
        let store = self.store.clone().ok_or("closed")?;
        Ok(self.run(store.pins())?.contains(&address(number)))
    }

    fn pin(&mut self, number: u8) -> Outcome {
        self.journal.begin("pin");
        self.promises.begin(&self.journal, Thing::Pin(number), true);
        let store = self.store.clone().ok_or("closed")?;
        self.run(store.pin(&address(number)))?;
        self.promises.acknowledge(&self.journal);
        Ok(())
    }

    fn unpin(&mut self, number: u8) -> Outcome {
        self.journal.begin("unpin");
        self.promises.begin(&self.journal, Thing::Pin(number), false);
        let store = self.store.clone().ok_or("closed")?;
        self.run(store.unpin(&address(number)))?;
        self.promises.acknowledge(&self.journal);
        Ok(())
    }

    fn delete(&mut self, number: u8) -> Outcome {
        self.journal.begin("delete");
        self.promises.begin(&self.journal, Thing::Block(number), false);
        let store = self.store.clone().ok_or("closed")?;
        self.run(store.delete(&address(number)))?;
        self.promises.acknowledge(&self.journal);
        Ok(())
    }

    /// Checks what must hold after a crash after `steps` steps.
    fn check(&self, steps: usize, image: &Path) -> Outcome {
        let store = DiskStore::open(image.join(FOLDER))?;
        let pins = self.run(store.pins())?;
        for thing in self.promises.keys() {
            let is_there = match thing {
                Thing::Pin(number) => pins.contains(&address(number)),
                Thing::Block(number) => match self.runtime.block_on(store.get(&address(number))) {
                    Ok(bytes) => bytes == block(number).1,
                    Err(error) if error.is_not_found() => false,
                    Err(error) => return Err(error.into()),
                },
            };
            if !self.promises.allowed(&thing, steps, false).contains(&is_there) {
                return Err(format!("{thing:?} is there: {is_there}").into());
            }
        }
        for root in &pins {
            self.run(walk(&store, root, &DagLimits::default()))?;
        }
        Ok(())
    }

    fn survives(&self) -> Outcome {
        Ok(self.journal.check(&ALL, no_sync, |steps, image| self.check(steps, image))?)
    }

    fn unneeded_syncs(&self) -> Vec<String> {
        self.journal.unneeded_syncs(&ALL, |steps, image| self.check(steps, image))
    }

    fn syncs(&self) -> Vec<String> {
        self.journal.syncs().iter().map(ToString::to_string).collect()
    }
}

#[test]
fn each_sync_is_needed() -> Outcome {
    let mut scene = Scene::new()?;
    scene.put(0, "put")?;
    scene.put(1, "put")?;
    scene.pin(1)?;
    scene.unpin(1)?;
    scene.delete(1)?;
    scene.put(1, "put")?;
    scene.pin(1)?;
    scene.survives()?;
    let syncs = [
        "delete: folder data/store/blocks/*",
        "open: file data/store/incoming/*",
        "open: folder .",
        "open: folder data",
        "open: folder data/store",
        "open: folder data/store/blocks",
        "pin: folder data/store/pins",
        "put: file data/store/incoming/*",
        "put: folder data/store/blocks/*",
        "unpin: folder data/store/pins",
    ];
    assert_eq!(scene.syncs(), syncs);
    assert_eq!(scene.unneeded_syncs(), [""; 0]);
    Ok(())
}

/// A process dies before it syncs, and the next one relies on the files that it finds.
#[test]
fn the_next_process_syncs_what_a_killed_one_did_not() -> Outcome {
    let mut needed = BTreeSet::new();
    let whole = Scene::new()?.journal.steps();
    // Killed after making the folder above the store, the store's folder, the folders in it, and at the end.
    for steps in [1, 3, whole - 6, whole - 1] {
        let mut scene = Scene::new()?;
        scene.killed(whole - steps)?;
        scene.put(2, "put")?;
        // Killed before the folder was synced.
        scene.killed(1)?;
        scene.put(2, "put again")?;
        scene.survives()?;
        let unneeded = scene.unneeded_syncs();
        needed.extend(scene.syncs().into_iter().filter(|sync| sync.contains("again") && !unneeded.contains(sync)));
    }
    let again = [
        "open again: file data/store/incoming/*",
        "open again: folder .",
        "open again: folder data",
        "open again: folder data/store",
        "open again: folder data/store/blocks",
        "put again: folder data/store/blocks/*",
    ];
    assert_eq!(needed.into_iter().collect::<Vec<_>>(), again);
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Put(u8),
    Pin(u8),
    Unpin(u8),
    Delete(u8),
    Kill(usize),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0_u8..6).prop_map(Call::Put),
        2 => (0_u8..6).prop_map(Call::Pin),
        2 => (0_u8..6).prop_map(Call::Unpin),
        2 => (0_u8..6).prop_map(Call::Delete),
        1 => (0_usize..6).prop_map(Call::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_blocks_survive_any_crash(calls in proptest::collection::vec(call(), 12)) {
        let history = || -> Outcome {
            let mut scene = Scene::new()?;
            for call in calls {
                match call {
                    Call::Put(number) => scene.put(number, "put")?,
                    // Puts the blocks before it pins them, as the contract demands.
                    Call::Pin(number) => {
                        scene.put(number & !1, "put")?;
                        scene.put(number, "put")?;
                        scene.pin(number)?;
                    }
                    Call::Unpin(number) if scene.is_pinned(number)? => scene.unpin(number)?,
                    Call::Unpin(_) => {}
                    // The store refuses this while the block or the root over it is pinned.
                    Call::Delete(number) if scene.is_pinned(number)? || scene.is_pinned(number | 1)? => {}
                    Call::Delete(number) => scene.delete(number)?,
                    Call::Kill(ago) => scene.killed(ago)?,
                }
            }
            scene.survives()
        };
        history().map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}
