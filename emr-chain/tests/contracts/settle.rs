//! Settlement: the values that the contract passes to the verifier, and calls that never reach the verifier.

use alloy::{
    eips::BlockId,
    network::TransactionBuilder,
    primitives::{U256, aliases::U40},
    providers::Provider,
    rpc::types::TransactionRequest,
    sol_types::SolCall,
};
use emr_chain::{
    BatchContent, QueueProgress, Revert, RollupError, STATE_ROOT_SLOT, SettlementLayer, VerifierCode, Word,
    bindings::{EmrRollup::settleCall, ISettlement::Batch},
    deploy,
    proof::{fetch_header, verified_storage},
};
use emr_core::{StateRoot, UnixTime};
use emr_testkit::{
    Outcome,
    chain::{Node, account},
};

use crate::{
    on_each_chain, on_geth,
    reference::{integer, modulus, word},
    world::{GENESIS, HOUR, MAX_L2, SEQUENCER, World, deployment, operations},
};

on_each_chain!(settles_and_is_read_back, the_verifier_sees_every_value, only_standard_calldata, times, refusals);
on_geth!(
    settles_and_is_read_back,
    the_verifier_sees_every_value,
    only_standard_calldata,
    refusals,
    the_real_verifier_refuses_invalid_proofs,
);

