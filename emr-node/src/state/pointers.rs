//! What an operation's commitments are over: whether it is there, whole, and the signer's to refer to.

use emr_api::{StoredAt, Submission};
use emr_core::{AccountIndex, Opaque, RecordSlot};
use emr_crypto::KeyDirectory;
use emr_ipfs::{Cid, Codec, DagLimits, walk};
use emr_rollup::{
    operation::{Blocks, Operation},
    primitive::field::{self, Fr},
    state::leaf::RecordLeaf,
};

use crate::{
    http::refusal::{Refusal, RefusalKind},
    mempool::{BlockReference, Mempool, Pointer, Referenced},
    sequencer::Sequencer,
};

/// How many bytes the blocks of a patient's records and directories may have: registration is free, and what is referred to is
/// kept for good.
const PATIENT_TOTAL: u64 = 8 << 30;

/// The pointer of an operation, checked, and the blocks it takes along.
#[derive(Debug, Default)]
pub(crate) struct CheckedPointer {
    pub(crate) pointer: Option<([u8; 32], Pointer)>,
    pub(crate) blocks: Referenced,
}

/// What a submission points to, before anything is read.
enum Claim {
    Nothing,
    Record { slot: RecordSlot, leaf: RecordLeaf, manifest: Cid, at: StoredAt },
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
    let Submission { signed, stored, epoch: _, directory } = submission;
    match (signed.operation.action.blocks(), stored, directory) {
        (Blocks::Record { slot, leaf }, Some(at), None) => {
            let manifest = parse_cid(&at.manifest)?;
            let mut salt = [0; 32];
            hex::decode_to_slice(&at.salt, &mut salt)
                .map_err(|_| Refusal::malformed("the salt of `stored` must be 64 hex digits"))?;
            if element(Opaque::stored(&manifest, &salt)) != leaf.stored {
                return Err(Refusal::refused("`stored` is not what the signed leaf commits to"));
            }
            // In one spelling, whatever the submission's.
            let at = StoredAt { manifest: manifest.to_string(), salt: hex::encode(salt) };
            Ok(Claim::Record { slot, leaf, manifest, at })
        }
        (Blocks::Record { .. }, ..) => Err(Refusal::malformed("a PutRecord comes with `stored`, and nothing else")),
        (Blocks::Directory { after, .. }, None, Some(cid)) => {
            let cid = parse_cid(cid)?;
            if element(Opaque::directory(&cid)) != after {
                return Err(Refusal::refused("`directory` is not what the signed operation commits to"));
            }
            Ok(Claim::Directory(cid))
        }
        (Blocks::Directory { after, .. }, None, None) if after == directory_in_force => Ok(Claim::Nothing),
        (Blocks::Directory { .. }, None, None) => {
            Err(Refusal::malformed("an operation that changes the key directory comes with `directory`"))
        }
        (Blocks::Directory { .. }, Some(_), _) => Err(Refusal::malformed("a grant operation has no `stored`")),
        (Blocks::None, None, None) => Ok(Claim::Nothing),
        (Blocks::None, ..) => {
            Err(Refusal::malformed("this kind of operation comes with neither `stored` nor `directory`"))
        }
    }
}

/// Checks that a record is sealed under the epoch of its class that is in force, so that a reader who was granted "from now on" reads it and
/// a reader who was revoked does not. Only the name of the epoch can be checked: the wrap shows nothing.
pub(crate) async fn check_epoch(
    submission: &Submission,
    directory_in_force: Fr,
    sequencer: &Sequencer,
) -> Result<(), Refusal> {
    let (leaf, epoch) = match (submission.signed.operation.action.blocks(), submission.epoch) {
        (Blocks::Record { leaf, .. }, Some(epoch)) => (leaf, epoch),
        (Blocks::Record { .. }, None) => {
            return Err(Refusal::malformed("a PutRecord names the `epoch` that its record is sealed under"));
        }
        (Blocks::None | Blocks::Directory { .. }, None) => return Ok(()),
        (Blocks::None | Blocks::Directory { .. }, Some(_)) => {
            return Err(Refusal::malformed("only a PutRecord has an `epoch`"));
        }
    };
    let cid = sequencer.state().directory(&directory_in_force).map(parse_cid).transpose()?;
    // Before the first directory there is no reader to whom an epoch could be closed.
    let Some(cid) = cid else { return Ok(()) };
    let directory = KeyDirectory::from_bytes(&sequencer.blockstore.get(&cid).await?);
    let directory =
        directory.map_err(|_| Refusal::unavailable("the patient's key directory is damaged on this node"))?;
    let current = directory.current_public(leaf.class).epoch();
    if epoch == current {
        return Ok(());
    }
    let class = leaf.class;
    let over =
        format!("the record is sealed under epoch {epoch} of {class}, and epoch {current} is in force: seal it again");
    Err(Refusal::new(RefusalKind::Stale, over))
}

