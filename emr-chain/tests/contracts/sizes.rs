//! Sizes: each has its own bounds and its own verifier, and none is a way around the queue's deadline.

use alloy::{
    network::TransactionBuilder, primitives::U256, providers::Provider, rpc::types::TransactionRequest,
    sol_types::SolCall,
};
use emr_chain::{
    BatchContent, Deployment, QueueName, Revert, RollupError, SettlementLayer, bindings::EmrRollup::settleCall,
};
use emr_testkit::{
    Outcome,
    chain::{Node, account},
};

use crate::{
    on_each_chain, reference,
    world::{DOCTOR, HOUR, MAX_L1, MAX_L2, PATIENT, SEQUENCER, SIZES, World, deployment, operations, sizes},
};

on_each_chain!(each_size_has_its_bounds_and_its_verifier, a_size_is_one_byte, a_smaller_size_does_not_delay_the_queue,);

/// The contract's reason for refusing a batch; `None` if it is settled.
async fn refusal(world: &World, batch: &BatchContent) -> Outcome<Option<Revert>> {
    match world.rollup.settle(batch).await {
        Ok(_) => Ok(None),
        Err(error) => Ok(Some(error.revert().cloned().ok_or(error)?)),
    }
}

async fn each_size_has_its_bounds_and_its_verifier(world: World) -> Outcome {
    let told: Vec<_> =
        world.rollup.sizes().await?.iter().map(|size| (size.verifier, (size.max_l1, size.max_l2))).collect();
    assert_eq!(told, world.verifiers.iter().copied().zip(SIZES).collect::<Vec<_>>());

    let entries = world.register_patients(12).await?;
    let number = U256::from;
    for (size, (max_l1, max_l2)) in (0..).zip(SIZES) {
        let (l1, l2) = (usize::try_from(max_l1)?, max_l2);
        // The verifier would accept: only the bounds refuse.
        let many = BatchContent { size, ..world.batch(vec![entries[0]; l1 + 1], Vec::new()).await? };
        world.expect(&many).await?;
        let too_many = Revert::TooManyEntries { supplied: number(max_l1 + 1), capacity: number(max_l1) };
        assert_eq!(refusal(&world, &many).await?, Some(too_many));
        let many = BatchContent { size, ..world.batch(Vec::new(), operations(l2 + 1)).await? };
        world.expect(&many).await?;
        let too_many = Revert::TooManyOperations { supplied: number(max_l2 + 1), capacity: number(max_l2) };
        assert_eq!(refusal(&world, &many).await?, Some(too_many));
    }

    // The verifier of another size would accept this batch, and even these public inputs.
    let batch = BatchContent { size: 1, ..world.batch(entries[..2].to_vec(), operations(3)).await? };
    for other in [0, 2] {
        world.expect_at(other, &batch).await?;
    }
    assert_eq!(refusal(&world, &batch).await?, Some(Revert::ProofRejected));
    world.expect(&batch).await?;
    // The same batch in another size, whose verifier accepts the first one's public inputs: they differ.
    world.expect_at(0, &batch).await?;
    assert_eq!(refusal(&world, &BatchContent { size: 0, ..batch.clone() }).await?, Some(Revert::ProofRejected));
    assert_eq!(refusal(&world, &batch).await?, None);

    // One batch in every size, each on the state that the one before left. What is read back names the size.
    for (size, (taken, l2)) in [(0, (2..3, MAX_L2)), (1, (3..5, 3)), (2, (5..12, 0))] {
        let batch = BatchContent { size, ..world.batch(entries[taken].to_vec(), operations(l2)).await? };
        world.expect(&batch).await?;
        assert_eq!(refusal(&world, &batch).await?, None, "size {size}");
    }
    let settled = world.rollup.batches(0).await?;
    assert_eq!(settled.iter().map(|batch| batch.content.size).collect::<Vec<_>>(), [1, 0, 1, 2]);
    Ok(())
}

/// `z` binds the slots: batches that differ in nothing else have other public inputs.
#[test]
fn z_differs_between_sizes() -> Outcome {
    let batch = BatchContent {
        size: 0,
        pre: emr_core::StateRoot::from_bytes([1; 32])?,
        post: emr_core::StateRoot::from_bytes([2; 32])?,
        time: emr_core::UnixTime::new(3)?,
        commitment: [4; 32],
        urgent: 0,
        d1: Vec::new(),
        d2: operations(1),
        proof: Vec::new(),
    };
    let z = |slots| reference::public_inputs(([9; 32], slots), 1, &batch)[7];
    assert_eq!(z((8, 24)), z((8, 24)));
    assert!(z((8, 24)) != z((24, 8)) && z((8, 24)) != z((8, 3)) && z((8, 24)) != z((2, 24)));
    Ok(())
}

