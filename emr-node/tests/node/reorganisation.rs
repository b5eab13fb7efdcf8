//! L1 takes blocks back while the node runs. The tests use a real anvil, because its state can be set back.

use emr_api::{AccountView, NodeStatus, OperationStatus, StorageView};
use emr_core::{Class, Role};
use emr_node::{Node, NodeConfig};
use emr_testkit::part::Anvil;

use crate::stage::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_l1_takes_back_the_node_takes_back() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let hospital = testnet.hospital;
    let node = testnet.start().await?;
    let domain = testnet.domain();
    let caller = Caller::anonymous(node.url().clone(), domain, &people().hospital, hospital);

    // A patient registers and writes. Then a reorganisation of L1 undoes the registration and gives the number to
    // somebody else.
    let before = testnet.anvil::<String>("evm_snapshot", ()).await?;
    let patient = testnet.register(&people().patient).await?;
    let path = format!("v1/accounts/{patient}");
    let path = path.as_str();
    until(|| async { caller.get::<AccountView>(path).await.is_ok() }).await?;
    let hers = Caller::log_in(node.url().clone(), domain, &people().patient, patient).await?;
    let record = hers.upload(&[b"content"]).await?;
    let put = hers.put_record(patient, 0, Class::Summary, &record);
    hers.submit(&put).await?;
    let view: AccountView = caller.get(path).await?;

    assert!(testnet.anvil::<bool>("evm_revert", [before]).await?);
    let again = testnet.anvil::<String>("evm_snapshot", ()).await?;
    let other = testnet.register(&people().other).await?;
    assert_eq!(other, patient);
    until(|| async { caller.get::<AccountView>(path).await.is_ok_and(|now| now.identity != view.identity) }).await?;
    let now: AccountView = caller.get(path).await?;
    assert_eq!(now.role, Role::Patient);
    assert_eq!(now.identity.key_x, people().other.key.public().x());
    let status: NodeStatus = caller.get("v1/status").await?;
    assert_eq!(
        (status.queued, status.pending),
        (2, 0),
        "an operation on an account that now belongs to somebody else does not wait for a batch"
    );
    // The patient's login was for a key that the account no longer has.
    assert_eq!(code(hers.view(patient).await), "unauthorized");

    // The later owner of the number sees neither the patient's operation, nor the block, nor the used space.
    let theirs = Caller::log_in(node.url().clone(), domain, &people().other, other).await?;
    let operation = format!("v1/operations/{}", put.signed.id(domain));
    assert_eq!(code(theirs.get::<OperationStatus>(&operation).await), "not-found");
    assert_eq!(code(theirs.block(&record).await), "not-found");
    assert_eq!(code(theirs.submit(&put).await), "refused");
    let storage: StorageView = theirs.get(&format!("v1/patients/{patient}/storage")).await?;
    assert!(storage.writers.iter().all(|writer| writer.used.blocks == 0), "{storage:?}");

    // L1 gives the number back. The patient finds everything again, the promised operation included.
    assert!(testnet.anvil::<bool>("evm_revert", [again]).await?);
    assert_eq!(testnet.register(&people().patient).await?, patient);
    until(|| async { caller.get::<AccountView>(path).await.is_ok_and(|now| now.identity == view.identity) }).await?;
    let hers = Caller::log_in(node.url().clone(), domain, &people().patient, patient).await?;
    assert_eq!(hers.get::<OperationStatus>(&operation).await?, OperationStatus::Pending);
    assert!(hers.block(&record).await.is_ok());
    assert_eq!(caller.get::<NodeStatus>("v1/status").await?.pending, 1);
    node.shutdown().await;

    // A chain that was restarted from its beginning is another chain.
    let again = Anvil::start_or_skip(&["--chain-id", "31337"])?.ok_or("anvil")?;
    let elsewhere = NodeConfig { endpoint: again.url().parse()?, ..testnet.config()? };
    assert!(Node::start(elsewhere).await.is_err());
    Ok(())
}
