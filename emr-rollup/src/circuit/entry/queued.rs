//! The fields of an entry as they are queued, its kind, and its words of D1.

use crate::{
    circuit::{
        builder::Wire,
        demand::{Demand, Field},
        gadget::{
            constrained::{Bit, Promise, Ranged},
            one_hot::{OneHot, Set, Within},
        },
        scope::Section,
    },
    l1_operation::{AccountRule, L1Rule},
    layout,
    operation::Kind,
    primitive::field::Fr,
    statement::EntryFields,
};

/// One flag for each of [`Kind::L1`]. In an unused L1 slot no flag is set.
pub(super) type EntryKinds = OneHot<{ Kind::L1.len() }>;

/// The queued fields.
pub(super) struct QueuedWires {
    pub(super) kinds: EntryKinds,
    pub(super) kind: Ranged<{ layout::KIND }>,
    pub(super) account: Ranged<{ layout::ACCOUNT }>,
    pub(super) role: Ranged<{ layout::ROLE }>,
    pub(super) status: Ranged<{ layout::STATUS }>,
    pub(super) org: Ranged<{ layout::ACCOUNT }>,
    /// The tree. It is 1 for a single slot of the grants tree, and 0 otherwise.
    pub(super) tree: Bit,
    pub(super) slot: Ranged<{ layout::SLOT }>,
    pub(super) replace_directory: Bit,
    pub(super) key: [Wire; 2],
    pub(super) opaque: Wire,
    /// The words of D1.
    pub(super) d1: [Wire; 4],
}

/// The ranges that paths show.
pub(super) struct Promises {
    pub(super) account: Promise<{ layout::ACCOUNT }>,
    pub(super) slot: Promise<{ layout::SLOT }>,
}

/// The set of L1 kinds whose rules satisfy a condition.
fn set_where(says: impl Fn(&L1Rule) -> bool) -> Set {
    let says = |kind: Kind| kind.l1_rule().is_some_and(&says);
    Kind::L1.into_iter().enumerate().map(|(i, kind)| Set::from(says(kind)) << i).sum()
}

impl Section<'_> {
    /// Whether the kind's rule satisfies a condition. Conditions that hold for the same kinds share a wire.
    pub(super) fn kinds_where(&mut self, kinds: &mut EntryKinds, says: impl Fn(&L1Rule) -> bool) -> Within {
        self.under(Demand::EntryOneKind).any_of(kinds, set_where(says))
    }

    /// The fields of an entry. Constrains the data of an unused slot to be 0.
    pub(super) fn queued(&mut self, entry: &EntryFields) -> (QueuedWires, Promises) {
        let fields = self.hints("entry", entry.packed_fields());
        let [kind, account, role, status, org, tree, slot, replace] = fields;
        let (kinds, kind) = self.entry_kind(&entry.kind, kind);
        let role = self.under(Demand::EntryField(Field::Role)).range::<{ layout::ROLE }>(role);
        let status = self.under(Demand::EntryField(Field::Status)).range::<{ layout::STATUS }>(status);
        let org = self.under(Demand::EntryField(Field::Org)).range::<{ layout::ACCOUNT }>(org);
        let tree = self.under(Demand::EntryField(Field::Tree)).assert_bit(tree);
        let replace_directory = self.under(Demand::EntryField(Field::ReplaceDirectory)).assert_bit(replace);
        let (account, account_shown) = self.promise::<{ layout::ACCOUNT }>(account);
        let (slot, slot_shown) = self.promise::<{ layout::SLOT }>(slot);
        let packed = [
            kind.into(),
            account.into(),
            role.into(),
            status.into(),
            org.into(),
            tree.into(),
            slot.into(),
            replace_directory.into(),
        ];
        let packed = self.under(Demand::EntryKind).pack(&layout::L1_ENTRY, packed).into();
        let [key_x, key_y, opaque] = self.hints("entry", [entry.key_x, entry.key_y, entry.opaque]);
        let d1 = [packed, key_x, key_y, opaque];
        for (i, word) in (0..).zip(d1) {
            self.under(Demand::UnusedEntry(i)).assert_zero_unless(kinds.any(), word);
        }
        let key = [key_x, key_y];
        let queued =
            QueuedWires { kinds, kind, account, role, status, org, tree, slot, replace_directory, key, opaque, d1 };
        (queued, Promises { account: account_shown, slot: slot_shown })
    }

    /// The kind of the entry, and its code. Constrains at most one flag to be set.
    fn entry_kind(&mut self, code: &Fr, kind: Wire) -> (EntryKinds, Ranged<{ layout::KIND }>) {
        let kinds = Kind::L1;
        let flags =
            self.hints("used", kinds.map(|kind| Fr::from(u64::from(*code == Fr::from(u64::from(kind.code()))))));
        let flags: [Bit; Kind::L1.len()] =
            std::array::from_fn(|i| self.under(Demand::EntryKindFlag(kinds[i])).assert_bit(flags[i]));
        let [fresh, registered, patients] = [AccountRule::Fresh, AccountRule::Registered, AccountRule::Patient]
            .map(|of| set_where(|rule| rule.account == of));
        let plan: [&[Set]; 2] = [&[registered], &[fresh, registered, patients]];
        let flags = self.under(Demand::EntryOneKind).at_most_one(flags, &plan);
        let codes: Vec<_> = kinds.into_iter().enumerate().map(|(i, kind)| (kind.code(), flags.flag(i))).collect();
        let kind = self.under(Demand::EntryKind).chosen(&codes, kind);
        (flags, kind)
    }
}
