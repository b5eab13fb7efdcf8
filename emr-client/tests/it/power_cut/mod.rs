//! A profile on a disk that loses what was not synced.

mod scene;

use std::collections::BTreeSet;

use proptest::prelude::*;

use scene::{Outcome, Scene};

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
    // `IdentityFile::create` already makes the file durable, and the folder is synced again before `create` returns.
    // The successor of a refused record and the record itself are removed from one folder, in this order. The second
    // sync is for both.
    assert_eq!(scene.unneeded_syncs(), ["create: folder data/profile", "replace: folder data/profile/outbox"]);
    Ok(())
}

/// A process dies before it syncs, and the next one relies on the files that it finds.
#[test]
fn what_a_killed_process_left_is_synced_by_the_next_one() -> Outcome {
    let mut needed = BTreeSet::new();
    let whole = Scene::new()?.steps();
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

/// An operation that replaced another one is replaced itself, and then discarded.
#[test]
fn a_replacement_goes_with_what_it_stands_for() -> Outcome {
    let mut scene = Scene::new()?;
    scene.add(0)?;
    scene.refuse(0)?;
    scene.replace(0, 1)?;
    scene.refuse(1)?;
    scene.replace(1, 2)?;
    scene.refuse(2)?;
    scene.discard(2)?;
    scene.survives()
}

/// A process is killed while it adds an operation. The next process finds the operation, and changes it.
#[test]
fn an_entry_of_a_killed_process_is_kept() -> Outcome {
    let mut found = 0;
    for ago in 0..9 {
        let mut scene = Scene::new()?;
        scene.add(0)?;
        scene.killed(ago)?;
        if scene.waits(0)? {
            found += 1;
            scene.refuse(0)?;
        }
        scene.survives()?;
    }
    assert!(found > 1, "the entry is there before the last sync");
    Ok(())
}