/// A full batch, then an empty one. The contract passes exactly the public inputs that big-integer arithmetic gives.
async fn settles_and_is_read_back(world: World) -> Outcome {
    let entries = world.register_patients(8).await?;
    let genesis = world.rollup.head().await?;
    assert_eq!(genesis.state_root.as_bytes(), &integer(GENESIS));
    assert_eq!((genesis.batch_count, genesis.last_time.get()), (0, 0));

    let full = world.batch(entries, operations(MAX_L2)).await?;
    world.expect(&full).await?;
    let receipt = world.rollup.settle(&full).await?;
    let head = world.rollup.head().await?;
    assert_eq!((head.state_root, head.batch_count, head.last_time), (full.post, 1, full.time));
    assert_eq!(head.queues.ordinary, QueueProgress { head: 8, length: 8, ..QueueProgress::default() });
    assert_eq!(head.queues.urgent, QueueProgress::default());

    let empty = world.batch(Vec::new(), Vec::new()).await?;
    world.expect(&empty).await?;
    world.rollup.settle(&empty).await?;

    let settled = world.rollup.batches(0).await?;
    assert_eq!(settled.iter().map(|batch| batch.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((settled[0].tx_hash, settled[0].block_number), (receipt.tx_hash, receipt.block_number));
    assert_eq!((&settled[0].content, &settled[1].content), (&full, &empty));
    assert_eq!(world.rollup.batches(receipt.block_number + 1).await?, settled[1..]);
    for number in 0..4 {
        let expected = settled.iter().find(|batch| batch.number == number);
        assert_eq!(world.rollup.batch(number).await?.as_ref(), expected, "{number}");
    }

    // The state root is in the slot where a light client reads it.
    let header = fetch_header(world.provider(), BlockId::latest()).await?;
    let contract = world.rollup.instance().contract;
    let proven = verified_storage(world.provider(), contract, STATE_ROOT_SLOT, &header).await?;
    assert_eq!(&proven.to_be_bytes(), empty.post.as_bytes());
    let progress = verified_storage(world.provider(), contract, U256::ONE, &header).await?;
    // The newest block settled the empty batch.
    let strangers_from = U256::from(world.now().await? + 24 * HOUR);
    let expected = U256::from(empty.time.get()) | U256::from(2) << 40 | U256::from(8) << 160 | strangers_from << 216;
    assert_eq!(progress, expected);
    Ok(())
}

/// A proof is valid for one batch only. If anything in the batch changes, the verifier gets other values.
async fn the_verifier_sees_every_value(world: World) -> Outcome {
    let entries = world.register_patients(2).await?;
    let batch = world.batch(entries.clone(), operations(3)).await?;
    world.expect(&batch).await?;
    let earlier = UnixTime::new(batch.time.get() - 1)?;
    let with_d2 = |change: fn(&mut Vec<[[u8; 32]; 4]>)| {
        let mut changed = batch.clone();
        change(&mut changed.d2);
        changed
    };
    let changed = [
        BatchContent { post: StateRoot::from_bytes(integer(1))?, ..batch.clone() },
        BatchContent { time: earlier, ..batch.clone() },
        BatchContent { commitment: integer(8), ..batch.clone() },
        BatchContent { d1: entries[..1].to_vec(), ..batch.clone() },
        BatchContent { d1: Vec::new(), ..batch.clone() },
        BatchContent { proof: b"another proof".to_vec(), ..batch.clone() },
        BatchContent { proof: Vec::new(), ..batch.clone() },
        with_d2(|d2| d2[0][0][31] ^= 1),
        with_d2(|d2| d2[2][3][31] ^= 1),
        with_d2(|d2| d2.swap(0, 1)),
        with_d2(|d2| d2.truncate(2)),
        // An entry of zeros looks like an unused slot, but counts in n.
        with_d2(|d2| d2.push([[0; 32]; 4])),
    ];
    for (case, changed) in changed.iter().enumerate() {
        let refused = world.rollup.settle(changed).await.err().and_then(|error| error.revert().cloned());
        assert_eq!(refused, Some(Revert::ProofRejected), "case {case}");
    }
    world.rollup.settle(&batch).await?;

    // The next batch has another number. So z differs, even if everything else is the same.
    let again = BatchContent { pre: batch.post, post: batch.post, d1: Vec::new(), ..batch };
    world.expect_numbered(0, 1, &again).await?;
    let refused = world.rollup.settle(&again).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(Revert::ProofRejected));
    world.expect(&again).await?;
    world.rollup.settle(&again).await?;
    Ok(())
}

/// Solidity reads arguments from any position that the offsets name. Without this check, a batch could be settled in a
/// layout that other decoders refuse, and nobody else could follow the state.
async fn only_standard_calldata(world: World) -> Outcome {
    let batch = world.batch(Vec::new(), operations(1)).await?;
    world.expect(&batch).await?;
    let pack = |words: &[Word]| words.concat();
    let claims = [
        integer(0),
        integer(0),
        *batch.pre.as_bytes(),
        *batch.post.as_bytes(),
        integer(batch.time.get()),
        batch.commitment,
    ];
    let d1 = [integer(0)];
    let d2 = [&[integer(4)][..], batch.d2.as_flattened()].concat();
    let mut proof = integer(batch.proof.len() as u64).to_vec();
    proof.extend_from_slice(&batch.proof);
    proof.resize(64, 0);
    // The arguments' tails start after nine words of heads.
    let encode = |offsets: [u64; 3], tail: &[&[u8]]| {
        let heads = [&claims[..], &offsets.map(integer)].concat();
        [&settleCall::SELECTOR[..], &pack(&heads), &tail.concat()].concat()
    };
    let standard = encode([288, 320, 480], &[&pack(&d1), &pack(&d2), &proof]);
    let with_proof = |change: &dyn Fn(&mut [u8])| {
        let mut proof = proof.clone();
        change(&mut proof);
        encode([288, 320, 480], &[&pack(&d1), &pack(&d2), &proof])
    };
    let others = [
        // Extra bytes at the end; truncated padding; another order; a gap; D1 read from the zero padding of the proof.
        [&standard[..], &[0; 32]].concat(),
        standard[..standard.len() - 1].to_vec(),
        encode([448, 288, 480], &[&pack(&d2), &pack(&d1), &proof]),
        encode([320, 352, 512], &[&[0; 32], &pack(&d1), &pack(&d2), &proof]),
        encode([512, 288, 448], &[&pack(&d2), &proof, &[0; 32]]),
        // The proof's padding is not zero: in its first byte, in its last, in all.
        with_proof(&|proof| proof[32 + batch.proof.len()] = 1),
        with_proof(&|proof| proof[63] = 0x80),
        with_proof(&|proof| proof[32 + batch.proof.len()..].fill(0xff)),
        // The stated length of the proof is one byte less, so its last byte becomes padding.
        with_proof(&|proof| proof[31] -= 1),
    ];
    let (from, to) = (account(SEQUENCER)?.address(), world.rollup.instance().contract);
    for (case, other) in others.into_iter().enumerate() {
        let request = TransactionRequest::default().with_from(from).with_to(to).with_input(other);
        let refused = world.provider().call(request).await.err().map(RollupError::from);
        let refused = refused.and_then(|error| error.revert().cloned());
        assert_eq!(refused, Some(Revert::NonStandardCalldata), "case {case}");
    }
    // If the stated length is one byte more, a byte of padding belongs to the proof. The verifier then decides.
    let longer = with_proof(&|proof| proof[31] += 1);
    let request = TransactionRequest::default().with_from(from).with_to(to).with_input(longer);
    let refused = world.provider().call(request).await.err().map(RollupError::from);
    assert_eq!(refused.and_then(|error| error.revert().cloned()), Some(Revert::ProofRejected));
    let request = TransactionRequest::default().with_from(from).with_to(to).with_input(standard);
    assert!(world.provider().send_transaction(request).await?.get_receipt().await?.status());
    assert_eq!(world.rollup.batches(0).await?[0].content, batch);
    Ok(())
}

async fn times(world: World) -> Outcome {
    let settle_at = async |time: u64| {
        let batch = BatchContent { time: UnixTime::new(time)?, ..world.batch(Vec::new(), Vec::new()).await? };
        world.expect(&batch).await?;
        let refused = world.rollup.settle(&batch).await.err();
        Outcome::Ok(refused.and_then(|error| error.revert().cloned()))
    };
    world.wait(2 * HOUR).await?;
    let now = world.now().await?;
    // Blocks of these chains are seconds apart. The test takes less than a minute.
    let too_old = settle_at(now - HOUR - 1).await?;
    assert!(
        matches!(too_old, Some(Revert::BatchTimeOutOfRange { earliest, .. }) if earliest >= now - HOUR),
        "{too_old:?}"
    );
    let future = settle_at(now + 60).await?;
    assert!(matches!(future, Some(Revert::BatchTimeOutOfRange { latest, .. }) if latest < now + 60), "{future:?}");
    assert_eq!(settle_at(now - HOUR + 60).await?, None);
    assert_eq!(settle_at(now - 10).await?, None);
    // Time never goes backwards. The same second again is allowed.
    let backwards = settle_at(now - 11).await?;
    assert!(matches!(backwards, Some(Revert::BatchTimeOutOfRange { earliest, .. }) if earliest == now - 10));
    assert_eq!(settle_at(now - 10).await?, None);
    Ok(())
}

async fn refusals(world: World) -> Outcome {
    let claim = async || {
        let time = U40::from(world.now().await?);
        Outcome::Ok(Batch {
            size: 0,
            urgent: 0,
            pre: U256::from(GENESIS),
            post: U256::ONE,
            time,
            commitment: U256::ONE,
        })
    };
    let settle = |batch: Batch, d1: usize, d2: Vec<U256>| {
        world.rollup.contract().settle(batch, vec![U256::ZERO; d1], d2, Vec::new().into())
    };
    let p = U256::from_be_bytes(word(&modulus()));

    let stale = Batch { pre: U256::ZERO, ..claim().await? };
    let current = integer(GENESIS).into();
    assert_eq!(world.refusal(SEQUENCER, settle(stale, 0, Vec::new())).await?, Revert::StaleBatch(current));
    // With a verifier that reduces these values, two state roots would share a proof.
    for value in [p, p + U256::ONE, U256::MAX] {
        let post = Batch { post: value, ..claim().await? };
        assert_eq!(world.refusal(SEQUENCER, settle(post, 0, Vec::new())).await?, Revert::NotCanonical(value));
        let commitment = Batch { commitment: value, ..claim().await? };
        assert_eq!(world.refusal(SEQUENCER, settle(commitment, 0, Vec::new())).await?, Revert::NotCanonical(value));
        for at in 0..8 {
            let mut d2 = vec![p - U256::ONE; 8];
            d2[at] = value;
            assert_eq!(world.refusal(SEQUENCER, settle(claim().await?, 0, d2)).await?, Revert::NotCanonical(value));
        }
    }
    let canonical = settle(claim().await?, 0, vec![p - U256::ONE; 8]);
    assert_eq!(world.refusal(SEQUENCER, canonical).await?, Revert::ProofRejected);

    for words in [1_u8, 2, 3, 5] {
        let incomplete = Revert::IncompleteEntry(U256::from(words));
        let d2 = vec![U256::ZERO; words.into()];
        assert_eq!(world.refusal(SEQUENCER, settle(claim().await?, 0, d2)).await?, incomplete);
        assert_eq!(world.refusal(SEQUENCER, settle(claim().await?, words.into(), Vec::new())).await?, incomplete);
    }
    // More urgent entries than entries.
    let more = Batch { urgent: 3, ..claim().await? };
    let refused = world.refusal(SEQUENCER, settle(more, 8, Vec::new())).await?;
    assert_eq!(refused, Revert::IncompleteEntry(U256::from(8)));
    for size in [3, 255] {
        let unknown = Batch { size, ..claim().await? };
        let refused = Revert::UnknownSize { size: U256::from(size), count: U256::from(3) };
        assert_eq!(world.refusal(SEQUENCER, settle(unknown, 0, Vec::new())).await?, refused);
    }
    let (supplied, capacity) = (U256::from(MAX_L2 + 1), U256::from(MAX_L2));
    let full = vec![U256::ZERO; 4 * usize::try_from(MAX_L2 + 1)?];
    let refused = world.refusal(SEQUENCER, settle(claim().await?, 0, full)).await?;
    assert_eq!(refused, Revert::TooManyOperations { supplied, capacity });
    Ok(())
}

#[tokio::test]
async fn the_real_verifier_refuses_invalid_proofs_on_the_embedded_chain() -> Outcome {
    the_real_verifier_refuses_invalid_proofs(World::new(Node::embedded()?).await?).await
}

/// The real verifier, under the limits of a real chain. It can be deployed, and it refuses invalid proofs.
async fn the_real_verifier_refuses_invalid_proofs(world: World) -> Outcome {
    let mut deployment = deployment(0)?;
    for (size, verifier_code) in deployment.sizes.iter_mut().zip(VerifierCode::development()) {
        size.verifier_code = verifier_code;
    }
    let rollup = deploy(world.provider().clone(), &deployment).await?.rollup;
    let batch = world.batch(Vec::new(), operations(2)).await?;
    let empty = world.batch(Vec::new(), Vec::new()).await?;
    for proof in [Vec::new(), vec![0; 32], vec![0; 4096], vec![0xff; 4096]] {
        for size in [0, 1, 2] {
            let batch = if size == 2 { &empty } else { &batch };
            let refused = rollup.settle(&BatchContent { size, proof: proof.clone(), ..batch.clone() }).await.err();
            assert_eq!(refused.and_then(|error| error.revert().cloned()), Some(Revert::ProofRejected));
        }
    }
    Ok(())
}
