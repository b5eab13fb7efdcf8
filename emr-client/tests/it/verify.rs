//! Honest records verify. Records with any change do not.

use emr_api::RecordView;
use std::{convert::Infallible, sync::LazyLock};

use emr_client::{
    verify::membership::MembershipError,
    verify::record::{RecordId, RecordProofError, check_unsettled, verify_record},
    verify::settled_state::SettledState,
};
use emr_core::{AccountIndex, Attachment, Class, Commitment, Opaque, RecordStatus, Revision, SaltSeed, Version};
use emr_crypto::{AttachmentKey, OpenedRecord, RsaSecret, SigningContext};
use emr_rollup::{
    operation::Domain,
    primitive::field::{self, Fr},
    state::tree::Path,
    statement::IdentityFields,
};
use proptest::prelude::*;

use crate::fixtures::*;

/// The input of a reader's check.
#[derive(Clone)]
struct Case {
    id: RecordId,
    view: RecordView,
    opened: OpenedRecord,
    state: SettledState,
}

impl Case {
    fn of(world: &World, number: u64) -> Self {
        let view = world.record_view(number);
        Self { id: world.id(number), opened: world.open(&view), view, state: world.state() }
    }

    fn verify(&self) -> Result<(), RecordProofError> {
        let proof = self.view.proof.as_ref().expect("settled");
        verify_record(&self.id, &self.view, proof, &self.opened, &self.state).map(|_| ())
    }

    fn proof(&mut self) -> &mut emr_api::RecordProof {
        self.view.proof.as_mut().expect("settled")
    }
}

static CASE: LazyLock<Case> = LazyLock::new(|| Case::of(&LIVED, 0));

/// The error after a change to an honest case.
fn after(change: impl FnOnce(&mut Case)) -> RecordProofError {
    let mut case = CASE.clone();
    assert_eq!(case.verify(), Ok(()));
    change(&mut case);
    case.verify().expect_err("accepted")
}

const fn not_there(leaf: &'static str) -> RecordProofError {
    RecordProofError::Membership(MembershipError::NotThere { leaf })
}

fn bump(path: &mut Path, level: usize) {
    *path = Path::new(path.siblings().enumerate().map(|(i, [left, middle, right])| {
        if i == level { [left, middle, right + Fr::one()] } else { [left, middle, right] }
    }));
}

#[test]
fn honest_records_of_doctor_and_patient_verify() -> TestResult {
    for (number, author, text) in [(0, DOCTOR, "potassium 4.2 mmol/l"), (1, PATIENT, "my allergies")] {
        let Case { id, view, opened, state } = Case::of(&LIVED, number);
        let proof = view.proof.as_ref().ok_or("settled")?;
        let verified = verify_record(&id, &view, proof, &opened, &state)?;
        assert_eq!(verified.authentic().record(), &record(text));
        assert_eq!(verified.authentic().author(), account(author));
        assert_eq!(verified.batch(), LIVED.batches);
        assert_eq!(check_unsettled(&id, &view, &opened)?.record(), &record(text));
    }
    Ok(())
}

#[test]
fn no_field_of_the_leaf_can_be_changed() {
    // The field is changed only in the view. If the authorship repeats the field, it contradicts the view; otherwise
    // the path fails.
    let mismatch = RecordProofError::Mismatch;
    assert_eq!(after(|c| c.view.leaf.class = Class::Imaging), mismatch("class"));
    assert_eq!(after(|c| c.view.leaf.author = account(OTHER)), mismatch("author"));
    assert_eq!(after(|c| c.view.leaf.version = Version::new(1).expect("a version")), mismatch("version"));
    assert_eq!(after(|c| c.view.leaf.authored += Fr::one()), mismatch("authorship"));
    assert_eq!(after(|c| c.view.leaf.stored += Fr::one()), mismatch("storage"));
    assert_eq!(after(|c| c.view.leaf.custodian = None), not_there("record leaf"));
    assert_eq!(after(|c| c.view.leaf.revision = Revision::ZERO), not_there("record leaf"));
    for status in [RecordStatus::Empty, RecordStatus::Tombstone] {
        let not_live = RecordProofError::NotLive { slot: slot(0), status };
        assert_eq!(after(|c| c.view.leaf.status = status), not_live);
    }
}

#[test]
fn a_deleted_record_is_not_live() {
    let view = LIVED.record_view(2);
    assert_eq!(view.leaf.status, RecordStatus::Tombstone);
    // The node claims that the record is live, but that leaf is not in the state.
    let mut case = Case { view, id: LIVED.id(2), ..CASE.clone() };
    assert!(matches!(case.verify(), Err(RecordProofError::NotLive { .. })));
    case.view.leaf.status = RecordStatus::Live;
    case.opened = LIVED.open(&case.view);
    assert_eq!(case.verify(), Err(not_there("record leaf")));
}

