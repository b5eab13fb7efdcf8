//! The list of a record's versions, and every way in which a node could falsify it.

use emr_api::{AuthorProof, RevisionView, StoredAt};
use emr_client::verify::{
    history::{HistoryError, Revisions, check_previous, check_version},
    membership::MembershipError,
    record::{AuthenticRecord, RecordProofError},
};
use emr_core::{Authorship, Cid, Class, ClassMask, Opaque, RecordStatus, Revision, Rights, UnixTime, Version};
use emr_crypto::{OpenedRecord, SealedRecord};
use emr_rollup::{
    operation::{Action, Kind, Rekey},
    primitive::field::{self, Fr},
    state::leaf::{AuditEntry, RecordLeaf},
    statement::IdentityFields,
};

use crate::fixtures::*;

/// A world, and what its node lists of record 0, the oldest first.
struct Past {
    world: World,
    rows: Vec<RevisionView>,
}

impl Past {
    fn new() -> Self {
        let mut world = World::new();
        world.grant(64, DOCTOR, Rights::READ | Rights::WRITE, ClassMask::ALL);
        world.grant(65, OTHER, Rights::READ, Class::Laboratory.into());
        // Another record of the same patient, with as many versions.
        for text in ["sodium 139", "sodium 140", "sodium 141"] {
            world.put(DOCTOR, 1, Class::Laboratory, text);
        }
        Self { world, rows: Vec::new() }
    }

    fn leaf(&self) -> RecordLeaf {
        self.world.record_view(0).leaf
    }

    fn note(&mut self, kind: Kind, signer: usize) {
        let stored = self.world.stored.get(&slot(0)).copied().filter(|_| kind != Kind::Tombstone);
        self.rows.push(RevisionView {
            kind,
            signer: account(signer),
            leaf: self.leaf(),
            batch: self.world.batches,
            time: time(NOW),
            stored,
        });
    }

    fn put(&mut self, who: usize, class: Class, text: &str) {
        self.world.put(who, 0, class, text);
        self.note(Kind::PutRecord, who);
    }

    fn delete(&mut self) {
        self.world.tombstone(PATIENT, 0);
        self.note(Kind::Tombstone, PATIENT);
    }

    /// The patient seals the newest version to the newest epoch.
    fn rekey(&mut self) {
        let view = self.world.record_view(0);
        let opened = self.world.open(&view);
        let newest = self.world.directory.published().current_public(view.leaf.class);
        let context = self.world.id(0).context(&view.leaf);
        let sealed = SealedRecord::seal(&opened.authored, &context, &newest).expect("sealed");
        let at = StoredAt { manifest: sealed.manifest, salt: sealed.storage_salt };
        self.world.blocks.extend(sealed.blocks);
        self.world.stored.insert(slot(0), at);
        let stored = field::from_opaque(Opaque::stored(&at.manifest, &at.salt).as_bytes());
        let leaf = RecordLeaf { stored, revision: view.leaf.revision.next().expect("room"), ..view.leaf };
        let action = Action::Rekey(Rekey { slot: slot(0), expected: view.leaf.revision, leaf });
        let signed = self.world.sign(PATIENT, None, action);
        self.world.execute(&signed);
        self.note(Kind::Rekey, PATIENT);
    }

    /// Two versions, a revocation, a rekey of the second, and a third version in another class by the patient.
    fn lived() -> Self {
        let mut past = Self::new();
        past.put(DOCTOR, Class::Laboratory, "potassium 4.1");
        past.put(DOCTOR, Class::Laboratory, "potassium 4.2");
        past.world.revoke(65, OTHER, Class::Laboratory.into());
        past.rekey();
        past.put(PATIENT, Class::Imaging, "thorax");
        past
    }

    /// What an honest node lists: the newest first.
    fn listed(&self) -> Vec<RevisionView> {
        self.rows.iter().rev().cloned().collect()
    }

    fn audit(&self) -> Vec<AuditEntry> {
        self.world.ledger.patient(account(PATIENT)).expect("a patient").audit.entries().to_vec()
    }

    /// What the patient finds in a list.
    fn patient_finds(&self, listed: Vec<RevisionView>) -> Result<(), HistoryError> {
        Revisions::check(&self.leaf(), listed, true)?.check_audit(&self.world.id(0), self.audit().iter())
    }

