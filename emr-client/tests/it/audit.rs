//! The audit chain in pages. An honest chain passes at any page size. Nothing can be left out, moved, repeated or
//! invented.

use std::sync::LazyLock;

use emr_api::{AuditPage, GrantView, RecordSummary, SubtreeView};
use emr_client::verify::{
    audit::{AuditWalk, Verified},
    light::{LightError, VerifiedLeaves, verify_subtree},
    settled_state::SettledState,
};
use emr_core::{Class, GrantSlot, Purpose, Reason, Rights};
use emr_rollup::{
    batch::D2Entry,
    l1_operation::{ForcedRevoke, L1Operation, RevokedGrants},
    operation::{DirectoryCommitment, Kind},
    primitive::field::Fr,
    state::leaf::{AuditEntry, AuditTarget, LeafHash, Target},
};

use crate::fixtures::*;

const CHAIN: LightError = LightError::NotAll("audit entries");

/// A patient whose grant was used often.
static BUSY: LazyLock<World> = LazyLock::new(|| {
    let mut world = World::new();
    world.grant(64, DOCTOR, Rights::READ | Rights::WRITE, Class::Laboratory.into());
    world.put(DOCTOR, 0, Class::Laboratory, "potassium 4.1 mmol/l");
    (0..58).for_each(|_| world.request(DOCTOR, 64, Class::Laboratory));
    world
});
const LENGTH: u64 = 60;

fn leaves(world: &World) -> VerifiedLeaves {
    verify_subtree(&world.expectation(), &world.subtree_view(), &world.state()).expect("an honest subtree")
}

/// Walks through the pages that a node gives for each end.
fn walk(leaves: VerifiedLeaves, node: impl Fn(u64) -> AuditPage) -> Result<(Verified, Vec<AuditEntry>), LightError> {
    let mut walk = AuditWalk::begin(leaves)?;
    let mut newest_first = Vec::new();
    while let Some(end) = walk.next_end() {
        let page = node(end);
        walk = walk.page(&page)?;
        newest_first.extend(page.entries.iter().rev().copied());
    }
    newest_first.reverse();
    Ok((walk.finish()?, newest_first))
}

/// Walks through a chain in small pages; the node changes the page that ends at `end`.
fn with_page(world: &World, at: u64, size: usize, change: impl Fn(&mut AuditPage)) -> Result<(), LightError> {
    let node = |end| {
        let mut page = world.audit_page(end, size);
        if end == at {
            change(&mut page);
        }
        page
    };
    walk(leaves(world), node).map(|_| ())
}

#[test]
fn an_honest_chain_passes_in_pages_of_any_size() -> TestResult {
    let whole = BUSY.audit_page(LENGTH, 1_000).entries;
    assert_eq!(whole.len() as u64, LENGTH);
    for size in [1, 2, 7, 59, 60, 1_000] {
        let (verified, entries) = walk(leaves(&BUSY), |end| BUSY.audit_page(end, size))?;
        assert_eq!((verified.audit_length(), &entries), (LENGTH, &whole), "pages of {size}");
    }
    let (verified, entries) = walk(leaves(&LIVED), |end| LIVED.audit_page(end, 4))?;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    let (put, grant) = (Kind::PutRecord, Kind::SetGrant);
    assert_eq!(kinds, [grant, grant, put, put, put, put, Kind::Tombstone, Kind::RequestAccess, Kind::Revoke]);
    assert_eq!((verified.audit_length(), verified.leaves().records().len()), (9, 3));
    Ok(())
}

