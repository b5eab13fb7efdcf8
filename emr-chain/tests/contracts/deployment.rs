//! The rollup's address commits to what it was made from, and an interrupted deployment goes on.

use std::time::Duration;

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U64, U256},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
};
use emr_chain::{
    DeployError, Deployed, Deployment, STATE_ROOT_SLOT, SizeDeployment, VerifierCode, deploy, endpoint::Endpoint,
    factory,
};
use emr_testkit::{
    Outcome,
    chain::{
        Node, account,
        hostile::{create, with_state_root},
    },
    part::Anvil,
};

use crate::world::{REGISTRAR, SEQUENCER, deployment};

/// A deployment with the real verifiers.
fn genuine() -> Outcome<Deployment> {
    let mut deployment = deployment(0)?;
    for (size, verifier_code) in deployment.sizes.iter_mut().zip(VerifierCode::development()) {
        size.verifier_code = verifier_code;
    }
    Ok(deployment)
}

async fn provider(node: &Node) -> Outcome<DynProvider> {
    Ok(node.endpoint()?.connect(Some(account(SEQUENCER)?))?)
}

#[tokio::test]
async fn the_record_gives_every_address() -> Outcome {
    the_record_of(Node::embedded()?).await
}

#[tokio::test]
async fn the_record_gives_every_address_on_geth() -> Outcome {
    match Node::geth(&[])? {
        Some(node) => the_record_of(node).await,
        None => Ok(()),
    }
}

async fn the_record_of(node: Node) -> Outcome {
    let Deployed { rollup, record, verifiers, receipts } = deploy(provider(&node).await?, &genuine()?).await?;
    assert_eq!(record.contract(), Some(rollup.instance().contract));
    assert_eq!(record.verifiers(), verifiers);
    let on_chain: Vec<_> = rollup.sizes().await?.iter().map(|size| size.verifier).collect();
    assert_eq!(on_chain, verifiers);
    assert!(record.has_development_keys());
    // Factory, three keys, three verifiers, rollup.
    assert_eq!(receipts.len(), 8);
    assert_eq!(rollup.deployed_at(), receipts[7].block_number);
    // The record survives its JSON form.
    assert_eq!(serde_json::from_str::<emr_chain::DeploymentRecord>(&serde_json::to_string(&record)?)?, record);
    Ok(())
}

/// A contract with the genuine code, made by an attacker's creation code, which wrote a state root of the attacker's. A client that
/// compared the hash of the code would believe it. No record gives its address.
#[tokio::test]
async fn genuine_code_with_an_attackers_state_has_another_address() -> Outcome {
    let node = Node::embedded()?;
    let provider = provider(&node).await?;
    let Deployed { rollup, record, .. } = deploy(provider.clone(), &genuine()?).await?;
    let contract = rollup.instance().contract;
    let code = provider.get_code_at(contract).await?;
    let root = U256::from(0xbad);
    let creation = with_state_root(&code, root);
    let hostile = create(&provider, creation.clone()).await?;
    assert_eq!(provider.get_code_at(hostile).await?, code);
    assert_eq!(provider.get_storage_at(hostile, STATE_ROOT_SLOT).await?, root);
    assert_ne!(record.contract(), Some(hostile));
    // The factory cannot put it at the address of the genuine one either.
    assert_ne!(record.factory.create2_from_code(record.salt, &creation), contract);
    Ok(())
}

/// What stands for the verifier in tests is not the verifier, so the record of such a deployment gives another address.
#[tokio::test]
async fn another_verifier_gives_another_address() -> Outcome {
    let node = Node::embedded()?;
    let deployed = deploy(provider(&node).await?, &deployment(0)?).await?;
    assert_ne!(deployed.record.contract(), Some(deployed.rollup.instance().contract));
    assert_ne!(deployed.record.verifiers(), deployed.verifiers);
    Ok(())
}