    /// What the patient finds after a change of an honest list.
    fn after(&self, change: impl FnOnce(&mut Vec<RevisionView>)) -> HistoryError {
        let mut listed = self.listed();
        assert_eq!(self.patient_finds(listed.clone()), Ok(()));
        change(&mut listed);
        self.patient_finds(listed).expect_err("accepted")
    }

    fn author(&self, row: &RevisionView) -> AuthorProof {
        let account = row.leaf.author;
        let identity = IdentityFields::from(self.world.ledger.identity(account).expect("registered"));
        AuthorProof { account, identity, path: self.world.ledger.trees().identity_path(account) }
    }

    fn open(&self, row: &RevisionView) -> OpenedRecord {
        let fetch = |cid: &Cid| self.world.blocks.get(cid).cloned().ok_or(std::io::Error::other("no such block"));
        let manifest = row.stored.expect("kept").manifest;
        let context = self.world.id(0).context(&row.leaf);
        OpenedRecord::open(&manifest, fetch, &self.world.directory.keyring(), &context).expect("opens")
    }

    fn check(&self, row: &RevisionView, opened: &OpenedRecord) -> Result<AuthenticRecord, RecordProofError> {
        let proof = self.world.record_view(0).proof.expect("settled");
        check_version(&self.world.id(0), row, &self.author(row), &proof, opened, &self.world.state())
    }
}

fn revision(number: u64) -> Revision {
    Revision::new(number).expect("a revision")
}

fn version(number: u64) -> Version {
    Version::new(number).expect("a version")
}

#[test]
fn an_honest_list_is_proved_whole() -> TestResult {
    let past = Past::lived();
    let revisions = Revisions::check(&past.leaf(), past.listed(), true)?;
    revisions.check_audit(&past.world.id(0), past.audit().iter())?;
    assert_eq!(revisions.as_slice().len(), 4);
    // The newest ciphertext of version 2 is that of the Rekey.
    assert_eq!(revisions.version(version(2))?.kind, Kind::Rekey);
    assert_eq!(revisions.version(version(9)), Err(HistoryError::NoSuchVersion(version(9))));
    let mut deleted = Past::lived();
    deleted.delete();
    deleted.patient_finds(deleted.listed())?;
    assert_eq!(Revisions::check(&deleted.leaf(), deleted.listed(), true)?.version(version(3))?.kind, Kind::PutRecord);
    Ok(())
}

/// Each version leads to the one before it, also over a Rekey, and under the epoch in which it was written.
#[test]
fn each_version_names_the_one_before_it() -> TestResult {
    let past = Past::lived();
    let revisions = Revisions::check(&past.leaf(), past.listed(), false)?;
    let mut next: Option<Authorship> = None;
    for (number, text, author) in [(3, "thorax", PATIENT), (2, "potassium 4.2", DOCTOR), (1, "potassium 4.1", DOCTOR)] {
        let row = revisions.version(version(number))?;
        if let Some(next) = &next {
            check_previous(next, &row.leaf)?;
        }
        let read = past.check(row, &past.open(row))?;
        assert_eq!((read.record(), read.author()), (&record(text), account(author)));
        next = Some(read.authorship().clone());
    }
    assert_eq!(next.and_then(|first| first.previous), None);
    Ok(())
}

#[test]
fn a_node_cannot_leave_out_swap_or_repeat_a_revision() {
    let past = Past::lived();
    assert_eq!(past.after(Vec::clear), HistoryError::Newest);
    assert_eq!(past.after(|rows| _ = rows.remove(0)), HistoryError::Newest);
    for place in 1..4 {
        let omitted = HistoryError::Omitted(revision(4 - place as u64));
        assert_eq!(past.after(|rows| _ = rows.remove(place)), omitted);
    }
    assert_eq!(past.after(|rows| rows.truncate(2)), HistoryError::Omitted(revision(1)));
    assert_eq!(past.after(|rows| rows.swap(0, 1)), HistoryError::Newest);
    assert_eq!(past.after(|rows| rows.swap(1, 2)), HistoryError::Omitted(revision(3)));
    assert_eq!(past.after(|rows| rows.insert(1, rows[1].clone())), HistoryError::Order);
    assert_eq!(past.after(|rows| rows.reverse()), HistoryError::Newest);
    // Content of two versions exchanged, each under the number of the other.
    let exchanged = past.after(|rows| {
        let (a, b) = (rows[1].leaf, rows[3].leaf);
        (rows[1].leaf.authored, rows[3].leaf.authored) = (b.authored, a.authored);
    });
    assert_eq!(exchanged, HistoryError::Impossible(revision(3)));
}