/// A word beyond a byte is no size, also if its last byte is one: other decoders read it in another way.
async fn a_size_is_one_byte(world: World) -> Outcome {
    let batch = world.batch(Vec::new(), operations(1)).await?;
    world.expect(&batch).await?;
    let call = settleCall {
        batch: emr_chain::bindings::ISettlement::Batch {
            size: 0,
            urgent: 0,
            pre: U256::from_be_bytes(*batch.pre.as_bytes()),
            post: U256::from_be_bytes(*batch.post.as_bytes()),
            time: alloy::primitives::aliases::U40::from(batch.time.get()),
            commitment: U256::from_be_bytes(batch.commitment),
        },
        d1: Vec::new(),
        d2: batch.d2.as_flattened().iter().map(|word| U256::from_be_bytes(*word)).collect(),
        proof: batch.proof.clone().into(),
    };
    let standard = call.abi_encode();
    let (from, to) = (account(SEQUENCER)?.address(), world.rollup.instance().contract);
    let answer = async |input: Vec<u8>| {
        let request = TransactionRequest::default().with_from(from).with_to(to).with_input(input);
        world.provider().call(request).await.map_err(RollupError::from)
    };
    assert!(answer(standard.clone()).await.is_ok());
    for byte in 0..31 {
        let mut wide = standard.clone();
        wide[4 + byte] = 1;
        assert!(matches!(answer(wide).await, Err(RollupError::Reverted(_))), "byte {byte}");
    }
    Ok(())
}

/// While more urgent entries are due than a small size holds, the sequencer cannot settle in it, though the proof would be
/// valid. Otherwise it could keep the queue at two entries a batch.
async fn a_smaller_size_does_not_delay_the_queue(world: World) -> Outcome {
    world.settled_patients(10).await?;
    for n in 0..10 {
        world.revoke_all(PATIENT + n).await?;
    }
    let entries = world.urgent(0..10).await?;
    world.wait(6 * HOUR + 60).await?;
    assert_eq!(world.rollup.head().await?.queues.urgent.overdue, MAX_L1);
    let omitted = |supplied: usize, required: u64| Revert::OverdueEntriesOmitted {
        queue: QueueName::Urgent,
        supplied: U256::from(supplied),
        required: U256::from(required),
    };
    for (count, l2) in [(0, 1), (1, 0), (2, 3)] {
        let small = BatchContent { size: 1, ..world.batch(entries[..count].to_vec(), operations(l2)).await? };
        world.expect(&small).await?;
        assert_eq!(refusal(&world, &small).await?, Some(omitted(count, MAX_L1)));
        if small.d2.is_empty() {
            let stranger = world.as_account(DOCTOR).await?.settle(&small).await.err();
            assert_eq!(stranger.and_then(|error| error.revert().cloned()), Some(omitted(count, MAX_L1)));
        }
    }
    let batch = world.batch(entries[..8].to_vec(), operations(1)).await?;
    world.expect(&batch).await?;
    assert_eq!(refusal(&world, &batch).await?, None);
    // Two are left: they fit the small size.
    let small = BatchContent { size: 1, ..world.batch(entries[8..].to_vec(), operations(1)).await? };
    world.expect(&small).await?;
    assert_eq!(refusal(&world, &small).await?, None);
    Ok(())
}

/// A size for the queues alone takes more entries than the others, and L1 demands as many urgent ones as it holds.
#[tokio::test]
async fn a_size_for_the_queue_takes_what_the_others_cannot() -> Outcome {
    let deployment = Deployment { sizes: sizes(&[(8, 24), (20, 0)]), ..deployment(0)? };
    let world = World::deployed(Node::embedded()?, &deployment).await?;
    world.settled_patients(25).await?;
    for n in 0..25 {
        world.revoke_all(PATIENT + n).await?;
    }
    let entries = world.urgent(0..25).await?;
    world.wait(6 * HOUR + 60).await?;
    assert_eq!(world.rollup.head().await?.queues.urgent.overdue, 20);
    let mixed = world.batch(entries[..8].to_vec(), operations(1)).await?;
    world.expect(&mixed).await?;
    let (supplied, required) = (U256::from(8), U256::from(20));
    let omitted = Revert::OverdueEntriesOmitted { queue: QueueName::Urgent, supplied, required };
    assert_eq!(refusal(&world, &mixed).await?, Some(omitted));
    let with_operation = BatchContent { size: 1, ..world.batch(entries[..20].to_vec(), operations(1)).await? };
    world.expect(&with_operation).await?;
    let too_many = Revert::TooManyOperations { supplied: U256::ONE, capacity: U256::ZERO };
    assert_eq!(refusal(&world, &with_operation).await?, Some(too_many));
    let queue = BatchContent { size: 1, ..world.batch(entries[..20].to_vec(), Vec::new()).await? };
    world.expect(&queue).await?;
    assert_eq!(refusal(&world, &queue).await?, None);
    let rest = world.batch(entries[20..].to_vec(), operations(24)).await?;
    world.expect(&rest).await?;
    assert_eq!(refusal(&world, &rest).await?, None);
    Ok(())
}
