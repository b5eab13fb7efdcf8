//! What an account is and what a grant allows: roles, account status, record status, rights, purposes.

use serde::{Deserialize, Serialize};

use crate::class::{Class, UnknownName};

macro_rules! coded {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$vmeta:meta])* $variant:ident = $code:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant = $code,)+ }

        impl $name {
            /// Every value, by code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code in packed fields.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The value with this code, if there is one.
            pub fn from_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.code() == code)
            }

            /// The name as command lines and JSON write it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownName;
            fn from_str(name: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|value| value.name() == name).ok_or_else(|| UnknownName {
                    what: $what,
                    name: name.to_owned(),
                    choices: Self::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

coded!(
    /// What an account is. The role never changes.
    Role, "role" {
        /// Owns their records and decides who may read and write them.
        Patient = 1, "patient";
        /// Writes and reads under grants.
        Doctor = 2, "doctor";
        /// Runs a node. A grant to a hospital also covers the doctors that it endorsed.
        Hospital = 3, "hospital";
    }
);

coded!(
    /// Whether an account may act.
    AccountStatus, "account status" {
        /// May act.
        Active = 1, "active";
        /// Stopped by a registrar; may be admitted again.
        Suspended = 2, "suspended";
        /// Closed by its owner, permanently.
        Closed = 3, "closed";
    }
);

coded!(
    /// What a record slot holds.
    RecordStatus, "record status" {
        /// Never written.
        Empty = 0, "empty";
        /// A record.
        Live = 1, "live";
        /// A deleted record; the slot is not used again.
        Tombstone = 2, "tombstone";
    }
);

coded!(
    /// Why access is requested: the upper four bits of an operation's purpose byte.
    Reason, "reason" {
        /// Not stated.
        None = 0, "none";
        /// Treatment of the patient.
        Treatment = 1, "treatment";
        /// An emergency.
        Emergency = 2, "emergency";
        /// Billing.
        Payment = 3, "payment";
        /// Running the institution.
        Operations = 4, "operations";
        /// Research.
        Research = 5, "research";
        /// The patient asked for it.
        PatientRequest = 6, "patient-request";
        /// Reporting required by law.
        PublicHealth = 7, "public-health";
    }
);

/// The reason and the class of an access request: `reason · 16 + class`, 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Purpose {
    /// Why access is requested.
    pub reason: Reason,
    /// The class of records that is requested.
    pub class: Class,
}

impl Purpose {
    /// The byte.
    pub const fn code(self) -> u8 {
        self.reason.code() << 4 | self.class.code()
    }

    /// The purpose with this code; `None` if the reason is not assigned.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(Self { reason: Reason::from_code(code >> 4)?, class: Class::from_code(code & 15)? })
    }
}

/// What a grant allows: a mask of READ 1, WRITE 2, MANAGE 4, EMERGENCY 8. 8 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// Width of the packed field in bits.
    pub const BITS: u32 = 8;
    /// No rights. A revoked grant holds this.
    pub const NONE: Self = Self(0);
    /// May read.
    pub const READ: Self = Self(1);
    /// May write.
    pub const WRITE: Self = Self(2);
    /// May grant READ and WRITE to others.
    pub const MANAGE: Self = Self(4);
    /// The grant was opened by break-glass.
    pub const EMERGENCY: Self = Self(8);

    const NAMES: [(&'static str, Self); 4] =
        [("read", Self::READ), ("write", Self::WRITE), ("manage", Self::MANAGE), ("emergency", Self::EMERGENCY)];

    /// The rights with these bits; `None` if a bit without a meaning is set.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 16 { Some(Self(bits)) } else { None }
    }

    /// The bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The rights of both. Use this instead of `|` in constants.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every right of `other` is held.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Rights {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// `read,write`, or `none`.
impl std::fmt::Display for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> =
            Self::NAMES.iter().filter(|(_, right)| self.contains(*right)).map(|(name, _)| *name).collect();
        f.pad(if names.is_empty() { "none".to_owned() } else { names.join(",") }.as_str())
    }
}

impl std::str::FromStr for Rights {
    type Err = UnknownName;
    /// Reads names separated by commas: `read,write`.
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        text.split(',').try_fold(Self::NONE, |rights, name| {
            let name = name.trim();
            Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, right)| rights | *right).ok_or_else(|| {
                UnknownName {
                    what: "right",
                    name: name.to_owned(),
                    choices: Self::NAMES.map(|(known, _)| known).join(", "),
                }
            })
        })
    }
}

impl Serialize for Rights {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = u8::deserialize(deserializer)?;
        Self::from_bits(bits).ok_or_else(|| serde::de::Error::custom("rights are a mask of four bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purpose_byte_round_trips() {
        for code in 0..=u8::MAX {
            match Purpose::from_code(code) {
                Some(purpose) => assert_eq!(purpose.code(), code),
                None => assert!(code >> 4 > 7),
            }
        }
    }

    #[test]
    fn rights_are_read_and_written() -> Result<(), UnknownName> {
        assert_eq!("read,write".parse::<Rights>()?, Rights::READ | Rights::WRITE);
        assert_eq!((Rights::READ | Rights::WRITE).to_string(), "read,write");
        assert!("read,fly".parse::<Rights>().is_err());
        assert_eq!(Rights::from_bits(16), None);
        Ok(())
    }
}
