//! The signed message: kind flags, header, body.

use std::collections::BTreeMap;

use halo2curves::ff::Field;

use super::builder::{Builder, Wire};
use crate::{
    layout,
    operation::{Kind, Rule},
    primitive::{field::Fr, poseidon::Tag},
    state::leaf::Tree,
    statement::{Clause, Header, Message},
};

/// Sets of kinds, as a mask over [`Kind::L2`].
type KindSet = u32;

/// One bit per kind; none is set in a padding slot.
#[derive(Clone, Debug)]
pub(super) struct KindWires {
    flags: [Wire; Kind::L2.len()],
    /// Sums of flags: whether the kind is one of a set.
    sums: BTreeMap<KindSet, Wire>,
    /// Whether the slot is used.
    pub(super) active: Wire,
    /// Whether the target is a record.
    pub(super) record: Wire,
    /// Whether the target is a grant.
    pub(super) grant: Wire,
    /// Whether the message has key directories.
    pub(super) directory: Wire,
}

impl KindWires {
    /// Whether the kind is this one.
    pub(super) fn is(&self, kind: Kind) -> Wire {
        let place = Kind::L2.iter().position(|other| *other == kind).expect("an L2 kind");
        self.flags[place]
    }
}

/// The L2 kinds whose rules say so.
fn kinds_where(says: impl Fn(&Rule) -> bool) -> KindSet {
    let says = |kind: Kind| kind.rule().is_some_and(&says);
    Kind::L2.into_iter().enumerate().map(|(i, kind)| KindSet::from(says(kind)) << i).sum()
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
        let kinds = Kind::L2;
        let code = |kind: Kind| Fr::from(u64::from(kind.code()));
        let flags = self.hints("kind flag", kinds.map(|kind| Fr::from(u64::from(header.kind == code(kind)))));
        for flag in flags {
            self.assert_bit(flag);
        }
        let mut sums: BTreeMap<_, _> = flags.into_iter().enumerate().map(|(i, flag)| (1 << i, flag)).collect();
        let records = kinds_where(|rule| rule.tree == Tree::Records);
        let directories = kinds_where(|rule| rule.directory.is_signed());
        let grants = kinds_where(|rule| rule.tree == Tree::Grants);
        let record = self.sum_of_kinds(&mut sums, records);
        let directory = self.sum_of_kinds(&mut sums, directories);
        let others = self.sum_of_kinds(&mut sums, grants & !directories);
        let grant = self.linear(&[(Fr::ONE, directory), (Fr::ONE, others)], Fr::ZERO);
        let active = self.linear(&[(Fr::ONE, record), (Fr::ONE, grant)], Fr::ZERO);
        // Bits whose sum is a bit: at most one is set.
        self.assert_bit(active);
        sums.extend([(grants, grant), (records | grants, active)]);

        let [kind, tree] = self.hints("kind, tree", [header.kind, header.tree]);
        let terms: Vec<_> = kinds.into_iter().zip(flags).map(|(kind, flag)| (code(kind), flag)).collect();
        self.assert_linear(&terms, Fr::ZERO, kind);
        self.clause(Clause::C9, "tree of this kind");
        let code = |tree: Tree| Fr::from(tree as u64);
        self.assert_linear(&[(code(Tree::Grants), grant), (code(Tree::Records), record)], Fr::ZERO, tree);
        (KindWires { flags, sums, active, record, grant, directory }, kind, tree)
    }

    /// Whether the kind is one whose rules say so. Kinds of one set share a wire.
    pub(super) fn kind_where(&mut self, kinds: &mut KindWires, says: impl Fn(&Rule) -> bool) -> Wire {
        self.sum_of_kinds(&mut kinds.sums, kinds_where(says))
    }

    fn sum_of_kinds(&mut self, sums: &mut BTreeMap<KindSet, Wire>, set: KindSet) -> Wire {
        if let Some(sum) = sums.get(&set) {
            return *sum;
        }
        let terms: Vec<_> =
            (0..Kind::L2.len()).filter(|i| set >> i & 1 == 1).map(|i| (Fr::ONE, sums[&(1 << i)])).collect();
        let sum = self.linear(&terms, Fr::ZERO);
        sums.insert(set, sum);
        sum
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
