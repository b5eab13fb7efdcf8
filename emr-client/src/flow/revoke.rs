//! Revoking: rights end, and the classes concerned get a new epoch whose keys only the remaining readers receive. If the node has no room for
//! the new keys, the rights end without them.
//!
//! After a revocation the reader cannot open anything new, and honest nodes serve nothing more to them. A reader who
//! kept plaintext, or ciphertext with its keys, still has what they kept.

use emr_api::GrantView;
use emr_chain::header::age::HeaderAgeError;
use emr_core::{AccountIndex, ClassMask, GrantSlot, Rights, Role, UnixTime, Uses};
use emr_crypto::RevokeError;
use emr_rollup::{
    operation::{Action, Revoke, SetGrant},
    state::leaf::GrantLeaf,
};

use crate::{
    client::{Client, random_element},
    error::ClientError,
    flow::grant::GrantError,
    flow::own_directory::{Next, Own},
    flow::owners::owned,
    flow::submit::{Acknowledged, Others, Outgoing},
};

/// How often a revocation is tried while other changes of the state interfere.
const ATTEMPTS: usize = 5;

/// A revocation that the node acknowledged. From now on the node serves nothing under these grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The account whose rights ended.
    pub grantee: AccountIndex,
    /// The classes that the account could read and that have a new epoch now.
    pub new_epochs: ClassMask,
    /// Whether the node had no room for a new key directory. The rights ended, and no class has a new epoch yet. A record that is written
    /// until [`Client::repair_directory`] succeeds can be read with the old keys by anyone who gets its blocks.
    pub keys_wait: bool,
    /// The grants that ended or were narrowed to their other classes.
    pub changed: Vec<(GrantSlot, Acknowledged)>,
    /// Set if the newest block is too old or from the future. The revocation does not wait for that, but a grant that the
    /// Ethereum node does not show yet was not revoked.
    pub overlooked: Option<HeaderAgeError>,
}

/// The rest of a grant without these classes, or `None` if the whole grant ends. An emergency grant always ends: nobody can write another
/// grant into its slot.
fn narrowed(view: &GrantView, classes: ClassMask) -> Option<GrantLeaf> {
    if view.slot < GrantSlot::FIRST_ORDINARY {
        return None;
    }
    let rest = ClassMask::from_bits(view.grant.scope.bits() & !classes.bits());
    (rest != ClassMask::default()).then_some(GrantLeaf { scope: rest, ..view.grant })
}

impl Client {
    /// Takes an account's rights on these classes. A grant that also covers other classes is narrowed to those; every
    /// other grant ends. Emergency grants for any of these classes end too, as soon as they are settled.
    ///
    /// Each Revoke names the highest version that the patient ever signed for its slot. So no grant that the patient
    /// signed earlier and that is still on its way can take effect after it.
    ///
    /// A newest block that is too old is no reason not to revoke: see [`Revoked::overlooked`].
    ///
    /// # Errors
    /// [`GrantError::NoSuchGrant`] if the account holds no grant of these classes. [`ClientError`] if the node or L1
    /// does not do its part.
    pub async fn revoke(&self, grantee: AccountIndex, classes: ClassMask) -> Result<Revoked, ClientError> {
        let client = self.for_revoking();
        let revoked = client.revoke_on_any_block(grantee, classes).await?;
        Ok(Revoked { overlooked: client.overlooked(), ..revoked })
    }

    async fn revoke_on_any_block(&self, grantee: AccountIndex, classes: ClassMask) -> Result<Revoked, ClientError> {
        if self.keys.role() != Role::Patient {
            return Err(GrantError::NotAPatient.into());
        }
        let _turn = self.turn().await;
        self.deliver_revocations().await?;
        let (new_epochs, changed) = (ClassMask::default(), Vec::new());
        let mut done = Revoked { grantee, new_epochs, keys_wait: false, changed, overlooked: None };
        for _ in 0..ATTEMPTS {
            match self.try_revoke(classes, &mut done).await {
                Ok(()) => return Ok(done),
                // Some grants ended before the state changed. What was signed for the rest is handed in or refused
                // first.
                Err(error) if error.is_stale() => drop(self.redeliver(Others::MayWait).await?),
                // The rights end without new keys. What was signed on top of the new directory is refused and removed.
                Err(error) if error.is_no_directory_room() && !done.keys_wait => {
                    done.keys_wait = true;
                    self.profile.note_keys_wait(UnixTime::ZERO)?;
                    drop(self.redeliver(Others::MayWait).await?);
                }
                Err(ClientError::Grant(GrantError::NoSuchGrant(_))) if !done.changed.is_empty() => return Ok(done),
                Err(error) => return Err(error),
            }
        }
        Err(ClientError::Contended)
    }

