//! The people, with all their keys.

use std::{path::Path, sync::LazyLock};

use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
};
use emr_api::encryption::CommittedKey;
use emr_chain::{CurvePoint, Registration, RollupInstance, RsaPossession};
use emr_core::{AccountIndex, Role};
use emr_crypto::{Identity, IdentityFile, RsaBits, ScryptCost};
use emr_rollup::{field, signature::SigningKey};

use super::Outcome;

/// Somebody with keys.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) identity: Identity,
    pub(crate) key: SigningKey,
    pub(crate) ethereum: PrivateKeySigner,
}

impl Person {
    fn new(role: Role, number: u8) -> Self {
        Self::fresh(role, B256::repeat_byte(number))
    }

    /// Somebody who is not of the cast.
    pub(crate) fn fresh(role: Role, ethereum: B256) -> Self {
        let identity = Identity::generate(role, RsaBits::MIN);
        Self::of(identity.with_ethereum(&ethereum.0).expect("a valid key"))
    }

    fn of(identity: Identity) -> Self {
        Self {
            key: SigningKey::from_seed(identity.rollup_seed()),
            ethereum: PrivateKeySigner::from_slice(identity.ethereum_secret()).expect("a valid key"),
            identity,
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.ethereum.address()
    }

    pub(crate) fn registration(&self, instance: &RollupInstance, org: Option<AccountIndex>) -> Registration {
        let point = self.key.registration_point();
        let q = CurvePoint { x: field::to_bytes(&point.x()), y: field::to_bytes(&point.y()) };
        let a = self.key.public();
        let a = CurvePoint { x: field::to_bytes(&a.x()), y: field::to_bytes(&a.y()) };
        let role = self.identity.role();
        let rsa = || {
            let message = instance.possession_message(self.address(), a, role);
            let modulus = self.identity.rsa().public().modulus();
            RsaPossession { modulus, signature: self.identity.rsa().sign_pkcs1v15(&message) }
        };
        match role {
            Role::Patient => Registration::patient(q, CommittedKey::of(&self.identity).commitment()),
            Role::Doctor => Registration::doctor(q, org, rsa()),
            Role::Hospital => Registration::hospital(q, rsa()),
        }
    }
}

/// Names a folder of identity files, for a process that must have the same people as the one that started it.
pub(crate) const PEOPLE_FOLDER: &str = "EMR_NODE_TEST_PEOPLE";
const PASSPHRASE: &str = "test";

/// RSA keys take a while: made once for all tests of this program.
static PEOPLE: LazyLock<People> = LazyLock::new(|| {
    if let Some(folder) = std::env::var_os(PEOPLE_FOLDER) {
        return People::load(Path::new(&folder)).expect("the folder holds the people");
    }
    let roles = [Role::Hospital, Role::Doctor, Role::Doctor, Role::Patient, Role::Patient];
    let made: Vec<Person> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            roles.into_iter().zip(1..).map(|(role, number)| scope.spawn(move || Person::new(role, number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("keys are made")).collect()
    });
    let [hospital, doctor, stranger, patient, other] = <[Person; 5]>::try_from(made).expect("five");
    People { hospital, doctor, stranger, patient, other }
});

/// The cast: a hospital, its doctor, a doctor of nobody, and two patients.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) hospital: Person,
    pub(crate) doctor: Person,
    pub(crate) stranger: Person,
    pub(crate) patient: Person,
    pub(crate) other: Person,
}

impl People {
    pub(crate) fn all(&self) -> [&Person; 5] {
        [&self.hospital, &self.doctor, &self.stranger, &self.patient, &self.other]
    }

    /// Writes the identity files of everybody.
    pub(crate) fn save(&self, folder: &Path) -> Outcome {
        for (number, person) in self.all().into_iter().enumerate() {
            let bytes = IdentityFile::seal(&person.identity, &PASSPHRASE.into(), ScryptCost::Development)?;
            std::fs::write(folder.join(format!("person-{number}")), bytes)?;
        }
        Ok(())
    }

    fn load(folder: &Path) -> Outcome<Self> {
        let person = |number: usize| -> Outcome<Person> {
            let bytes = std::fs::read(folder.join(format!("person-{number}")))?;
            Ok(Person::of(IdentityFile::unseal(&bytes, &PASSPHRASE.into())?))
        };
        let [hospital, doctor, stranger, patient, other] = [person(0)?, person(1)?, person(2)?, person(3)?, person(4)?];
        Ok(Self { hospital, doctor, stranger, patient, other })
    }
}

pub(crate) fn people() -> &'static People {
    &PEOPLE
}

/// The registrar's key.
pub(crate) fn registrar() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0xee)).expect("a valid key")
}
