//! Forged invitations cause few requests to the hospital's Ethereum node.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use alloy::sol_types::SolCall;
use emr_api::invitation::Invitation;
use emr_chain::bindings::EmrRollup::accountAtCall;
use emr_devnet::serve_rpc;
use emr_node::{Node, NodeConfig};
use serde_json::Value;

use crate::{invitations::*, stage::*};

static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Counts how often the node asks who owns an account. Changes nothing.
fn count(request: &Value, _: &mut Value) {
    if request.to_string().contains(&hex::encode(accountAtCall::SELECTOR)) {
        ASKED.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_invitations_hardly_reach_the_ethereum_node() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let server = serve_rpc(world.chain.clone(), ([127, 0, 0, 1], 0).into()).await?;
    let liar = Liar::before(&server.url().to_string().parse()?).await?;
    let node = Node::start(NodeConfig { endpoint: liar.endpoint(), ..world.config()? }).await?;
    let anyone = anyone(&world, &node)?;
    liar.tell(Some(count));
    let began = Instant::now();
    let forge = |inviter| Invitation::issue(world.rollup.instance(), &people().stranger.ethereum, inviter, soon());
    for number in 0..50 {
        let (of_doctor, of_hospital) = (forge(accounts.doctor)?, forge(accounts.hospital)?);
        let refused = post(&anyone, &asked(&world, number, Some(of_doctor))?).await;
        said(refused, "refused", &format!("not signed by account {}", accounts.doctor))?;
        let refused = post(&anyone, &asked(&world, number, Some(of_hospital))?).await;
        said(refused, "refused", &format!("not signed by account {}", accounts.hospital))?;
    }
    // Once for each of the two accounts, and then once in five seconds.
    let (asked_for, most) = (ASKED.load(Ordering::SeqCst), 2 + began.elapsed().as_secs() as usize / 5);
    assert!(asked_for <= most, "{asked_for} requests for forged invitations, of {most}");
    // A genuine one is checked on L1.
    let genuine = Invitation::issue(world.rollup.instance(), &people().doctor.ethereum, accounts.doctor, soon())?;
    let genuine = asked(&world, 60, Some(genuine))?;
    // The burst of an address is used up: registrations are limited too.
    until(|| async { post(&anyone, &genuine).await.is_ok() }).await?;
    assert!(ASKED.load(Ordering::SeqCst) > asked_for);
    node.shutdown().await;
    server.shutdown().await;
    Ok(())
}