#[test]
fn no_part_of_a_revision_can_be_changed() {
    let past = Past::lived();
    let audit = |number| HistoryError::Audit(revision(number));
    assert_eq!(past.after(|rows| rows[1].time = UnixTime::ZERO), audit(3));
    assert_eq!(past.after(|rows| rows[1].signer = account(DOCTOR)), audit(3));
    assert_eq!(past.after(|rows| rows[3].leaf.class = Class::Genetics), audit(1));
    assert_eq!(past.after(|rows| rows[3].leaf.authored += Fr::one()), audit(1));
    assert_eq!(past.after(|rows| rows[3].leaf.custodian = None), audit(1));
    // An author must be the signer.
    assert_eq!(past.after(|rows| rows[3].leaf.author = account(OTHER)), HistoryError::Impossible(revision(1)));
    assert_eq!(past.after(|rows| (rows[3].leaf.author, rows[3].signer) = (account(OTHER), account(OTHER))), audit(1),);
    assert_eq!(past.after(|rows| rows[2].leaf.version = version(5)), HistoryError::Impossible(revision(3)));
    assert_eq!(past.after(|rows| rows[1].kind = Kind::PutRecord), HistoryError::Impossible(revision(3)));
    assert_eq!(past.after(|rows| rows[2].kind = Kind::Rekey), HistoryError::Impossible(revision(2)));
    assert_eq!(
        past.after(|rows| rows[2].leaf.status = RecordStatus::Tombstone),
        HistoryError::Impossible(revision(3)),
        "nothing follows a deletion",
    );
    assert_eq!(past.after(|rows| rows[3].stored = rows[1].stored), HistoryError::Stored(revision(1)));
    // With a leaf that fits the wrong address.
    assert_eq!(
        past.after(|rows| (rows[3].stored, rows[3].leaf.stored) = (rows[1].stored, rows[1].leaf.stored)),
        audit(1),
    );
}

#[test]
fn another_record_has_another_history() {
    let past = Past::lived();
    let mut other = Past::new();
    for text in ["a", "b", "c"] {
        other.put(DOCTOR, Class::Laboratory, text);
    }
    assert_eq!(past.after(|rows| *rows = other.listed()), HistoryError::Newest);
    assert_eq!(past.after(|rows| rows[3] = other.rows[0].clone()), HistoryError::Audit(revision(1)));
    // The audit chain of a record with more revisions, or fewer.
    let mut longer = Past::lived();
    longer.put(DOCTOR, Class::Imaging, "more");
    let list = Revisions::check(&past.leaf(), past.listed(), true).expect("honest");
    assert_eq!(list.check_audit(&past.world.id(0), longer.audit().iter()), Err(HistoryError::Audit(revision(4))));
    let id = past.world.id(0);
    let chain = past.audit();
    let last = chain.iter().take(chain.len() - 1);
    assert_eq!(list.check_audit(&id, last), Err(HistoryError::Audit(revision(4))));
    // One entry more before the first revision.
    let first = chain.iter().find(|entry| entry.new_leaf == past.rows[0].leaf.hash()).expect("an entry");
    let more: Vec<_> = [first].into_iter().chain(&chain).collect();
    assert_eq!(list.check_audit(&id, more.into_iter()), Err(HistoryError::Audit(Revision::ZERO)));
}