#[test]
fn no_audit_entry_can_be_dropped_reordered_added_or_changed() {
    for end in [9, 6, 3] {
        assert_eq!(with_page(&LIVED, end, 3, |_| ()), Ok(()));
        for at in 0..3 {
            let after = |change: fn(&mut Vec<AuditEntry>, usize)| {
                with_page(&LIVED, end, 3, |page| change(&mut page.entries, at))
            };
            assert_eq!(after(|entries, at| _ = entries.remove(at)), Err(CHAIN));
            assert_eq!(after(|entries, at| entries.insert(at, entries[at])), Err(CHAIN));
            assert_eq!(after(|entries, at| entries.swap(at, (at + 1) % 3)), Err(CHAIN));
            assert_eq!(after(|entries, at| entries[at].kind = Kind::Noop), Err(CHAIN));
            assert_eq!(after(|entries, at| entries[at].signer = account(HOSPITAL)), Err(CHAIN));
            assert_eq!(after(|entries, at| entries[at].target = AuditTarget::Record(slot(44))), Err(CHAIN));
            let purpose = |entries: &mut Vec<AuditEntry>, at: usize| {
                entries[at].purpose = Some(Purpose { reason: Reason::Research, class: Class::Genetics });
            };
            assert_eq!(after(purpose), Err(CHAIN));
            assert_eq!(after(|entries, at| entries[at].time = time(NOW - 1)), Err(CHAIN));
            assert_eq!(after(|entries, at| entries[at].new_leaf = Fr::from(99).into()), Err(CHAIN));
            assert_eq!(after(|entries, at| entries[at].salt += Fr::one()), Err(CHAIN));
        }
    }
}

#[test]
fn no_page_can_be_dropped_reordered_repeated_or_emptied() {
    let size = 10;
    let page = |end| BUSY.audit_page(end, size);
    for end in (10..=LENGTH).rev().step_by(size) {
        let lie = |other: &AuditPage| with_page(&BUSY, end, size, |page| *page = other.clone());
        // The page after it, the page before it, and each of them at this page's position.
        for other in [end + 10, end - 10].into_iter().filter(|other| (10..=LENGTH).contains(other)) {
            let other = page(other);
            assert_eq!(lie(&other), Err(CHAIN), "page {end}");
            assert_eq!(lie(&AuditPage { first: end - 10, ..other.clone() }), Err(CHAIN), "page {end}");
            assert_eq!(
                lie(&AuditPage { before: page(end).before, first: end - 10, ..other }),
                Err(CHAIN),
                "page {end}"
            );
        }
        let honest = page(end);
        assert_eq!(lie(&AuditPage { entries: Vec::new(), ..honest.clone() }), Err(CHAIN));
        assert_eq!(lie(&AuditPage { entries: Vec::new(), first: end, before: page(end).before }), Err(CHAIN));
        for first in [honest.first + 1, honest.first.wrapping_sub(1), 0, u64::MAX, u64::MAX - 9] {
            if first != honest.first {
                assert_eq!(lie(&AuditPage { first, ..honest.clone() }), Err(CHAIN), "page {end} at {first}");
            }
        }
        for before in [Fr::from(0), honest.before + Fr::one()].into_iter().filter(|before| *before != honest.before) {
            assert_eq!(lie(&AuditPage { before, ..honest.clone() }), Err(CHAIN), "page {end}");
        }
    }
    // Two pages that change places.
    let swapped = |end| {
        page(if end == 40 {
            30
        } else if end == 30 {
            40
        } else {
            end
        })
    };
    assert_eq!(walk(leaves(&BUSY), swapped).map(|_| ()), Err(CHAIN));
}

#[test]
fn the_number_of_entries_is_proved_by_the_walk() -> TestResult {
    let with_length = |length| {
        let view = SubtreeView { audit_length: length, ..BUSY.subtree_view() };
        verify_subtree(&BUSY.expectation(), &view, &BUSY.state())
    };
    // The possible answers of a node that claims fewer or more entries: the chain as it is, or moved to the claimed
    // positions. 10 and 50 end at the border of a page. There, only the head before the oldest page shows that there
    // are older entries.
    for length in [0, 1, 10, 50, LENGTH - 1, LENGTH + 1, u64::MAX] {
        let as_it_is = |end: u64| BUSY.audit_page(end.min(LENGTH), 10);
        assert_eq!(walk(with_length(length)?, as_it_is).map(|_| ()), Err(CHAIN), "{length} entries");
        let moved = |end: u64| {
            let page = BUSY.audit_page(LENGTH - (length - end).min(LENGTH), 10);
            AuditPage { first: end.saturating_sub(page.entries.len() as u64), ..page }
        };
        assert_eq!(walk(with_length(length)?, moved).map(|_| ()), Err(CHAIN), "{length} entries, moved");
    }
    // An unfinished walk does not prove the whole chain.
    let walk = AuditWalk::begin(leaves(&BUSY))?.page(&BUSY.audit_page(LENGTH, 10))?;
    assert_eq!(walk.finish().map(|_| ()), Err(CHAIN));
    Ok(())
}

