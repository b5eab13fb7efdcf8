//! L1 takes blocks back while the node runs: on a real anvil, whose state can be set back.

use std::sync::Arc;

use alloy::{
    primitives::Address,
    providers::{DynProvider, Provider},
};
use emr_chain::{Rollup, deploy, endpoint::Endpoint};
use emr_client::api::{AccountView, NodeStatus, OperationStatus};
use emr_core::{Class, Role};
use emr_node::{Node, NodeConfig};
use emr_rollup::operation::Domain;
use xtask::real_parts::Anvil;

use crate::stage::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_l1_takes_back_the_node_takes_back() -> Outcome {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
    let endpoint: Endpoint = anvil.url().parse()?;
    let provider = endpoint.connect(Some(people().hospital.ethereum.clone()))?;
    for person in [&people().hospital, &people().patient, &people().other] {
        fund(&provider, person.address()).await?;
    }
    fund(&provider, registrar().address()).await?;
    let rollup = deploy(provider, &deployment()).await?.rollup;
    let hospital = register(&endpoint, &rollup, &people().hospital).await?;
    let folder = Arc::new(tempfile::tempdir()?);
    let node = Node::start(config(endpoint.clone(), &rollup, folder.path())?).await?;
    let domain = Domain::new(31337, rollup.instance().contract.into_array());
    let caller = Caller::anonymous(node.url().clone(), domain, &people().hospital, hospital);

    // A patient registers and writes; then L1 takes her registration back and gives her number to somebody else.
    let before = rollup.provider().raw_request::<_, String>("evm_snapshot".into(), ()).await?;
    let patient = register(&endpoint, &rollup, &people().patient).await?;
    let path = format!("v1/accounts/{patient}");
    let path = path.as_str();
    until(|| async { caller.get::<AccountView>(path).await.is_ok() }).await?;
    let hers = Caller::log_in(node.url().clone(), domain, &people().patient, patient).await?;
    let record = hers.upload(&[b"content"]).await?;
    let put = hers.put_record(patient, 0, Class::Summary, &record);
    hers.submit(&put).await?;
    let view: AccountView = caller.get(path).await?;

    assert!(rollup.provider().raw_request::<_, bool>("evm_revert".into(), [before]).await?);
    let other = register(&endpoint, &rollup, &people().other).await?;
    assert_eq!(other, patient);
    until(|| async { caller.get::<AccountView>(path).await.is_ok_and(|now| now.identity != view.identity) }).await?;
    let now: AccountView = caller.get(path).await?;
    assert_eq!(now.role, Role::Patient);
    assert_eq!(now.identity.key_x, people().other.key.public().x());
    let status: NodeStatus = caller.get("v1/status").await?;
    assert_eq!(
        (status.queued, status.pending),
        (2, 1),
        "her operation is not lost, and is returned at the next sealing"
    );
    // Her login was for a key that the account no longer has.
    assert_eq!(code(hers.view(patient).await), "unauthorized");

    let operator = Caller::log_in(node.url().clone(), domain, &people().hospital, hospital).await?;
    operator.post::<emr_client::api::BatchView>("v1/batches/seal", &()).await?;
    let theirs = Caller::log_in(node.url().clone(), domain, &people().other, other).await?;
    let id = hex::encode(put.signed.id(domain));
    let returned: OperationStatus = theirs.get(&format!("v1/operations/{id}")).await?;
    assert!(matches!(returned, OperationStatus::Returned { .. }), "{returned:?}");
    node.shutdown().await;

    // The whole chain started anew is another one.
    let again = Anvil::start_or_skip(&["--chain-id", "31337"])?.ok_or("anvil")?;
    let elsewhere = NodeConfig { endpoint: again.url().parse()?, ..config(endpoint, &rollup, folder.path())? };
    assert!(Node::start(elsewhere).await.is_err());
    Ok(())
}

async fn fund(provider: &DynProvider, address: Address) -> Outcome {
    let thousand_ether = "0x3635c9adc5dea00000";
    Ok(provider.raw_request("anvil_setBalance".into(), (address, thousand_ether)).await?)
}

async fn register(
    endpoint: &Endpoint,
    rollup: &Rollup<DynProvider>,
    person: &Person,
) -> Outcome<emr_core::AccountIndex> {
    let provider = endpoint.connect(Some(person.ethereum.clone()))?;
    let own = Rollup::attach(provider, rollup.instance().contract, rollup.deployed_at()).await?;
    let (account, _) = own.register(&person.registration(rollup.instance(), None)).await?;
    if person.identity.role() != Role::Patient {
        let provider = endpoint.connect(Some(registrar()))?;
        let registrar = Rollup::attach(provider, rollup.instance().contract, rollup.deployed_at()).await?;
        admit(&registrar, account).await?;
    }
    Ok(account)
}
