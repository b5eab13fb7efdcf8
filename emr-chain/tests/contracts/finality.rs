//! The settled state, proved against the newest and the newest final block of a chain that finalizes blocks: geth calls
//! every 32nd one final.

use alloy::{network::TransactionBuilder, primitives::U256, providers::Provider, rpc::types::TransactionRequest};
use emr_chain::{
    STATE_ROOT_SLOT, SettlementLayer,
    nodes::EthereumNodes,
    proof::{VerifiedHeader, verify_storage},
};
use emr_testkit::{Outcome, chain::account};

use crate::{
    on_geth,
    world::{PATIENT, World, operations},
};

on_geth!(a_settled_state_becomes_final);

async fn a_settled_state_becomes_final(world: World) -> Outcome {
    let nodes = EthereumNodes::of(&[world.node.endpoint()?], None)?;
    let contract = world.rollup.instance().contract;
    let root_at = async |header: &VerifiedHeader| {
        let proof = nodes.proof(contract, &[STATE_ROOT_SLOT], header).await?;
        Outcome::Ok(verify_storage(header.state_root(), contract, STATE_ROOT_SLOT, &proof)?.to_be_bytes::<32>())
    };
    let final_block = async || Outcome::Ok(nodes.headers().finalized().await?.ok_or("no final block")?);
    let settle = async || {
        let batch = world.batch(Vec::new(), operations(1)).await?;
        world.expect(&batch).await?;
        Outcome::Ok((world.rollup.settle(&batch).await?, batch.post))
    };

    let (receipt, root) = settle().await?;
    let newest = nodes.headers().newest().await?.header;
    assert_eq!((newest.number(), root_at(&newest).await?), (receipt.block_number, *root.as_bytes()));
    assert!(final_block().await?.number() < newest.number());

    let transfer = TransactionRequest::default().with_to(account(PATIENT)?.address()).with_value(U256::ONE);
    while final_block().await?.number() < receipt.block_number {
        world.provider().send_transaction(transfer.clone()).await?.get_receipt().await?;
    }
    let (later, other) = settle().await?;
    let last = final_block().await?;
    assert!(last.number() % 32 == 0 && last.number() < later.block_number);
    assert_eq!(root_at(&last).await?, *root.as_bytes());
    assert_eq!(root_at(&nodes.headers().newest().await?.header).await?, *other.as_bytes());
    // A block that is neither has its own state.
    let before = nodes.headers().at(receipt.block_number - 1).await?;
    assert_ne!(root_at(&before).await?, *root.as_bytes());
    Ok(())
}