#[test]
fn a_state_that_moves_between_pages_changes_none_of_them() -> TestResult {
    let mut later = BUSY.clone();
    let before = leaves(&BUSY);
    for _ in 0..25 {
        later.request(DOCTOR, 64, Class::Laboratory);
    }
    // The first page comes from the older state, the others from the newer one.
    let node = |end| if end == LENGTH { BUSY.audit_page(end, 10) } else { later.audit_page(end, 10) };
    let (verified, entries) = walk(before.clone(), node)?;
    assert_eq!((verified.audit_length(), entries.len() as u64), (LENGTH, LENGTH));
    assert_eq!(verified.leaves().state(), &BUSY.state());
    // A page that the patient did not ask for: the newest of the newer state.
    assert_eq!(walk(before.clone(), |_| later.audit_page(LENGTH + 25, 10)).map(|_| ()), Err(CHAIN));
    // A chain that L1 took back, and another in its place.
    let mut other = World::new();
    other.identities = BUSY.identities.clone();
    other.grant(64, DOCTOR, Rights::READ | Rights::WRITE, Class::Laboratory.into());
    (0..60).for_each(|_| other.request(DOCTOR, 64, Class::Laboratory));
    assert_eq!(walk(before, |end| other.audit_page(end, 10)).map(|_| ()), Err(CHAIN));
    Ok(())
}

/// Checks states that the circuit does not allow: a write changes a leaf, and its entry says something else.
fn check_written(
    writes: &[(Target, LeafHash, AuditEntry)],
    grants: &[GrantView],
    records: &[RecordSummary],
) -> Result<(), LightError> {
    let world = World::new();
    let mut trees = world.ledger.trees().clone();
    let mut pages = Vec::new();
    for (target, leaf, entry) in writes {
        let before = trees.subtree(account(PATIENT)).expect("a patient").audit_head;
        pages.push(AuditPage { first: pages.len() as u64, before, entries: vec![*entry] });
        assert!(trees.write(&D2Entry {
            place: D2Entry::place_of(account(PATIENT), *target),
            leaf: *leaf,
            audit_entry: entry.hash(),
            key_directory: DirectoryCommitment::NONE,
        }));
    }
    let view = SubtreeView {
        grants: grants.to_vec(),
        records: records.to_vec(),
        medical: trees.subtree(account(PATIENT)).expect("a patient").medical_leaf(),
        medical_path: trees.medical_path(account(PATIENT)),
        identity_root: trees.identity_root(),
        medical_root: trees.medical_root(),
        audit_length: pages.len() as u64,
        ..world.subtree_view()
    };
    let state = SettledState::established(trees.root(), 1, time(NOW));
    let leaves = verify_subtree(&world.expectation(), &view, &state).expect("the leaves are right");
    walk(leaves, |end| pages[end as usize - 1].clone()).map(|_| ())
}

#[test]
fn a_chain_that_does_not_account_for_every_leaf_is_not_believed() {
    let view = LIVED.subtree_view();
    let (grants, records) = (&view.grants[..1], &view.records[..1]);
    let (grant, grant_leaf) = (Target::Grant(grants[0].slot), grants[0].grant.hash());
    let (record, leaf) = (Target::Record(records[0].slot), records[0].leaf.hash());
    let line = LIVED.audit_page(9, 9).entries[2];
    let entry = |target: Target, new_leaf| AuditEntry { target: target.into(), new_leaf, ..line };
    let (honest, other) = (entry(record, leaf), entry(record, (leaf.element() + Fr::one()).into()));
    let unaccounted = |name: &str| Err(LightError::Unaccounted(name.to_owned()));

    assert_eq!(check_written(&[(record, leaf, honest)], &[], records), Ok(()));
    // Only the newest entry of a leaf must say what the leaf holds.
    assert_eq!(check_written(&[(record, leaf, other), (record, leaf, honest)], &[], records), Ok(()));
    let newest = [(record, leaf, honest), (record, leaf, other)];
    assert_eq!(check_written(&newest, &[], records), unaccounted("record 0"));
    // An entry for a leaf that does not exist.
    let empty = LeafHash::EMPTY;
    assert_eq!(check_written(&[(record, empty, honest)], &[], &[]), unaccounted("record 0"));
    let stray = [(record, leaf, honest), (grant, empty, entry(grant, grant_leaf))];
    assert_eq!(check_written(&stray, &[], records), unaccounted("grant 64"));
    // A record was written, but its entry names a grant.
    let silent = [(record, leaf, entry(grant, empty)), (grant, grant_leaf, entry(grant, grant_leaf))];
    assert_eq!(check_written(&silent, grants, records), unaccounted("record 0"));
    let spoken = [(record, leaf, honest), (grant, grant_leaf, entry(grant, grant_leaf))];
    assert_eq!(check_written(&spoken, grants, records), Ok(()));
}

