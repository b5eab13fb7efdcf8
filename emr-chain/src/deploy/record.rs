//! What a deployment was made from. The rollup's address commits to it.

use alloy::{
    primitives::{
        Address, B256, U256,
        aliases::{U48, U96},
        keccak256,
    },
    sol_types::{SolConstructor, SolValue},
};
use emr_core::StateRoot;
use serde::{Deserialize, Serialize};

use super::VerifierCode;
use crate::bindings::{EmrRollup, IEmrRollup, IGovernance, ISettlement, Verifier};

/// What a deployment was made from: everything that decides what its contracts do, and what they held in the beginning.
///
/// The contracts are created with CREATE2 (EIP-1014): the address of each is a hash over the factory, a salt and the
/// hash of its creation code. The creation code of a verifier names its key's contract, and that of the rollup names
/// the verifiers. So [`Self::contract`] is the only address that fits a record. Making a contract with other code, or with other storage in
/// the beginning, at the address of an honest deployer takes 2^160 hashes, and 2^80 for a deployer who prepared both. A record from a node that is not trusted is good if it
/// gives the right address.
///
/// The hash of the contract's code would say less: creation code of an attacker can first write any storage, for example a
/// state in which the attacker holds grants, and then return the genuine code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentRecord {
    /// The contract that created the others.
    pub factory: Address,
    /// The salt of the rollup's address. Verifiers and keys have salt 0.
    pub salt: B256,
    /// The sizes in which batches are proved, in the contract's order.
    pub sizes: Vec<SizeRecord>,
    /// The circuit version that the sizes belong to.
    pub circuit_version: u64,
    /// The state root in the beginning.
    pub genesis: StateRoot,
    /// The first sequencer. The contract says who it is now.
    pub sequencer: Address,
    /// Who held the other offices in the beginning.
    pub officers: Officers,
    /// Cost of a registration in wei.
    pub registration_fee: U256,
}

/// Who holds the offices of a rollup in the beginning, besides the sequencer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Officers {
    /// They admit and suspend doctors and hospitals, and propose changes. At least one.
    pub registrars: Vec<Address>,
    /// They halt settlement and cancel proposals. There may be none.
    pub guardians: Vec<Address>,
    /// How many guardians must agree; 0 exactly if there is none.
    pub threshold: u16,
    /// What the owner of an overdue urgent entry gets of the sequencer's bond, in wei. Below 2^96.
    pub forfeit: U256,
}

impl Officers {
    /// One registrar, no guardian, and no forfeit.
    pub fn registrar(registrar: Address) -> Self {
        Self { registrars: vec![registrar], guardians: Vec::new(), threshold: 0, forfeit: U256::ZERO }
    }

    fn to_abi(&self) -> Option<IGovernance::Officers> {
        Some(IGovernance::Officers {
            registrars: self.registrars.clone(),
            guardians: self.guardians.clone(),
            threshold: self.threshold,
            forfeit: U96::checked_from_limbs_slice(self.forfeit.as_limbs())?,
        })
    }
}

/// A size of a [`DeploymentRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeRecord {
    /// Keccak-256 of the creation code of the verifying key's contract: ten bytes and the key.
    pub key: B256,
    /// Queue entries per batch.
    pub max_l1: u64,
    /// L2 operations per batch.
    pub max_l2: u64,
}

impl DeploymentRecord {
    /// The address of the rollup with this program's contracts. `None` if a number is larger than a contract can hold.
    pub fn contract(&self) -> Option<Address> {
        let code = rollup_code(self, &self.verifiers())?;
        Some(self.factory.create2(self.salt, keccak256(code)))
    }

    /// The addresses of the verifiers with this program's code, in the order of the sizes.
    pub fn verifiers(&self) -> Vec<Address> {
        self.sizes.iter().map(|size| self.verifier_with(size.key)).collect()
    }

    /// The address of the verifier with this program's code and a key, which may have come after the deployment. `key` is Keccak-256 of the
    /// creation code of the key's contract, as in [`SizeRecord::key`].
    pub fn verifier_with(&self, key: B256) -> Address {
        let key = self.factory.create2(B256::ZERO, key);
        self.factory.create2(B256::ZERO, keccak256(verifier_code(&Verifier::BYTECODE, key)))
    }

