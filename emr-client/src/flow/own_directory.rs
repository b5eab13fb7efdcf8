//! The patient's own key directory with its secrets, read from its blocks with the patient's keys.

use std::collections::BTreeMap;

use emr_api::{GrantView, PatientView};
use emr_core::{AccountIndex, Cid, ClassMask, GrantSlot, Rights, UnixTime, Version};
use emr_crypto::{DirectoryRoot, PatientDirectory, RevokeError};
use emr_rollup::{
    operation::{Action, DirectoryCommitment, Revoke},
    state::leaf::GrantLeaf,
};

use crate::{
    client::{Client, random_element},
    error::ClientError,
    flow::fate::lost_revocation,
    flow::handed_on::{AddedReader, Proved},
    flow::owners::owned,
    flow::submit::{Acknowledged, Outgoing},
    keys,
    node::NodeError,
    profile::CurrentEpochs,
    verify::card::{Card, CardError, CheckedCard},
    verify::directory::PublishedDirectory,
    verify::light::LightError,
};

/// How often the patient's view is read while batches are settled between two reads.
pub(crate) const READS: usize = 4;

/// The patient's own view, with the directory opened. Its grants are those that the patient's own evidence shows, not those that the node
/// claims.
pub(crate) struct Own {
    /// The patient's own card, checked.
    pub(crate) card: CheckedCard,
    pub(crate) view: PatientView,
    /// The commitment in force.
    pub(crate) before: DirectoryCommitment,
    pub(crate) directory: PatientDirectory,
    /// The directory in force.
    in_force: DirectoryRoot,
    /// The readers whom the directory in force gives keys, and those to whom a delegate handed on keys.
    readers: BTreeMap<AccountIndex, ClassMask>,
    /// A grant that ended before this time counts no more.
    ended: UnixTime,
    /// The readers of delegates who got keys in `directory`.
    added: Vec<AddedReader>,
    /// Whether the patient has, or had, a delegate.
    delegates: bool,
}

/// A key directory that was published again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The node's promise.
    pub acknowledged: Acknowledged,
    /// The classes with a new epoch: somebody without rights had keys.
    pub new_epochs: ClassMask,
    /// The readers of delegates whom it has now.
    pub added: Vec<AddedReader>,
}

/// By how much a Revoke goes beyond the newest known version of a slot if there are delegates. A node takes fewer operations of a delegate at
/// once, so what a delegate signed before and is on its way has no effect after the Revoke.
const DELEGATES_AHEAD: u64 = 16;

/// The directory after a change: the commitment to sign, and the blocks to upload if the directory changed.
pub(crate) struct Next {
    pub(crate) commitment: DirectoryCommitment,
    pub(crate) cid: Option<Cid>,
    pub(crate) blocks: Vec<(Cid, Vec<u8>)>,
}

/// How far the patient's clock may be wrong. L1 takes batches that are at most this old, so a grant can be used that long after its end.
const CLOCK_MARGIN: u64 = 3600;

/// What the directory gives readers beyond the grants: for each account, the classes that no grant lets it read. A grant that ended before
/// `ended` lets nobody read.
fn beyond(
    readers: impl Iterator<Item = (AccountIndex, ClassMask)>,
    grants: &[GrantView],
    ended: UnixTime,
) -> Vec<(AccountIndex, ClassMask)> {
    let granted = |account| {
        let lasting = grants.iter().map(|view| &view.grant).filter(|grant| grant.not_after >= ended);
        let of = lasting.filter(|grant| grant.grantee == Some(account));
        of.filter(|grant| grant.rights.contains(Rights::READ)).fold(0, |mask, grant| mask | grant.scope.bits())
    };
    readers
        .map(|(account, classes)| (account, ClassMask::from_bits(classes.bits() & !granted(account))))
        .filter(|(_, classes)| *classes != ClassMask::default())
        .collect()
}

