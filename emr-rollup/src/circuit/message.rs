//! The signed message: kind flags, header, body.

use super::{
    builder::Wire,
    demand::{Demand, Field},
    gadget::{
        constrained::{Bit, Ranged},
        one_hot::{OneHot, Set, Within},
    },
    scope::Section,
};
use crate::{
    layout,
    operation::{Kind, Rule},
    primitive::{field::Fr, poseidon::Tag},
    state::leaf::Tree,
    statement::{Header, Message},
};

/// The kind of an operation. In an unused L2 slot no flag is set.
#[derive(Clone, Debug)]
pub(super) struct KindWires {
    /// One flag for each of [`Kind::L2`].
    flags: OneHot<{ Kind::L2.len() }>,
    /// Whether the L2 slot is used.
    pub(super) active: Within,
    /// Whether the target is a record.
    pub(super) record: Within,
    /// Whether the target is a grant.
    pub(super) grant: Within,
    /// Whether the message has key directories.
    pub(super) directory: Within,
    /// Whether the message has a grant's next version.
    pub(super) writes_grant: Within,
}

impl KindWires {
    /// Whether the kind is this one.
    pub(super) fn is(&self, kind: Kind) -> Within {
        let place = Kind::L2.iter().position(|other| *other == kind).expect("an L2 kind");
        self.flags.flag(place)
    }
}

/// The set of L2 kinds whose rules satisfy a condition.
fn kinds_where(says: impl Fn(&Rule) -> bool) -> Set {
    let says = |kind: Kind| kind.rule().is_some_and(&says);
    Kind::L2.into_iter().enumerate().map(|(i, kind)| Set::from(says(kind)) << i).sum()
}

/// The header's fields as they come in. Positions in trees, leaves and the rules of the kind show the ranges that are
/// missing here.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderHints {
    pub(super) signer: Wire,
    pub(super) signer_epoch: Wire,
    pub(super) patient: Wire,
    pub(super) patient_epoch: Wire,
    pub(super) slot: Wire,
    pub(super) expected: Ranged<{ layout::COUNTER }>,
    pub(super) purpose: Wire,
    pub(super) valid_until: Ranged<{ layout::TIME }>,
}

/// The header's fields, in range.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderWires {
    pub(super) kind: Ranged<{ layout::KIND }>,
    pub(super) signer: Ranged<{ layout::ACCOUNT }>,
    pub(super) signer_epoch: Ranged<{ layout::EPOCH }>,
    pub(super) patient: Ranged<{ layout::ACCOUNT }>,
    pub(super) patient_epoch: Ranged<{ layout::EPOCH }>,
    pub(super) tree: Ranged<{ layout::TREE }>,
    pub(super) slot: Ranged<{ layout::SLOT }>,
    pub(super) expected: Ranged<{ layout::COUNTER }>,
    pub(super) purpose: Ranged<{ layout::PURPOSE }>,
    pub(super) valid_until: Ranged<{ layout::TIME }>,
}

/// The fields of a message after its header.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyWires {
    pub(super) new_packed: Wire,
    pub(super) opaque_1: Wire,
    pub(super) opaque_2: Wire,
    pub(super) directory_before: Wire,
    pub(super) directory_after: Wire,
    pub(super) salt: Wire,
}