    /// Whether a size has one of the development setup's keys that this program carries. Anyone can forge proofs under
    /// them. `false` says nothing of a hostile deployer: creation code can be written in many ways, and there are other keys with known secrets.
    pub fn has_development_keys(&self) -> bool {
        let carried = VerifierCode::development().map(|code| code.key_hash());
        self.sizes.iter().any(|size| carried.contains(&size.key))
    }
}

/// The creation code of a verifier with its argument.
pub(super) fn verifier_code(code: &[u8], key: Address) -> Vec<u8> {
    [code, &key.abi_encode()].concat()
}

/// The creation code of the rollup with its argument. `None` if a number is larger than the contract can hold.
pub(super) fn rollup_code(record: &DeploymentRecord, verifiers: &[Address]) -> Option<Vec<u8>> {
    let size = |(size, verifier): (&SizeRecord, &Address)| {
        Some(ISettlement::Size { verifier: *verifier, maxL1: number(size.max_l1)?, maxL2: number(size.max_l2)? })
    };
    let parameters = IEmrRollup::Parameters {
        sizes: record.sizes.iter().zip(verifiers).map(size).collect::<Option<_>>()?,
        circuitVersion: record.circuit_version,
        genesis: U256::from_be_bytes(*record.genesis.as_bytes()),
        sequencer: record.sequencer,
        officers: record.officers.to_abi()?,
        registrationFee: record.registration_fee,
    };
    Some([&EmrRollup::BYTECODE[..], &EmrRollup::constructorCall { parameters }.abi_encode()].concat())
}

/// A number of slots as the contract holds it.
fn number(slots: u64) -> Option<U48> {
    U48::checked_from_limbs_slice(&[slots])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> DeploymentRecord {
        let size = |key| SizeRecord { key: B256::repeat_byte(key), max_l1: 8, max_l2: 24 };
        DeploymentRecord {
            factory: super::super::factory::COMMON_FACTORY,
            salt: B256::ZERO,
            sizes: vec![size(1), size(2)],
            circuit_version: 1,
            genesis: StateRoot::from_bytes([1; 32]).expect("a field element"),
            sequencer: Address::repeat_byte(3),
            officers: Officers {
                registrars: vec![Address::repeat_byte(4)],
                guardians: vec![Address::repeat_byte(6), Address::repeat_byte(7)],
                threshold: 2,
                forfeit: U256::from(8),
            },
            registration_fee: U256::from(5),
        }
    }

    /// Whatever changes in a record, the address is another one.
    #[test]
    fn the_address_commits_to_every_field() {
        let good = record();
        let with = |change: &dyn Fn(&mut DeploymentRecord)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed.contract().expect("an address")
        };
        let mut addresses = vec![
            with(&|_| ()),
            with(&|record| record.factory = Address::repeat_byte(9)),
            with(&|record| record.salt = B256::repeat_byte(9)),
            with(&|record| record.sizes[1].key = B256::repeat_byte(9)),
            with(&|record| record.sizes[0].max_l1 = 9),
            with(&|record| record.sizes[1].max_l2 = 9),
            with(&|record| record.sizes.swap(0, 1)),
            with(&|record| record.sizes.truncate(1)),
            with(&|record| record.circuit_version = 2),
            with(&|record| record.genesis = StateRoot::from_bytes([2; 32]).expect("a field element")),
            with(&|record| record.sequencer = Address::repeat_byte(4)),
            with(&|record| record.officers.registrars = vec![record.sequencer]),
            with(&|record| record.officers.registrars.push(record.sequencer)),
            with(&|record| record.officers.guardians.swap(0, 1)),
            with(&|record| record.officers.threshold = 1),
            with(&|record| record.officers.forfeit = U256::ZERO),
            with(&|record| record.registration_fee = U256::ZERO),
        ];
        let count = addresses.len();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), count);
    }

    #[test]
    fn numbers_that_no_contract_holds_have_no_address() {
        let mut record = record();
        record.sizes[0].max_l2 = 1 << 48;
        assert_eq!(record.contract(), None);
        record.sizes[0].max_l2 -= 1;
        assert!(record.contract().is_some());
        record.officers.forfeit = U256::ONE << 96;
        assert_eq!(record.contract(), None);
    }

    #[test]
    fn a_single_development_key_is_noticed() {
        let mut record = record();
        assert!(!record.has_development_keys());
        record.sizes[1].key = VerifierCode::development()[0].key_hash();
        assert!(record.has_development_keys());
    }
}
