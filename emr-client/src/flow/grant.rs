//! Granting: one operation adds the wrapped epoch keys to the key directory and the grant to the state.

use emr_api::{GrantView, PatientView};
use emr_core::{AccountIndex, ClassMask, GrantSlot, Rights, Role, UnixTime, Uses, Version};
use emr_crypto::{GrantError as KeyGrantError, Past};
use emr_rollup::{
    operation::{Action, CLIENT_VALIDITY, SetGrant},
    state::leaf::GrantLeaf,
};

use crate::{
    client::{Client, random_element},
    error::ClientError,
    flow::own_directory::Next,
    flow::owners::owned,
    flow::submit::{Acknowledged, Outgoing},
    verify::card::{Card, CheckedCard},
};

/// How often a grant is tried while other changes of the state interfere.
const ATTEMPTS: usize = 5;

/// Why nothing was granted or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The participant is not a patient.
    #[error("only a patient grants, revokes and rekeys: use the patient's data folder")]
    NotAPatient,
    /// These rights cannot be granted.
    #[error("{0} cannot be granted: grant read, write, or both")]
    Rights(Rights),
    /// No class was named.
    #[error("choose at least one class")]
    NoClass,
    /// The grant would end in the past.
    #[error("the grant would end in the past: choose a later time")]
    Past,
    /// The grantee is a patient.
    #[error("account {0} is a patient: grants go to doctors and hospitals")]
    Grantee(AccountIndex),
    /// The card of a custodian is not a hospital's.
    #[error("account {0} is not a hospital: only a hospital can be a record's custodian")]
    Custodian(AccountIndex),
    /// No grant slot is free.
    #[error("all grant slots are in use: revoke a grant that is no longer needed")]
    NoSlot,
    /// The key directory takes no more readers.
    #[error(transparent)]
    Keys(#[from] KeyGrantError),
    /// The new epoch could not be made.
    #[error(transparent)]
    Epoch(#[from] emr_crypto::RevokeError),
    /// The account holds no grant that could be revoked.
    #[error("account {0} holds no grant for these classes: list the grants")]
    NoSuchGrant(AccountIndex),
}

/// Whether a reader may read the records that already exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// The reader gets all records of these classes.
    Included,
    /// The reader gets only records that are written after the grant. Each class begins a new epoch, so the reader
    /// cannot open older records even with their blocks.
    FromNow,
}

/// The terms of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// READ, WRITE or both.
    pub rights: Rights,
    /// The classes.
    pub classes: ClassMask,
    /// The last second at which the grant holds.
    pub until: UnixTime,
    /// For readers: whether they get older records.
    pub history: History,
}

/// A grant that the node acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The grant's slot.
    pub slot: GrantSlot,
    /// The grant.
    pub grant: GrantLeaf,
    /// The grant that the slot held before and whose place this one takes, if it held one.
    pub replaces: Option<GrantLeaf>,
    /// The node's promise.
    pub acknowledged: Acknowledged,
    /// For a grant "from now on": the classes whose older records stay open, because the account could read them before.
    pub stays_open: ClassMask,
    /// Until when the signed grant may take effect if it is not settled earlier. A Revoke prevents that.
    pub may_take_effect_until: UnixTime,
}

impl Terms {
    pub(crate) fn check(&self, to: &CheckedCard) -> Result<(), ClientError> {
        if self.rights == Rights::NONE || !(Rights::READ | Rights::WRITE).contains(self.rights) {
            return Err(GrantError::Rights(self.rights).into());
        }
        self.check_bounds(to)
    }

    /// Checks classes, time and grantee.
    fn check_bounds(&self, to: &CheckedCard) -> Result<(), ClientError> {
        if self.classes == ClassMask::default() {
            return Err(GrantError::NoClass.into());
        }
        if self.until <= UnixTime::now() {
            return Err(GrantError::Past.into());
        }
        if to.role() == Role::Patient {
            return Err(GrantError::Grantee(to.account()).into());
        }
        Ok(())
    }
}