impl Own {
    /// Removes from the directory every reader that these grants do not let read. Rights can end while the directory keeps the reader: if a
    /// sequencer settles two Revokes in another order than they were signed, the directory of the first stays in force, and it still has the
    /// reader of the second.
    ///
    /// # Errors
    /// [`RevokeError`] if a new epoch cannot be made.
    pub(crate) fn keep_readers_of(&mut self, grants: &[GrantView]) -> Result<(), RevokeError> {
        for (account, classes) in beyond(self.directory.readers(), grants, self.ended) {
            self.directory.revoke(account, classes)?;
        }
        Ok(())
    }

    /// The classes for which the directory in force gives this account keys, or an expired grant did.
    pub(crate) fn could_read(&self, account: AccountIndex) -> ClassMask {
        let of = self.view.grants.iter().map(|view| &view.grant).filter(|grant| grant.grantee == Some(account));
        let granted =
            of.filter(|grant| grant.rights.contains(Rights::READ)).fold(0, |mask, grant| mask | grant.scope.bits());
        ClassMask::from_bits(granted | self.has_keys(account).bits())
    }

    /// Whether the patient has, or had, a delegate.
    pub(crate) const fn has_delegates(&self) -> bool {
        self.delegates
    }

    /// The version that a Revoke names, if the patient knows of `known`: it also ends what a delegate may write meanwhile.
    pub(crate) fn beyond_delegates(&self, known: Version) -> Version {
        let ahead = if self.delegates { DELEGATES_AHEAD } else { 0 };
        // The last version has no next one, so a Revoke must not name it.
        Version::new(known.get() + ahead).ok().filter(|version| version.next().is_ok()).unwrap_or(known)
    }

    /// Whether a grant may still hold, by this machine's clock or by L1's.
    pub(crate) fn lasts(&self, grant: &GrantLeaf) -> bool {
        grant.not_after >= self.ended
    }

    /// The classes for which the directory in force, or a delegate, gives this account keys.
    pub(crate) fn has_keys(&self, account: AccountIndex) -> ClassMask {
        self.readers.get(&account).copied().unwrap_or_default()
    }

    /// The directory in force.
    pub(super) const fn in_force(&self) -> &DirectoryRoot {
        &self.in_force
    }

    /// The classes that have a newer epoch than the directory in force.
    fn new_epochs(&self) -> ClassMask {
        CurrentEpochs::of(self.directory.published().root()).later_than(&CurrentEpochs::of(&self.in_force))
    }

    /// The directory in force, for a change of grants that leaves it as it is.
    pub(crate) const fn unchanged(&self) -> Next {
        Next { commitment: self.before, cid: None, blocks: Vec::new() }
    }

    /// The directory as it is published next.
    pub(crate) fn next(&self) -> Next {
        let published = self.directory.published();
        let cid = published.cid();
        let commitment = DirectoryCommitment::of(&cid);
        if commitment == self.before {
            return Next { commitment, cid: None, blocks: Vec::new() };
        }
        let blocks = published.blocks().map(|(cid, bytes)| (cid, bytes.to_vec())).collect();
        Next { commitment, cid: Some(cid), blocks }
    }
}

impl Client {
    /// The patient's own card, checked like any other card.
    pub(crate) async fn own_card(&self) -> Result<CheckedCard, ClientError> {
        match self.check_card(&self.card()).await {
            Err(ClientError::Card(CardError::Forged { account, field: Card::ROLLUP_KEY })) => {
                Err(ClientError::OtherRollupKey(account))
            }
            checked => checked,
        }
    }