    async fn try_revoke(&self, classes: ClassMask, done: &mut Revoked) -> Result<(), ClientError> {
        let grantee = done.grantee;
        let mut own = self.own_directory().await?;
        let held = own.view.grants.iter().filter(|view| {
            // An emergency grant that is over gave nobody anything.
            let holds = view.slot >= GrantSlot::FIRST_ORDINARY || own.lasts(&view.grant);
            holds && view.grant.grantee == Some(grantee) && view.grant.scope.bits() & classes.bits() != 0
        });
        // Grants that end come first: nothing that was signed earlier can take effect after their Revoke.
        let mut held: Vec<GrantView> = held.copied().collect();
        held.sort_by_key(|view| narrowed(view, classes).is_some());
        if held.is_empty() {
            return Err(GrantError::NoSuchGrant(grantee).into());
        }
        // A delegate may have handed on keys to a reader whom the directory does not have.
        let reading = held.iter().map(|view| &view.grant);
        let reading = reading.filter(|grant| grant.rights.contains(Rights::READ) && own.lasts(grant));
        let reading = reading.fold(0, |mask, grant| mask | grant.scope.bits()) & classes.bits();
        match own.directory.revoke(grantee, classes) {
            Ok(_) => {}
            // A grantee who only writes has no keys. The keys of one whose grants ended are taken already.
            Err(RevokeError::NotAReader(_)) if reading == 0 => {}
            Err(RevokeError::NotAReader(_)) => own.directory.begin_epochs(ClassMask::from_bits(reading))?,
            Err(error) => return Err(error.into()),
        }
        self.note_epochs(&own)?;
        let next = if done.keys_wait { own.unchanged() } else { own.next() };
        let had = own.has_keys(grantee).bits() & classes.bits() | reading;
        let revoked = if done.keys_wait { 0 } else { had };

        // Everything is signed and kept before anything is sent, so the next run can send the rest after a crash.
        let mut entries = Vec::new();
        for (number, view) in held.iter().enumerate() {
            let outgoing = self.revocation(&own, &next, view, classes, number == 0).await?;
            entries.push((view.slot, self.keep(outgoing).await?));
        }
        for (slot, entry) in entries {
            let acknowledged = self.deliver(&entry).await?;
            // The first operation carries the new directory.
            done.new_epochs = ClassMask::from_bits(done.new_epochs.bits() | revoked);
            done.changed.push((slot, acknowledged));
        }
        Ok(())
    }

    /// The operation for one grant. The first operation carries the new directory. For the others that directory is in
    /// force already.
    async fn revocation(
        &self,
        own: &Own,
        next: &Next,
        view: &GrantView,
        classes: ClassMask,
        first: bool,
    ) -> Result<Outgoing, ClientError> {
        let directory_after = next.commitment;
        let directory_before = if first { own.before } else { directory_after };
        let slot = view.slot;
        let (action, version) = match narrowed(view, classes) {
            Some(rest) => {
                let expected = view.grant.version;
                let version = expected.next()?;
                let leaf = GrantLeaf { version, uses: Uses::ZERO, salt: random_element(), ..rest };
                (Action::SetGrant(SetGrant { slot, expected, leaf, directory_before, directory_after }), version)
            }
            None => {
                let expected =
                    own.beyond_delegates(self.profile.highest_signed(owned(&own.card), slot).max(view.grant.version));
                let leaf_salt = random_element();
                (
                    Action::Revoke(Revoke { slot, expected, leaf_salt, directory_before, directory_after }),
                    expected.next()?,
                )
            }
        };
        self.profile.note_version(owned(&own.card), slot, version)?;
        let operation = self.operation(&own.card, action).await?;
        let plain = Outgoing::plain(&own.card, operation, None);
        Ok(if first { Outgoing { directory: next.cid, blocks: next.blocks.clone(), ..plain } } else { plain })
    }
}
