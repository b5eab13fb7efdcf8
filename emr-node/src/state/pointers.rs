//! Checks what an operation's commitments commit to: the blocks must be here and complete, and the signer may refer to them.

use emr_api::{NamedEpoch, StoredAt, Submission};
use emr_core::{AccountIndex, GrantSlot, Opaque, RecordSlot};
use emr_crypto::{DelegatedKeys, DirectoryRoot, MAX_DIRECTORY_BYTES, is_directory_block};
use emr_ipfs::{Cid, Codec, DagLimits, StoreError, walk};
use emr_rollup::{
    operation::{Action, Blocks, DirectoryCommitment},
    primitive::field::{self, Fr},
    state::leaf::RecordLeaf,
};

use crate::{
    engine::Engine,
    mempool::{BlockReference, Charge, Pointer, Principal, Referenced},
    request_error::{RequestError, RequestErrorKind},
    state::{NodeState, delegate::handed_on},
    storage::Use,
};

/// Directories with more blocks than this, besides the root, wait for a permit before they are read: those of some 300 readers. To read and to
/// hash them takes as long as a walk over a record's blocks.
const BLOCKS_WITHOUT_LINE: usize = 16;

/// The checked pointer of an operation, and the blocks that the operation will hold.
#[derive(Debug, Default)]
pub(crate) struct CheckedPointer {
    pub(crate) pointer: Option<([u8; 32], Pointer)>,
    pub(crate) blocks: Referenced,
    /// Prevents the removal of the blocks until the operation holds them.
    _in_use: Option<Use>,
}

impl CheckedPointer {
    /// Whether what was checked is part of this patient's records, or their directory, or nothing, and its author still owns the account.
    pub(crate) fn is_on(&self, patient: &Principal, state: &NodeState) -> bool {
        let Referenced { part_of, charge, .. } = &self.blocks;
        part_of.is_none_or(|part_of| part_of.patient() == *patient)
            && charge.author().is_none_or(|author| state.is_current(&author))
    }
}

/// What a submission points to, before any block is read.
enum Claim {
    Nothing,
    Record { slot: RecordSlot, leaf: RecordLeaf, at: StoredAt },
    Directory(Cid),
    DelegatedKeys { slot: GrantSlot, at: StoredAt },
}

fn element(opaque: Opaque) -> Fr {
    field::from_opaque(opaque.as_bytes())
}

fn claim(submission: &Submission, directory_in_force: DirectoryCommitment) -> Result<Claim, RequestError> {
    let Submission { signed, stored, epoch: _, directory } = submission;
    if signed.operation.is_by_delegate() {
        return claim_of_delegate(submission, directory_in_force);
    }
    match (signed.operation.action.blocks(), stored, directory) {
        (Blocks::Record { slot, leaf }, Some(at), None) => {
            if element(Opaque::stored(&at.manifest, &at.salt)) != leaf.stored {
                return Err(RequestError::refused("`stored` is not what the signed leaf commits to"));
            }
            Ok(Claim::Record { slot, leaf, at: *at })
        }
        (Blocks::Record { .. }, ..) => {
            Err(RequestError::malformed("an operation that stores a record comes with `stored`, and nothing else"))
        }
        (Blocks::Directory { after, .. }, None, Some(cid)) => {
            if DirectoryCommitment::of(cid) != after {
                return Err(RequestError::refused("`directory` is not what the signed operation commits to"));
            }
            Ok(Claim::Directory(*cid))
        }
        (Blocks::Directory { after, .. }, None, None) if after == directory_in_force => Ok(Claim::Nothing),
        (Blocks::Directory { .. }, None, None) => {
            Err(RequestError::malformed("an operation that changes the key directory comes with `directory`"))
        }
        (Blocks::Directory { .. }, Some(_), _) => Err(RequestError::malformed("a grant operation has no `stored`")),
        (Blocks::None, None, None) => Ok(Claim::Nothing),
        (Blocks::None, ..) => {
            Err(RequestError::malformed("this kind of operation comes with neither `stored` nor `directory`"))
        }
    }
}

/// A delegate leaves the key directory as it is. A grant to read comes with the keys that the delegate hands on.
fn claim_of_delegate(submission: &Submission, directory_in_force: DirectoryCommitment) -> Result<Claim, RequestError> {
    let Submission { signed, stored, epoch: _, directory } = submission;
    let keeps = signed.operation.action.directories() == Some((directory_in_force, directory_in_force));
    // The statement demands the same of a SetGrant. A Revoke of a delegate may name an older directory.
    if directory.is_some() || !keeps && handed_on(signed).is_some() {
        return Err(RequestError::new(
            RequestErrorKind::Stale,
            "a delegate's grant names the patient's key directory in force, and does not replace it: read it again",
        ));
    }
    match (handed_on(signed), stored) {
        (None, None) => Ok(Claim::Nothing),
        (Some(slot), Some(at)) => {
            if element(Opaque::handed_on(&at.manifest, &at.salt)) != signed.operation.salt {
                return Err(RequestError::refused("`stored` is not what the signed grant commits to"));
            }
            Ok(Claim::DelegatedKeys { slot, at: *at })
        }
        (Some(_), None) => {
            Err(RequestError::malformed("a delegate's grant to read comes with `stored`: the keys that it hands on"))
        }
        (None, Some(_)) => Err(RequestError::malformed("this operation of a delegate hands on no keys")),
    }
}

