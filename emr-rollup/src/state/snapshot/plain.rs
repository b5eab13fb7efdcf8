//! Values as plain bytes: each value has exactly one encoding (`docs/node.md`, "Snapshots").

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::Arc,
};

use emr_core::{
    AccountEpoch, AccountIndex, AccountStatus, Class, ClassMask, GrantSlot, Purpose, RecordSlot, RecordStatus,
    Revision, Rights, Role, StateRoot, UnixTime, Uses, Version,
};
use rpds::RedBlackTreeMapSync;

use crate::{
    operation::{DirectoryCommitment, Kind},
    primitive::{
        eddsa::PublicKey,
        field::{self, Fr},
        jubjub::Point,
    },
    state::leaf::{AuditEntry, AuditTarget, GrantLeaf, IdentityLeaf, LeafHash, RecordLeaf},
};

/// How many elements a list gets room for before any of them is read. A damaged count must not take all memory.
const ROOM: usize = 1024;

/// A value that is written as plain bytes. Numbers are big-endian, and equal values have equal bytes.
pub trait PlainBytes: Sized {
    /// Writes the value.
    ///
    /// # Errors
    /// The error of `out`.
    fn write_to(&self, out: &mut impl Write) -> io::Result<()>;

    /// Reads a value.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the bytes are the encoding of no value, and the errors of `input`.
    fn read_from(input: &mut impl Read) -> io::Result<Self>;
}

/// The error for bytes that are the encoding of no value.
pub fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Makes a struct [`PlainBytes`]: its fields in this order.
#[macro_export]
macro_rules! plain_bytes {
    ($($name:ty { $($field:ident),+ $(,)? })+) => {$(
        impl $crate::state::snapshot::PlainBytes for $name {
            fn write_to(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
                $($crate::state::snapshot::PlainBytes::write_to(&self.$field, out)?;)+
                Ok(())
            }

            fn read_from(input: &mut impl std::io::Read) -> std::io::Result<Self> {
                Ok(Self { $($field: $crate::state::snapshot::PlainBytes::read_from(input)?,)+ })
            }
        }
    )+};
}

macro_rules! integers {
    ($($integer:ty),+) => {$(
        impl PlainBytes for $integer {
            fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
                out.write_all(&self.to_be_bytes())
            }

            fn read_from(input: &mut impl Read) -> io::Result<Self> {
                Ok(Self::from_be_bytes(PlainBytes::read_from(input)?))
            }
        }
    )+};
}

integers!(u8, u16, u32, u64);

impl<const N: usize> PlainBytes for [u8; N] {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; N];
        input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Values that are written as another value, which does not always stand for one of them.
macro_rules! as_other {
    ($($name:ty = $other:ty: $to:expr, $from:expr;)+) => {$(
        impl PlainBytes for $name {
            fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
                let to: fn(&Self) -> $other = $to;
                to(self).write_to(out)
            }

            fn read_from(input: &mut impl Read) -> io::Result<Self> {
                let from: fn($other) -> Option<Self> = $from;
                from(PlainBytes::read_from(input)?).ok_or_else(|| invalid(concat!("not a ", stringify!($name))))
            }
        }
    )+};
}

as_other! {
    AccountIndex = u32: |value| value.get() as u32, |number| Self::new(number.into()).ok();
    GrantSlot = u16: |value| value.get() as u16, |number| Self::new(number.into()).ok();
    RecordSlot = u16: |value| value.get() as u16, |number| Self::new(number.into()).ok();
    Version = u32: |value| value.get() as u32, |number| Self::new(number.into()).ok();
    Revision = u32: |value| value.get() as u32, |number| Self::new(number.into()).ok();
    Uses = u32: |value| value.get() as u32, |number| Self::new(number.into()).ok();
    AccountEpoch = u32: |value| value.get() as u32, |number| Self::new(number.into()).ok();
    UnixTime = u64: |value| value.get(), |number| Self::new(number).ok();
    Role = u8: |value| value.code(), Self::from_code;
    AccountStatus = u8: |value| value.code(), Self::from_code;
    RecordStatus = u8: |value| value.code(), Self::from_code;
    Class = u8: |value| value.code(), Self::from_code;
    ClassMask = u16: |value| value.bits(), |bits| Some(Self::from_bits(bits));
    Rights = u8: |value| value.bits(), Self::from_bits;
    Purpose = u8: |value| value.code(), Self::from_code;
    Kind = u8: |value| value.code(), |code| Self::L2.into_iter().chain(Self::L1).find(|kind| kind.code() == code);
    Fr = [u8; 32]: field::to_bytes, |bytes| field::from_bytes(&bytes).ok();
    StateRoot = [u8; 32]: |value| *value.as_bytes(), |bytes| Self::from_bytes(bytes).ok();
    LeafHash = Fr: LeafHash::element, |element| Some(element.into());
    DirectoryCommitment = Fr: DirectoryCommitment::element, |element| Some(element.into());
    // The order is not checked, which takes long: the key is under a root that is compared.
    PublicKey = (Fr, Fr): |key| (key.x(), key.y()), |(x, y)| Point::new(x, y).map(Self::under_root);
    // All grants, a grant, a record; then the slot.
    AuditTarget = (u8, u16): |target| match target {
        Self::AllGrants => (0, 0),
        Self::Grant(slot) => (1, slot.get() as u16),
        Self::Record(slot) => (2, slot.get() as u16),
    }, |(tree, slot)| match (tree, slot) {
        (0, 0) => Some(Self::AllGrants),
        (1, slot) => GrantSlot::new(slot.into()).ok().map(Self::Grant),
        (2, slot) => RecordSlot::new(slot.into()).ok().map(Self::Record),
        _ => None,
    };
}

