//! One L2 slot.

use super::{
    authority::Claim,
    builder::Wire,
    delegate::DelegateWires,
    demand::{Demand, Leaf, Moment, Party},
    gadget::{
        constrained::{Bit, Ranged},
        eddsa::SignatureWires,
        one_hot::Within,
        path::MerklePath,
    },
    leaf::{IdentityWires, MedicalWires, PathName},
    message::{HeaderHints, HeaderWires},
    scope::Section,
};
use crate::{
    layout,
    operation::{Authority, DirectoryRule, Kind, MAX_VALIDITY, SignerRule},
    primitive::{field::Fr, poseidon::Tag},
    statement::OperationWitness,
    version::CircuitVersion,
};
use emr_core::{AccountStatus, Role};

/// The values that all L2 slots share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) version: CircuitVersion,
    pub(super) domain: Wire,
    pub(super) time: Ranged<{ layout::TIME }>,
    /// The identity root after the L1 operations.
    pub(super) identity_root: Wire,
}

/// The result of an L2 slot.
pub(super) struct Outcome {
    pub(super) active: Bit,
    pub(super) medical_root: Wire,
    pub(super) d2: [Wire; 4],
}

/// The two identities of an operation, and their positions.
struct Parties {
    signer: IdentityWires,
    signer_index: Ranged<{ layout::ACCOUNT }>,
    signer_epoch: Ranged<{ layout::EPOCH }>,
    patient_index: Ranged<{ layout::ACCOUNT }>,
    patient_epoch: Ranged<{ layout::EPOCH }>,
    patient_path: MerklePath,
    /// Whether the signer is the patient.
    own: Bit,
}

const SIGNER: PathName = PathName { turn: "signer turn", sibling: "signer sibling" };
const PATIENT: PathName = PathName { turn: "patient turn", sibling: "patient sibling" };
const AUTHORITY: PathName = PathName { turn: "authority turn", sibling: "authority sibling" };
const TARGET: PathName = PathName { turn: "target turn", sibling: "target sibling" };

fn code(code: u8) -> Fr {
    Fr::from(u64::from(code))
}

/// Bits of the longest validity in seconds: `2^20` seconds are more than 7 days.
const VALIDITY_BITS: u32 = 20;
const _: () = assert!(MAX_VALIDITY < 1 << VALIDITY_BITS);

