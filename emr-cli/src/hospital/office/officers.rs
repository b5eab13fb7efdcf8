//! Who holds the offices of a new rollup.

use alloy::primitives::{Address, U256};
use emr_chain::Officers;

use crate::{
    failure::{Exit, Failure},
    hospital::fees,
};

/// Options of `deploy` about the offices.
#[derive(clap::Args, Clone, Debug)]
pub struct OfficerArguments {
    /// An account that admits doctors and hospitals and proposes changes; repeat it for more. It should not be this
    /// hospital's [default on a development chain: this hospital's]
    #[arg(long, value_name = "ADDRESS")]
    registrar: Vec<Address>,
    /// An account that, together with others, halts settlement and cancels proposals; repeat it for more
    /// [default on a development chain: nobody]
    #[arg(long, value_name = "ADDRESS")]
    guardian: Vec<Address>,
    /// Say that nobody is a guardian, on a chain that is not for development
    #[arg(long, conflicts_with = "guardian")]
    no_guardian: bool,
    /// How many guardians must agree [default: more than half]
    #[arg(long, value_name = "N", requires = "guardian", value_parser = clap::value_parser!(u16).range(1..))]
    guardians_needed: Option<u16>,
    /// What the owner of an overdue urgent entry gets of the sequencer's bond, in ether, at most 1
    /// [default on a development chain: 0]
    #[arg(long, value_name = "ETHER", value_parser = fees::parse)]
    forfeit: Option<U256>,
}

impl OfficerArguments {
    /// The officers. `hospital` is the sequencer.
    ///
    /// # Errors
    /// Fails on a chain that is not for development if the operator did not say who is registrar, who is guardian, or what the forfeit is. These
    /// change in 14 days at the earliest, so nobody should get the weakest choice by saying nothing. Also fails if more guardians are needed than
    /// there are.
    pub fn officers(&self, hospital: Address, development: bool) -> Result<Officers, Failure> {
        let registrars = match &*self.registrar {
            [] if development => vec![hospital],
            [] => {
                let message =
                    "name who admits doctors and hospitals: --registrar ADDRESS, not this hospital's own account";
                return Err(Failure::new(Exit::Usage, message));
            }
            named => unique(named),
        };
        let guardians = unique(&self.guardian);
        if guardians.is_empty() && !self.no_guardian && !development {
            let message = "name who together halts settlement if proofs can be forged: --guardian ADDRESS, once for each; or say that nobody \
                           does: --no-guardian";
            return Err(Failure::new(Exit::Usage, message));
        }
        let forfeit = match self.forfeit {
            Some(forfeit) => forfeit,
            None if development => U256::ZERO,
            None => {
                let message = "say what the owner of an overdue entry gets of the sequencer's bond: --forfeit ETHER, like --forfeit 0.01; with \
                               --forfeit 0, nothing";
                return Err(Failure::new(Exit::Usage, message));
            }
        };
        let count = u16::try_from(guardians.len()).unwrap_or(u16::MAX);
        let majority = if count == 0 { 0 } else { count / 2 + 1 };
        let threshold = self.guardians_needed.unwrap_or(majority);
        if threshold > count {
            let message = format!("{threshold} guardians must agree, but there are {count}: name more with --guardian");
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(Officers { registrars, guardians, threshold, forfeit })
    }
}

/// What was named, once each, in order.
fn unique(named: &[Address]) -> Vec<Address> {
    let mut all: Vec<Address> = Vec::new();
    for address in named {
        if !all.contains(address) {
            all.push(*address);
        }
    }
    all
}

/// The options that give these officers, on every chain.
pub(in crate::hospital) fn options(officers: &Officers) -> String {
    let Officers { registrars, guardians, threshold, forfeit } = officers;
    let named = |option: &str, all: &[Address]| all.iter().map(|one| format!(" --{option} {one}")).collect::<String>();
    let needed =
        if guardians.is_empty() { " --no-guardian".to_owned() } else { format!(" --guardians-needed {threshold}") };
    let forfeit = crate::report::ether(*forfeit);
    format!("{}{}{needed} --forfeit {forfeit}", named("registrar", registrars), named("guardian", guardians))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who says everything: nobody is guardian if none is named, and the forfeit is 0.
    fn arguments(registrar: &[u8], guardian: &[u8], guardians_needed: Option<u16>) -> OfficerArguments {
        let all = |bytes: &[u8]| bytes.iter().map(|byte| Address::repeat_byte(*byte)).collect();
        OfficerArguments {
            registrar: all(registrar),
            guardian: all(guardian),
            no_guardian: guardian.is_empty(),
            guardians_needed,
            forfeit: Some(U256::ZERO),
        }
    }

    #[test]
    fn a_real_chain_wants_to_hear_of_guardians_and_forfeit() -> Result<(), Failure> {
        let hospital = Address::repeat_byte(9);
        let without_guardian = OfficerArguments { no_guardian: false, ..arguments(&[1], &[], None) };
        let without_forfeit = OfficerArguments { forfeit: None, ..arguments(&[1], &[2], None) };
        for (unsaid, option) in [(&without_guardian, "--no-guardian"), (&without_forfeit, "--forfeit ETHER")] {
            let refused = unsaid.officers(hospital, false).expect_err("it was not said");
            assert_eq!(refused.exit(), Exit::Usage);
            assert!(refused.to_string().contains(option), "{refused}");
            assert!(unsaid.officers(hospital, true)?.forfeit.is_zero(), "a development chain asks nothing");
        }
        // Both may be said on purpose.
        let weak = arguments(&[1], &[], None).officers(hospital, false)?;
        assert_eq!(weak, Officers::registrar(Address::repeat_byte(1)));
        assert!(options(&weak).ends_with(" --no-guardian --forfeit 0"), "{}", options(&weak));
        Ok(())
    }

    #[test]
    fn the_sequencer_is_registrar_on_development_chains_only() {
        let hospital = Address::repeat_byte(9);
        let own = arguments(&[], &[], None).officers(hospital, true).expect("a development chain");
        assert_eq!(own, Officers::registrar(hospital));
        assert_eq!(arguments(&[], &[], None).officers(hospital, false).expect_err("a real chain").exit(), Exit::Usage);
        let other = arguments(&[1, 2, 1], &[], None).officers(hospital, true).expect("named");
        assert_eq!(other.registrars, [Address::repeat_byte(1), Address::repeat_byte(2)]);
    }

    #[test]
    fn more_than_half_of_the_guardians_must_agree() {
        let threshold = |guardians: &[u8], needed| {
            let officers = arguments(&[1], guardians, needed).officers(Address::ZERO, false);
            officers.map(|officers| officers.threshold).map_err(|failure| failure.exit())
        };
        assert_eq!(threshold(&[], None), Ok(0));
        assert_eq!(
            (threshold(&[1], None), threshold(&[1, 2], None), threshold(&[1, 2, 3], None)),
            (Ok(1), Ok(2), Ok(2))
        );
        assert_eq!((threshold(&[1, 2, 3], Some(3)), threshold(&[1, 1], Some(2))), (Ok(3), Err(Exit::Usage)));
    }
}