/// A reader of one class sees gaps where a version has another class. Everything else in a gap is a lie.
#[test]
fn a_gap_is_as_long_as_its_versions() -> TestResult {
    let mut past = Past::new();
    past.put(DOCTOR, Class::Laboratory, "1");
    past.put(DOCTOR, Class::MentalHealth, "2");
    past.rekey();
    past.put(DOCTOR, Class::MentalHealth, "3");
    past.put(DOCTOR, Class::Laboratory, "4");
    let of_class = |past: &Past| past.listed().into_iter().filter(|row| row.leaf.class == Class::Laboratory).collect();
    let visible: Vec<RevisionView> = of_class(&past);
    assert_eq!(visible.len(), 2);
    let revisions = Revisions::check(&past.leaf(), visible, false)?;
    assert_eq!(revisions.version(version(2)), Err(HistoryError::NoSuchVersion(version(2))));
    // Version 4 does not name version 1, so nothing proves it.
    let read = past.check(revisions.version(version(4))?, &past.open(revisions.version(version(4))?))?;
    let first = revisions.version(version(1))?.leaf;
    assert_eq!(check_previous(read.authorship(), &first), Err(HistoryError::NotPrevious(version(1))));
    // The patient may see every class: to them a gap is a lie.
    assert_eq!(Revisions::check(&past.leaf(), of_class(&past), true), Err(HistoryError::Omitted(revision(2))));

    // A node that hides only the Rekey, or a single version without a change of class back and forth.
    let hide = |places: &[usize]| {
        let kept = past.listed().into_iter().enumerate().filter(|(place, _)| !places.contains(place));
        Revisions::check(&past.leaf(), kept.map(|(_, row)| row).collect(), false).map(|_| ())
    };
    assert_eq!(hide(&[1, 2, 3]), Ok(()));
    assert_eq!(hide(&[2]), Err(HistoryError::Impossible(revision(4))), "a Rekey");
    let mut moved = past.listed();
    moved.remove(3);
    moved[2].kind = Kind::PutRecord;
    assert_eq!(Revisions::check(&past.leaf(), moved, false), Err(HistoryError::Impossible(revision(3))));
    // The oldest may be hidden too.
    assert_eq!(hide(&[4]), Ok(()));
    assert_eq!(hide(&[3, 4]), Err(HistoryError::Impossible(revision(3))), "a Rekey cannot come first");
    Ok(())
}

/// The node gives the reader another version than the one that is named: of another record, or forged by the same author.
#[test]
fn only_the_named_version_is_the_previous_one() -> TestResult {
    let past = Past::lived();
    let revisions = Revisions::check(&past.leaf(), past.listed(), false)?;
    let row = revisions.version(version(2))?;
    let second = past.check(row, &past.open(row))?;
    let first = revisions.version(version(1))?.leaf;
    assert_eq!(check_previous(second.authorship(), &first), Ok(()));
    let not_previous =
        |leaf: RecordLeaf| check_previous(second.authorship(), &leaf) == Err(HistoryError::NotPrevious(leaf.version));
    assert!(not_previous(RecordLeaf { authored: first.authored + Fr::one(), ..first }));
    assert!(not_previous(RecordLeaf { version: version(2), ..first }));
    assert!(not_previous(row.leaf));

    // The doctor signs another first version, of which nothing was settled.
    let mut other = Past::new();
    other.put(DOCTOR, Class::Laboratory, "potassium 9.9");
    assert!(not_previous(other.rows[0].leaf));
    // Its content under the honest leaf.
    let honest = revisions.version(version(1))?;
    let forged = other.open(&other.rows[0]);
    assert!(matches!(past.check(honest, &forged), Err(RecordProofError::Mismatch(_))));
    Ok(())
}

#[test]
fn the_author_of_an_old_version_is_proved() -> TestResult {
    let past = Past::lived();
    let row = past.rows[0].clone();
    let opened = past.open(&row);
    past.check(&row, &opened)?;
    let proof = past.world.record_view(0).proof.ok_or("settled")?;
    let (id, state) = (past.world.id(0), past.world.state());
    let other = past.author(&RevisionView { leaf: RecordLeaf { author: account(OTHER), ..row.leaf }, ..row.clone() });
    let check =
        |author: &AuthorProof, row: &RevisionView| check_version(&id, row, author, &proof, &opened, &state).map(|_| ());
    let not_there = RecordProofError::Membership(MembershipError::NotThere { leaf: "identity" });
    assert_eq!(check(&other, &row), Err(not_there.clone()));
    // Another's identity under the author's number.
    let renamed = AuthorProof { account: row.leaf.author, ..other.clone() };
    assert_eq!(check(&renamed, &row), Err(not_there));
    // A leaf that names another author.
    let blamed = RevisionView { leaf: RecordLeaf { author: account(OTHER), ..row.leaf }, ..row.clone() };
    assert_eq!(check(&other, &blamed), Err(RecordProofError::Mismatch("author")));
    // Blocks that are not served any more.
    let gone = RevisionView { stored: None, ..row.clone() };
    assert_eq!(check(&past.author(&row), &gone), Err(RecordProofError::Mismatch("storage")));
    // Another state.
    let mut later = Past::lived();
    later.put(DOCTOR, Class::Imaging, "more");
    let other_state = check_version(&id, &row, &past.author(&row), &proof, &opened, &later.world.state());
    assert!(matches!(other_state, Err(RecordProofError::Membership(MembershipError::OtherState { .. }))));
    Ok(())
}
