//! One L2 slot.

use emr_core::{AccountStatus, Role};
use halo2curves::ff::Field;

use super::{
    authority::Demand,
    builder::{Builder, Wire},
    gadget::eddsa::SignatureWires,
    leaf::{IdentityWires, MedicalWires, PathName, PathWires},
    message::{KindWires, MessageWires},
};
use crate::{
    layout,
    operation::{Authority, DirectoryRule, MAX_VALIDITY, Signer},
    primitive::{field::Fr, poseidon::Tag},
    statement::{Clause, OperationWitness},
    version::CircuitVersion,
};

/// What all slots share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) version: CircuitVersion,
    pub(super) domain: Wire,
    pub(super) time: Wire,
    /// Identity root after the L1 operations.
    pub(super) identity_root: Wire,
}

/// What a slot leaves.
pub(super) struct Outcome {
    pub(super) active: Wire,
    pub(super) medical_root: Wire,
    pub(super) d2: [Wire; 4],
}

const SIGNER: PathName = PathName { bit: "signer bit", sibling: "signer sibling" };
const PATIENT: PathName = PathName { bit: "patient bit", sibling: "patient sibling" };
const AUTHORITY: PathName = PathName { bit: "authority bit", sibling: "authority sibling" };
const TARGET: PathName = PathName { bit: "target bit", sibling: "target sibling" };

fn code(code: u8) -> Fr {
    Fr::from(u64::from(code))
}

/// Bits of the longest validity: `2^20 > 7 days`.
const VALIDITY_BITS: u32 = 20;
const _: () = assert!(MAX_VALIDITY < 1 << VALIDITY_BITS);

impl Builder {
    /// A slot: does what the witness says under the statement's clauses, or nothing.
    pub(super) fn operation(&mut self, common: &Common, medical_root: Wire, witness: &OperationWitness) -> Outcome {
        let version = &common.version;
        let (mut kind, kind_code, tree) = self.kind(&witness.message.header);
        let message = self.message(&witness.message, kind_code, tree);

        let (signer, patient_bits, own) = self.parties(common, &kind, &message, witness);
        let hash = self.message_hash(common.domain, &message);
        let signature = &witness.signature;
        let [r_x, r_y, s] = self.hints("signature", [signature.r_x, signature.r_y, signature.s]);
        self.assert_signature(kind.active, signer.key, hash, SignatureWires { r: [r_x, r_y], s });

        let medical = self.medical(&witness.medical);
        let grants = [&witness.old_grant, &witness.new_grant];
        let target = self.target(&kind, grants, [&witness.old_record, &witness.new_record]);
        self.assert_expected(&mut kind, &message, &target, medical.key_directory);
        self.assert_new_fields(version, &mut kind, &message, &target);

        self.clause(Clause::C2, "the patient or the author");
        // Doctors act under a grant: one wire for both (a test of the table holds it to that).
        let by_others = self.kind_where(&mut kind, |rule| rule.signer.admits_doctors());
        let delegated = self.and_not(by_others, own);
        let by_author = self.kind_where(&mut kind, |rule| rule.signer == Signer::PatientOrAuthor);
        let foreign = self.and_not(by_author, own);
        self.assert_equal_if(foreign, target.old_record.author, message.signer);
        self.clause(Clause::C2, "a doctor or the patient");
        self.assert_constant_if(delegated, signer.role, code(Role::Doctor.code()));
        self.clause(Clause::C2, "the patient");
        let by_patient = self.kind_where(&mut kind, |rule| rule.signer == Signer::Patient);
        self.assert_zero_unless(own, by_patient);

        let authority = self.grant("authority", &witness.authority);
        let authority_path =
            self.path(AUTHORITY, &witness.authority_path, &witness.authority_slot, version.grant_depth);
        let request = self.kind_where(&mut kind, |rule| matches!(rule.authority, Authority::Target(_)));
        self.assert_authority(&Demand {
            request,
            message: &message,
            signer: &signer,
            delegated,
            grants_root: medical.grants_root,
            time: common.time,
            authority: &authority,
            authority_path: &authority_path,
            target: &target.old_grant,
            old_record: &target.old_record,
            old_record_empty: target.old_record_empty,
            new_record: &target.new_record,
        });

        let path = self.path(TARGET, &witness.target_path, &witness.message.header.slot, version.record_depth);
        self.clause(Clause::C8, "slot");
        let slot = self.recompose(&path.bits);
        self.assert_equal(slot, message.slot);
        let roots = self.replace_target(version, &kind, &target, &medical, &path);

        self.clause(Clause::C11, "audit entry");
        let MessageWires { kind: kind_code, signer, tree, slot, purpose, .. } = message;
        let packed = self.pack(&layout::AUDIT_ENTRY, [kind_code, signer, tree, slot, purpose, common.time]);
        let entry = self.hash(Tag::AuditEntry, &[packed, target.new_leaf, message.salt]);
        let audit_head = self.hash(Tag::AuditHead, &[medical.audit_head, entry]);
        self.clause(Clause::C12, "key directory after");
        let current =
            self.is_equal("inverse for a directory in force", message.directory_before, medical.key_directory);
        let if_current = self.kind_where(&mut kind, |rule| rule.directory == DirectoryRule::ReplacedIfCurrent);
        let replaced = self.kind_where(&mut kind, |rule| rule.directory == DirectoryRule::Replaced);
        let replaces = self.mul_add(if_current, current, replaced);
        let key_directory = self.select(replaces, message.directory_after, medical.key_directory);
        let next = MedicalWires { grants_root: roots.grants, records_root: roots.records, audit_head, key_directory };
        let path = self.path_along("medical sibling", &witness.medical_path, patient_bits);
        let medical_root = self.replace_medical(kind.active, &path, medical_root, [&medical, &next]);

        self.clause(Clause::C17, "data of a padding slot");
        let place = self.pack(&layout::PLACE, [message.patient, tree, slot]);
        let [place, entry, key_directory] = [place, entry, key_directory].map(|word| self.mul(kind.active, word));
        Outcome { active: kind.active, medical_root, d2: [place, target.new_leaf, entry, key_directory] }
    }