    /// The patient's directory in force, or a new one if none was published, together with the grants.
    pub(crate) async fn own_directory(&self) -> Result<Own, ClientError> {
        let mut last = ClientError::Contended;
        for _ in 0..READS {
            match self.read_own_directory().await {
                // A batch was settled between two reads.
                Err(error @ ClientError::Light(LightError::NotAll(_))) => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    /// Publishes the patient's first key directory without a grant, so that the patient can write records before they share any. A Revoke of a
    /// slot that holds no grant carries the directory.
    pub(crate) async fn publish_directory(&self) -> Result<(), ClientError> {
        let own = self.own_directory().await?;
        let slot = GrantSlot::FIRST_ORDINARY;
        if !own.before.is_none() || own.view.grants.iter().any(|view| view.slot == slot) {
            // It was published meanwhile: every grant publishes one.
            return Ok(());
        }
        self.publish(&own, slot).await?;
        Ok(())
    }

    /// Publishes the directory again if it gives readers more than the grants do. They then cannot open records that are written from now on.
    /// Also adds the readers to whom delegates gave access, and ends the keys of those whose rights a delegate ended. Returns `None` if there is
    /// nothing to repair. Every grant and every revocation does the same repair.
    ///
    /// # Errors
    /// [`ClientError`] if the directory cannot be read or the new one cannot be handed in.
    pub async fn repair_directory(&self) -> Result<Option<Repaired>, ClientError> {
        let _turn = self.turn().await;
        self.repair().await
    }

    /// Does [`Self::repair_directory`] within the caller's turn.
    pub(crate) async fn repair(&self) -> Result<Option<Repaired>, ClientError> {
        let own = self.own_directory().await?;
        let new_epochs = own.new_epochs();
        // Readers of delegates alone are no reason: what the delegates handed on is good as long as this directory is in force. Another one
        // would make what the delegates are signing now stale.
        let is_due = new_epochs != ClassMask::default() || own.added.iter().any(|reader| reader.has_none);
        if own.before.is_none() || !is_due {
            self.profile.forget_keys_wait()?;
            return Ok(None);
        }
        let holds_none =
            |slot: &GrantSlot| own.view.grants.iter().all(|view| view.slot != *slot || view.grant.grantee.is_none());
        let slots = GrantSlot::FIRST_ORDINARY.get()..=GrantSlot::MAX;
        // If each of the 960 slots holds a grant, the next grant or revocation does the repair.
        let Some(slot) = slots.filter_map(|slot| GrantSlot::new(slot).ok()).find(holds_none) else { return Ok(None) };
        let published = self.publish(&own, slot).await;
        if published.as_ref().is_err_and(ClientError::is_no_directory_room) {
            self.profile.note_keys_wait(UnixTime::ZERO)?;
        }
        published.map(|acknowledged| Some(Repaired { acknowledged, new_epochs, added: own.added }))
    }

    /// Publishes a directory by a Revoke of a slot that holds no grant.
    async fn publish(&self, own: &Own, slot: GrantSlot) -> Result<Acknowledged, ClientError> {
        self.note_epochs(own)?;
        let Next { commitment: directory_after, cid: directory, blocks } = own.next();
        let known =
            own.view.grants.iter().find(|view| view.slot == slot).map_or(Version::ZERO, |view| view.grant.version);
        let expected = own.beyond_delegates(self.profile.highest_signed(owned(&own.card), slot).max(known));
        let version = expected.next().map_err(|error| ClientError::Malformed(error.to_string()))?;
        self.profile.note_version(owned(&own.card), slot, version)?;
        let leaf_salt = random_element();
        let action =
            Action::Revoke(Revoke { slot, expected, leaf_salt, directory_before: own.before, directory_after });
        let operation = self.operation(&own.card, action).await?;
        let outgoing = Outgoing { directory, blocks, ..Outgoing::plain(&own.card, operation, None) };
        let entry = self.keep(outgoing).await?;
        let delivered = self.deliver(&entry).await;
        // It ends nobody's rights, and the next run can sign it again. In the outbox it would keep back later revocations, because the node
        // can take those when it does not take this one.
        if let Err(ClientError::Node(NodeError::Refused { .. })) = &delivered {
            self.profile.outbox().remove(entry.draft().operation)?;
        }
        delivered
    }

    async fn read_own_directory(&self) -> Result<Own, ClientError> {
        let card = self.own_card().await?;
        let (mut view, mut published) = self.patient_view(&card).await?;
        if self.withholds(&view, &published) {
            // If the change was settled or returned meanwhile, the node need not show it any more.
            lost_revocation(&self.see_to_all().await?)?;
            (view, published) = self.patient_view(&card).await?;
            if self.withholds(&view, &published) {
                return Err(ClientError::Withheld);
            }
        }
        let mut directory = match published.cid() {
            Some(cid) => {
                let directory = self.directory(&cid).await?;
                keys::opening(&self.keys, move |owner| PatientDirectory::open(directory, owner)).await??
            }
            None => keys::opening(&self.keys, PatientDirectory::create).await?,
        };
        view.grants = self.own_grants(&view).await?;
        let in_force = directory.published().root().clone();
        // Both clocks must say that a grant ended: neither alone takes a reader's keys.
        let clock = UnixTime::now().get().min(self.settled_state().await?.block_time());
        let ended = UnixTime::new(clock.saturating_sub(CLOCK_MARGIN));
        let ended = ended.map_err(|error| ClientError::Malformed(error.to_string()))?;
        let before = published.commitment();
        let manages = |view: &GrantView| view.grant.rights.contains(Rights::MANAGE);
        if view.grants.iter().any(manages) {
            self.profile.note_delegates()?;
        }
        let delegates = self.profile.has_delegates();
        let (mut added, mut delegated, mut proved) = (Vec::new(), Vec::new(), Proved::default());
        let lasting: Vec<_> = view.grants.iter().filter(|view| view.grant.not_after >= ended).copied().collect();
        if delegates && !before.is_none() {
            delegated = self.node.delegated_grants(view.patient).await?;
            // Before anybody is taken out: the readers of a delegate read from the same epochs on as the delegate.
            let (patient, directory) = (view.patient, &mut directory);
            added = self.add_readers_of_delegates(patient, before, directory, &lasting, &delegated, &mut proved).await;
        }
        let readers = directory.readers().collect();
        let mut own = Own { card, view, before, directory, in_force, readers, ended, added, delegates };
        let grants = own.view.grants.clone();
        own.keep_readers_of(&grants)?;
        let left_open = self.left_open(&own, &lasting, &delegated, &mut proved).await?;
        if left_open != ClassMask::default() {
            own.directory.begin_epochs(left_open)?;
        }
        Ok(own)
    }

    /// Whether the node shows a state without the patient's last change to the directory, although it acknowledged that change. The patient must
    /// not build on a directory that they replaced: a reader would get back what the patient took from them.
    fn withholds(&self, view: &PatientView, published: &PublishedDirectory) -> bool {
        let now = UnixTime::now();
        let entries = self.profile.outbox().entries();
        let mine = entries.iter().filter(|entry| {
            let operation = &entry.draft().submission.signed.operation;
            operation.patient == view.patient && entry.receipt().is_some() && !entry.has_lapsed(now)
        });
        let mut changes = mine.filter_map(|entry| entry.draft().submission.signed.operation.action.directories());
        let Some((_, last)) = changes.rfind(|(before, after)| before != after) else { return false };
        let later = view
            .directory_operations
            .iter()
            .filter_map(|signed| signed.operation.action.directories())
            .any(|(_, after)| after == last);
        let settled = view.proof.leaf.is_some_and(|leaf| leaf.key_directory == last);
        !later && !settled && published.commitment() != last
    }
}

#[cfg(test)]
mod tests {
    use emr_core::{Class, OutOfRange, Uses};
    use emr_rollup::primitive::field::Fr;

    use super::*;

    #[test]
    fn a_grant_that_ended_gives_nobody_keys() -> Result<(), OutOfRange> {
        let (expired, renewed) = (AccountIndex::new(7)?, AccountIndex::new(8)?);
        let lab = ClassMask::from(Class::Laboratory);
        let grant = |slot, grantee, not_after| -> Result<_, OutOfRange> {
            let grant = GrantLeaf {
                grantee: Some(grantee),
                rights: Rights::READ,
                scope: lab,
                not_after: UnixTime::new(not_after)?,
                uses: Uses::ZERO,
                version: Version::new(1)?,
                salt: Fr::default(),
            };
            Ok(GrantView { slot: GrantSlot::new(slot)?, grant })
        };
        let grants = [grant(64, expired, 1000)?, grant(65, renewed, 1000)?, grant(66, renewed, 3000)?];
        let beyond = |ended| -> Result<_, OutOfRange> {
            Ok(beyond([(expired, lab), (renewed, lab)].into_iter(), &grants, UnixTime::new(ended)?))
        };
        assert_eq!(beyond(1000)?, []);
        assert_eq!(beyond(1001)?, [(expired, lab)]);
        assert_eq!(beyond(3001)?, [(expired, lab), (renewed, lab)]);
        Ok(())
    }
}
