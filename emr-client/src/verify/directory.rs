//! Finds a patient's key directory: the one that the settled state commits to, or one that the patient signed on top of it.
//!
//! A writer seals to the public keys in the directory. If a node could choose those keys, it could read what the writer seals.

use emr_api::PatientView;
use emr_core::{AccountIndex, Cid, UnixTime};
use emr_rollup::{
    operation::{DirectoryCommitment, Domain},
    primitive::eddsa::PublicKey,
};

use crate::{
    verify::membership::{MembershipError, StateRoots},
    verify::settled_state::SettledState,
};

/// Why a key directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryCheckError {
    /// The proof of the settled commitment does not hold.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The node's answer is for another patient.
    #[error("the node answered for patient {0} instead: use another node")]
    OtherPatient(AccountIndex),
    /// An operation that the node shows is not one that the patient signed for this directory.
    #[error("the node's account of the key directory does not hold ({0}): use another node")]
    Chain(&'static str),
    /// The address does not have the commitment that the patient signed.
    #[error("the node names a key directory that the patient did not publish: use another node")]
    NotCommitted,
}

/// A key directory's address, checked against what the patient published. Only [`verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedDirectory {
    cid: Option<Cid>,
    commitment: DirectoryCommitment,
    settled: bool,
}

impl PublishedDirectory {
    /// The directory's address, or `None` if the patient has not published one.
    pub const fn cid(&self) -> Option<Cid> {
        self.cid
    }

    /// The commitment. The next operation has it as `directory_before`.
    pub const fn commitment(&self) -> DirectoryCommitment {
        self.commitment
    }

    /// Whether the settled state commits to it. Otherwise only an operation that waits for a batch does.
    pub const fn is_settled(&self) -> bool {
        self.settled
    }
}

/// Checks that the directory in a view is the patient's. It starts from the commitment that the settled state holds at the patient's index
/// and follows the patient's signed operations. `key` is the patient's, from a checked card.
///
/// A node can hide operations that wait for a batch. It can neither forge one nor show a directory that is older than the settled one.
///
/// # Errors
/// [`DirectoryCheckError`] if the directory is not the patient's, or the node does not prove it.
pub fn verify(
    view: &PatientView,
    patient: AccountIndex,
    key: &PublicKey,
    domain: Domain,
    state: &SettledState,
    now: UnixTime,
) -> Result<PublishedDirectory, DirectoryCheckError> {
    if view.patient != patient {
        return Err(DirectoryCheckError::OtherPatient(view.patient));
    }
    let proof = &view.proof;
    StateRoots::of(state, proof.identity_root, proof.medical_root, proof.batch)?.check_medical(
        patient,
        proof.leaf.as_ref(),
        &proof.path,
    )?;
    let settled = proof.leaf.map_or(DirectoryCommitment::NONE, |leaf| leaf.key_directory);

    let mut current = settled;
    for signed in &view.directory_operations {
        let operation = &signed.operation;
        if (operation.patient, operation.signer) != (patient, patient) {
            return Err(DirectoryCheckError::Chain("an operation is not the patient's"));
        }
        if operation.patient_epoch != view.epoch || operation.signer_epoch != view.epoch {
            return Err(DirectoryCheckError::Chain("an operation is of another epoch"));
        }
        if operation.valid_until < now {
            return Err(DirectoryCheckError::Chain("an operation has lapsed"));
        }
        signed.verify(domain, key).map_err(|_| DirectoryCheckError::Chain("a signature is not the patient's"))?;
        let (before, after) = signed
            .operation
            .action
            .directories()
            .ok_or(DirectoryCheckError::Chain("an operation is no grant or revocation"))?;
        if before != current {
            return Err(DirectoryCheckError::Chain("an operation is on top of another directory"));
        }
        current = after;
    }

    let cid = view.directory;
    if cid.as_ref().map_or(DirectoryCommitment::NONE, DirectoryCommitment::of) != current
        || view.directory_commitment != current
    {
        return Err(DirectoryCheckError::NotCommitted);
    }
    Ok(PublishedDirectory { cid, commitment: current, settled: current == settled })
}
