//! The statement for one L2 operation: a compare-and-swap of one leaf in one patient's subtree, and an audit entry.

use emr_core::{AccountStatus, Purpose, Rights, Role};
use halo2curves::ff::Field;

use super::{Clause, GrantFields, OperationWitness, RecordFields, Violation, manage, require};
use crate::{
    batch::D2Entry,
    layout,
    operation::{Authority, Counter, DirectoryRule, Kind, MAX_VALIDITY, Rule, SignerRule},
    primitive::{
        eddsa::{PublicKey, Signature},
        field::{self, Fr, to_u64},
        jubjub::{Point, Scalar},
        poseidon::{self, Tag},
    },
    state::leaf::{Tree, extend_head},
    statement::MedicalFields,
    version::CircuitVersion,
};

/// The values that all operations of a batch share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The circuit version, which holds the depths.
    pub version: CircuitVersion,
    /// The rollup's domain.
    pub domain: Fr,
    /// The batch's time.
    pub time: u64,
    /// The identity root after the L1 operations.
    pub identity_root: Fr,
}

/// The effect of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationEffect {
    /// The medical root after the operation.
    pub medical_root: Fr,
    /// The patient's medical leaf after the operation.
    pub medical: MedicalFields,
    /// The entry of D2.
    pub d2: D2Entry,
}

/// The witness's numbers, checked to be in range, and the rules of its kind.
struct Numbers {
    rule: &'static Rule,
    signer: u64,
    patient: u64,
    slot: u64,
    expected: u64,
    purpose: u64,
    valid_until: u64,
}

impl Numbers {
    fn own(&self) -> bool {
        self.signer == self.patient
    }
}

/// The leaf before and after, for the checks of one kind.
pub(crate) struct LeafChange<'a> {
    /// The depths.
    pub(crate) version: &'a CircuitVersion,
    /// The batch's time.
    pub(crate) time: u64,
    /// The whole witness. Ranges and empty slots are checked already.
    pub(crate) witness: &'a OperationWitness,
}

/// An element as an integer, or `u64::MAX` if it is not below 2^64. No field in range has that value.
pub(crate) fn number(element: &Fr) -> u64 {
    to_u64(element).unwrap_or(u64::MAX)
}

/// Whether an element is a code.
pub(crate) fn is_code(element: &Fr, code: u8) -> bool {
    *element == Fr::from(u64::from(code))
}

/// Checks one L2 operation under a medical root and returns its effect.
///
/// # Errors
/// [`Violation`] with the clause that the operation breaks.
pub fn check_operation(
    context: &Context,
    medical_root: Fr,
    witness: &OperationWitness,
) -> Result<OperationEffect, Violation> {
    let numbers = check_ranges(context, witness)?;
    check_parties(context, medical_root, witness, &numbers)?;
    check_message(context, witness, &numbers)?;
    check_authority(context, witness, &numbers)?;
    check_leaf(context, witness, &numbers)?;
    let medical = &witness.medical;
    let is_record = match numbers.rule.tree {
        Tree::Records => true,
        Tree::Grants => false,
    };
    let (old_leaf, new_leaf, old_root, depth) = if is_record {
        let (old, new) = (witness.old_record.hash(), witness.new_record.hash());
        (old, new, medical.records_root, context.version.record_depth)
    } else {
        let (old, new) = (witness.old_grant.hash(), witness.new_grant.hash());
        (old, new, medical.grants_root, context.version.grant_depth)
    };
    let path = witness.target_path.to_depth(depth);
    require(path.root(numbers.slot as u32, old_leaf) == old_root, Clause::TargetExpected, "target under its root")?;
    let new_root = path.root(numbers.slot as u32, new_leaf);

    let header = &witness.message.header;
    let entry_packed = layout::AUDIT_ENTRY.pack_elements([
        header.kind,
        header.signer,
        header.tree,
        header.slot,
        header.purpose,
        context.time.into(),
    ]);
    let entry = poseidon::hash(Tag::AuditEntry, &[entry_packed, new_leaf.element(), witness.message.salt]);
    let replaces = match numbers.rule.directory {
        DirectoryRule::Stays => false,
        DirectoryRule::Replaced => true,
        DirectoryRule::ReplacedIfCurrent => witness.message.directory_before == medical.key_directory.element(),
    };
    let next = MedicalFields {
        grants_root: if is_record { medical.grants_root } else { new_root },
        records_root: if is_record { new_root } else { medical.records_root },
        audit_head: extend_head(medical.audit_head, entry),
        key_directory: if replaces { witness.message.directory_after.into() } else { medical.key_directory },
    };
    let place = layout::PLACE.pack([numbers.patient, number(&header.tree), numbers.slot]);
    Ok(OperationEffect {
        medical_root: witness.medical_path.root(numbers.patient as u32, next.hash()),
        medical: next,
        d2: D2Entry { place, leaf: new_leaf, audit_entry: entry, key_directory: next.key_directory },
    })
}