/// Checks what a submission points to, and pins it. Every block is read and hashed; the walk has limits, and a turn of its own:
/// what needs none, a Revoke above all, does not wait for it.
pub(crate) async fn check(
    submission: &Submission,
    directory_in_force: Fr,
    sequencer: &Sequencer,
) -> Result<CheckedPointer, Refusal> {
    let Sequencer { mempool, blockstore, walks, .. } = sequencer;
    let operation = &submission.signed.operation;
    match claim(submission, directory_in_force)? {
        Claim::Nothing => Ok(CheckedPointer::default()),
        Claim::Record { slot, leaf, manifest, at } => {
            if emr_core::cid::codec_of(&manifest).is_ok_and(|codec| codec != Codec::DagCbor) {
                return Err(Refusal::refused("a record's manifest is a DAG-CBOR block"));
            }
            let _turn = walks.turn(operation.signer).await?;
            let dag = walk(blockstore.as_ref(), &manifest, &DagLimits::default()).await?;
            let part_of = BlockReference::Record { patient: operation.patient, slot, class: leaf.class };
            let own = operation.signer == operation.patient;
            may_refer(mempool, operation.signer, &dag.cids, |known| match *known {
                BlockReference::Record { patient, class, .. } => {
                    patient == operation.patient && (own || class == leaf.class)
                }
                BlockReference::Directory { .. } => false,
            })?;
            has_room(mempool, operation, &dag.cids)?;
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
            has_room(mempool, operation, &[cid])?;
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

/// Whether a patient's blocks stay within [`PATIENT_TOTAL`] with these.
fn has_room(mempool: &Mempool, operation: &Operation, cids: &[Cid]) -> Result<(), Refusal> {
    if mempool.referenced_with(operation.patient, operation.signer, cids)? <= PATIENT_TOTAL {
        return Ok(());
    }
    let patient = operation.patient;
    let full =
        format!("the records of patient {patient} would have more than 8 GiB here: this hospital keeps no more of one");
    Err(Refusal::new(RefusalKind::TooLarge, full))
}

#[cfg(test)]
mod tests {
    use emr_api::OperationStatus;
    use emr_core::{AccountEpoch, Class, RecordStatus, Revision, UnixTime, Version, cid::cid_of};
    use emr_rollup::{
        operation::{Action, Domain, PutRecord},
        primitive::eddsa::SigningKey,
    };

    use super::*;
    use crate::mempool::{Acknowledged, Anchor};

    /// An account costs nothing; however often its records are written, what they may take is bounded.
    #[test]
    fn what_one_patient_may_store_is_bounded() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let anchor = Anchor { chain_id: 1, contract: String::new(), deployed_at: 0, block_hash: String::new() };
        let mempool = Mempool::open(folder.path(), &anchor)?;
        let (patient, time) = (AccountIndex::new(1)?, UnixTime::new(1_800_000_000)?);
        // As if each block had a gigabyte: far beyond what may be staged at once.
        let write = |number: u64, cids: &[Cid]| {
            for cid in cids {
                assert!(mempool.note_upload(cid, patient, 1 << 30, u64::MAX)?);
            }
            let leaf = RecordLeaf {
                status: RecordStatus::Live,
                class: Class::Summary,
                author: patient,
                custodian: None,
                version: Version::new(1)?,
                revision: Revision::new(1)?,
                authored: Fr::from(number),
                stored: Fr::from(number),
            };
            let slot = RecordSlot::new(number)?;
            let operation = Operation {
                signer: patient,
                signer_epoch: AccountEpoch::FIRST,
                patient,
                patient_epoch: AccountEpoch::FIRST,
                valid_until: time,
                salt: Fr::from(number),
                action: Action::PutRecord(PutRecord { slot, expected: Revision::ZERO, leaf }),
            };
            if let Err(refusal) = has_room(&mempool, &operation, cids) {
                return Ok::<_, Box<dyn std::error::Error>>(Some(refusal.kind));
            }
            let domain = Domain::new(1, [0; 20]);
            let signed = operation.sign(domain, &SigningKey::from_seed(&[1; 32]), None);
            let kept = Acknowledged {
                signed,
                acknowledged: time,
                settle_by: time,
                reserved: false,
                status: OperationStatus::Pending,
            };
            let part_of = Some(BlockReference::Record { patient, slot, class: Class::Summary });
            mempool.acknowledge(&signed.id(domain), &kept, None, &Referenced { part_of, cids: cids.to_vec() }, None)?;
            Ok(None)
        };
        let block = |number: u64| cid_of(Codec::Raw, &number.to_be_bytes());
        for number in 0..4 {
            assert_eq!(write(number, &[block(2 * number), block(2 * number + 1)])?, None);
        }
        // What is there already is not counted twice, whatever refers to it and whoever uploads it again.
        assert_eq!(write(4, &[block(0), block(1), block(7)])?, None);
        assert_eq!(write(5, &[block(100)])?, Some(RefusalKind::TooLarge));
        drop(mempool);
        assert_eq!(Mempool::open(folder.path(), &anchor)?.referenced_with(patient, patient, &[])?, 8 << 30);
        Ok(())
    }
}