#[test]
fn no_level_of_a_path_can_be_changed() {
    for level in 0..12 {
        if level < 8 {
            assert_eq!(after(|c| bump(&mut c.proof().record_path, level)), not_there("record leaf"));
        }
        assert_eq!(after(|c| bump(&mut c.proof().medical_path, level)), not_there("medical leaf"));
        assert_eq!(after(|c| bump(&mut c.proof().author_path, level)), not_there("identity"));
    }
}

#[test]
fn paths_have_the_depth_of_their_tree() {
    // A prefix of a path leads from an inner node, which the node could present as a leaf.
    let cut = |path: &mut Path, by: usize| *path = Path::new(path.siblings().skip(by).collect::<Vec<_>>());
    let length = |error| matches!(error, RecordProofError::Membership(MembershipError::PathLength { .. }));
    for by in [1, 16] {
        assert!(length(after(|c| cut(&mut c.proof().record_path, by))));
        assert!(length(after(|c| cut(&mut c.proof().medical_path, by))));
        assert!(length(after(|c| cut(&mut c.proof().author_path, by))));
    }
    let longer = |path: &mut Path| *path = Path::new(path.siblings().chain([[Fr::zero(); 3]]).collect::<Vec<_>>());
    assert!(length(after(|c| longer(&mut c.proof().record_path))));
    // 288 more levels must not make a position wrap around.
    let endless = |path: &mut Path| *path = Path::new(std::iter::repeat_n([Fr::zero(); 3], 300));
    assert!(length(after(|c| endless(&mut c.proof().medical_path))));
}

#[test]
fn no_root_and_no_part_of_the_medical_leaf_can_be_changed() {
    let other = |error| matches!(error, RecordProofError::Membership(MembershipError::OtherState { .. }));
    assert!(other(after(|c| c.proof().identity_root += Fr::one())));
    assert!(other(after(|c| c.proof().medical_root += Fr::one())));
    assert_eq!(after(|c| c.proof().medical.records_root += Fr::one()), not_there("record leaf"));
    assert_eq!(after(|c| c.proof().medical.grants_root += Fr::one()), not_there("medical leaf"));
    assert_eq!(after(|c| c.proof().medical.audit_head += Fr::one()), not_there("medical leaf"));
    assert_eq!(after(|c| c.proof().medical.key_directory = Fr::from(99).into()), not_there("medical leaf"));
}

#[test]
fn an_older_state_is_not_the_settled_one() {
    let mut world = LIVED.clone();
    world.put(PATIENT, 3, Class::Document, "newer");
    let stale = MembershipError::OtherState { node: LIVED.batches, settled: LIVED.batches + 1 };
    assert_eq!(after(|c| c.state = world.state()), RecordProofError::Membership(stale));
    // The batch number that the node claims does not matter.
    let mut case = CASE.clone();
    case.proof().batch = u64::MAX;
    assert_eq!(case.verify(), Ok(()));
}

#[test]
fn an_older_version_does_not_pass_for_the_current_one() {
    let mut world = LIVED.clone();
    let old = world.record_view(0);
    let opened = world.open(&old);
    world.put(DOCTOR, 0, Class::Laboratory, "potassium 9.9 mmol/l");
    let mut view = world.record_view(0);
    let id = world.id(0);
    let state = world.state();
    // The old leaf with a path of the new state.
    (view.leaf, view.stored) = (old.leaf, old.stored);
    let case = Case { id, view, opened, state };
    assert_eq!(case.verify(), Err(not_there("record leaf")));
}

#[test]
fn a_record_stays_in_its_slot_patient_and_rollup() {
    let mismatch = RecordProofError::Mismatch;
    assert_eq!(after(|c| c.id.slot = slot(5)), mismatch("slot"));
    assert_eq!(
        after(|c| {
            c.id.slot = slot(5);
            c.view.slot = slot(5);
        }),
        mismatch("slot")
    );
    assert_eq!(after(|c| c.id.patient = account(OTHER)), mismatch("patient"));
    assert_eq!(after(|c| c.id.domain = Domain::new(1, [0x42; 20])), mismatch("contract"));
}

#[test]
fn a_swapped_manifest_is_refused() {
    let other = LIVED.record_view(1);
    assert_eq!(after(|c| c.view.stored = other.stored), RecordProofError::Mismatch("storage"));
    assert_eq!(after(|c| c.view.stored.manifest = other.stored.manifest), RecordProofError::Mismatch("storage"));
    assert_eq!(after(|c| c.opened.storage_salt[0] ^= 1), RecordProofError::Mismatch("storage salt"));
}