impl Section<'_> {
    /// Lays out an L2 slot. It executes the operation of the witness, or is unused.
    pub(super) fn operation(&mut self, common: &Common, medical_root: Wire, witness: &OperationWitness) -> Outcome {
        let version = &common.version;
        let (mut kind, kind_code, tree) = self.kind(&witness.message.header);
        let (hints, body) = self.message(&witness.message);

        let parties = self.parties(common, kind.active, &hints, witness);
        let Parties { signer, own, .. } = parties;
        // The path shows the slot's range, and `assert_authority` that of the purpose.
        let (slot, slot_shown) = self.promise(hints.slot);
        let (purpose, purpose_shown) = self.promise(hints.purpose);
        let header = HeaderWires {
            kind: kind_code,
            signer: parties.signer_index,
            signer_epoch: parties.signer_epoch,
            patient: parties.patient_index,
            patient_epoch: parties.patient_epoch,
            tree,
            slot,
            expected: hints.expected,
            purpose,
            valid_until: hints.valid_until,
        };
        let hash = self.message_hash(common.domain, &header, &body);
        let signature = &witness.signature;
        let [r_x, r_y, s] = self.hints("signature", [signature.r_x, signature.r_y, signature.s]);
        self.assert_signature(kind.active, signer.key, hash, SignatureWires { r: [r_x, r_y], s });

        let medical = self.medical(&witness.medical);
        let grants = [&witness.old_grant, &witness.new_grant];
        let target = self.target(&kind, grants, [&witness.old_record, &witness.new_record]);
        self.assert_expected(&mut kind, (&header, &body), &target, medical.key_directory, common.time);
        self.assert_new_fields((version, common.time), &mut kind, (&header, &body), &target);

        // A doctor always acts under a grant, so one wire stands for both. A test of the table of rules checks this.
        let by_others = self.kind_where(&mut kind, |rule| rule.signer.admits_doctors());
        let writes = self.under(Demand::SignedByDoctor).within_and_not(by_others, own);
        let by_author = self.kind_where(&mut kind, |rule| rule.signer == SignerRule::PatientOrAuthor);
        let mut scope = self.under(Demand::SignedByAuthor);
        let foreign = scope.and_not(by_author, own);
        scope.assert_equal_if(foreign, target.old_record.author, header.signer);
        let doctor = code(Role::Doctor.code());
        self.under(Demand::SignedByDoctor).assert_constant_if(writes, signer.role, doctor);
        let by_doctor = self.kind_where(&mut kind, |rule| rule.signer == SignerRule::Doctor);
        self.under(Demand::EmergencyByDoctor).assert_constant_if(by_doctor, signer.role, doctor);
        let by_patient = self.kind_where(&mut kind, |rule| rule.signer == SignerRule::Patient);
        self.under(Demand::SignedByPatient).assert_zero_unless(own, by_patient);

        let mut scope = self.under(Demand::SignedByDelegate);
        let [sets, revokes] = [Kind::SetGrant, Kind::Revoke].map(|one| scope.within_and_not(kind.is(one), own));
        let delegate = DelegateWires { sets, revokes, manages: scope.either(sets, revokes) };

        let authority = self.grant(Leaf::Authority, &witness.authority);
        let place = (&witness.authority_slot, authority.hash);
        let mut scope = self.under(Demand::AuthorityTurns);
        let (_, authority_nodes) = scope.path(AUTHORITY, &witness.authority_path, place, version.grant_depth);
        let request = self.kind_where(&mut kind, |rule| matches!(rule.authority, Authority::Target(_)));
        let has_purpose = self.kind_where(&mut kind, |rule| rule.has_purpose);
        self.assert_authority(Claim {
            request,
            emergency: kind.is(Kind::BreakGlass),
            has_purpose,
            header: &header,
            purpose: purpose_shown,
            signer: &signer,
            writes,
            manages: delegate.manages,
            grants_root: medical.grants_root,
            time: common.time,
            authority: &authority,
            authority_root: authority_nodes.root(),
            target: &target.old_grant,
            new_grant: &target.new_grant,
            old_record: &target.old_record,
            old_record_empty: target.old_record_empty,
            new_record: &target.new_record,
        });
        self.assert_delegate(version, delegate, (&header, &body), (&signer, &authority), &target);

        let place = (&witness.message.header.slot, target.old_leaf);
        let mut scope = self.under(Demand::TargetTurns(Moment::Before));
        let (path, before) = scope.path(TARGET, &witness.target_path, place, version.record_depth);
        let mut scope = self.under(Demand::TargetSlot);
        let position = scope.compose(path.turns());
        scope.keep(slot_shown, position);
        let roots = self.replace_target(version, &kind, &target, &medical, (&path, &before));

        let mut scope = self.under(Demand::AuditEntry);
        let fields =
            [kind_code.into(), header.signer.into(), tree.into(), slot.into(), purpose.into(), common.time.into()];
        let packed = scope.pack(&layout::AUDIT_ENTRY, fields);
        let entry = scope.hash(Tag::AuditEntry, &[packed.into(), target.new_leaf, body.salt]);
        let audit_head = scope.hash(Tag::AuditHead, &[medical.audit_head, entry]);
        let mut scope = self.under(Demand::DirectoryIsCurrent);
        let current = scope.is_equal("inverse for a directory in force", body.directory_before, medical.key_directory);
        let if_current = self.kind_where(&mut kind, |rule| rule.directory == DirectoryRule::ReplacedIfCurrent);
        let replaced = self.kind_where(&mut kind, |rule| rule.directory == DirectoryRule::Replaced);
        let mut scope = self.under(Demand::DirectoryAfter);
        let replaces = scope.and_or((if_current, current), replaced);
        let key_directory = scope.select(replaces, body.directory_after, medical.key_directory);
        let next = MedicalWires { grants_root: roots.grants, records_root: roots.records, audit_head, key_directory };
        let mut scope = self.under(Demand::MedicalTurns(Moment::Before));
        let path = scope.path_along("medical sibling", &witness.medical_path, &parties.patient_path);
        let medical_root = self.replace_medical(kind.active, &path, medical_root, [&medical, &next]);

        let mut scope = self.under(Demand::UnusedData);
        let place = scope.pack(&layout::PLACE, [header.patient.into(), tree.into(), slot.into()]).into();
        let [place, entry, key_directory] =
            [place, entry, key_directory].map(|word: Wire| scope.zero_unless(kind.active, word));
        Outcome { active: kind.active.into(), medical_root, d2: [place, target.new_leaf, entry, key_directory] }
    }

    /// The two identities. Constrains them to be in the state and active, and the message to name their present epochs.
    fn parties(&mut self, common: &Common, active: Within, hints: &HeaderHints, witness: &OperationWitness) -> Parties {
        let header = &witness.message.header;
        let signer = self.identity(Leaf::Signer, &witness.signer);
        let patient = self.identity(Leaf::Patient, &witness.patient);
        let identities = [
            (Party::Signer, SIGNER, hints.signer, (&header.signer, &signer), &witness.signer_path),
            (Party::Patient, PATIENT, hints.patient, (&header.patient, &patient), &witness.patient_path),
        ];
        let [(signer_index, _), (patient_index, patient_path)] =
            identities.map(|(party, name, hint, (position, leaf), path)| {
                let mut scope = self.under(Demand::IdentityTurns(party));
                let (path, nodes) = scope.path(name, path, (position, leaf.hash), common.version.account_depth);
                let (account, shown) = self.promise(hint);
                let mut scope = self.under(Demand::Account(party));
                let position = scope.compose(path.turns());
                scope.keep(shown, position);
                let mut scope = self.under(Demand::IdentityRoot(party));
                scope.assert_equal_if(active, nodes.root(), common.identity_root);
                (account, path)
            });
        let status = code(AccountStatus::Active.code());
        self.under(Demand::SignerActive).assert_constant_if(active, signer.status, status);
        self.under(Demand::PatientRole).assert_constant_if(active, patient.role, code(Role::Patient.code()));
        self.under(Demand::PatientActive).assert_constant_if(active, patient.status, status);

        let mut scope = self.under(Demand::AccountEpoch(Party::Signer));
        let signer_epoch = scope.equal_in_range(hints.signer_epoch, signer.epoch);
        let mut scope = self.under(Demand::AccountEpoch(Party::Patient));
        let patient_epoch = scope.equal_in_range(hints.patient_epoch, patient.epoch);
        let mut scope = self.under(Demand::NotExpired);
        let left = scope.assert_at_least_if::<VALIDITY_BITS, _, _>(active, hints.valid_until, common.time);
        self.under(Demand::NotTooLong).assert_at_most_if(active, left, MAX_VALIDITY);

        let mut scope = self.under(Demand::OwnOperation);
        let own = scope.is_equal("inverse for own", signer_index, patient_index);
        Parties { signer, signer_index, signer_epoch, patient_index, patient_epoch, patient_path, own }
    }

    /// Constrains the old medical leaf to be under `root`, and computes the new root by the same path.
    fn replace_medical(
        &mut self,
        active: Within,
        path: &MerklePath,
        root: Wire,
        [before, after]: [&MedicalWires; 2],
    ) -> Wire {
        let mut scope = self.under(Demand::MedicalTurns(Moment::Before));
        let old_leaf = scope.medical_hash(before);
        let old_root = scope.climb(path, old_leaf).root();
        self.under(Demand::MedicalRoot).assert_equal_if(active, old_root, root);
        let mut scope = self.under(Demand::MedicalTurns(Moment::After));
        let new_leaf = scope.medical_hash(after);
        let new_root = scope.climb(path, new_leaf).root();
        self.under(Demand::MedicalRootAfter).select(active, new_root, root)
    }
}
