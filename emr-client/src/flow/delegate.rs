//! Delegates: a patient names a guardian or family doctor, who then grants and revokes for the patient within the patient's limits.
//!
//! A delegate never changes the key directory. With a grant to read, they hand on the keys that they have themselves. When they revoke, the
//! rights end at once; the patient's own client begins the new epochs when it next runs.

use emr_api::{GrantView, PatientView, StoredAt};
use emr_chain::header::age::HeaderAgeError;
use emr_core::{AccountIndex, Cid, ClassMask, GrantSlot, Opaque, Rights, Role, UnixTime, Uses, Version};
use emr_crypto::{DelegatedKeys, HandOnError};
use emr_rollup::{
    operation::{Action, CLIENT_VALIDITY, Operation, Revoke, SetGrant},
    primitive::field,
    state::leaf::GrantLeaf,
};

use crate::{
    client::{Client, random_element},
    error::ClientError,
    flow::grant::{GrantError, Granted, History, Terms},
    flow::submit::{Acknowledged, Outgoing},
    keys,
    patience::Patience,
    verify::card::{Card, CheckedCard},
    verify::delegated::{ProvedSlots, verify_managed},
    verify::directory::PublishedDirectory,
};

/// How often an operation is tried while other changes of the state interfere.
const ATTEMPTS: usize = 5;

/// Why no delegate was named, or a delegate changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DelegateError {
    /// The account cannot be a delegate.
    #[error("account {0} is not a doctor: in this version only doctors can be delegates")]
    Delegate(AccountIndex),
    /// The participant is a patient.
    #[error("only a doctor grants and revokes for others: use the doctor's data folder")]
    Patient,
    /// The card is not a patient's.
    #[error("account {0} is not a patient: give the card of the patient for whom you act")]
    NotAPatient(AccountIndex),
    /// A delegate would grant to themselves or to their hospital.
    #[error("a delegate cannot grant to themselves or to their own hospital: ask the patient")]
    Yourself,
    /// No grant makes the account a delegate.
    #[error(
        "patient {0} has not named you as a delegate, or your time is over: ask the patient (`emr-patient delegate`)"
    )]
    NotADelegate(AccountIndex),
    /// The delegate's own grant does not go so far.
    #[error("your own grant of patient {patient} does not go so far ({what}): stay within it, or ask the patient")]
    Beyond {
        /// The patient.
        patient: AccountIndex,
        /// What goes beyond it.
        what: &'static str,
    },
    /// A part of a grant that ends after the delegate's own cannot be taken.
    #[error("the grant in slot {0} ends after yours, so you can revoke only the whole of it: leave out --class")]
    Part(GrantSlot),
    /// The key directory holds no keys for the delegate.
    #[error(
        "the patient's key directory holds no keys for you, so you cannot let others read: ask the patient to name you again"
    )]
    NoKeys,
    /// The delegate has no keys of a class.
    #[error(transparent)]
    HandOn(#[from] HandOnError),
    /// A change of the grant waits for a batch.
    #[error("the grant in slot {0} changes with the next batch: try again when it is settled")]
    Waits(GrantSlot),
    /// There is no slot for another grant.
    #[error("no slot is left for a delegate's grants: revoke a grant that is no longer needed, or ask the patient")]
    NoSlot,
}

/// What a delegate revoked. From now on the node serves nothing under these grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedFor {
    /// The patient.
    pub patient: AccountIndex,
    /// The account whose rights ended.
    pub grantee: AccountIndex,
    /// The grants that ended or were narrowed.
    pub changed: Vec<(GrantSlot, Acknowledged)>,
    /// Set if the newest block is too old or from the future. The revocation does not wait for that, but a grant that the
    /// Ethereum node does not show yet was not revoked.
    pub overlooked: Option<HeaderAgeError>,
}

/// A patient as their delegate sees them.
struct Ward {
    card: CheckedCard,
    view: PatientView,
    published: PublishedDirectory,
    slots: ProvedSlots,
}