#[test]
fn the_author_is_the_one_in_the_state() {
    // Another doctor signs the same authorship with their real key.
    let impostor = LIVED.identities[OTHER].rsa();
    let resigned = |c: &mut Case| {
        c.opened.authored.author_key = LIVED.identities[OTHER].committed_key();
        c.opened.authored.signature = impostor.sign_pss(SigningContext::AUTHORSHIP, &c.opened.authored.authorship);
    };
    assert_eq!(after(resigned), RecordProofError::Mismatch("author's key"));
    // The node supports that doctor with the doctor's identity leaf, which is not at the author's index.
    let backed = |c: &mut Case| {
        resigned(c);
        c.view.author = LIVED.account_view(OTHER).identity;
        let path = LIVED.ledger.trees().identity_path(account(OTHER));
        c.proof().author_path = path;
    };
    assert_eq!(after(backed), not_there("identity"));
    // That doctor names themselves as the author, which contradicts the leaf.
    let renamed = |c: &mut Case| {
        backed(c);
        c.opened.authored.author = account(OTHER);
    };
    assert_eq!(after(renamed), RecordProofError::Mismatch("author"));
    // A signature for another purpose, and an empty one.
    let login = |c: &mut Case| {
        let key = LIVED.identities[DOCTOR].rsa();
        c.opened.authored.signature = key.sign_pss(SigningContext::LOGIN, &c.opened.authored.authorship);
    };
    assert_eq!(after(login), RecordProofError::Signature);
    assert_eq!(after(|c| c.opened.authored.signature.clear()), RecordProofError::Signature);
}

#[test]
fn a_patients_key_needs_its_salt_and_a_doctors_has_none() {
    assert_eq!(
        after(|c| c.opened.authored.author_key.salt = Some([0; 32])),
        RecordProofError::Mismatch("author's key")
    );
    for salt in [None, Some([0; 32])] {
        let mut case = Case::of(&LIVED, 1);
        case.opened.authored.author_key.salt = salt;
        assert_eq!(case.verify(), Err(RecordProofError::Mismatch("author's key")));
    }
}

#[test]
fn no_field_of_the_authors_identity_can_be_changed() -> TestResult {
    let key = LIVED.signing(OTHER).public();
    let changes: [fn(&mut IdentityFields); 4] =
        [|f| f.status = Fr::from(2), |f| f.org = Fr::zero(), |f| f.epoch += Fr::one(), |f| f.role = Fr::from(3)];
    for change in changes {
        assert_eq!(after(|c| change(&mut c.view.author)), not_there("identity"));
    }
    assert_eq!(after(|c| (c.view.author.key_x, c.view.author.key_y) = (key.x(), key.y())), not_there("identity"));
    assert_eq!(after(|c| c.view.author.encryption += Fr::one()), RecordProofError::Mismatch("author's key"));
    assert_eq!(after(|c| c.view.author.role = Fr::one()), RecordProofError::Mismatch("author's key"));
    // These fields are out of range, but pack to the same sum and so have the same hash.
    let honest = CASE.view.author.hash();
    let aliases: [fn(&mut IdentityFields); 3] = [
        |f| (f.role, f.status) = (f.role - Fr::one(), f.status + Fr::from(256)),
        |f| (f.status, f.org) = (f.status + Fr::one(), f.org - Fr::from(1 << 24)),
        |f| (f.org, f.epoch) = (f.org - Fr::one(), f.epoch + Fr::from(1 << 32)),
    ];
    for (alias, field) in aliases.into_iter().zip(["status", "org", "epoch"]) {
        let mut fields = CASE.view.author;
        alias(&mut fields);
        assert_eq!(fields.hash(), honest);
        let error = after(|c| alias(&mut c.view.author));
        assert_eq!(error, RecordProofError::Membership(MembershipError::Identity { field }));
    }
    Ok(())
}

#[test]
fn content_is_what_was_signed() {
    let mismatch = RecordProofError::Mismatch;
    assert_eq!(
        after(|c| c.opened.authored.record = record("potassium 1.0").to_dag_cbor().expect("small")),
        mismatch("content")
    );
    assert_eq!(after(|c| c.opened.authored.commitment_seed[0] ^= 1), mismatch("content"));
    assert_eq!(after(|c| c.opened.authored.record.clear()), RecordProofError::Content);
    // An authorship of another version, also signed by the author.
    let first = {
        let mut world = World::new();
        world.identities = LIVED.identities.clone();
        world.author(DOCTOR, 0, Class::Laboratory, "potassium 4.1 mmol/l", |_| {})
    };
    let older = |c: &mut Case| c.opened.authored = first.authored.clone();
    assert_eq!(after(older), mismatch("version"));
}