/// Checks C19, and the shapes that the circuit has by construction.
fn check_ranges(context: &Context, witness: &OperationWitness) -> Result<Numbers, Violation> {
    let version = &context.version;
    let header = &witness.message.header;
    header.check_ranges()?;
    witness.signer.check_ranges()?;
    witness.patient.check_ranges()?;
    for grant in [&witness.authority, &witness.old_grant, &witness.new_grant] {
        grant.check_ranges()?;
        require(
            !grant.is_empty() || *grant == GrantFields::default(),
            Clause::InRange,
            "an empty grant holds nothing",
        )?;
    }
    for record in [&witness.old_record, &witness.new_record] {
        record.check_ranges()?;
        require(
            !record.is_empty() || *record == RecordFields::default(),
            Clause::InRange,
            "an empty record holds nothing",
        )?;
    }
    let accounts = |path: &crate::state::tree::Path| path.depth() == version.account_depth;
    require(
        accounts(&witness.signer_path)
            && accounts(&witness.patient_path)
            && accounts(&witness.medical_path)
            && witness.authority_path.depth() == version.grant_depth
            && witness.target_path.depth() == version.record_depth,
        Clause::InRange,
        "path length",
    )?;
    let rule = Kind::L2
        .into_iter()
        .find(|kind| is_code(&header.kind, kind.code()))
        .and_then(Kind::rule)
        .ok_or(Violation { clause: Clause::SignerAllowed, detail: "no such kind" })?;
    let depth = match rule.tree {
        Tree::Records => version.record_depth,
        Tree::Grants => version.grant_depth,
    };
    require(is_code(&header.tree, rule.tree as u8), Clause::NewLeafAllowed, "tree of this kind")?;
    let numbers = Numbers {
        rule,
        signer: number(&header.signer),
        patient: number(&header.patient),
        slot: number(&header.slot),
        expected: number(&header.expected),
        purpose: number(&header.purpose),
        valid_until: number(&header.valid_until),
    };
    require(numbers.slot >> depth == 0, Clause::InRange, "slot beyond the tree")?;
    require(
        numbers.signer >> version.account_depth == 0 && numbers.patient >> version.account_depth == 0,
        Clause::InRange,
        "account beyond the tree",
    )?;
    require(number(&witness.authority_slot) >> version.grant_depth == 0, Clause::InRange, "authority slot")?;
    Ok(numbers)
}