impl Ward {
    /// The delegate's own grant that covers these classes for the longest time.
    fn authority(&self, delegate: AccountIndex, classes: ClassMask) -> Result<&GrantView, DelegateError> {
        let (patient, now) = (self.card.account(), UnixTime::now());
        let manages = |view: &&GrantView| {
            view.grant.grantee == Some(delegate)
                && view.grant.rights.contains(Rights::MANAGE)
                && now <= view.grant.not_after
        };
        let own: Vec<_> = self.view.grants.iter().filter(manages).collect();
        if own.is_empty() {
            return Err(DelegateError::NotADelegate(patient));
        }
        let covers = |view: &&GrantView| view.grant.scope.bits() & classes.bits() == classes.bits();
        let longest = own.into_iter().filter(covers).max_by_key(|view| view.grant.not_after);
        longest.ok_or(DelegateError::Beyond { patient, what: "classes" })
    }
}

impl Client {
    /// Names a delegate: a doctor who grants and revokes for this patient, within these classes and until this time. The delegate can also
    /// read these classes, because they hand on their own keys.
    ///
    /// # Errors
    /// [`DelegateError::Delegate`] if the card is not a doctor's. Other errors as for [`Self::grant`].
    pub async fn delegate(
        &self,
        to: &Card,
        classes: ClassMask,
        until: UnixTime,
        history: History,
    ) -> Result<Granted, ClientError> {
        if self.keys.role() != Role::Patient {
            return Err(GrantError::NotAPatient.into());
        }
        let to = self.check_card(to).await?;
        if to.role() != Role::Doctor {
            return Err(DelegateError::Delegate(to.account()).into());
        }
        self.profile.note_delegates()?;
        let terms = Terms { rights: Rights::READ | Rights::MANAGE, classes, until, history };
        self.give(&to, &terms).await
    }

    /// Grants access for a patient, as their delegate. A reader gets the keys that the delegate has, and they reach as far back as the
    /// delegate's. A grant of the same account for the same classes, also one that the patient gave, is replaced: see [`Granted::replaces`].
    ///
    /// # Errors
    /// [`DelegateError`] if the patient did not allow this. [`GrantError`] if these terms cannot be granted. [`ClientError`] if a card does not
    /// hold, or the node or L1 does not do its part.
    pub async fn grant_for(
        &self,
        patient: &Card,
        to: &Card,
        rights: Rights,
        classes: ClassMask,
        until: UnixTime,
    ) -> Result<Granted, ClientError> {
        let (patient, to) = (self.ward(patient).await?, self.check_card(to).await?);
        Terms { rights, classes, until, history: History::Included }.check(&to)?;
        let account = self.account()?;
        if to.account() == account || Some(to.account()) == self.own_card().await?.org() {
            return Err(DelegateError::Yourself.into());
        }
        let _turn = self.turn().await;
        self.deliver_waiting().await?;
        for _ in 0..ATTEMPTS {
            let ward = self.read_ward(&patient).await?;
            let same = |(_, leaf, waits): &(GrantSlot, GrantLeaf, bool)| {
                leaf.grantee == Some(to.account()) && leaf.scope == classes && !waits
            };
            let same = ward.slots.grants().find(same).map(|(slot, leaf, _)| (slot, leaf.version));
            let free =
                || ward.slots.free().map(|free| (free.slot, free.leaf.map_or(Version::ZERO, |leaf| leaf.version)));
            let (slot, expected) = same.or_else(free).ok_or(DelegateError::NoSlot)?;
            match self.set_for(&ward, &to, (slot, expected), rights, classes, until).await {
                Err(error) if error.is_stale() => {}
                other => return other,
            }
        }
        Err(ClientError::Contended)
    }

    /// Takes an account's rights on these classes, for a patient, as their delegate. A grant that also covers other classes is narrowed.
    ///
    /// The rights end at once. New keys begin only when the patient's own client next runs: until then, records that are written can be opened
    /// with the old keys by somebody who gets their blocks.
    ///
    /// A newest block that is too old is no reason not to revoke: see [`RevokedFor::overlooked`].
    ///
    /// # Errors
    /// [`GrantError::NoSuchGrant`] if the delegate may end no grant of this account for these classes. Other errors as for [`Self::grant_for`].
    pub async fn revoke_for(&self, patient: &Card, from: &Card, classes: ClassMask) -> Result<RevokedFor, ClientError> {
        let client = self.for_revoking();
        let revoked = client.revoke_for_on_any_block(patient, from, classes).await?;
        Ok(RevokedFor { overlooked: client.overlooked(), ..revoked })
    }

