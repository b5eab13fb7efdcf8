//! Depths, field widths and bit positions: the only place that has them. Leaves, messages, witnesses and the circuit read them
//! here (`docs/encoding.md`, "Trees" and "The signed message").

use emr_core::{AccountEpoch, AccountIndex, ClassMask, Rights, UnixTime, Uses};
use halo2curves::ff::{Field, PrimeField};

use crate::primitive::field::{self, Fr};

/// Depth of the identity and medical trees.
pub const ACCOUNT_DEPTH: usize = 24;
/// Depth of a patient's grants tree.
pub const GRANT_DEPTH: usize = 10;
/// Depth of a patient's records tree.
pub const RECORD_DEPTH: usize = 16;

/// Bits of an account index.
pub const ACCOUNT: u32 = AccountIndex::BITS;
/// Bits of an account's epoch.
pub const EPOCH: u32 = AccountEpoch::BITS;
/// Bits of a time in seconds.
pub const TIME: u32 = UnixTime::BITS;
/// Bits of a counter: version, revision or number of uses.
pub const COUNTER: u32 = Uses::BITS;
/// Bits of a mask of rights.
pub const RIGHTS: u32 = Rights::BITS;
/// Low bits of a mask of rights that have a meaning.
pub const ASSIGNED_RIGHTS: u32 = 4;
/// Bits of a mask of classes.
pub const SCOPE: u32 = ClassMask::BITS;
/// Bits of an operation kind's code.
pub const KIND: u32 = 8;
/// Bits of a role code.
pub const ROLE: u32 = 8;
/// Bits of the status code of an account or a record.
pub const STATUS: u32 = 8;
/// Bits of a class code.
pub const CLASS: u32 = 4;
/// Bits of a purpose: the reason, and below it the class.
pub const PURPOSE: u32 = 8;
/// Bits of a tree code.
pub const TREE: u32 = 2;
/// Bits of a slot in either tree.
pub const SLOT: u32 = 16;

/// `role, status, org, epoch` of an identity leaf.
pub const IDENTITY: Packing<4> = Packing::new([ROLE, STATUS, ACCOUNT, EPOCH]);
/// `grantee, rights, scope, not_after, uses, version` of a grant leaf.
pub const GRANT: Packing<6> = Packing::new([ACCOUNT, RIGHTS, SCOPE, TIME, COUNTER, COUNTER]);
/// Place of `uses` in [`GRANT`].
pub const GRANT_USES: usize = 4;
/// `status, class, author, custodian, version, revision` of a record leaf.
pub const RECORD: Packing<6> = Packing::new([STATUS, CLASS, ACCOUNT, ACCOUNT, COUNTER, COUNTER]);
/// Place of `status` in [`RECORD`].
pub const RECORD_STATUS: usize = 0;
/// Place of `custodian` in [`RECORD`].
pub const RECORD_CUSTODIAN: usize = 3;
/// Place of `revision` in [`RECORD`].
pub const RECORD_REVISION: usize = 5;
/// `kind, signer, tree, slot, purpose, time` of an audit entry.
pub const AUDIT_ENTRY: Packing<6> = Packing::new([KIND, ACCOUNT, TREE, SLOT, PURPOSE, TIME]);
/// `kind, signer, signer_epoch, patient, patient_epoch, tree, slot, expected, purpose, valid_until` of a signed message.
pub const HEADER: Packing<10> =
    Packing::new([KIND, ACCOUNT, EPOCH, ACCOUNT, EPOCH, TREE, SLOT, COUNTER, PURPOSE, TIME]);
/// `account, tree, slot` of an entry of D2.
pub const PLACE: Packing<3> = Packing::new([ACCOUNT, TREE, SLOT]);
/// `kind, account, role, status, org, tree, slot, replace_directory` of an entry of D1.
pub const L1_ENTRY: Packing<8> = Packing::new([KIND, ACCOUNT, ROLE, STATUS, ACCOUNT, TREE, SLOT, 1]);

/// Fields that share one element, the first in the most significant bits. At most 248 bits.
#[derive(Clone, Copy, Debug)]
pub struct Packing<const N: usize> {
    pub(crate) widths: [u32; N],
}

impl<const N: usize> Packing<N> {
    const fn new(widths: [u32; N]) -> Self {
        let (mut sum, mut i) = (0, 0);
        while i < N {
            assert!(widths[i] <= 64, "a field is an integer below 2^64");
            sum += widths[i];
            i += 1;
        }
        assert!(sum <= 248, "a packing holds at most 248 bits");
        Self { widths }
    }

    /// Bits of each field.
    pub const fn widths(&self) -> &[u32; N] {
        &self.widths
    }

    /// Bits below a field.
    pub fn shift(&self, field: usize) -> u32 {
        self.widths[field + 1..].iter().sum()
    }

    /// What 1 in a field adds to the packing: `2^shift`.
    pub fn unit(&self, field: usize) -> Fr {
        Fr::from_u128(2).pow([u64::from(self.shift(field))])
    }

    /// The packing of these values.
    ///
    /// # Panics
    /// If a value does not fit its width.
    pub fn pack(&self, values: [u64; N]) -> Fr {
        let fields: [(u64, u32); N] = std::array::from_fn(|i| (values[i], self.widths[i]));
        field::pack(&fields)
    }

    /// The same sum over elements, whether or not they fit their widths.
    pub fn pack_elements(&self, fields: [Fr; N]) -> Fr {
        field::pack_elements(fields.into_iter().zip(self.widths))
    }

    /// The fields of a packing, or `None` if the element has bits above the first field.
    pub fn unpack(&self, packed: &Fr) -> Option<[u64; N]> {
        let bytes = field::to_bytes(packed);
        let bit = |i: u32| bytes[31 - (i / 8) as usize] >> (i % 8) & 1;
        let total: u32 = self.widths.iter().sum();
        if (total..256).any(|i| bit(i) == 1) {
            return None;
        }
        Some(std::array::from_fn(|field| {
            let low = self.shift(field);
            (low..low + self.widths[field]).rev().fold(0, |value, i| value << 1 | u64::from(bit(i)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<const N: usize>(packing: Packing<N>, seed: u64) -> Result<(), TestCaseError> {
        let values: [u64; N] = std::array::from_fn(|i| {
            let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32 * 7);
            mixed & (u64::MAX >> (64 - packing.widths[i]))
        });
        let packed = packing.pack(values);
        prop_assert_eq!(packing.unpack(&packed), Some(values));
        prop_assert_eq!(packing.pack_elements(values.map(Fr::from)), packed);
        let by_units: Fr = values.iter().enumerate().map(|(i, value)| packing.unit(i) * Fr::from(*value)).sum();
        prop_assert_eq!(by_units, packed);
        let above = packed + packing.unit(0) * Fr::from_u128(1 << packing.widths[0]);
        prop_assert_eq!(packing.unpack(&above), None);
        Ok(())
    }

    proptest! {
        #[test]
        fn packings_round_trip(seed: u64) {
            check(IDENTITY, seed)?;
            check(GRANT, seed)?;
            check(RECORD, seed)?;
            check(AUDIT_ENTRY, seed)?;
            check(HEADER, seed)?;
            check(PLACE, seed)?;
            check(L1_ENTRY, seed)?;
        }
    }

    #[test]
    fn units_are_powers_of_two() {
        assert_eq!(GRANT.unit(GRANT_USES), Fr::from(1 << 32));
        assert_eq!(RECORD.unit(RECORD_STATUS), Fr::from_u128(1 << 116));
        assert_eq!(RECORD.unit(RECORD_REVISION), Fr::ONE);
    }
}
