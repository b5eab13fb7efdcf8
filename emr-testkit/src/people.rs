//! Test people with all their keys. They are the same in every process and run.

use std::{ops::Deref, sync::LazyLock};

use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
};
use emr_chain::{CurvePoint, Registration, RollupInstance, RsaPossession};
use emr_core::{AccountIndex, Role};
use emr_crypto::{CommittedKey, EncryptionSecret, Identity, KeyProfile, RsaBits, RsaSecret, XWingSecret};
use emr_rollup::primitive::{eddsa::SigningKey, field};

/// A person with their keys.
#[derive(Clone, Debug)]
pub struct Person {
    /// The person's name, also used for their data folder.
    pub name: &'static str,
    /// Role, RSA key, seed of the rollup key, Ethereum key.
    pub identity: Identity,
    /// The rollup key of the identity.
    pub key: SigningKey,
    /// The Ethereum key of the identity.
    pub ethereum: PrivateKeySigner,
}

impl Person {
    /// One of the fixed people. The RSA key comes from a file, because generating one takes long. The other keys repeat
    /// `number`.
    fn cast(name: &'static str, role: Role, pem: &str, number: u8) -> Self {
        let rsa = RsaSecret::from_pem(pem).expect("a key of this crate");
        let encryption = EncryptionSecret::new(rsa, Some(XWingSecret::from_seed(&[number; 32])));
        let identity = Identity::with_encryption(role, encryption).with_rollup_seed(&[number; 32]);
        Self::of(name, identity.with_ethereum(&[number; 32]).expect("a valid key"))
    }

    /// A new person with this Ethereum key and otherwise new keys. Generating the RSA key takes a while.
    ///
    /// # Panics
    /// Panics if `ethereum` is not a valid Ethereum key.
    pub fn fresh(role: Role, ethereum: B256) -> Self {
        let identity = Identity::generate(role, RsaBits::MIN, KeyProfile::Hybrid);
        Self::of("fresh", identity.with_ethereum(&ethereum.0).expect("a valid key"))
    }

    fn of(name: &'static str, identity: Identity) -> Self {
        Self {
            name,
            key: SigningKey::from_seed(identity.rollup_seed()),
            ethereum: PrivateKeySigner::from_slice(identity.ethereum_secret()).expect("a valid key"),
            identity,
        }
    }

    /// Their Ethereum address.
    pub fn address(&self) -> Address {
        self.ethereum.address()
    }

    /// The person's registration with a rollup. `org` is a doctor's hospital.
    pub fn registration(&self, instance: &RollupInstance, org: Option<AccountIndex>) -> Registration {
        let point = self.key.registration_point();
        let q = CurvePoint { x: field::to_bytes(&point.x()), y: field::to_bytes(&point.y()) };
        let a = self.key.public();
        let a = CurvePoint { x: field::to_bytes(&a.x()), y: field::to_bytes(&a.y()) };
        let role = self.identity.role();
        let rsa = || {
            let CommittedKey { rsa, kem, .. } = self.identity.committed_key();
            let message = instance.possession_message(self.address(), a, role, kem);
            RsaPossession { modulus: rsa.modulus(), kem, signature: self.identity.rsa().sign_pkcs1v15(&message) }
        };
        match role {
            Role::Patient => Registration::patient(q, self.identity.committed_key().commitment()),
            Role::Doctor => Registration::doctor(q, org, rsa()),
            Role::Hospital => Registration::hospital(q, rsa()),
        }
    }
}

/// The fixed people: a hospital, its doctor, a doctor of no hospital, and two patients.
#[derive(Debug)]
pub struct People {
    /// The hospital, with an RSA key of 4096 bits.
    pub hospital: Person,
    /// A doctor of the hospital, with 3072 bits.
    pub doctor: Person,
    /// A doctor of no hospital, with 2048 bits.
    pub stranger: Person,
    /// A patient, with 3072 bits.
    pub patient: Person,
    /// Another patient, with 2048 bits.
    pub other: Person,
    /// The registrar, who admits doctors and hospitals. They have the hospital's RSA key and no account.
    pub registrar: Person,
}

static PEOPLE: LazyLock<People> = LazyLock::new(|| People {
    hospital: Person::cast("HOSPITAL", Role::Hospital, include_str!("../keys/hospital.pem"), 1),
    doctor: Person::cast("DOCTOR", Role::Doctor, include_str!("../keys/doctor.pem"), 2),
    stranger: Person::cast("STRANGER", Role::Doctor, include_str!("../keys/stranger.pem"), 3),
    patient: Person::cast("PATIENT", Role::Patient, include_str!("../keys/patient.pem"), 4),
    other: Person::cast("OTHER", Role::Patient, include_str!("../keys/other.pem"), 5),
    registrar: Person::cast("REGISTRAR", Role::Hospital, include_str!("../keys/hospital.pem"), 0xee),
});

/// The fixed people.
pub fn people() -> &'static People {
    &PEOPLE
}

impl People {
    /// All people who have an account, the hospital first.
    pub fn all(&self) -> [&Person; 5] {
        [&self.hospital, &self.doctor, &self.stranger, &self.patient, &self.other]
    }
}

/// One of the fixed people by name. It dereferences to the [`Person`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// [`People::hospital`].
    Hospital,
    /// [`People::doctor`].
    Doctor,
    /// [`People::stranger`].
    Stranger,
    /// [`People::patient`].
    Patient,
    /// [`People::other`].
    Other,
    /// [`People::registrar`].
    Registrar,
}

impl Deref for Member {
    type Target = Person;

    fn deref(&self) -> &Person {
        match self {
            Self::Hospital => &people().hospital,
            Self::Doctor => &people().doctor,
            Self::Stranger => &people().stranger,
            Self::Patient => &people().patient,
            Self::Other => &people().other,
            Self::Registrar => &people().registrar,
        }
    }
}

/// The registrar's Ethereum key.
pub fn registrar() -> PrivateKeySigner {
    people().registrar.ethereum.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_people_have_different_keys() {
        let all = people().all();
        for (at, one) in all.iter().enumerate() {
            for other in &all[..at] {
                assert_ne!(one.address(), other.address());
                assert_ne!(one.key.public(), other.key.public());
                assert_ne!(one.identity.rsa().public(), other.identity.rsa().public());
            }
        }
    }
}