    async fn revoke_for_on_any_block(
        &self,
        patient: &Card,
        from: &Card,
        classes: ClassMask,
    ) -> Result<RevokedFor, ClientError> {
        let (patient, from) = (self.ward(patient).await?, self.check_card(from).await?);
        let _turn = self.turn().await;
        self.deliver_revocations().await?;
        let (grantee, changed) = (from.account(), Vec::new());
        let mut done = RevokedFor { patient: patient.account(), grantee, changed, overlooked: None };
        for _ in 0..ATTEMPTS {
            match self.try_revoke_for(&patient, &from, classes, &mut done).await {
                Err(error) if error.is_stale() => {}
                Err(ClientError::Grant(GrantError::NoSuchGrant(_))) if !done.changed.is_empty() => return Ok(done),
                other => return other.map(|()| done),
            }
        }
        Err(ClientError::Contended)
    }

    async fn try_revoke_for(
        &self,
        patient: &CheckedCard,
        from: &CheckedCard,
        classes: ClassMask,
        done: &mut RevokedFor,
    ) -> Result<(), ClientError> {
        let ward = self.read_ward(patient).await?;
        let rest = |leaf: &GrantLeaf| ClassMask::from_bits(leaf.scope.bits() & !classes.bits());
        let mut held: Vec<(GrantSlot, GrantLeaf)> = self.given_by_this(patient);
        held.retain(|(slot, _)| !done.changed.iter().any(|(changed, _)| changed == slot));
        for (slot, leaf, waits) in ward.slots.grants() {
            let is_done = done.changed.iter().any(|(changed, _)| *changed == slot);
            if !waits && !is_done && held.iter().all(|(known, _)| *known != slot) {
                held.push((slot, leaf));
            }
        }
        held.retain(|(_, leaf)| leaf.grantee == Some(from.account()) && leaf.scope.bits() & classes.bits() != 0);
        held.sort_by_key(|(_, leaf)| rest(leaf) != ClassMask::default());
        if held.is_empty() {
            // It also says if the account is no delegate.
            ward.authority(self.account()?, ClassMask::default())?;
            let waits = ward.slots.grants().find(|(_, leaf, waits)| *waits && leaf.grantee == Some(from.account()));
            if let Some((slot, ..)) = waits.filter(|_| done.changed.is_empty()) {
                return Err(DelegateError::Waits(slot).into());
            }
            return Err(GrantError::NoSuchGrant(from.account()).into());
        }
        for (slot, leaf) in held {
            let authority = ward.authority(self.account()?, leaf.scope)?;
            let acknowledged = match rest(&leaf) {
                rest if rest == ClassMask::default() => {
                    let directory = ward.published.commitment();
                    let action = Action::Revoke(Revoke {
                        slot,
                        expected: leaf.version,
                        leaf_salt: random_element(),
                        directory_before: directory,
                        directory_after: directory,
                    });
                    let operation = self.operation(&ward.card, action).await?;
                    self.hand_in(Outgoing::plain(&ward.card, operation, Some(authority.slot))).await?
                }
                _ if leaf.not_after > authority.grant.not_after => return Err(DelegateError::Part(slot).into()),
                rest => {
                    let set = self.set_for(&ward, from, (slot, leaf.version), leaf.rights, rest, leaf.not_after);
                    set.await?.acknowledged
                }
            };
            done.changed.push((slot, acknowledged));
        }
        Ok(())
    }

