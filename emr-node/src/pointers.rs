//! What an operation's commitments are over: whether it is there, whole, and the signer's to refer to.

use emr_client::api::{StoredAt, Submission};
use emr_core::{AccountIndex, Opaque};
use emr_crypto::KeyDirectory;
use emr_ipfs::{Blockstore, Cid, Codec, DagLimits, walk};
use emr_rollup::{
    field::{self, Fr},
    operation::Action,
};

use crate::{
    mempool::{BlockReference, Mempool, Pointer, Referenced},
    refusal::Refusal,
};

/// The pointer of an operation, checked, and the blocks it takes along.
#[derive(Debug, Default)]
pub(crate) struct CheckedPointer {
    pub(crate) pointer: Option<([u8; 32], Pointer)>,
    pub(crate) blocks: Referenced,
}

/// What a submission points to, before anything is read.
enum Claim {
    Nothing,
    Record { manifest: Cid, at: StoredAt },
    Directory(Cid),
}

fn parse_cid(text: &str) -> Result<Cid, Refusal> {
    // A CID as this system writes it has 59 characters.
    if text.len() > 128 {
        return Err(Refusal::malformed("not a CID: too long"));
    }
    text.parse().map_err(|_| Refusal::malformed("not a CID: give a CIDv1 in base32"))
}

fn element(opaque: Opaque) -> Fr {
    field::from_opaque(opaque.as_bytes())
}

fn claim(submission: &Submission, directory_in_force: Fr) -> Result<Claim, Refusal> {
    let Submission { signed, stored, directory } = submission;
    match (&signed.operation.action, stored, directory) {
        (Action::PutRecord { leaf, .. }, Some(at), None) => {
            let manifest = parse_cid(&at.manifest)?;
            let mut salt = [0; 32];
            hex::decode_to_slice(&at.salt, &mut salt)
                .map_err(|_| Refusal::malformed("the salt of `stored` must be 64 hex digits"))?;
            if element(Opaque::stored(&manifest, &salt)) != leaf.stored {
                return Err(Refusal::refused("`stored` is not what the signed leaf commits to"));
            }
            // In one spelling, whatever the submission's.
            let at = StoredAt { manifest: manifest.to_string(), salt: hex::encode(salt) };
            Ok(Claim::Record { manifest, at })
        }
        (Action::PutRecord { .. }, ..) => Err(Refusal::malformed("a PutRecord comes with `stored`, and nothing else")),
        (Action::SetGrant { directory_after, .. } | Action::Revoke { directory_after, .. }, None, directory) => {
            match directory {
                Some(cid) => {
                    let cid = parse_cid(cid)?;
                    if element(Opaque::directory(&cid)) != *directory_after {
                        return Err(Refusal::refused("`directory` is not what the signed operation commits to"));
                    }
                    Ok(Claim::Directory(cid))
                }
                None if *directory_after == directory_in_force => Ok(Claim::Nothing),
                None => Err(Refusal::malformed("an operation that changes the key directory comes with `directory`")),
            }
        }
        (Action::SetGrant { .. } | Action::Revoke { .. }, Some(_), _) => {
            Err(Refusal::malformed("a grant operation has no `stored`"))
        }
        (Action::Tombstone { .. } | Action::RequestAccess { .. }, None, None) => Ok(Claim::Nothing),
        (Action::Tombstone { .. } | Action::RequestAccess { .. }, ..) => {
            Err(Refusal::malformed("this kind of operation comes with neither `stored` nor `directory`"))
        }
    }
}

/// Checks what a submission points to, and pins it. Every block is read and hashed; the walk has limits.
pub(crate) async fn check(
    submission: &Submission,
    directory_in_force: Fr,
    blockstore: &dyn Blockstore,
    mempool: &Mempool,
) -> Result<CheckedPointer, Refusal> {
    let operation = &submission.signed.operation;
    match claim(submission, directory_in_force)? {
        Claim::Nothing => Ok(CheckedPointer::default()),
        Claim::Record { manifest, at } => {
            let Action::PutRecord { slot, leaf, .. } = operation.action else { return Ok(CheckedPointer::default()) };
            if emr_core::cid::codec_of(&manifest).is_ok_and(|codec| codec != Codec::DagCbor) {
                return Err(Refusal::refused("a record's manifest is a DAG-CBOR block"));
            }
            let dag = walk(blockstore, &manifest, &DagLimits::default()).await?;
            let part_of = BlockReference::Record { patient: operation.patient, slot, class: leaf.class };
            let own = operation.signer == operation.patient;
            may_refer(mempool, operation.signer, &dag.cids, |known| match *known {
                BlockReference::Record { patient, class, .. } => {
                    patient == operation.patient && (own || class == leaf.class)
                }
                BlockReference::Directory { .. } => false,
            })?;
            blockstore.pin(&manifest).await?;
            let commitment = field::to_bytes(&leaf.stored);
            Ok(CheckedPointer {
                pointer: Some((commitment, Pointer::Record(at))),
                blocks: Referenced { part_of: Some(part_of), cids: dag.cids },
            })
        }
        Claim::Directory(cid) => {
            let bytes = blockstore.get(&cid).await?;
            if KeyDirectory::from_bytes(&bytes).is_err() {
                return Err(Refusal::refused("the block that `directory` names is not a key directory"));
            }
            let part_of = BlockReference::Directory { patient: operation.patient };
            may_refer(mempool, operation.signer, &[cid], |known| *known == part_of)?;
            blockstore.pin(&cid).await?;
            let commitment = field::to_bytes(&element(Opaque::directory(&cid)));
            Ok(CheckedPointer {
                pointer: Some((commitment, Pointer::Directory(cid.to_string()))),
                blocks: Referenced { part_of: Some(part_of), cids: vec![cid] },
            })
        }
    }
}

/// Each block must have been uploaded by the signer or be part of the same thing already. Otherwise somebody who knows only
/// the address of a block could make it part of a record that he may read.
fn may_refer(
    mempool: &Mempool,
    signer: AccountIndex,
    cids: &[Cid],
    belongs: impl Fn(&BlockReference) -> bool,
) -> Result<(), Refusal> {
    for cid in cids {
        if !mempool.uploaded(cid, signer)? && !mempool.references(cid)?.iter().any(&belongs) {
            return Err(Refusal::refused(format!("block {cid} was not uploaded by you: upload it first")));
        }
    }
    Ok(())
}