/// A deployment that stops after any number of its transactions goes on with the same addresses, and creates nothing twice.
#[tokio::test]
async fn an_interrupted_deployment_goes_on() -> Outcome {
    let node = Node::embedded()?;
    let provider = provider(&node).await?;
    let (at, receipt) = factory::find_or_create(&provider).await?;
    assert!(receipt.is_some());
    let whole = Deployment { factory: Some(at), ..genuine()? };
    // The first size alone: its key, its verifier, and a rollup of another address.
    let first = Deployment { sizes: whole.sizes[..1].to_vec(), ..whole.clone() };
    assert_eq!(deploy(provider.clone(), &first).await?.receipts.len(), 3);
    let deployed = deploy(provider.clone(), &whole).await?;
    assert_eq!(deployed.receipts.len(), 5);
    let again = deploy(provider.clone(), &whole).await?;
    assert_eq!(again.receipts, []);
    assert_eq!(again.gas_used(), 0);
    assert_eq!((&again.record, again.rollup.instance()), (&deployed.record, deployed.rollup.instance()));
    // Long after, the block of the deployment is found again.
    for _ in 0..20 {
        let _: serde_json::Value = provider.raw_request("evm_mine".into(), ()).await?;
        let again = deploy(provider.clone(), &whole).await?;
        assert_eq!(again.rollup.deployed_at(), deployed.rollup.deployed_at());
    }
    Ok(())
}

