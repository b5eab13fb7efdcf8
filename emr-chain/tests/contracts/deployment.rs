//! The rollup's address commits to what it was made from, and an interrupted deployment goes on.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
};
use emr_chain::{
    Deployed, Deployment, STATE_ROOT_SLOT, SizeDeployment, VerifierCode, deploy, endpoint::Endpoint, factory,
};
use emr_testkit::{
    Outcome,
    chain::{Node, account},
    part::Anvil,
};

use crate::world::{SEQUENCER, deployment};

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

async fn create(provider: &DynProvider, code: Vec<u8>) -> Outcome<Address> {
    let request = TransactionRequest::default().with_deploy_code(Bytes::from(code));
    let receipt = provider.send_transaction(request).await?.get_receipt().await?;
    Ok(receipt.contract_address.ok_or("no contract")?)
}

/// Creation code that writes a word to slot 0 and then returns this code.
fn with_state_root(code: &[u8], root: U256) -> Vec<u8> {
    let size = u16::try_from(code.len()).expect("a contract's code").to_be_bytes();
    // PUSH32 root, PUSH1 0, SSTORE; PUSH2 size, DUP1, PUSH1 49, PUSH1 0, CODECOPY, PUSH1 0, RETURN
    let mut creation = vec![0x7f];
    creation.extend(root.to_be_bytes::<32>());
    creation.extend([0x60, 0, 0x55, 0x61, size[0], size[1], 0x80, 0x60, 49, 0x60, 0, 0x39, 0x60, 0, 0xf3]);
    creation.resize(49, 0);
    creation.extend(code);
    creation
}

#[tokio::test]
async fn the_record_gives_every_address() -> Outcome {
    let node = Node::embedded()?;
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