impl Section<'_> {
    /// The kind, its code, and the code of its tree. Constrains at most one kind's flag to be set, and the header to
    /// agree with it.
    pub(super) fn kind(&mut self, header: &Header) -> (KindWires, Ranged<{ layout::KIND }>, Ranged<{ layout::TREE }>) {
        let kinds = Kind::L2;
        let code = |kind: Kind| Fr::from(u64::from(kind.code()));
        let flags = self.hints("kind flag", kinds.map(|kind| Fr::from(u64::from(header.kind == code(kind)))));
        let flags: [Bit; Kind::L2.len()] =
            std::array::from_fn(|i| self.under(Demand::KindFlag(kinds[i])).assert_bit(flags[i]));
        let records = kinds_where(|rule| rule.tree == Tree::Records);
        let directories = kinds_where(|rule| rule.directory.is_signed());
        let grants = kinds_where(|rule| rule.tree == Tree::Grants);
        let written = kinds_where(|rule| rule.counter.writes_grant());
        let plan: [&[Set]; 4] =
            [&[records], &[directories, written & !directories], &[written, grants & !written], &[records, grants]];
        let mut scope = self.under(Demand::OneKind);
        let mut flags = scope.at_most_one(flags, &plan);
        let [record, grant, directory, writes_grant] =
            [records, grants, directories, written].map(|set| scope.any_of(&mut flags, set));

        let [kind, tree] = self.hints("kind, tree", [header.kind, header.tree]);
        let codes: Vec<_> = kinds.into_iter().enumerate().map(|(i, kind)| (kind.code(), flags.flag(i))).collect();
        let kind = self.under(Demand::HeaderKind).chosen(&codes, kind);
        let trees = [(Tree::Grants as u8, grant), (Tree::Records as u8, record)];
        let tree = self.under(Demand::HeaderTree).chosen(&trees, tree);
        (KindWires { active: flags.any(), flags, record, grant, directory, writes_grant }, kind, tree)
    }

    /// Whether the kind's rule satisfies a condition. Conditions that hold for the same kinds share a wire.
    pub(super) fn kind_where(&mut self, kinds: &mut KindWires, says: impl Fn(&Rule) -> bool) -> Within {
        self.under(Demand::OneKind).any_of(&mut kinds.flags, kinds_where(says))
    }

    /// Whether the kind is one of these. Kinds of one set share a wire.
    pub(super) fn kind_among(&mut self, kinds: &mut KindWires, among: &[Kind]) -> Within {
        let set = Kind::L2.into_iter().enumerate().map(|(i, kind)| Set::from(among.contains(&kind)) << i).sum();
        self.under(Demand::OneKind).any_of(&mut kinds.flags, set)
    }

    /// The message's fields, but for kind and tree.
    pub(super) fn message(&mut self, message: &Message) -> (HeaderHints, BodyWires) {
        let header = &message.header;
        let [signer, signer_epoch, patient, patient_epoch] =
            self.hints("header", [header.signer, header.signer_epoch, header.patient, header.patient_epoch]);
        let [slot, expected, purpose, valid_until] =
            self.hints("header", [header.slot, header.expected, header.purpose, header.valid_until]);
        let expected = self.under(Demand::HeaderField(Field::Expected)).range(expected);
        let valid_until = self.under(Demand::HeaderField(Field::ValidUntil)).range(valid_until);
        let [new_packed, opaque_1, opaque_2] =
            self.hints("body", [message.new_packed, message.opaque_1, message.opaque_2]);
        let [directory_before, directory_after, salt] =
            self.hints("body", [message.directory_before, message.directory_after, message.salt]);
        let header = HeaderHints { signer, signer_epoch, patient, patient_epoch, slot, expected, purpose, valid_until };
        (header, BodyWires { new_packed, opaque_1, opaque_2, directory_before, directory_after, salt })
    }

    /// `H_7` of a message.
    pub(super) fn message_hash(&mut self, domain: Wire, header: &HeaderWires, body: &BodyWires) -> Wire {
        let mut scope = self.under(Demand::MessageHash);
        let fields = [
            header.kind.into(),
            header.signer.into(),
            header.signer_epoch.into(),
            header.patient.into(),
            header.patient_epoch.into(),
            header.tree.into(),
            header.slot.into(),
            header.expected.into(),
            header.purpose.into(),
            header.valid_until.into(),
        ];
        let header = scope.pack(&layout::HEADER, fields).into();
        let BodyWires { new_packed, opaque_1, opaque_2, directory_before, directory_after, salt } = *body;
        let inputs = [domain, header, new_packed, opaque_1, opaque_2, directory_before, directory_after, salt];
        scope.hash(Tag::Message, &inputs)
    }
}