plain_bytes! {
    IdentityLeaf { role, status, org, epoch, key, encryption }
    GrantLeaf { grantee, rights, scope, not_after, uses, version, salt }
    RecordLeaf { status, class, author, custodian, version, revision, authored, stored }
    AuditEntry { kind, signer, target, purpose, time, new_leaf, salt }
}

impl<T: PlainBytes> PlainBytes for Arc<T> {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.as_ref().write_to(out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        T::read_from(input).map(Self::new)
    }
}

/// A byte 0, or a byte 1 and the value.
impl<T: PlainBytes> PlainBytes for Option<T> {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            None => 0_u8.write_to(out),
            Some(value) => {
                1_u8.write_to(out)?;
                value.write_to(out)
            }
        }
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        match u8::read_from(input)? {
            0 => Ok(None),
            1 => T::read_from(input).map(Some),
            _ => Err(invalid("neither a value nor none")),
        }
    }
}

impl<A: PlainBytes, B: PlainBytes> PlainBytes for (A, B) {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.0.write_to(out)?;
        self.1.write_to(out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        Ok((A::read_from(input)?, B::read_from(input)?))
    }
}

impl<A: PlainBytes, B: PlainBytes, C: PlainBytes> PlainBytes for (A, B, C) {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.0.write_to(out)?;
        self.1.write_to(out)?;
        self.2.write_to(out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        Ok((A::read_from(input)?, B::read_from(input)?, C::read_from(input)?))
    }
}

/// Writes the number of elements, 4 bytes.
pub(super) fn write_count(count: usize, out: &mut impl Write) -> io::Result<()> {
    u32::try_from(count).map_err(|_| invalid("more than 2^32 elements"))?.write_to(out)
}

/// Writes a list: the number of its elements, then the elements.
pub(super) fn write_list<T: PlainBytes>(list: &[T], out: &mut impl Write) -> io::Result<()> {
    write_count(list.len(), out)?;
    list.iter().try_for_each(|element| element.write_to(out))
}

impl<T: PlainBytes> PlainBytes for Vec<T> {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        write_list(self, out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        let count = u32::read_from(input)?;
        let mut list = Self::with_capacity(ROOM.min(count as usize));
        for _ in 0..count {
            list.push(T::read_from(input)?);
        }
        Ok(list)
    }
}

/// Writes a map: the number of its entries, then each key and its value, by ascending key.
fn write_map<'a, K: PlainBytes + 'a, V: PlainBytes + 'a>(
    entries: impl ExactSizeIterator<Item = (&'a K, &'a V)>,
    out: &mut impl Write,
) -> io::Result<()> {
    write_count(entries.len(), out)?;
    for (key, value) in entries {
        key.write_to(out)?;
        value.write_to(out)?;
    }
    Ok(())
}

/// Reads a map. Another order of the entries would be another encoding of the same map, and is refused.
fn read_map<K: PlainBytes + Ord + Clone, V: PlainBytes>(
    input: &mut impl Read,
    mut insert: impl FnMut(K, V),
) -> io::Result<()> {
    let mut last: Option<K> = None;
    for _ in 0..u32::read_from(input)? {
        let (key, value) = PlainBytes::read_from(input)?;
        if last.is_some_and(|last| last >= key) {
            return Err(invalid("entries of a map are not in order"));
        }
        last = Some(K::clone(&key));
        insert(key, value);
    }
    Ok(())
}

impl<K: PlainBytes + Ord + Clone, V: PlainBytes> PlainBytes for BTreeMap<K, V> {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        write_map(self.iter(), out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        let mut map = Self::new();
        read_map(input, |key, value| drop(map.insert(key, value)))?;
        Ok(map)
    }
}

impl<K: PlainBytes + Ord + Clone, V: PlainBytes> PlainBytes for RedBlackTreeMapSync<K, V> {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        write_count(self.size(), out)?;
        for (key, value) in self {
            key.write_to(out)?;
            value.write_to(out)?;
        }
        Ok(())
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        let mut map = Self::default();
        read_map(input, |key, value| map.insert_mut(key, value))?;
        Ok(map)
    }
}