    /// C1, C2, C4 and C5 as far as they concern the two identities.
    ///
    /// Gives the signer, the bits of the patient's index, and whether the two are one.
    fn parties(
        &mut self,
        common: &Common,
        kind: &KindWires,
        message: &MessageWires,
        witness: &OperationWitness,
    ) -> (IdentityWires, Vec<Wire>, Wire) {
        let depth = common.version.account_depth;
        let active = kind.active;
        let header = &witness.message.header;
        let signer = self.identity("signer", &witness.signer);
        let patient = self.identity("patient", &witness.patient);
        let signer_path = self.path(SIGNER, &witness.signer_path, &header.signer, depth);
        let patient_path = self.path(PATIENT, &witness.patient_path, &header.patient, depth);
        for (clause, account, path, leaf) in [
            (Clause::C1, message.signer, &signer_path, &signer),
            (Clause::C5, message.patient, &patient_path, &patient),
        ] {
            self.clause(clause, "account");
            let position = self.recompose(&path.bits);
            self.assert_equal(position, account);
            self.clause(clause, "identity under the identity root");
            let root = path.root(self, leaf.hash);
            self.assert_equal_if(active, root, common.identity_root);
        }
        self.clause(Clause::C2, "signer active");
        self.assert_constant_if(active, signer.status, code(AccountStatus::Active.code()));
        self.clause(Clause::C5, "an active patient");
        self.assert_constant_if(active, patient.role, code(Role::Patient.code()));
        self.assert_constant_if(active, patient.status, code(AccountStatus::Active.code()));

        self.clause(Clause::C4, "epochs");
        self.assert_equal(message.signer_epoch, signer.epoch);
        self.assert_equal(message.patient_epoch, patient.epoch);
        self.clause(Clause::C4, "validity");
        let left = self.gated_difference(active, message.valid_until, common.time);
        self.assert_range(left, VALIDITY_BITS);
        let longest = Fr::from(MAX_VALIDITY);
        let room = self.linear(&[(longest, active), (-Fr::ONE, left)], Fr::ZERO);
        self.assert_range(room, VALIDITY_BITS);

        self.clause(Clause::C2, "who acts");
        let own = self.is_equal("inverse for own", message.signer, message.patient);
        (signer, patient_path.bits, own)
    }

    /// C5, C12 and C13: the medical leaf before lies under the root before, and the root after follows by the same path.
    fn replace_medical(
        &mut self,
        active: Wire,
        path: &PathWires,
        root: Wire,
        [before, after]: [&MedicalWires; 2],
    ) -> Wire {
        self.clause(Clause::C5, "medical leaf under the medical root");
        let old_leaf = self.medical_hash(before);
        let old_root = path.root(self, old_leaf);
        self.assert_equal_if(active, old_root, root);
        self.clause(Clause::C12, "medical leaf after");
        let new_leaf = self.medical_hash(after);
        let new_root = path.root(self, new_leaf);
        self.clause(Clause::C13, "root after the operation");
        self.select(active, new_root, root)
    }
}