/// The slot for a grant: the one that holds a grant of this account for these very classes, or the lowest that holds
/// none. Slots of ended grants are used again before new ones are opened. A delegate's grant and their other grants have
/// different slots. Slots that were `tried` before are left out: a delegate may be writing them.
fn choose_slot(
    view: &PatientView,
    grantee: AccountIndex,
    terms: &Terms,
    tried: &[GrantSlot],
) -> Option<(GrantSlot, Version)> {
    let is_new = |slot: &GrantSlot| *slot >= GrantSlot::FIRST_ORDINARY && !tried.contains(slot);
    let ordinary = || view.grants.iter().filter(|view| is_new(&view.slot));
    let manages = |rights: Rights| rights.contains(Rights::MANAGE);
    let of = |view: &GrantView| (view.slot, view.grant.version);
    let same = ordinary().find(|view| {
        view.grant.grantee == Some(grantee)
            && view.grant.scope == terms.classes
            && manages(view.grant.rights) == manages(terms.rights)
    });
    let ended = || ordinary().filter(|view| view.grant.grantee.is_none()).min_by_key(|view| view.slot);
    let fresh = || {
        (GrantSlot::FIRST_ORDINARY.get()..=GrantSlot::MAX)
            .filter_map(|slot| GrantSlot::new(slot).ok())
            .find(|slot| is_new(slot) && ordinary().all(|view| view.slot != *slot))
            .map(|slot| (slot, Version::ZERO))
    };
    same.or_else(ended).map(of).or_else(fresh)
}

impl Client {
    /// Grants access. A reader gets the epoch keys of the classes, wrapped to the RSA key of their checked card. A
    /// writer needs no keys. The first grant publishes the key directory.
    ///
    /// # Errors
    /// [`GrantError`] if these terms cannot be granted to this account. [`ClientError`] if the card does not hold, or
    /// the node or L1 does not do its part.
    pub async fn grant(&self, to: &Card, terms: &Terms) -> Result<Granted, ClientError> {
        if self.keys.role() != Role::Patient {
            return Err(GrantError::NotAPatient.into());
        }
        let to = self.check_card(to).await?;
        terms.check(&to)?;
        self.give(&to, terms).await
    }

    /// Gives a grant of checked rights.
    pub(crate) async fn give(&self, to: &CheckedCard, terms: &Terms) -> Result<Granted, ClientError> {
        terms.check_bounds(to)?;
        let _turn = self.turn().await;
        self.deliver_waiting().await?;
        let mut tried = Vec::new();
        for _ in 0..ATTEMPTS {
            match self.try_grant(to, terms, &mut tried).await {
                Err(error) if error.is_stale() => {}
                other => return other,
            }
        }
        Err(ClientError::Contended)
    }

    async fn try_grant(
        &self,
        to: &CheckedCard,
        terms: &Terms,
        tried: &mut Vec<GrantSlot>,
    ) -> Result<Granted, ClientError> {
        let mut own = self.own_directory().await?;
        let stays_open = match terms.history {
            History::FromNow if terms.rights.contains(Rights::READ) => {
                ClassMask::from_bits(own.could_read(to.account()).bits() & terms.classes.bits())
            }
            _ => ClassMask::default(),
        };
        if terms.rights.contains(Rights::READ) {
            let key = to.encryption_key().ok_or(GrantError::Grantee(to.account()))?.clone();
            let past = match terms.history {
                History::Included => Past::Included,
                History::FromNow => Past::Closed,
            };
            own.directory.grant(to.account(), key, terms.classes, past)?;
        }
        let (slot, expected) = choose_slot(&own.view, to.account(), terms, tried).ok_or(GrantError::NoSlot)?;
        if own.has_delegates() {
            tried.push(slot);
        }
        let version = expected.next()?;
        let grant = GrantLeaf {
            grantee: Some(to.account()),
            rights: terms.rights,
            scope: terms.classes,
            not_after: terms.until,
            uses: Uses::ZERO,
            version,
            salt: random_element(),
        };
        // If the new grant replaces one that allowed reading, the old keys are taken back too.
        let mut grants = own.view.grants.clone();
        let replaces = grants.iter().find(|view| view.slot == slot).map(|view| view.grant);
        let replaces = replaces.filter(|leaf| leaf.grantee.is_some());
        grants.retain(|view| view.slot != slot);
        grants.push(GrantView { slot, grant });
        own.keep_readers_of(&grants)?;
        self.note_epochs(&own)?;
        let Next { commitment: directory_after, cid: directory, blocks } = own.next();
        let action =
            Action::SetGrant(SetGrant { slot, expected, leaf: grant, directory_before: own.before, directory_after });
        let operation = self.operation(&own.card, action).await?;
        self.profile.note_version(owned(&own.card), slot, version)?;
        let outgoing = Outgoing { directory, blocks, ..Outgoing::plain(&own.card, operation, None) };
        let acknowledged = self.hand_in(outgoing).await?;
        let may_take_effect_until = UnixTime::now().saturating_add(CLIENT_VALIDITY);
        Ok(Granted { slot, grant, replaces, acknowledged, stays_open, may_take_effect_until })
    }

