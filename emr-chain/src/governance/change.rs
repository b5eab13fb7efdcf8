//! What registrars can change: the calls of the contract of the offices that only its timelock makes.

use std::fmt;

use alloy::{
    primitives::{Address, B256, Bytes, U256, aliases::U48, aliases::U96, keccak256},
    sol_types::{SolCall, SolInterface},
};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::governance::{
        Governance::{
            GovernanceCalls, appointCall, changeForfeitCall, changeRegistrationFeeCall, changeSizesCall,
            changeThresholdCall, grantRoleCall, revokeRoleCall, updateDelayCall,
        },
        ISettlement,
    },
    sizes::Size,
};

/// A change that waits for at least 14 days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// Makes this account the sequencer.
    Appoint(Address),
    /// Makes this account a registrar.
    AddRegistrar(Address),
    /// Ends the office of a registrar.
    RemoveRegistrar(Address),
    /// Makes this account a guardian.
    AddGuardian(Address),
    /// Ends the office of a guardian.
    RemoveGuardian(Address),
    /// How many guardians must agree.
    Threshold(u16),
    /// The cost of a registration, in wei.
    RegistrationFee(U256),
    /// What the owner of an overdue urgent entry gets of the sequencer's bond, in wei. Below 2^96.
    Forfeit(U256),
    /// How many seconds later proposals wait: 14 to 90 days.
    Delay(u64),
    /// The sizes in which batches are proved, with their verifiers.
    Sizes {
        /// The circuit version that they belong to.
        circuit_version: u64,
        /// The sizes, in their order.
        sizes: Vec<Size>,
    },
}

/// `PROPOSER_ROLE` of OpenZeppelin's timelock: the registrars.
fn registrar_role() -> B256 {
    keccak256("PROPOSER_ROLE")
}

fn guardian_role() -> B256 {
    keccak256("GUARDIAN_ROLE")
}

impl Change {
    /// The calldata of the change. `None` if a number is larger than the contract can hold.
    pub(super) fn calldata(&self) -> Option<Bytes> {
        let grant = |role, account: &Address| grantRoleCall { role, account: *account }.abi_encode();
        let revoke = |role, account: &Address| revokeRoleCall { role, account: *account }.abi_encode();
        let data = match self {
            Self::Appoint(sequencer) => appointCall { sequencer: *sequencer }.abi_encode(),
            Self::AddRegistrar(account) => grant(registrar_role(), account),
            Self::RemoveRegistrar(account) => revoke(registrar_role(), account),
            Self::AddGuardian(account) => grant(guardian_role(), account),
            Self::RemoveGuardian(account) => revoke(guardian_role(), account),
            Self::Threshold(threshold) => changeThresholdCall { threshold: *threshold }.abi_encode(),
            Self::RegistrationFee(fee) => changeRegistrationFeeCall { fee: *fee }.abi_encode(),
            Self::Forfeit(forfeit) => {
                changeForfeitCall { forfeit_: U96::checked_from_limbs_slice(forfeit.as_limbs())? }.abi_encode()
            }
            Self::Delay(seconds) => updateDelayCall { newDelay: U256::from(*seconds) }.abi_encode(),
            Self::Sizes { circuit_version, sizes } => {
                let slots = |slots| U48::checked_from_limbs_slice(&[slots]);
                let size = |size: &Size| {
                    let (max_l1, max_l2) = (slots(size.max_l1)?, slots(size.max_l2)?);
                    Some(ISettlement::Size { verifier: size.verifier, maxL1: max_l1, maxL2: max_l2 })
                };
                let sizes = sizes.iter().map(size).collect::<Option<_>>()?;
                changeSizesCall { circuitVersion: *circuit_version, sizes }.abi_encode()
            }
        };
        Some(data.into())
    }

