//! Keys that delegates hand on: the reader opens them, and the patient adds their readers to the key directory.

use std::collections::{BTreeMap, btree_map};

use emr_api::{DelegatedGrant, GrantView, encryption};
use emr_core::{AccountIndex, Class, ClassMask, Rights};
use emr_crypto::{DelegatedKeys, EncryptionKey, EpochKeyring, KeyDirectory, PatientDirectory};
use emr_rollup::{
    operation::{Action, DirectoryCommitment},
    state::leaf::{GrantLeaf, IdentityLeaf},
};

use crate::{
    client::Client,
    error::ClientError,
    flow::on_l1::OnL1,
    flow::owners::in_epoch,
    keys,
    patience::Patience,
    verify::card::CardError,
    verify::delegated::{self, DelegationError, SignedByDelegate},
    verify::membership::{StateRoots, identity_leaf},
};

/// What one run proved about the accounts and batches that the grants of delegates name. Many grants name the same ones.
#[derive(Debug, Default)]
pub(crate) struct Proved {
    identities: BTreeMap<AccountIndex, IdentityLeaf>,
    on_l1: OnL1,
}

/// A reader to whom a delegate gave access, and who gets keys in the patient's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedReader {
    /// The reader.
    pub reader: AccountIndex,
    /// The delegate.
    pub delegate: AccountIndex,
    /// The classes.
    pub classes: ClassMask,
    /// Whether the keys that the delegate handed on no longer fit the directory, so that the reader has none until it is published again.
    pub(crate) has_none: bool,
}