    /// Signs and hands in a grant, with the keys that it hands on.
    async fn set_for(
        &self,
        ward: &Ward,
        to: &CheckedCard,
        (slot, expected): (GrantSlot, Version),
        rights: Rights,
        classes: ClassMask,
        until: UnixTime,
    ) -> Result<Granted, ClientError> {
        let authority = ward.authority(self.account()?, classes)?;
        if until > authority.grant.not_after {
            return Err(DelegateError::Beyond { patient: ward.card.account(), what: "end" }.into());
        }
        let grant = GrantLeaf {
            grantee: Some(to.account()),
            rights,
            scope: classes,
            not_after: until,
            uses: Uses::ZERO,
            version: expected.next()?,
            salt: random_element(),
        };
        let directory = ward.published.commitment();
        let (directory_before, directory_after) = (directory, directory);
        let action = Action::SetGrant(SetGrant { slot, expected, leaf: grant, directory_before, directory_after });
        let mut operation = self.operation(&ward.card, action).await?;
        let (mut stored, mut blocks) = (None, Vec::new());
        if rights.contains(Rights::READ) {
            let (cid, bytes) = self.keys_for(ward, to, classes).await?;
            let at = StoredAt { manifest: cid, salt: rand::random() };
            let salt = field::from_opaque(Opaque::handed_on(&at.manifest, &at.salt).as_bytes());
            operation = Operation { salt, ..operation };
            (stored, blocks) = (Some(at), vec![(cid, bytes)]);
        }
        let plain = Outgoing::plain(&ward.card, operation, Some(authority.slot));
        let acknowledged = self.hand_in(Outgoing { stored, blocks, ..plain }).await?;
        let may_take_effect_until = UnixTime::now().saturating_add(CLIENT_VALIDITY);
        let replaces = ward.slots.grants().find(|(held, ..)| *held == slot).map(|(_, leaf, _)| leaf);
        let stays_open = ClassMask::default();
        Ok(Granted { slot, grant, replaces, acknowledged, stays_open, may_take_effect_until })
    }

    /// The delegate's own keys of these classes, handed on to a reader.
    async fn keys_for(&self, ward: &Ward, to: &CheckedCard, classes: ClassMask) -> Result<(Cid, Vec<u8>), ClientError> {
        let reader = to.encryption_key().ok_or(GrantError::Grantee(to.account()))?;
        let cid = ward.published.cid().ok_or(DelegateError::NoKeys)?;
        let directory = self.directory(&cid).await?;
        let (links, directory) =
            keys::opening(&self.keys, move |delegate| (directory.links_of(delegate), directory)).await?;
        let links = links.map_err(|_| DelegateError::NoKeys)?;
        let keys = DelegatedKeys::hand_on(&links, &directory, classes, reader).map_err(DelegateError::from)?;
        Ok((keys.cid(), keys.to_bytes().to_vec()))
    }

    /// The grants that this delegate gave for a patient and that wait for a batch, by their own signature.
    fn given_by_this(&self, patient: &CheckedCard) -> Vec<(GrantSlot, GrantLeaf)> {
        let entries = self.profile.outbox().entries();
        let given = entries.iter().filter_map(|entry| {
            let operation = &entry.draft().submission.signed.operation;
            let is_open = entry.receipt().is_some() && !entry.has_lapsed(UnixTime::now());
            match operation.action {
                Action::SetGrant(set) if is_open && operation.patient == patient.account() => {
                    Some((set.slot, set.leaf))
                }
                _ => None,
            }
        });
        // The newest counts in each slot.
        let newest: std::collections::BTreeMap<_, _> = given.collect();
        newest.into_iter().collect()
    }

    /// The card of the patient for whom this participant acts.
    async fn ward(&self, patient: &Card) -> Result<CheckedCard, ClientError> {
        if self.keys.role() == Role::Patient {
            return Err(DelegateError::Patient.into());
        }
        let patient = self.check_card(patient).await?;
        match patient.role() {
            Role::Patient => Ok(patient),
            _ => Err(DelegateError::NotAPatient(patient.account()).into()),
        }
    }

    /// Reads what the delegate needs: the patient's directory, and the slots with their proofs.
    async fn read_ward(&self, patient: &CheckedCard) -> Result<Ward, ClientError> {
        let (view, published) = self.patient_view(patient).await?;
        let mut patience = Patience::new();
        loop {
            let managed = self.node.managed_grants(patient.account()).await?;
            match verify_managed(&managed, patient.account(), &self.settled_state().await?).map_err(ClientError::from) {
                Ok(slots) => return Ok(Ward { card: patient.clone(), view, published, slots }),
                Err(error) if error.is_other_state() && patience.again().await => {}
                Err(error) => return Err(error),
            }
        }
    }
}
