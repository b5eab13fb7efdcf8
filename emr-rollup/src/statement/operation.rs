//! One L2 operation: a compare-and-swap of one leaf in one patient's subtree, and an audit entry.

use emr_core::{AccountStatus, GrantSlot, Purpose, RecordStatus, Rights, Role};
use halo2curves::ff::Field;

use super::{Clause, GrantFields, OperationWitness, RecordFields, Violation, require};
use crate::{
    batch::Words,
    layout,
    operation::{Kind, MAX_VALIDITY},
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

/// What is the same for all operations of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The depths.
    pub version: CircuitVersion,
    /// The rollup's domain.
    pub domain: Fr,
    /// The batch's time.
    pub time: u64,
    /// Identity root after the L1 operations.
    pub identity_root: Fr,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationEffect {
    /// Medical root after.
    pub medical_root: Fr,
    /// The patient's medical leaf after.
    pub medical: MedicalFields,
    /// The entry of D2.
    pub d2: Words,
}

/// The witness's numbers, in range.
struct Numbers {
    kind: Kind,
    signer: u64,
    patient: u64,
    slot: u64,
    expected: u64,
    purpose: u64,
    valid_until: u64,
}

fn number(element: &Fr) -> u64 {
    to_u64(element).unwrap_or(u64::MAX)
}

fn code(element: &Fr, code: u8) -> bool {
    *element == Fr::from(u64::from(code))
}

/// Checks one L2 operation under a medical root and says what it does.
///
/// # Errors
/// The clause it breaks.
pub fn check_operation(
    context: &Context,
    medical_root: Fr,
    witness: &OperationWitness,
) -> Result<OperationEffect, Violation> {
    let numbers = check_ranges(context, witness)?;
    check_parties(context, medical_root, witness, &numbers)?;
    check_message(context, witness, &numbers)?;
    check_authority(context, witness, &numbers)?;
    let is_record = matches!(numbers.kind, Kind::PutRecord | Kind::Tombstone);
    let (old_leaf, new_leaf) = if is_record {
        check_record(witness, &numbers)?;
        (witness.old_record.hash(), witness.new_record.hash())
    } else {
        check_grant(context, witness, &numbers)?;
        (witness.old_grant.hash(), witness.new_grant.hash())
    };

    let medical = &witness.medical;
    let (old_root, depth) = if is_record {
        (medical.records_root, context.version.record_depth)
    } else {
        (medical.grants_root, context.version.grant_depth)
    };
    let path = crate::state::tree::Path::new(witness.target_path.siblings().take(depth));
    require(path.root(numbers.slot as u32, old_leaf) == old_root, Clause::C8, "target under its root")?;
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
    let entry = poseidon::hash(Tag::AuditEntry, &[entry_packed, new_leaf, witness.message.salt]);
    let replaces = match numbers.kind {
        Kind::SetGrant => true,
        Kind::Revoke => witness.message.directory_before == medical.key_directory,
        _ => false,
    };
    let next = MedicalFields {
        grants_root: if is_record { medical.grants_root } else { new_root },
        records_root: if is_record { new_root } else { medical.records_root },
        audit_head: extend_head(medical.audit_head, entry),
        key_directory: if replaces { witness.message.directory_after } else { medical.key_directory },
    };
    let place = layout::PLACE.pack([numbers.patient, number(&header.tree), numbers.slot]);
    Ok(OperationEffect {
        medical_root: witness.medical_path.root(numbers.patient as u32, next.hash()),
        medical: next,
        d2: [place, new_leaf, entry, next.key_directory],
    })
}

/// C19, and the shapes that the circuit has by construction.
fn check_ranges(context: &Context, witness: &OperationWitness) -> Result<Numbers, Violation> {
    let version = &context.version;
    let header = &witness.message.header;
    header.check_ranges()?;
    witness.signer.check_ranges()?;
    witness.patient.check_ranges()?;
    for grant in [&witness.authority, &witness.old_grant, &witness.new_grant] {
        grant.check_ranges()?;
        require(!grant.is_empty() || *grant == GrantFields::default(), Clause::C19, "an empty grant holds nothing")?;
    }
    for record in [&witness.old_record, &witness.new_record] {
        record.check_ranges()?;
        require(
            !record.is_empty() || *record == RecordFields::default(),
            Clause::C19,
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
        Clause::C19,
        "path length",
    )?;
    let kind = [Kind::PutRecord, Kind::Tombstone, Kind::SetGrant, Kind::Revoke, Kind::RequestAccess]
        .into_iter()
        .find(|kind| code(&header.kind, kind.code()))
        .ok_or(Violation { clause: Clause::C2, detail: "no such kind" })?;
    let is_record = matches!(kind, Kind::PutRecord | Kind::Tombstone);
    let (tree, depth) =
        if is_record { (Tree::Records, version.record_depth) } else { (Tree::Grants, version.grant_depth) };
    require(code(&header.tree, tree as u8), Clause::C9, "tree of this kind")?;
    let numbers = Numbers {
        kind,
        signer: number(&header.signer),
        patient: number(&header.patient),
        slot: number(&header.slot),
        expected: number(&header.expected),
        purpose: number(&header.purpose),
        valid_until: number(&header.valid_until),
    };
    require(numbers.slot >> depth == 0, Clause::C19, "slot beyond the tree")?;
    require(
        numbers.signer >> version.account_depth == 0 && numbers.patient >> version.account_depth == 0,
        Clause::C19,
        "account beyond the tree",
    )?;
    require(number(&witness.authority_slot) >> version.grant_depth == 0, Clause::C19, "authority slot")?;
    Ok(numbers)
}

/// C1, C2, C4 and C5.
fn check_parties(
    context: &Context,
    medical_root: Fr,
    witness: &OperationWitness,
    numbers: &Numbers,
) -> Result<(), Violation> {
    let (signer, patient, header) = (&witness.signer, &witness.patient, &witness.message.header);
    require(
        witness.signer_path.root(numbers.signer as u32, signer.hash()) == context.identity_root,
        Clause::C1,
        "signer under the identity root",
    )?;
    require(code(&signer.status, AccountStatus::Active.code()), Clause::C2, "signer active")?;
    let own = numbers.signer == numbers.patient;
    match numbers.kind {
        Kind::PutRecord | Kind::Tombstone => {
            require(own || code(&signer.role, Role::Doctor.code()), Clause::C2, "a doctor or the patient")?;
        }
        Kind::SetGrant | Kind::Revoke => require(own, Clause::C2, "the patient")?,
        _ => {}
    }
    require(header.signer_epoch == signer.epoch, Clause::C4, "signer's epoch")?;
    require(header.patient_epoch == patient.epoch, Clause::C4, "patient's epoch")?;
    require(context.time <= numbers.valid_until, Clause::C4, "expired")?;
    require(numbers.valid_until <= context.time + MAX_VALIDITY, Clause::C4, "valid for too long")?;
    require(
        witness.patient_path.root(numbers.patient as u32, patient.hash()) == context.identity_root,
        Clause::C5,
        "patient under the identity root",
    )?;
    require(code(&patient.role, Role::Patient.code()), Clause::C5, "a patient")?;
    require(code(&patient.status, AccountStatus::Active.code()), Clause::C5, "patient active")?;
    require(
        witness.medical_path.root(numbers.patient as u32, witness.medical.hash()) == medical_root,
        Clause::C5,
        "medical leaf under the medical root",
    )
}

/// C3, and that the signed purpose is one.
fn check_message(context: &Context, witness: &OperationWitness, numbers: &Numbers) -> Result<(), Violation> {
    let refuse = |detail| Violation { clause: Clause::C3, detail };
    let fields = &witness.signature;
    let signature = Signature {
        r: Point::new(fields.r_x, fields.r_y).ok_or(refuse("R on the curve"))?,
        s: Scalar::from_bytes(&field::to_bytes(&fields.s)).ok_or(refuse("S below the order"))?,
    };
    let key = PublicKey::from_coordinates(witness.signer.key_x, witness.signer.key_y).map_err(|_| refuse("key"))?;
    key.verify(witness.message.hash(context.domain), &signature).map_err(|_| refuse("equation"))?;
    // An audit entry whose purpose has no type could not be read by anyone, ever.
    let assigned = u8::try_from(numbers.purpose).ok().and_then(Purpose::from_code).is_some();
    require(assigned, Clause::C19, "an assigned purpose")?;
    require(
        numbers.kind == Kind::RequestAccess || numbers.purpose == 0,
        Clause::C9,
        "a purpose only where one is asked for",
    )
}

/// C6 and C7: a doctor writes under a grant; whoever requests access uses one.
fn check_authority(context: &Context, witness: &OperationWitness, numbers: &Numbers) -> Result<(), Violation> {
    let own = numbers.signer == numbers.patient;
    let writes = matches!(numbers.kind, Kind::PutRecord | Kind::Tombstone);
    let live = |grant: &GrantFields| {
        let for_signer = grant.grantee == witness.message.header.signer || grant.grantee == witness.signer.org;
        require(grant.grantee != Fr::ZERO && for_signer, Clause::C7, "granted to somebody else")?;
        require(context.time <= number(&grant.not_after), Clause::C7, "grant expired")
    };
    let in_scope = |grant: &GrantFields, class: u64| class < 16 && number(&grant.scope) >> class & 1 == 1;
    let right = |grant: &GrantFields, rights: Rights| number(&grant.rights) & u64::from(rights.bits()) != 0;
    if writes && !own {
        let grant = &witness.authority;
        require(
            witness.authority_path.root(number(&witness.authority_slot) as u32, grant.hash())
                == witness.medical.grants_root,
            Clause::C6,
            "grant under the grants root",
        )?;
        live(grant)?;
        require(right(grant, Rights::WRITE), Clause::C7, "no right to write")?;
        require(in_scope(grant, number(&witness.new_record.class)), Clause::C7, "class out of scope")?;
        let old = &witness.old_record;
        require(old.is_empty() || in_scope(grant, number(&old.class)), Clause::C7, "old class out of scope")?;
    }
    if numbers.kind == Kind::RequestAccess {
        // The target is the grant that is used.
        let grant = &witness.old_grant;
        live(grant)?;
        require(right(grant, Rights::READ | Rights::EMERGENCY), Clause::C7, "no right to read")?;
        require(in_scope(grant, numbers.purpose & 15), Clause::C7, "class out of scope")?;
    }
    Ok(())
}

/// C8 and C9 for records.
fn check_record(witness: &OperationWitness, numbers: &Numbers) -> Result<(), Violation> {
    let (old, new, message) = (&witness.old_record, &witness.new_record, &witness.message);
    require(old.revision == Fr::from(numbers.expected), Clause::C8, "revision")?;
    require(message.new_packed == new.packed(), Clause::C9, "new fields as signed")?;
    require(message.opaque_1 == new.authored && message.opaque_2 == new.stored, Clause::C9, "commitments as signed")?;
    require(
        message.directory_before == Fr::ZERO && message.directory_after == Fr::ZERO,
        Clause::C9,
        "no directory in a record operation",
    )?;
    require(new.revision == old.revision + Fr::ONE, Clause::C9, "revision + 1")?;
    if numbers.kind == Kind::PutRecord {
        require(!code(&old.status, RecordStatus::Tombstone.code()), Clause::C8, "a deleted record stays deleted")?;
        require(code(&new.status, RecordStatus::Live.code()), Clause::C9, "live")?;
        require(new.version == old.version + Fr::ONE, Clause::C9, "version + 1")?;
        require(new.author == message.header.signer, Clause::C9, "the author is the signer")?;
        require(old.is_empty() || new.custodian == old.custodian, Clause::C9, "the custodian stays")
    } else {
        require(code(&old.status, RecordStatus::Live.code()), Clause::C8, "a live record")?;
        require(
            numbers.signer == numbers.patient || old.author == message.header.signer,
            Clause::C2,
            "the patient or the author",
        )?;
        let expected =
            RecordFields { status: u64::from(RecordStatus::Tombstone.code()).into(), revision: new.revision, ..*old };
        require(*new == expected, Clause::C9, "a tombstone keeps everything else")
    }
}

/// C8 and C9 for grants.
fn check_grant(context: &Context, witness: &OperationWitness, numbers: &Numbers) -> Result<(), Violation> {
    let (old, new, message) = (&witness.old_grant, &witness.new_grant, &witness.message);
    if numbers.kind == Kind::RequestAccess {
        require(old.uses == Fr::from(numbers.expected), Clause::C8, "use count")?;
        let body =
            [message.new_packed, message.opaque_1, message.opaque_2, message.directory_before, message.directory_after];
        require(body == [Fr::ZERO; 5], Clause::C9, "nothing but the use count is signed")?;
        return require(
            *new == GrantFields { uses: old.uses + Fr::ONE, ..*old },
            Clause::C9,
            "a request changes the use count only",
        );
    }
    let signed = GrantFields { uses: Fr::ZERO, ..*new };
    require(message.new_packed == signed.packed(), Clause::C9, "new fields as signed")?;
    require(message.opaque_1 == new.salt && message.opaque_2 == Fr::ZERO, Clause::C9, "salt as signed")?;
    require(new.uses == old.uses, Clause::C9, "the use count is carried over")?;
    require(new.version == Fr::from(numbers.expected) + Fr::ONE, Clause::C9, "version = expected + 1")?;
    if numbers.kind == Kind::SetGrant {
        require(number(&old.version) == numbers.expected, Clause::C8, "version")?;
        require(message.directory_before == witness.medical.key_directory, Clause::C8, "key directory in force")?;
        require(new.grantee != Fr::ZERO, Clause::C9, "granted to somebody")?;
        require(number(&new.rights) < u64::from(Rights::EMERGENCY.bits()), Clause::C9, "no emergency right")?;
        let first = GrantSlot::FIRST_ORDINARY.get().min(1 << (context.version.grant_depth - 1));
        require(numbers.slot >= first, Clause::C9, "a slot that is not for break-glass")
    } else {
        require(number(&old.version) <= numbers.expected, Clause::C8, "version")?;
        let cleared = GrantFields { uses: new.uses, version: new.version, salt: new.salt, ..GrantFields::default() };
        require(*new == cleared, Clause::C9, "a revoked slot is cleared")
    }
}
