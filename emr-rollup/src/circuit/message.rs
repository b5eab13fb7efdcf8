//! The signed message: kind flags, header, body.

use halo2curves::ff::Field;

use super::builder::{Builder, Wire};
use crate::{
    layout,
    operation::Kind,
    primitive::{field::Fr, poseidon::Tag},
    state::leaf::Tree,
    statement::{Clause, Header, Message},
};

/// One bit per kind; none is set in a padding slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct KindWires {
    pub(super) put: Wire,
    pub(super) tombstone: Wire,
    pub(super) set: Wire,
    pub(super) revoke: Wire,
    pub(super) request: Wire,
    /// Whether the slot is used.
    pub(super) active: Wire,
    /// Whether the target is a record.
    pub(super) record: Wire,
    /// Whether the target is a grant.
    pub(super) grant: Wire,
    /// SetGrant or Revoke.
    pub(super) regrant: Wire,
}

/// A message's wires.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageWires {
    pub(super) kind: Wire,
    pub(super) signer: Wire,
    pub(super) signer_epoch: Wire,
    pub(super) patient: Wire,
    pub(super) patient_epoch: Wire,
    pub(super) tree: Wire,
    pub(super) slot: Wire,
    pub(super) expected: Wire,
    pub(super) purpose: Wire,
    pub(super) valid_until: Wire,
    pub(super) new_packed: Wire,
    pub(super) opaque_1: Wire,
    pub(super) opaque_2: Wire,
    pub(super) directory_before: Wire,
    pub(super) directory_after: Wire,
    pub(super) salt: Wire,
}

impl Builder {
    /// The kind's bits: at most one is set, and it says what the header says.
    pub(super) fn kind(&mut self, header: &Header) -> (KindWires, Wire, Wire) {
        self.clause(Clause::C2, "kind");
        let kinds = [Kind::PutRecord, Kind::Tombstone, Kind::SetGrant, Kind::Revoke, Kind::RequestAccess];
        let code = |kind: Kind| Fr::from(u64::from(kind.code()));
        let flags = self.hints("kind flag", kinds.map(|kind| Fr::from(u64::from(header.kind == code(kind)))));
        for flag in flags {
            self.assert_bit(flag);
        }
        let [put, tombstone, set, revoke, request] = flags;
        let record = self.linear(&[(Fr::ONE, put), (Fr::ONE, tombstone)], Fr::ZERO);
        let regrant = self.linear(&[(Fr::ONE, set), (Fr::ONE, revoke)], Fr::ZERO);
        let grant = self.linear(&[(Fr::ONE, regrant), (Fr::ONE, request)], Fr::ZERO);
        let active = self.linear(&[(Fr::ONE, record), (Fr::ONE, grant)], Fr::ZERO);
        // Five bits whose sum is a bit: at most one is set.
        self.assert_bit(active);

        let [kind, tree] = self.hints("kind, tree", [header.kind, header.tree]);
        let terms: Vec<_> = kinds.into_iter().zip(flags).map(|(kind, flag)| (code(kind), flag)).collect();
        self.assert_linear(&terms, Fr::ZERO, kind);
        self.clause(Clause::C9, "tree of this kind");
        let code = |tree: Tree| Fr::from(tree as u64);
        self.assert_linear(&[(code(Tree::Grants), grant), (code(Tree::Records), record)], Fr::ZERO, tree);
        (KindWires { put, tombstone, set, revoke, request, active, record, grant, regrant }, kind, tree)
    }

    /// The message's fields. The caller constrains signer, patient, slot (as positions) and both epochs (as the leaves').
    pub(super) fn message(&mut self, message: &Message, kind: Wire, tree: Wire) -> MessageWires {
        let header = &message.header;
        let [signer, signer_epoch, patient, patient_epoch] =
            self.hints("header", [header.signer, header.signer_epoch, header.patient, header.patient_epoch]);
        let [slot, expected, purpose, valid_until] =
            self.hints("header", [header.slot, header.expected, header.purpose, header.valid_until]);
        self.clause(Clause::C19, "header");
        self.assert_ranges(&[(expected, layout::COUNTER), (valid_until, layout::TIME)]);
        let [new_packed, opaque_1, opaque_2] =
            self.hints("body", [message.new_packed, message.opaque_1, message.opaque_2]);
        let [directory_before, directory_after, salt] =
            self.hints("body", [message.directory_before, message.directory_after, message.salt]);
        MessageWires {
            kind,
            signer,
            signer_epoch,
            patient,
            patient_epoch,
            tree,
            slot,
            expected,
            purpose,
            valid_until,
            new_packed,
            opaque_1,
            opaque_2,
            directory_before,
            directory_after,
            salt,
        }
    }

    /// `H_7` of a message.
    pub(super) fn message_hash(&mut self, domain: Wire, message: &MessageWires) -> Wire {
        self.clause(Clause::C3, "message");
        let MessageWires { kind, signer, signer_epoch, patient, patient_epoch, tree, slot, .. } = *message;
        let MessageWires { expected, purpose, valid_until, .. } = *message;
        let fields = [kind, signer, signer_epoch, patient, patient_epoch, tree, slot, expected, purpose, valid_until];
        let header = self.pack(&layout::HEADER, fields);
        let MessageWires { new_packed, opaque_1, opaque_2, directory_before, directory_after, salt, .. } = *message;
        let inputs = [domain, header, new_packed, opaque_1, opaque_2, directory_before, directory_after, salt];
        self.hash(Tag::Message, &inputs)
    }
}
