//! The patient's grants, by evidence that a node cannot forge: all settled grants, proved, and the operations that the
//! patient signed since.
//!
//! New grants and revocations are signed on top of these. If the patient relied on the node's claim instead, the node
//! could make them sign a grant that they never gave, end the wrong grant, or miss one.

use std::{cmp::Ordering, collections::BTreeMap};

use emr_api::{GrantView, OwnGrantsView, PatientView};
use emr_core::{GrantSlot, OutOfRange, Rights, UnixTime, Version};
use emr_rollup::{
    layout::GRANT_DEPTH,
    operation::SignedOperation,
    state::{leaf::GrantLeaf, tree::empty_root},
};

use crate::{
    client::Client,
    error::ClientError,
    flow::{own_directory::READS, owners::owned},
    verify::light::{self, LightError},
};

/// The settled grants with signed operations on top. In each slot the highest version counts.
fn replay<'a>(
    settled: &[GrantView],
    signed: impl Iterator<Item = &'a SignedOperation>,
) -> Result<Vec<GrantView>, OutOfRange> {
    let mut grants: BTreeMap<GrantSlot, GrantLeaf> = settled.iter().map(|view| (view.slot, view.grant)).collect();
    for signed in signed {
        if let Some((slot, leaf)) = signed.operation.action.signed_grant()?
            && grants.get(&slot).is_none_or(|now| now.version < leaf.version)
        {
            grants.insert(slot, leaf);
        }
    }
    Ok(grants.into_iter().map(|(slot, grant)| GrantView { slot, grant }).collect())
}

impl Client {
    /// All settled grants of the patient, and the operations that wait according to the node. The grants are compared
    /// with the grants root that a checked view proves. The cost does not grow with the audit chain.
    pub(super) async fn settled_grants(&self, view: &PatientView) -> Result<OwnGrantsView, ClientError> {
        let grants = self.node.grants(view.patient).await?;
        // Before the registration is settled the leaf is proved to be empty, and there are no grants.
        let expected = view.proof.leaf.map_or_else(|| empty_root(GRANT_DEPTH), |leaf| leaf.grants_root);
        if light::grants_root(&grants.grants)? != expected {
            return Err(LightError::NotAll("grants").into());
        }
        Ok(grants)
    }

    /// The patient's grants as they will be once everything that the patient signed is settled. `view` is the patient's
    /// own view, checked.
    pub(crate) async fn own_grants(&self, view: &PatientView) -> Result<Vec<GrantView>, ClientError> {
        let OwnGrantsView { grants: settled, pending, .. } = self.settled_grants(view).await?;
        let (account, domain, key, now) = (view.patient, self.domain(), self.keys.rollup_key(), UnixTime::now());
        let entries = self.profile.outbox().entries();
        let outbox = entries.iter().map(|entry| &entry.draft().submission.signed);
        let own = pending.iter().chain(&view.directory_operations).chain(outbox).filter(|signed| {
            let operation = &signed.operation;
            (operation.signer, operation.patient) == (account, account)
                && (operation.signer_epoch, operation.patient_epoch) == (view.epoch, view.epoch)
                && now <= operation.valid_until
                && signed.verify(domain, &key).is_ok()
        });
        replay(&settled, own).map_err(|error| ClientError::Malformed(error.to_string()))
    }