impl Client {
    /// An account's identity in the settled state, proved.
    pub(crate) async fn settled_identity(&self, account: AccountIndex) -> Result<IdentityLeaf, ClientError> {
        let mut patience = Patience::new();
        loop {
            let view = self.node.account(account).await?;
            let proof = view.proof.as_ref().ok_or(CardError::Unknown(account))?;
            let (leaf, state) = (identity_leaf(&view.identity)?, self.settled_state().await?);
            let roots = StateRoots::of(&state, proof.identity_root, proof.medical_root, proof.batch);
            match roots.and_then(|roots| roots.check_identity(account, &leaf, &proof.path)).map_err(ClientError::from) {
                Ok(()) => return Ok(leaf),
                Err(error) if error.is_other_state() && patience.again().await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks that the delegate signed a grant.
    pub(super) async fn signed_by_delegate(
        &self,
        grant: &DelegatedGrant,
        patient: AccountIndex,
        proved: &mut Proved,
    ) -> Result<SignedByDelegate, ClientError> {
        let delegate = match proved.identities.entry(grant.signed.operation.signer) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(free) => {
                let identity = self.settled_identity(*free.key()).await?;
                free.insert(identity)
            }
        };
        Ok(delegated::verify(grant, patient, &delegate.key, self.domain())?)
    }

    /// Checks that the delegate signed a grant, and that L1 holds it in this batch. Then the statement has checked that the signer was a delegate
    /// within their limits.
    pub(super) async fn settled_by_delegate(
        &self,
        grant: &DelegatedGrant,
        batch: u64,
        patient: AccountIndex,
        proved: &mut Proved,
    ) -> Result<SignedByDelegate, ClientError> {
        let signed = self.signed_by_delegate(grant, patient, proved).await?;
        match self.batch_holds(signed.operation(), batch, &mut proved.on_l1).await? {
            true => Ok(signed),
            false => Err(DelegationError::NotOnL1(batch).into()),
        }
    }

    /// The grants of delegates that were settled and of which this folder does not know yet that the patient was told. Each is the very grant that
    /// the state holds, has the delegate's signature, and stands in a batch on L1: so the delegate wrote it, and nobody else who signed the same
    /// leaf. A node that hides one can only delay the news: `own_leaves_with_givers` proves who gave each grant.
    ///
    /// Call [`Self::note_told`] when the patient was told. Until then, this names them again.
    ///
    /// # Errors
    /// [`ClientError`] if the node or L1 cannot be asked, or the node's answer does not hold.
    pub async fn new_grants_of_delegates(&self) -> Result<Vec<SignedByDelegate>, ClientError> {
        if !self.profile.has_delegates() {
            return Ok(Vec::new());
        }
        let card = self.own_card().await?;
        let (view, _) = self.patient_view(&card).await?;
        let settled = self.settled_grants(&view).await?;
        let (mut new, mut proved) = (Vec::new(), Proved::default());
        for grant in self.node.delegated_grants(view.patient).await? {
            let Action::SetGrant(set) = grant.signed.operation.action else { continue };
            let Some(batch) = grant.batch.filter(|_| held(&settled.grants, &grant).is_some()) else { continue };
            if self.profile.knows_delegated(in_epoch(&card), set.slot, set.leaf.version) {
                continue;
            }
            new.push(self.settled_by_delegate(&grant, batch, view.patient, &mut proved).await?);
        }
        Ok(new)
    }

    /// Notes durably that the patient was told of these grants.
    ///
    /// # Errors
    /// [`ClientError`] if the node or L1 cannot be asked for the patient's card, or the profile cannot be written.
    pub async fn note_told(&self, told: &[SignedByDelegate]) -> Result<(), ClientError> {
        let card = self.own_card().await?;
        let grants = told.iter().map(|given| (given.slot(), given.leaf().version));
        self.profile.note_delegated(in_epoch(&card), grants)?;
        Ok(())
    }

    /// The keys of a class that delegates handed on to this participant, under a key directory of the patient.
    ///
    /// A grant counts only if L1 holds it: then its signer was a delegate within their limits, because the statement demands it. The keys come
    /// out of the patient's directory, so nobody can hand on false ones.
    ///
    /// # Errors
    /// [`DelegationError`] if the node shows a grant that no delegate signed, or that L1 does not hold. [`ClientError`] if node or L1 cannot be
    /// asked.
    pub(crate) async fn handed_on(
        &self,
        patient: AccountIndex,
        class: Class,
        directory: &KeyDirectory,
    ) -> Result<Vec<EpochKeyring>, ClientError> {
        let (account, commitment) = (self.account()?, DirectoryCommitment::of(&directory.cid()));
        let (mut rings, mut proved) = (Vec::new(), Proved::default());
        for grant in self.node.delegated_grants(patient).await? {
            let Action::SetGrant(set) = grant.signed.operation.action else { continue };
            let leaf = set.leaf;
            let opens =
                leaf.grantee == Some(account) && leaf.rights.contains(Rights::READ) && leaf.scope.contains(class);
            let Some(batch) = grant.batch.filter(|_| opens && set.directory_after == commitment) else { continue };
            let signed = self.settled_by_delegate(&grant, batch, patient, &mut proved).await?;
            let Some(cid) = signed.keys() else { continue };
            let handed_on = DelegatedKeys::from_bytes(&self.node.block(&cid).await?)?;
            let (directory, classes) = (directory.clone(), signed.leaf().scope);
            let open = keys::opening(&self.keys, move |reader| handed_on.open(reader, &directory, classes).ok());
            rings.extend(open.await?);
        }
        Ok(rings)
    }

    /// The readers to whom delegates gave access and whom the patient's directory does not give all of these keys. Adds them to the directory.
    /// `grants` are the patient's grants that last, settled and proved, with what the patient signed on top. Each reader gets keys from where the
    /// delegate had them on.
    pub(crate) async fn add_readers_of_delegates(
        &self,
        patient: AccountIndex,
        before: DirectoryCommitment,
        directory: &mut PatientDirectory,
        grants: &[GrantView],
        delegated: &[DelegatedGrant],
        proved: &mut Proved,
    ) -> Vec<AddedReader> {
        let mut added = Vec::new();
        for grant in delegated {
            let Some(held) = held(grants, grant) else { continue };
            let classes = missing(directory, &held);
            let Some(reader) = held.grantee.filter(|_| classes != ClassMask::default()) else { continue };
            // Nothing about a delegate's grant stops the patient from revoking: the reader is left out, and the next call tries again.
            let Ok(signed) = self.signed_by_delegate(grant, patient, proved).await else { continue };
            let Ok(Some(key)) = self.key_of_reader(&signed, reader, directory).await else { continue };
            // A full directory takes no more readers. The reader keeps what the delegate handed on.
            if directory.grant_as(signed.delegate(), reader, key, classes).is_err() {
                continue;
            }
            let has_none = signed.directory() != before;
            added.push(AddedReader { reader, delegate: signed.delegate(), classes, has_none });
        }
        added
    }

    /// The reader's public key that the delegate sealed for the patient. `None` if it is not the reader's, or cannot be read: then the reader
    /// keeps what the delegate handed on. A delegate can name a reader who does not exist, so an error must not stop the patient.
    async fn key_of_reader(
        &self,
        signed: &SignedByDelegate,
        reader: AccountIndex,
        directory: &PatientDirectory,
    ) -> Result<Option<EncryptionKey>, ClientError> {
        let Some(cid) = signed.keys() else { return Ok(None) };
        let Ok(handed_on) = DelegatedKeys::from_bytes(&self.node.block(&cid).await?) else { return Ok(None) };
        let Ok(key) = handed_on.reader_key(&directory.keyring(), signed.leaf().scope) else { return Ok(None) };
        let identity = self.settled_identity(reader).await?;
        let is_theirs = encryption::matches(&key.committed(None), identity.role, &identity.encryption);
        Ok(is_theirs.then_some(key))
    }
}

/// The grant that a delegate gave, as one of these grants. The state holds the very leaf that the delegate signed, so it accepted the delegate's
/// operation.
pub(super) fn held(grants: &[GrantView], given: &DelegatedGrant) -> Option<GrantLeaf> {
    let Action::SetGrant(set) = given.signed.operation.action else { return None };
    let held = grants.iter().find(|view| view.slot == set.slot).map(|view| view.grant)?;
    (held == GrantLeaf { uses: held.uses, ..set.leaf }).then_some(held)
}

/// The classes that a grant lets its grantee read and for which the directory gives them no keys.
fn missing(directory: &PatientDirectory, grant: &GrantLeaf) -> ClassMask {
    let Some(grantee) = grant.grantee.filter(|_| grant.rights.contains(Rights::READ)) else {
        return ClassMask::default();
    };
    let has = directory.readers().find(|(account, _)| *account == grantee).map_or(0, |(_, classes)| classes.bits());
    ClassMask::from_bits(grant.scope.bits() & !has)
}