/// Checks C1, C2, C4 and C5.
fn check_parties(
    context: &Context,
    medical_root: Fr,
    witness: &OperationWitness,
    numbers: &Numbers,
) -> Result<(), Violation> {
    let (signer, patient, header) = (&witness.signer, &witness.patient, &witness.message.header);
    require(
        witness.signer_path.root(numbers.signer as u32, signer.hash()) == context.identity_root,
        Clause::SignerKnown,
        "signer under the identity root",
    )?;
    require(is_code(&signer.status, AccountStatus::Active.code()), Clause::SignerAllowed, "signer active")?;
    match numbers.rule.signer {
        SignerRule::Patient => require(numbers.own(), Clause::SignerAllowed, "the patient")?,
        SignerRule::PatientOrDoctor | SignerRule::PatientOrAuthor => {
            let doctor = is_code(&signer.role, Role::Doctor.code());
            require(numbers.own() || doctor, Clause::SignerAllowed, "a doctor or the patient")?;
        }
        SignerRule::Doctor => {
            require(is_code(&signer.role, Role::Doctor.code()), Clause::SignerAllowed, "a doctor")?;
        }
        SignerRule::Grantee | SignerRule::PatientOrDelegate => {}
    }
    require(header.signer_epoch == signer.epoch, Clause::MessageCurrent, "signer's epoch")?;
    require(header.patient_epoch == patient.epoch, Clause::MessageCurrent, "patient's epoch")?;
    require(context.time <= numbers.valid_until, Clause::MessageCurrent, "expired")?;
    require(numbers.valid_until <= context.time + MAX_VALIDITY, Clause::MessageCurrent, "valid for too long")?;
    require(
        witness.patient_path.root(numbers.patient as u32, patient.hash()) == context.identity_root,
        Clause::PatientInOrder,
        "patient under the identity root",
    )?;
    require(is_code(&patient.role, Role::Patient.code()), Clause::PatientInOrder, "a patient")?;
    require(is_code(&patient.status, AccountStatus::Active.code()), Clause::PatientInOrder, "patient active")?;
    require(
        witness.medical_path.root(numbers.patient as u32, witness.medical.hash()) == medical_root,
        Clause::PatientInOrder,
        "medical leaf under the medical root",
    )
}

/// Checks C3, and that the signed purpose is an assigned one.
fn check_message(context: &Context, witness: &OperationWitness, numbers: &Numbers) -> Result<(), Violation> {
    let refuse = |detail| Violation { clause: Clause::SignatureValid, detail };
    let fields = &witness.signature;
    let signature = Signature {
        r: Point::new(fields.r_x, fields.r_y).ok_or(refuse("R on the curve"))?,
        s: Scalar::from_bytes(&field::to_bytes(&fields.s)).ok_or(refuse("S below the order"))?,
    };
    let key = PublicKey::from_coordinates(witness.signer.key_x, witness.signer.key_y).map_err(|_| refuse("key"))?;
    key.verify(witness.message.hash(context.domain), &signature).map_err(|_| refuse("equation"))?;
    // Nobody could ever decode an audit entry whose purpose is not assigned.
    let assigned = u8::try_from(numbers.purpose).ok().and_then(Purpose::from_code).is_some();
    require(assigned, Clause::InRange, "an assigned purpose")?;
    require(
        numbers.rule.has_purpose || numbers.purpose == 0,
        Clause::NewLeafAllowed,
        "a purpose only where one is asked for",
    )
}

/// Checks C6 and C7: a doctor writes under a grant, a delegate manages grants under one, and an access request uses one.
fn check_authority(context: &Context, witness: &OperationWitness, numbers: &Numbers) -> Result<(), Violation> {
    let live = |grant: &GrantFields| {
        let for_signer = grant.grantee == witness.message.header.signer || grant.grantee == witness.signer.org;
        require(grant.grantee != Fr::ZERO && for_signer, Clause::GrantAllows, "granted to somebody else")?;
        require(context.time <= number(&grant.not_after), Clause::GrantAllows, "grant expired")
    };
    let in_scope = |grant: &GrantFields, class: u64| class < 16 && number(&grant.scope) >> class & 1 == 1;
    let right = |grant: &GrantFields, rights: Rights| number(&grant.rights) & u64::from(rights.bits()) != 0;
    let grant = &witness.authority;
    let known = || {
        let root = witness.authority_path.root(number(&witness.authority_slot) as u32, grant.hash());
        require(root == witness.medical.grants_root, Clause::GrantKnown, "grant under the grants root")
    };
    match numbers.rule.authority {
        Authority::None => Ok(()),
        Authority::UnlessOwn(_) | Authority::ManageUnlessOwn if numbers.own() => Ok(()),
        Authority::ManageUnlessOwn => {
            known()?;
            live(grant)?;
            require(right(grant, Rights::MANAGE), Clause::GrantAllows, "no such right")?;
            manage::check(&context.version, witness)
        }
        Authority::UnlessOwn(rights) => {
            known()?;
            live(grant)?;
            require(right(grant, rights), Clause::GrantAllows, "no such right")?;
            require(in_scope(grant, number(&witness.new_record.class)), Clause::GrantAllows, "class out of scope")?;
            let old = &witness.old_record;
            require(
                old.is_empty() || in_scope(grant, number(&old.class)),
                Clause::GrantAllows,
                "old class out of scope",
            )
        }
        Authority::Target(rights) => {
            let grant = &witness.old_grant;
            live(grant)?;
            require(right(grant, rights), Clause::GrantAllows, "no such right")?;
            require(in_scope(grant, numbers.purpose & 15), Clause::GrantAllows, "class out of scope")
        }
    }
}

