//! The operations that participants sign and submit.

use emr_api::{NamedEpoch, StoredAt, Submission};
use emr_core::{
    AccountEpoch, AccountIndex, Class, GrantSlot, Opaque, Purpose, Reason, RecordSlot, RecordStatus, Revision, Rights,
    UnixTime, Uses, Version,
    cid::{Cid, Codec},
};
use emr_crypto::PatientDirectory;
use emr_rollup::{
    operation::{
        Action, Blocks, CLIENT_VALIDITY, DirectoryCommitment, Operation, PutRecord, Rekey, RequestAccess, Revoke,
        SetGrant, SignedOperation,
    },
    primitive::field::{self, Fr},
    state::leaf::{GrantLeaf, RecordLeaf},
};

use emr_testkit::directories::{first_directory, first_epoch};

use super::{Outcome, caller::Caller};

impl Caller {
    pub(crate) fn sign(&self, patient: AccountIndex, action: Action) -> SignedOperation {
        self.sign_until(patient, action, UnixTime::now().saturating_add(CLIENT_VALIDITY))
    }

    pub(crate) fn sign_until(&self, patient: AccountIndex, action: Action, valid_until: UnixTime) -> SignedOperation {
        let operation = Operation {
            signer: self.account,
            signer_epoch: AccountEpoch::FIRST,
            patient,
            patient_epoch: AccountEpoch::FIRST,
            valid_until,
            salt: random_element(),
            action,
        };
        let authority = (self.account != patient).then_some(GrantSlot::FIRST_ORDINARY);
        operation.sign(self.domain, &self.person.key, authority)
    }

    /// Uploads the blocks of a key directory. Returns the CID of the root.
    pub(crate) async fn put_directory(&self, directory: &PatientDirectory) -> Outcome<Cid> {
        for (_, bytes) in directory.published().blocks() {
            self.put_block(Codec::DagCbor, bytes).await?;
        }
        Ok(directory.published().cid())
    }

    /// Makes and uploads a key directory of the patient. Returns its CID and commitment.
    pub(crate) async fn publish_directory(&self) -> Outcome<(Cid, DirectoryCommitment)> {
        let directory = first_directory();
        let cid = self.put_directory(&directory).await?;
        Ok((cid, DirectoryCommitment::of(&cid)))
    }

    /// Grants as the patient, and publishes a new key directory with it.
    pub(crate) async fn grant(
        &self,
        slot: GrantSlot,
        grantee: AccountIndex,
        rights: Rights,
        classes: &[Class],
        until: UnixTime,
    ) -> Outcome<Submission> {
        let directory = first_directory();
        self.grant_with(slot, grantee, rights, classes, until, &directory).await
    }

    /// The same, with this key directory.
    pub(crate) async fn grant_with(
        &self,
        slot: GrantSlot,
        grantee: AccountIndex,
        rights: Rights,
        classes: &[Class],
        until: UnixTime,
        directory: &PatientDirectory,
    ) -> Outcome<Submission> {
        let view = self.view(self.account).await?;
        let cid = self.put_directory(directory).await?;
        let after = DirectoryCommitment::of(&cid);
        let old = view.grants.iter().find(|grant| grant.slot == slot);
        let expected = old.map_or(Version::ZERO, |old| old.grant.version);
        let leaf = GrantLeaf {
            grantee: Some(grantee),
            rights,
            scope: classes.iter().copied().collect(),
            not_after: until,
            uses: Uses::ZERO,
            version: expected.next()?,
            salt: random_element(),
        };
        let action = Action::SetGrant(SetGrant {
            slot,
            expected,
            leaf,
            directory_before: view.directory_commitment,
            directory_after: after,
        });
        let signed = self.sign(self.account, action);
        let submission = Submission { signed, stored: None, epoch: None, directory: Some(cid) };
        self.submit(&submission).await?;
        Ok(submission)
    }