    /// Reads the calldata of a change. `None` if this is no call of the kinds here.
    pub(super) fn of_calldata(data: &[u8]) -> Option<Self> {
        let change = match GovernanceCalls::abi_decode(data).ok()? {
            GovernanceCalls::appoint(call) => Self::Appoint(call.sequencer),
            GovernanceCalls::grantRole(call) if call.role == registrar_role() => Self::AddRegistrar(call.account),
            GovernanceCalls::grantRole(call) if call.role == guardian_role() => Self::AddGuardian(call.account),
            GovernanceCalls::revokeRole(call) if call.role == registrar_role() => Self::RemoveRegistrar(call.account),
            GovernanceCalls::revokeRole(call) if call.role == guardian_role() => Self::RemoveGuardian(call.account),
            GovernanceCalls::changeThreshold(call) => Self::Threshold(call.threshold),
            GovernanceCalls::changeRegistrationFee(call) => Self::RegistrationFee(call.fee),
            GovernanceCalls::changeForfeit(call) => Self::Forfeit(call.forfeit_.to()),
            GovernanceCalls::updateDelay(call) => Self::Delay(call.newDelay.saturating_to()),
            GovernanceCalls::changeSizes(call) => {
                let size = |size: &ISettlement::Size| Size {
                    verifier: size.verifier,
                    max_l1: size.maxL1.to(),
                    max_l2: size.maxL2.to(),
                };
                Self::Sizes { circuit_version: call.circuitVersion, sizes: call.sizes.iter().map(size).collect() }
            }
            _ => return None,
        };
        // Junk after the arguments, or another encoding, is no call that this program makes.
        (change.calldata()?[..] == *data).then_some(change)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appoint(account) => write!(f, "{account} becomes the sequencer"),
            Self::AddRegistrar(account) => write!(f, "{account} becomes a registrar"),
            Self::RemoveRegistrar(account) => write!(f, "{account} is no registrar any more"),
            Self::AddGuardian(account) => write!(f, "{account} becomes a guardian"),
            Self::RemoveGuardian(account) => write!(f, "{account} is no guardian any more"),
            Self::Threshold(threshold) => write!(f, "{threshold} guardians must agree"),
            Self::RegistrationFee(fee) => write!(f, "a registration costs {fee} wei"),
            Self::Forfeit(forfeit) => write!(f, "the owner of an overdue urgent entry gets {forfeit} wei"),
            Self::Delay(seconds) => write!(f, "proposals wait {seconds} seconds"),
            Self::Sizes { circuit_version, sizes } => {
                write!(f, "the sizes of circuit version {circuit_version} become")?;
                for Size { verifier, max_l1, max_l2 } in sizes {
                    write!(f, " {max_l1} + {max_l2} slots with verifier {verifier};")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Change> {
        let account = Address::repeat_byte(7);
        let size = |slots| Size { verifier: account, max_l1: slots, max_l2: 24 };
        vec![
            Change::Appoint(account),
            Change::AddRegistrar(account),
            Change::RemoveRegistrar(account),
            Change::AddGuardian(account),
            Change::RemoveGuardian(account),
            Change::Threshold(2),
            Change::RegistrationFee(U256::from(5)),
            Change::Forfeit(U256::from(6)),
            Change::Delay(15 * 24 * 3600),
            Change::Sizes { circuit_version: 2, sizes: vec![size(8), size(9)] },
        ]
    }

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let mut seen = std::collections::BTreeSet::new();
        for change in all() {
            let data = change.calldata().expect("numbers that fit");
            assert_eq!(Change::of_calldata(&data), Some(change.clone()));
            assert!(seen.insert(data.clone()), "{change}");
            let longer = [&data[..], &[0]].concat();
            assert_eq!(Change::of_calldata(&longer), None, "{change}");
            let json = serde_json::to_string(&change).expect("JSON");
            assert_eq!(serde_json::from_str::<Change>(&json).expect("the same"), change);
        }
    }

    #[test]
    fn what_no_registrar_changes_is_no_change() {
        let other = grantRoleCall { role: B256::ZERO, account: Address::repeat_byte(1) }.abi_encode();
        for data in [Vec::new(), vec![0; 4], other] {
            assert_eq!(Change::of_calldata(&data), None);
        }
        assert_eq!(Change::Forfeit(U256::ONE << 96).calldata(), None);
        let verifier = Address::repeat_byte(7);
        let sizes = vec![Size { verifier, max_l1: 1 << 48, max_l2: 0 }];
        assert_eq!(Change::Sizes { circuit_version: 1, sizes }.calldata(), None);
    }
}