    /// What the settled state holds of this operation of the patient.
    pub(crate) async fn effect_of(&self, signed: &SignedOperation) -> Result<Effect, ClientError> {
        let Ok(Some((slot, leaf))) = signed.operation.action.signed_grant() else { return Ok(Effect::InForce) };
        let card = self.own_card().await?;
        for _ in 0..READS {
            let (view, _) = self.patient_view(&card).await?;
            match self.settled_grants(&view).await {
                Ok(settled) => {
                    let now = settled.grants.iter().find(|view| view.slot == slot).map(|view| &view.grant);
                    let highest = match self.profile.has_delegates() {
                        false => Some(self.profile.highest_signed(owned(&card), slot)),
                        true => None,
                    };
                    return Ok(effect(now, &leaf, highest));
                }
                // A batch was settled between the two reads, or the node lies.
                Err(ClientError::Light(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Effect::None)
    }

    /// Whether the settled state holds the effect of this operation of the patient, or of a later one that ends the grant or that this participant
    /// signed.
    pub(crate) async fn is_in_force(&self, signed: &SignedOperation) -> Result<bool, ClientError> {
        Ok(self.effect_of(signed).await? == Effect::InForce)
    }
}

/// What the settled state holds of an operation that sets or ends a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: the slot holds an earlier version, or another grant in its place.
    None,
    /// The grant that it signs, or what followed from it.
    InForce,
    /// A later grant that this participant did not sign. The operation may have been settled before, or never.
    Unknown,
}

/// Compares the leaf that a slot holds `now` with the one that an operation signs. `highest` is the highest version that this participant ever
/// signed for the slot. It is `None` if the patient has had a delegate: then a version proves nothing, because a delegate can have written it
/// while a sequencer held the patient's own operation back. What the batches on L1 hold decides.
fn effect(now: Option<&GrantLeaf>, signed: &GrantLeaf, highest: Option<Version>) -> Effect {
    let Some(now) = now else { return Effect::None };
    match now.version.cmp(&signed.version) {
        Ordering::Less => Effect::None,
        Ordering::Equal if *now == (GrantLeaf { uses: now.uses, ..*signed }) => Effect::InForce,
        // One Revoke is as good as another.
        Ordering::Equal if now.rights == Rights::NONE && signed.rights == Rights::NONE => Effect::InForce,
        Ordering::Equal => Effect::None,
        // A Revoke has its purpose if the grant has ended, by this Revoke or by another operation.
        Ordering::Greater if now.rights == Rights::NONE && (highest.is_some() || signed.rights == Rights::NONE) => {
            Effect::InForce
        }
        Ordering::Greater if highest.is_some_and(|highest| now.version <= highest) => Effect::InForce,
        Ordering::Greater => Effect::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use emr_core::{AccountEpoch, AccountIndex, Class, Uses};
    use emr_rollup::{
        operation::{Action, DirectoryCommitment, Domain, Operation, Revoke, SetGrant, revoked_leaf},
        primitive::{eddsa::SigningKey, field::Fr},
    };

    use super::*;

    type TestResult = Result<(), OutOfRange>;

    fn grant(version: u64, grantee: u64) -> Result<GrantLeaf, OutOfRange> {
        Ok(GrantLeaf {
            grantee: Some(AccountIndex::new(grantee)?),
            rights: Rights::READ,
            scope: Class::Laboratory.into(),
            not_after: UnixTime::new(1000)?,
            uses: Uses::ZERO,
            version: Version::new(version)?,
            salt: Fr::default(),
        })
    }

    fn signed(action: Action) -> Result<SignedOperation, OutOfRange> {
        let patient = AccountIndex::new(1)?;
        let operation = Operation {
            signer: patient,
            signer_epoch: AccountEpoch::FIRST,
            patient,
            patient_epoch: AccountEpoch::FIRST,
            valid_until: UnixTime::new(1000)?,
            salt: Fr::default(),
            action,
        };
        Ok(operation.sign(Domain::new(31337, [1; 20]), &SigningKey::from_seed(&[1; 32]), None))
    }

    /// A delegate's grant does not pass for the patient's Revoke that it made void, whatever its version is.
    #[test]
    fn a_version_that_somebody_else_wrote_is_not_the_patients_revoke() -> TestResult {
        let version = Version::new;
        let ended = |number| Ok(revoked_leaf(Uses::ZERO, version(number)?, Fr::default()));
        let revoke = ended(2)?;
        assert_eq!(effect(None, &revoke, Some(version(2)?)), Effect::None);
        assert_eq!(effect(Some(&grant(1, 7)?), &revoke, Some(version(2)?)), Effect::None);
        assert_eq!(effect(Some(&revoke), &revoke, Some(version(2)?)), Effect::InForce);
        // The state keeps its own count of uses.
        let used = GrantLeaf { uses: Uses::new(5)?, ..revoke };
        assert_eq!(effect(Some(&used), &revoke, Some(version(2)?)), Effect::InForce);
        let salted = GrantLeaf { salt: Fr::from(1), ..revoke };
        assert_eq!(effect(Some(&salted), &revoke, Some(version(2)?)), Effect::InForce, "another Revoke in its place");
        assert_eq!(effect(Some(&grant(2, 7)?), &revoke, Some(version(2)?)), Effect::None, "a delegate's grant");
        assert_eq!(effect(Some(&grant(3, 7)?), &revoke, Some(version(2)?)), Effect::Unknown, "a delegate's next grant");
        assert_eq!(
            effect(Some(&grant(3, 7)?), &revoke, Some(version(3)?)),
            Effect::InForce,
            "the patient's next grant"
        );
        assert_eq!(effect(Some(&ended(4)?), &revoke, Some(version(2)?)), Effect::InForce, "it has ended");
        // With a delegate, no version is evidence: the delegate may have written it while the patient's operation was held back.
        assert_eq!(effect(Some(&grant(3, 7)?), &revoke, None), Effect::Unknown);
        assert_eq!(effect(Some(&ended(4)?), &revoke, None), Effect::InForce, "the grant has ended all the same");
        let set = grant(2, 7)?;
        assert_eq!(effect(Some(&ended(4)?), &set, Some(version(4)?)), Effect::InForce);
        assert_eq!(effect(Some(&ended(4)?), &set, None), Effect::Unknown, "a delegate may have ended another grant");
        Ok(())
    }

    #[test]
    fn the_highest_version_counts_in_whatever_order_it_comes() -> TestResult {
        let slot = GrantSlot::FIRST_ORDINARY;
        let directories = (DirectoryCommitment::NONE, DirectoryCommitment::NONE);
        let set = |version| {
            let expected = Version::new(version - 1)?;
            let (directory_before, directory_after) = directories;
            signed(Action::SetGrant(SetGrant {
                slot,
                expected,
                leaf: grant(version, 8)?,
                directory_before,
                directory_after,
            }))
        };
        let revoke = signed(Action::Revoke(Revoke {
            slot,
            expected: Version::new(3)?,
            leaf_salt: Fr::default(),
            directory_before: directories.0,
            directory_after: directories.1,
        }))?;
        let settled = [GrantView { slot, grant: grant(2, 7)? }];
        let operations = [set(3)?, revoke, set(1)?];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let grants = replay(&settled, order.iter().map(|at| &operations[*at]))?;
            assert_eq!((grants.len(), grants[0].grant.version.get(), grants[0].grant.grantee), (1, 4, None));
        }
        assert_eq!(replay(&settled, [].iter())?, settled);
        Ok(())
    }
}