/// A dishonest doctor signs an authorship for another place and gets it into the state with the sequencer's help. It is
/// refused although every signature and path is valid.
#[test]
fn a_dishonest_author_cannot_move_an_authorship() {
    type Change = fn(&mut emr_core::Authorship);
    let changes: [(Change, &str); 6] = [
        (|s| s.domain[31] ^= 1, "contract"),
        (|s| s.patient = account(OTHER), "patient"),
        (|s| s.slot = slot(9), "slot"),
        (|s| (s.version, s.previous) = (Version::new(9).expect("a version"), Some(Opaque::of(b"x"))), "version"),
        (|s| s.class = Class::Genetics, "class"),
        (|s| s.commitment = Commitment::of(&record("else"), &SaltSeed::new([7; 32])).root(), "content"),
    ];
    for (change, what) in changes {
        let mut world = LIVED.clone();
        let version = world.author(DOCTOR, 3, Class::Laboratory, "text", change);
        world.write(DOCTOR, 3, &version);
        assert_eq!(Case::of(&world, 3).verify(), Err(RecordProofError::Mismatch(what)));
    }
}

/// A writer signs a record that names one file, and seals another, none, or one more. Every signature and path is valid.
#[test]
fn a_dishonest_author_cannot_list_other_attachments_than_they_sealed() -> TestResult {
    let seal = |content: &[u8]| AttachmentKey::seal(content, |_, _| Ok::<_, Infallible>(()));
    let (scan, other) = (seal(b"scan")?, seal(b"other")?);
    let mut named = record("see the scan");
    let media_type = "application/dicom".to_owned();
    named.attach("attachments.0".parse()?, Attachment { link: scan.manifest, size: scan.length, media_type })?;
    let mut world = LIVED.clone();
    let root = Commitment::of(&named, &SaltSeed::new([7; 32])).root();
    let version = world.author(DOCTOR, 3, Class::Imaging, "see the scan", |signed| signed.commitment = root);
    world.write(DOCTOR, 3, &version);
    let mut case = Case::of(&world, 3);
    case.opened.authored.record = named.to_dag_cbor()?;
    let longer = AttachmentKey { length: 5, ..scan.clone() };
    for (sealed, accepted) in [
        (vec![scan.clone()], true),
        (vec![], false),
        (vec![other.clone()], false),
        (vec![scan.clone(), other], false),
        (vec![scan.clone(), scan], false),
        (vec![longer], false),
    ] {
        case.opened.authored.attachments = sealed;
        let verified = case.verify();
        let refused = matches!(verified, Err(RecordProofError::Attachments(_)));
        assert!(if accepted { verified == Ok(()) } else { refused }, "{verified:?}");
    }
    // The list in the sealed part is not signed, and a record that names no file has none.
    assert!(matches!(
        after(|c| c.opened.authored.attachments = case.opened.authored.attachments.clone()),
        RecordProofError::Attachments(_)
    ));
    Ok(())
}

/// The same with an authorship to which the leaf does not commit.
#[test]
fn the_leaf_commits_to_the_authorship() {
    let mut world = LIVED.clone();
    let mut version = world.author(DOCTOR, 3, Class::Laboratory, "text", |_| {});
    version.leaf.authored = field::from_opaque(Opaque::of(b"another authorship").as_bytes());
    world.write(DOCTOR, 3, &version);
    assert_eq!(Case::of(&world, 3).verify(), Err(RecordProofError::Mismatch("authorship")));
}

#[test]
fn an_unsettled_record_is_checked_as_far_as_it_goes() {
    let Case { id, view, mut opened, .. } = CASE.clone();
    assert!(check_unsettled(&id, &view, &opened).is_ok());
    opened.authored.author_key = LIVED.identities[OTHER].committed_key();
    assert_eq!(check_unsettled(&id, &view, &opened), Err(RecordProofError::Mismatch("author's key")));
}

#[test]
fn an_unregistered_author_is_refused() -> TestResult {
    let nobody = AccountIndex::new(77)?;
    let error = after(|c| {
        let key = RsaSecret::clone(LIVED.identities[OTHER].rsa());
        c.opened.authored.author = nobody;
        c.view.leaf.author = nobody;
        c.opened.authored.author_key = LIVED.identities[OTHER].committed_key();
        c.opened.authored.signature = key.sign_pss(SigningContext::AUTHORSHIP, &c.opened.authored.authorship);
        c.view.author = LIVED.account_view(OTHER).identity;
        c.proof().author_path = LIVED.ledger.trees().identity_path(nobody);
    });
    assert_eq!(error, not_there("record leaf"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// A change of any bit of the opened envelope is refused.
    #[test]
    fn any_changed_byte_is_refused(part in 0usize..4, at: prop::sample::Index, bit in 0u8..8) {
        let mut case = CASE.clone();
        let authored = &mut case.opened.authored;
        let bytes = match part {
            0 => &mut authored.record[..],
            1 => &mut authored.authorship[..],
            2 => &mut authored.signature[..],
            _ => &mut authored.commitment_seed[..],
        };
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(case.verify().is_err());
    }
}