    /// The patient's grants as they will be once everything that they signed is settled: the settled grants, proved,
    /// with the signed changes on top. For what is settled now, see [`Client::light_check`].
    ///
    /// # Errors
    /// [`ClientError`] if the node or L1 cannot be asked, or the node's answer does not hold.
    pub async fn grants(&self) -> Result<Vec<GrantView>, ClientError> {
        let _turn = self.turn().await;
        Ok(self.own_directory().await?.view.grants)
    }
}

#[cfg(test)]
mod tests {
    use emr_core::{Class, OutOfRange};
    use emr_rollup::{operation::revoked_leaf, primitive::field::Fr};

    use super::*;
    use emr_api::MedicalProof;

    fn view(grants: &[(u64, Option<u64>, ClassMask)]) -> Result<PatientView, OutOfRange> {
        let grant = |(slot, grantee, scope): &(u64, Option<u64>, ClassMask)| {
            let version = Version::new(*slot)?;
            let leaf = GrantLeaf {
                grantee: grantee.map(AccountIndex::new).transpose()?,
                scope: *scope,
                ..revoked_leaf(Uses::ZERO, version, Fr::default())
            };
            Ok(GrantView { slot: GrantSlot::new(*slot)?, grant: leaf })
        };
        let roots = Fr::default();
        Ok(PatientView {
            patient: AccountIndex::new(1)?,
            epoch: emr_core::AccountEpoch::FIRST,
            directory: None,
            directory_commitment: Default::default(),
            grants: grants.iter().map(grant).collect::<Result<_, OutOfRange>>()?,
            next_record_slot: emr_core::RecordSlot::new(0)?,
            proof: MedicalProof {
                batch: 0,
                leaf: None,
                path: emr_rollup::state::tree::Path::new([]),
                identity_root: roots,
                medical_root: roots,
            },
            directory_operations: Vec::new(),
        })
    }

    #[test]
    fn slots_are_reused_and_break_glass_slots_are_not_touched() -> Result<(), OutOfRange> {
        let (lab, imaging) = (ClassMask::from(Class::Laboratory), ClassMask::from(Class::Imaging));
        let doctor = AccountIndex::new(7)?;
        let slot = |grants: &[(u64, Option<u64>, ClassMask)]| -> Result<_, OutOfRange> {
            let terms = Terms { rights: Rights::READ, classes: lab, until: UnixTime::ZERO, history: History::Included };
            Ok(choose_slot(&view(grants)?, doctor, &terms, &[]).map(|(slot, version)| (slot.get(), version.get())))
        };
        assert_eq!(slot(&[])?, Some((64, 0)));
        assert_eq!(slot(&[(3, None, lab), (3, Some(7), lab)])?, Some((64, 0)));
        assert_eq!(slot(&[(64, Some(7), imaging), (65, Some(8), lab)])?, Some((66, 0)));
        assert_eq!(slot(&[(64, Some(8), lab), (65, Some(7), lab), (66, None, lab)])?, Some((65, 65)));
        assert_eq!(slot(&[(64, Some(8), lab), (66, None, lab), (67, None, lab)])?, Some((66, 66)));
        let full: Vec<_> = (64..1024).map(|slot| (slot, Some(8), lab)).collect();
        assert_eq!(slot(&full)?, None);
        Ok(())
    }
}