    /// Ends a grant as the patient, and publishes a new key directory with it.
    pub(crate) async fn revoke(&self, slot: GrantSlot) -> Outcome<Submission> {
        let view = self.view(self.account).await?;
        let (cid, after) = self.publish_directory().await?;
        let old = view.grants.iter().find(|grant| grant.slot == slot).ok_or("no such grant")?;
        let action = Action::Revoke(Revoke {
            slot,
            expected: old.grant.version,
            leaf_salt: random_element(),
            directory_before: view.directory_commitment,
            directory_after: after,
        });
        let signed = self.sign(self.account, action);
        let submission = Submission { signed, stored: None, epoch: None, directory: Some(cid) };
        self.submit(&submission).await?;
        Ok(submission)
    }

    /// Uploads the blocks of a record. Returns its manifest.
    pub(crate) async fn upload(&self, parts: &[&[u8]]) -> Outcome<Cid> {
        let mut links = Vec::new();
        for part in parts {
            links.push(self.put_block(Codec::Raw, part).await?);
        }
        Ok(self.put_block(Codec::DagCbor, &manifest(&links)).await?)
    }

    /// A PutRecord of a first version with that manifest.
    pub(crate) fn put_record(&self, patient: AccountIndex, slot: u64, class: Class, manifest: &Cid) -> Submission {
        let salt: [u8; 32] = rand::random();
        let leaf = RecordLeaf {
            status: RecordStatus::Live,
            class,
            author: self.account,
            custodian: None,
            version: Version::new(1).expect("1"),
            revision: Revision::new(1).expect("1"),
            authored: random_element(),
            stored: element(Opaque::stored(manifest, &salt)),
        };
        let slot = RecordSlot::new(slot).expect("a slot");
        let action = Action::PutRecord(PutRecord { slot, expected: Revision::ZERO, leaf });
        Submission {
            signed: self.sign(patient, action),
            stored: Some(StoredAt { manifest: *manifest, salt }),
            epoch: Some(first_epoch(class)),
            directory: None,
        }
    }

    /// A Rekey of a record that was just written, with that manifest.
    pub(crate) fn rekey(&self, written: &Submission, manifest: &Cid, epoch: NamedEpoch) -> Outcome<Submission> {
        let operation = &written.signed.operation;
        let Blocks::Record { slot, leaf } = operation.action.blocks() else { return Err("no record".into()) };
        let salt: [u8; 32] = rand::random();
        let stored = element(Opaque::stored(manifest, &salt));
        let next = RecordLeaf { revision: leaf.revision.next()?, stored, ..leaf };
        Ok(Submission {
            signed: self.sign(operation.patient, Action::Rekey(Rekey { slot, expected: leaf.revision, leaf: next })),
            stored: Some(StoredAt { manifest: *manifest, salt }),
            epoch: Some(epoch),
            directory: None,
        })
    }

    /// A RequestAccess under the first version of a grant.
    pub(crate) fn request_access(
        &self,
        patient: AccountIndex,
        slot: GrantSlot,
        expected: Uses,
        class: Class,
    ) -> Submission {
        let purpose = Purpose { reason: Reason::Treatment, class };
        let version = Version::ZERO.next().expect("a version");
        let signed = self.sign(patient, Action::RequestAccess(RequestAccess { slot, version, expected, purpose }));
        Submission { signed, stored: None, epoch: None, directory: None }
    }
}

pub(crate) fn element(opaque: Opaque) -> Fr {
    field::from_opaque(opaque.as_bytes())
}

pub(crate) fn random_element() -> Fr {
    field::from_opaque(&rand::random())
}

/// DAG-CBOR of a list of at most 23 links.
pub(crate) fn manifest(links: &[Cid]) -> Vec<u8> {
    assert!(links.len() < 24);
    let mut bytes = vec![0x80 + links.len() as u8];
    for link in links {
        bytes.extend([0xd8, 42, 0x58, 37, 0]);
        bytes.extend(link.to_bytes());
    }
    bytes
}

pub(crate) fn slot(number: u64) -> GrantSlot {
    GrantSlot::new(number).expect("a slot")
}

pub(crate) const FIRST: GrantSlot = GrantSlot::FIRST_ORDINARY;

/// A year from now.
pub(crate) fn next_year() -> UnixTime {
    UnixTime::now().saturating_add(365 * 24 * 3600)
}