/// Checks C8 and C9: counter, directory and author by the kind's row, and the rest by the kind's own check.
fn check_leaf(context: &Context, witness: &OperationWitness, numbers: &Numbers) -> Result<(), Violation> {
    let rule = numbers.rule;
    let (old_record, old_grant) = (&witness.old_record, &witness.old_grant);
    match rule.counter {
        Counter::Revision => {
            require(number(&old_record.revision) == numbers.expected, Clause::TargetExpected, "revision")?
        }
        Counter::Version => require(number(&old_grant.version) == numbers.expected, Clause::TargetExpected, "version")?,
        Counter::VersionAtMost => {
            require(number(&old_grant.version) <= numbers.expected, Clause::TargetExpected, "version")?
        }
        Counter::Uses => require(number(&old_grant.uses) == numbers.expected, Clause::TargetExpected, "use count")?,
    }
    match rule.directory {
        DirectoryRule::Replaced => {
            let in_force = witness.message.directory_before == witness.medical.key_directory.element();
            require(in_force, Clause::TargetExpected, "key directory in force")?;
        }
        DirectoryRule::Stays | DirectoryRule::ReplacedIfCurrent => {}
    }
    (rule.check)(&LeafChange { version: &context.version, time: context.time, witness })?;
    match rule.signer {
        SignerRule::PatientOrAuthor => {
            let author = old_record.author == witness.message.header.signer;
            require(numbers.own() || author, Clause::SignerAllowed, "the patient or the author")
        }
        SignerRule::Patient
        | SignerRule::PatientOrDoctor
        | SignerRule::PatientOrDelegate
        | SignerRule::Grantee
        | SignerRule::Doctor => Ok(()),
    }
}

impl LeafChange<'_> {
    /// Checks C9 for kinds that sign a record's next leaf.
    pub(crate) fn check_record_is_signed(&self) -> Result<(), Violation> {
        let OperationWitness { old_record: old, new_record: new, message, .. } = self.witness;
        require(message.new_packed == new.packed(), Clause::NewLeafAllowed, "new fields as signed")?;
        let commitments = message.opaque_1 == new.authored && message.opaque_2 == new.stored;
        require(commitments, Clause::NewLeafAllowed, "commitments as signed")?;
        let no_directory = message.directory_before == Fr::ZERO && message.directory_after == Fr::ZERO;
        require(no_directory, Clause::NewLeafAllowed, "no directory in a record operation")?;
        require(new.revision == old.revision + Fr::ONE, Clause::NewLeafAllowed, "revision + 1")
    }

    /// Checks C9 for kinds that sign a grant's next leaf.
    pub(crate) fn check_grant_is_signed(&self) -> Result<(), Violation> {
        let OperationWitness { old_grant: old, new_grant: new, message, .. } = self.witness;
        let signed = GrantFields { uses: Fr::ZERO, ..*new };
        require(message.new_packed == signed.packed(), Clause::NewLeafAllowed, "new fields as signed")?;
        require(
            message.opaque_1 == new.salt && message.opaque_2 == Fr::ZERO,
            Clause::NewLeafAllowed,
            "salt as signed",
        )?;
        require(new.uses == old.uses, Clause::NewLeafAllowed, "the use count is carried over")?;
        require(new.version == message.header.expected + Fr::ONE, Clause::NewLeafAllowed, "version = expected + 1")
    }
}