/// Checks that a record is sealed under its class's epoch in force: its number and its key. Then a reader with a grant "from now on" can read
/// it, and a revoked reader cannot. The number alone is not enough. Two directories that were made from the same one have equal numbers, and
/// only one of them can come into force: nobody can read what is sealed under the other. Only the name of the epoch can be checked: the wrap does
/// not show the epoch.
pub(crate) async fn check_epoch(
    submission: &Submission,
    directory_in_force: DirectoryCommitment,
    engine: &Engine,
) -> Result<(), RequestError> {
    let (leaf, epoch) = match (submission.signed.operation.action.blocks(), submission.epoch) {
        (Blocks::Record { leaf, .. }, Some(epoch)) => (leaf, epoch),
        (Blocks::Record { .. }, None) => {
            return Err(RequestError::malformed(
                "an operation that stores a record names the `epoch` that the record is sealed under",
            ));
        }
        (Blocks::None | Blocks::Directory { .. }, None) => return Ok(()),
        (Blocks::None | Blocks::Directory { .. }, Some(_)) => {
            return Err(RequestError::malformed("only an operation that stores a record has an `epoch`"));
        }
    };
    // Before the first directory there is no reader who must be kept out of an epoch.
    if directory_in_force.is_none() {
        return Ok(());
    }
    let cid = engine.state().directory(directory_in_force);
    let cid =
        cid.ok_or_else(|| RequestError::unavailable("this node does not know where the patient's key directory is"))?;
    let directory = DirectoryRoot::from_bytes(&engine.blockstore.get(&cid).await?);
    let directory =
        directory.map_err(|_| RequestError::unavailable("the patient's key directory is damaged on this node"))?;
    let current = NamedEpoch::from(&directory.current_public(leaf.class));
    if epoch == current {
        return Ok(());
    }
    let (class, number) = (leaf.class, epoch.number);
    let in_force = if number == current.number { "another key of this epoch" } else { "another epoch" };
    let over =
        format!("the record is sealed under epoch {number} of {class}, and {in_force} is in force: seal it again");
    Err(RequestError::new(RequestErrorKind::Stale, over))
}

/// The writer of a record uploads it again if the node says that a block is missing.
fn missing(error: StoreError) -> RequestError {
    let is_missing = error.is_not_found();
    let refused = RequestError::from(error);
    if is_missing { RequestError { kind: RequestErrorKind::MissingBlock, ..refused } } else { refused }
}

/// Checks what a submission points to, and pins it. Every block is read and hashed. The walk over a record's blocks has limits, and waits
/// for a permit. An operation without a walk, above all a Revoke, does not wait for walks.
pub(crate) async fn check(
    submission: &Submission,
    signer: &Principal,
    directory_in_force: DirectoryCommitment,
    engine: &Engine,
) -> Result<CheckedPointer, RequestError> {
    let Engine { blockstore, walks, in_use, .. } = engine;
    let operation = &submission.signed.operation;
    let patient = engine.state().principal(operation.patient);
    let patient = patient.ok_or_else(|| RequestError::refused("the patient has no account"))?;
    match claim(submission, directory_in_force)? {
        Claim::Nothing => Ok(CheckedPointer::default()),
        Claim::Record { slot, leaf, at } => {
            let manifest = at.manifest;
            if emr_core::cid::codec_of(&manifest).is_ok_and(|codec| codec != Codec::DagCbor) {
                return Err(RequestError::refused("a record's manifest is a DAG-CBOR block"));
            }
            let _permit = walks.permit(operation.signer).await?;
            let dag = walk(blockstore.as_ref(), &manifest, &DagLimits::default()).await.map_err(missing)?;
            let part_of = BlockReference::Record { patient, slot, class: leaf.class };
            let used = in_use.take(&dag.cids).await;
            let author = engine.state().principal(leaf.author);
            let author = author.ok_or_else(|| RequestError::refused("the record's author has no account"))?;
            let charge = match operation.action {
                Action::Rekey(_) => Charge::Rekeyed { author, revision: leaf.revision },
                _ => Charge::Author(author),
            };
            let blocks = Referenced { part_of: Some(part_of), charge, cids: dag.cids };
            check_blocks(signer, &blocks, engine)?;
            // Reads every block again. It fails if a block was removed after the walk.
            blockstore.pin(&manifest).await.map_err(missing)?;
            let commitment = field::to_bytes(&leaf.stored);
            Ok(CheckedPointer { pointer: Some((commitment, Pointer::Record(at))), blocks, _in_use: Some(used) })
        }
        Claim::Directory(cid) => {
            let (used, cids) = directory_blocks(&cid, operation.signer, engine).await?;
            let part_of = BlockReference::Directory { patient };
            let blocks = Referenced { part_of: Some(part_of), charge: Charge::Nobody, cids };
            check_blocks(signer, &blocks, engine)?;
            // Reads every block again. It fails if a block was removed meanwhile.
            blockstore.pin(&cid).await?;
            let commitment = DirectoryCommitment::of(&cid).to_bytes();
            Ok(CheckedPointer { pointer: Some((commitment, Pointer::Directory(cid))), blocks, _in_use: Some(used) })
        }
        Claim::DelegatedKeys { slot, at } => {
            let cid = at.manifest;
            let used = in_use.take(&[cid]).await;
            if DelegatedKeys::from_bytes(&blockstore.get(&cid).await?).is_err() {
                return Err(RequestError::refused(
                    "the block that `stored` names holds no keys that a delegate hands on",
                ));
            }
            let part_of = BlockReference::DelegatedKeys { patient, slot };
            let blocks = Referenced { part_of: Some(part_of), charge: Charge::Author(*signer), cids: vec![cid] };
            check_blocks(signer, &blocks, engine)?;
            blockstore.pin(&cid).await?;
            let commitment = field::to_bytes(&operation.salt);
            Ok(CheckedPointer { pointer: Some((commitment, Pointer::HandedOn(at))), blocks, _in_use: Some(used) })
        }
    }
}