/// A forced revocation removes a leaf from the grants tree. Older entries of the chain still name that leaf.
#[test]
fn a_chain_with_forced_revocations_passes() -> TestResult {
    let mut world = World::new();
    world.grant(64, DOCTOR, Rights::READ | Rights::WRITE, Class::Laboratory.into());
    world.grant(65, OTHER, Rights::READ, Class::Laboratory.into());
    world.put(DOCTOR, 0, Class::Laboratory, "potassium 4.1 mmol/l");
    world.request(DOCTOR, 64, Class::Laboratory);
    let revoke = |world: &mut World, grants| {
        let revoke = ForcedRevoke { account: account(PATIENT), grants, directory: None };
        let revoke = L1Operation::from(revoke);
        world.ledger.consume(&revoke, time(NOW)).map(drop)
    };
    let kinds = |world: &World, size| {
        let (verified, entries) = walk(leaves(world), |end| world.audit_page(end, size))?;
        let grants = verified.leaves().grants().len();
        Ok::<_, LightError>((entries.iter().map(|entry| entry.kind).collect::<Vec<_>>(), grants))
    };
    let mut expected = vec![Kind::SetGrant, Kind::SetGrant, Kind::PutRecord, Kind::RequestAccess];
    assert_eq!(kinds(&world, 10)?, (expected.clone(), 2));
    let steps = [
        (RevokedGrants::Slot(GrantSlot::new(64)?), 1),
        (RevokedGrants::Slot(GrantSlot::new(64)?), 1),
        (RevokedGrants::Slot(GrantSlot::new(70)?), 1),
        (RevokedGrants::All, 0),
        (RevokedGrants::All, 0),
    ];
    for (grants, left) in steps {
        revoke(&mut world, grants)?;
        expected.push(Kind::ForcedRevoke);
        for size in [1, 3, 1_000] {
            assert_eq!(kinds(&world, size)?, (expected.clone(), left), "{grants:?}");
        }
    }
    Ok(())
}

/// A grant in the state must be newer than the last entry that ended it.
#[test]
fn a_grant_that_outlives_its_forced_end_is_not_believed() {
    let view = LIVED.subtree_view();
    let grants = &view.grants[..1];
    let (grant, leaf) = (Target::Grant(grants[0].slot), grants[0].grant.hash());
    let line = LIVED.audit_page(9, 9).entries[0];
    let set = AuditEntry { target: grant.into(), new_leaf: leaf, ..line };
    let end = |grants| ForcedRevoke { account: account(PATIENT), grants, directory: None }.audit_entry(time(NOW));
    let [one, all] = [RevokedGrants::Slot(grants[0].slot), RevokedGrants::All].map(end);
    let empty = LeafHash::EMPTY;
    for revoked in [one, all] {
        assert_eq!(check_written(&[(grant, leaf, set), (grant, empty, revoked)], &[], &[]), Ok(()));
        assert_eq!(check_written(&[(grant, empty, revoked), (grant, leaf, set)], grants, &[]), Ok(()));
        let kept = check_written(&[(grant, leaf, set), (grant, leaf, revoked)], grants, &[]);
        assert_eq!(kept, Err(LightError::Unaccounted("grant 64".to_owned())));
    }
    // Only a forced revocation empties a slot.
    let other = AuditEntry { kind: Kind::Revoke, ..one };
    let silent = check_written(&[(grant, leaf, set), (grant, empty, other)], &[], &[]);
    assert_eq!(silent, Err(LightError::Unaccounted("grant 64".to_owned())));
    let other = AuditEntry { kind: Kind::Revoke, ..all };
    let silent = check_written(&[(grant, leaf, set), (grant, empty, other)], &[], &[]);
    assert_eq!(silent, Err(LightError::Unaccounted("all grants".to_owned())));
}
