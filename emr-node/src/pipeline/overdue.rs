//! Finds promises whose time is over.

use std::collections::BTreeSet;

use emr_core::UnixTime;

use crate::{mempool::Sequence, state::open::OpenOperations};

/// The overdue promises that were reported already.
#[derive(Debug, Default)]
pub(super) struct Overdue(BTreeSet<Sequence>);

impl Overdue {
    /// The open operations whose time passed since the last call, with that time.
    pub(super) fn new_ones(&mut self, open: &OpenOperations, now: UnixTime) -> Vec<(Sequence, UnixTime)> {
        self.0.retain(|sequence| open.contains(*sequence));
        open.overdue(now).filter(|(sequence, _)| self.0.insert(*sequence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use emr_core::{AccountEpoch, AccountIndex, GrantSlot, Version};
    use emr_rollup::{
        operation::{Action, DirectoryCommitment, Domain, Operation, Revoke},
        primitive::{eddsa::SigningKey, field::Fr},
        version::CircuitVersion,
    };

    use super::*;
    use crate::mempool::Acknowledged;

    fn promised(settle_by: UnixTime) -> Result<Acknowledged, emr_core::OutOfRange> {
        let account = AccountIndex::new(1)?;
        let revoke = Revoke {
            slot: GrantSlot::new(64)?,
            expected: Version::ZERO,
            leaf_salt: Fr::from(1),
            directory_before: DirectoryCommitment::NONE,
            directory_after: DirectoryCommitment::NONE,
        };
        let operation = Operation {
            signer: account,
            signer_epoch: AccountEpoch::FIRST,
            patient: account,
            patient_epoch: AccountEpoch::FIRST,
            valid_until: settle_by,
            salt: Fr::zero(),
            action: Action::Revoke(revoke),
        };
        let signed = operation.sign(Domain::new(1, [0; 20]), &SigningKey::from_seed(&[1; 32]), None);
        Ok(Acknowledged::sample(signed, settle_by))
    }

    #[test]
    fn each_is_told_once() -> Result<(), emr_core::OutOfRange> {
        let at = UnixTime::new;
        let mut open = OpenOperations::new(&CircuitVersion::V1.into());
        open.insert(3, promised(at(100)?)?);
        open.insert(4, promised(at(200)?)?);
        let mut overdue = Overdue::default();
        assert_eq!(overdue.new_ones(&open, at(100)?), []);
        assert_eq!(overdue.new_ones(&open, at(101)?), [(3, at(100)?)]);
        assert_eq!(overdue.new_ones(&open, at(150)?), []);
        assert_eq!(overdue.new_ones(&open, at(300)?), [(4, at(200)?)]);
        // The operation was settled, and is open again after a reorganisation.
        open.remove(3);
        assert_eq!(overdue.new_ones(&open, at(301)?), []);
        open.insert(3, promised(at(100)?)?);
        assert_eq!(overdue.new_ones(&open, at(302)?), [(3, at(100)?)]);
        Ok(())
    }
}