/// All blocks of a key directory, the root first. Each must be here and have the form of its kind, and all together be no larger than a directory
/// may be. What they hold is for its readers: the node cannot open them. A small directory does not wait in line, because a Revoke comes with one.
async fn directory_blocks(root: &Cid, signer: AccountIndex, engine: &Engine) -> Result<(Use, Vec<Cid>), RequestError> {
    let blockstore = &engine.blockstore;
    let refused = || RequestError::refused("the block that `directory` names is not the root of a key directory");
    let first = engine.in_use.take(&[*root]).await;
    let bytes = blockstore.get(root).await?;
    let directory = DirectoryRoot::from_bytes(&bytes).map_err(|_| refused())?;
    let _permit = match directory.links().count() {
        ..=BLOCKS_WITHOUT_LINE => None,
        _ => Some(engine.walks.permit(signer).await?),
    };
    let cids: Vec<Cid> = std::iter::once(root).chain(directory.links()).copied().collect();
    let used = engine.in_use.take(&cids).await;
    drop(first);
    let mut size = bytes.len();
    for cid in &cids[1..] {
        let block = blockstore.get(cid).await?;
        size = size.saturating_add(block.len());
        if size > MAX_DIRECTORY_BYTES || !is_directory_block(&block) {
            return Err(RequestError::refused(format!("block {cid} is no part of a key directory")));
        }
    }
    Ok((used, cids))
}

/// Checks that an operation of this signer may hold these blocks, and that there is room for them.
///
/// For each block, one of two things must be true. Either the signer uploaded it, or it already belongs there: for a record, to a record of
/// this patient, of the same class unless the patient signs; for a directory, to this patient's directories. Otherwise somebody who knows
/// only the address of a block could make it part of a record that they may read.
pub(crate) fn check_blocks(signer: &Principal, blocks: &Referenced, engine: &Engine) -> Result<(), RequestError> {
    let mempool = &engine.mempool;
    let Some(part_of) = blocks.part_of else { return Ok(()) };
    let own = *signer == part_of.patient();
    let belongs = |known: &BlockReference| match (*known, part_of) {
        (
            BlockReference::Record { patient, class, .. },
            BlockReference::Record { patient: of, class: as_class, .. },
        ) => patient == of && (own || class == as_class),
        (known, part_of) => known == part_of,
    };
    for cid in &blocks.cids {
        if !mempool.uploaded(cid, signer)? && !mempool.references(cid)?.iter().any(belongs) {
            let kind = match part_of {
                BlockReference::Record { .. } => RequestErrorKind::MissingBlock,
                BlockReference::Directory { .. } | BlockReference::DelegatedKeys { .. } => RequestErrorKind::Refused,
            };
            return Err(RequestError::new(kind, format!("block {cid} was not uploaded by you: upload it first")));
        }
    }
    match part_of {
        BlockReference::Record { .. } | BlockReference::DelegatedKeys { .. } => {
            engine.quotas.check_room(mempool, signer, &part_of.patient(), blocks)
        }
        BlockReference::Directory { patient } => {
            let room = engine.quotas.directory_room(&engine.space.free(), engine.state().soft.patient_count());
            engine.quotas.check_directory(mempool, signer, &patient, &blocks.cids, &room)
        }
    }
}