/// Somebody copies the last transaction and is mined first. The rollup is the same, and its events are read from the block in which it was really
/// created.
#[tokio::test]
async fn somebody_else_may_create_it_first() -> Outcome {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
    let endpoint = anvil.url().parse::<Endpoint>()?;
    let (operator, other) = (account(SEQUENCER)?, account(REGISTRAR)?);
    let provider = endpoint.connect(Some(operator.clone()))?;
    for address in [operator.address(), other.address()] {
        let ether = (address, U256::from(10).pow(U256::from(20)));
        let _: serde_json::Value = provider.raw_request("anvil_setBalance".into(), ether).await?;
    }
    let begun_at = provider.get_block_number().await?;
    let whole = Deployment { begun_at, ..genuine()? };
    // The verifiers are there already.
    deploy(provider.clone(), &Deployment { salt: B256::repeat_byte(9), ..whole.clone() }).await?;
    let _: serde_json::Value = provider.raw_request("evm_setAutomine".into(), [false]).await?;
    let deploying = tokio::spawn({
        let (provider, whole) = (provider.clone(), whole.clone());
        async move { deploy(provider, &whole).await }
    });
    let waiting = async || -> Outcome<U64> {
        let count: serde_json::Value = provider.raw_request("txpool_status".into(), ()).await?;
        Ok(serde_json::from_value(count["pending"].clone())?)
    };
    while waiting().await? == U64::ZERO {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let copied: serde_json::Value = provider.raw_request("eth_getBlockByNumber".into(), ("pending", true)).await?;
    let sent = &copied["transactions"][0];
    let (to, input): (Address, Bytes) =
        (serde_json::from_value(sent["to"].clone())?, serde_json::from_value(sent["input"].clone())?);
    let request = TransactionRequest::default().with_to(to).with_input(input).with_gas_limit(1 << 24);
    let request = request.with_max_fee_per_gas(100_000_000_000).with_max_priority_fee_per_gas(50_000_000_000);
    let first = endpoint.connect(Some(other))?.send_transaction(request).await?;
    let _: serde_json::Value = provider.raw_request("evm_mine".into(), ()).await?;
    let receipt = first.get_receipt().await?;
    assert!(receipt.status(), "the copy was mined first");
    let deployed = deploying.await??;
    assert_eq!(Some(deployed.rollup.instance().contract), deployed.record.contract());
    assert_eq!(deployed.receipts, [], "its own transaction failed");
    assert_eq!(Some(deployed.rollup.deployed_at()), receipt.block_number);
    Ok(())
}

/// The process died, and its transaction still waits in the Ethereum node. It is not sent a second time, which would cost all its gas.
#[tokio::test]
async fn what_waits_is_not_sent_again() -> Outcome {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
    let operator = account(SEQUENCER)?;
    let provider = anvil.url().parse::<Endpoint>()?.connect(Some(operator.clone()))?;
    let ether = (operator.address(), U256::from(10).pow(U256::from(20)));
    let _: serde_json::Value = provider.raw_request("anvil_setBalance".into(), ether).await?;
    let whole = genuine()?;
    let _: serde_json::Value = provider.raw_request("evm_setAutomine".into(), [false]).await?;
    let deploying = || {
        let (provider, whole) = (provider.clone(), whole.clone());
        tokio::spawn(async move { deploy(provider, &whole).await })
    };
    let waiting = async || -> Outcome<U64> {
        let count: serde_json::Value = provider.raw_request("txpool_status".into(), ()).await?;
        Ok(serde_json::from_value(count["pending"].clone())?)
    };
    let killed = deploying();
    while waiting().await? == U64::ZERO {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    killed.abort();
    let goes_on = deploying();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(waiting().await?, U64::from(1), "the key of the first size");
    let _: serde_json::Value = provider.raw_request("evm_mine".into(), ()).await?;
    let _: serde_json::Value = provider.raw_request("evm_setAutomine".into(), [true]).await?;
    let deployed = goes_on.await??;
    assert_eq!(deployed.receipts.len(), 6, "two keys, three verifiers and the rollup");
    assert_eq!(provider.get_transaction_count(operator.address()).await?, 7);
    Ok(())
}

/// The chain was reset: the factory of the interrupted deployment is not there.
#[tokio::test]
async fn a_factory_that_is_gone_is_noticed_before_anything_is_paid_for() -> Outcome {
    let node = Node::embedded()?;
    let provider = provider(&node).await?;
    let gone = Deployment { factory: Some(Address::repeat_byte(9)), ..genuine()? };
    let refused = deploy(provider.clone(), &gone).await;
    assert!(matches!(refused, Err(DeployError::NoFactory(at)) if at == Address::repeat_byte(9)));
    assert_eq!(provider.get_transaction_count(account(SEQUENCER)?.address()).await?, 0);
    Ok(())
}

/// A second rollup shares verifiers and keys with the first, and has its own address.
#[tokio::test]
async fn verifiers_are_shared() -> Outcome {
    let node = Node::embedded()?;
    let provider = provider(&node).await?;
    let (at, _) = factory::find_or_create(&provider).await?;
    let whole = Deployment { factory: Some(at), ..genuine()? };
    let one = deploy(provider.clone(), &whole).await?;
    let other = deploy(provider, &Deployment { salt: B256::repeat_byte(2), ..whole }).await?;
    assert_eq!(other.receipts.len(), 1);
    assert_eq!(other.verifiers, one.verifiers);
    assert_ne!(other.rollup.instance().contract, one.rollup.instance().contract);
    Ok(())
}

/// anvil has the common factory, as most chains have.
#[tokio::test]
async fn the_common_factory_is_used_where_it_is() -> Outcome {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
    let signer = account(SEQUENCER)?;
    let provider = anvil.url().parse::<Endpoint>()?.connect(Some(signer.clone()))?;
    let ether = (signer.address(), U256::from(10).pow(U256::from(20)));
    let _: serde_json::Value = provider.raw_request("anvil_setBalance".into(), ether).await?;
    assert_eq!(factory::find_or_create(&provider).await?, (factory::COMMON_FACTORY, None));
    let size = |(max_l1, max_l2), code: VerifierCode| SizeDeployment { verifier_code: code, max_l1, max_l2 };
    let [small, ..] = VerifierCode::development();
    let whole = Deployment { sizes: vec![size((8, 24), small)], ..genuine()? };
    let deployed = deploy(provider, &whole).await?;
    assert_eq!(deployed.record.factory, factory::COMMON_FACTORY);
    assert_eq!(deployed.record.contract(), Some(deployed.rollup.instance().contract));
    Ok(())
}

/// Ethereum bounds creation code, and the officers are in it. Too many are refused before anything is paid for; one fewer are deployed on a chain that
/// enforces the limit.
#[tokio::test]
async fn officers_fit_beside_the_code() -> Outcome {
    let node = Node::embedded()?;
    let provider = provider(&node).await?;
    let with = |guardians: u8| -> Outcome<Deployment> {
        let mut deployment = genuine()?;
        deployment.officers.guardians = (1..=guardians).map(Address::repeat_byte).collect();
        deployment.officers.threshold = u16::from(guardians.min(1));
        Ok(deployment)
    };
    let nonce = provider.get_transaction_count(account(SEQUENCER)?.address()).await?;
    let refused = deploy(provider.clone(), &with(200)?).await.map(drop).expect_err("too many");
    let DeployError::CreationCodeTooLarge(length) = refused else { return Err(refused.into()) };
    assert_eq!(provider.get_transaction_count(account(SEQUENCER)?.address()).await?, nonce);
    // Each takes a word.
    let most = u8::try_from(200 - (length - 49_152).div_ceil(32))?;
    assert!(most >= 7, "{most} guardians fit");
    let one_more = deploy(provider.clone(), &with(most + 1)?).await.map(drop);
    assert!(matches!(one_more, Err(DeployError::CreationCodeTooLarge(_))), "{one_more:?}");
    let Deployed { rollup, .. } = deploy(provider, &with(most)?).await?;
    assert_eq!(rollup.offices().await?.guardians.len(), usize::from(most));
    Ok(())
}
