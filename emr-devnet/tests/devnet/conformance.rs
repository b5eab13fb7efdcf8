//! One test suite for three chains: the embedded one, the embedded one over HTTP, and a real anvil.

use alloy::{
    consensus::{TxEnvelope, TxReceipt, Typed2718, proofs},
    eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718},
    network::{Ethereum, EthereumWallet, NetworkWallet, TransactionBuilder, TransactionBuilder4844},
    primitives::{Address, B256, Bytes, U256, address, bytes, keccak256, uint},
    providers::{DynProvider, Provider},
    rpc::types::{Filter, TransactionRequest},
    sol_types::{SolError, SolEvent},
};
use emr_chain::{
    TRANSACTION_GAS_CAP,
    endpoint::EndpointError,
    proof::{self, VerifiedHeader},
};
use emr_testkit::{
    Outcome,
    chain::{Node, Probe, account},
};
use tokio::task::JoinSet;

#[tokio::test]
async fn embedded_chain_conforms() -> Outcome {
    conforms(&Node::embedded()?, true).await
}

#[tokio::test]
async fn embedded_chain_conforms_over_http() -> Outcome {
    conforms(&Node::served().await?, true).await
}

#[tokio::test]
async fn anvil_conforms() -> Outcome {
    match Node::anvil()? {
        Some(node) => conforms(&node, false).await,
        None => Ok(()),
    }
}

/// `strict` also tests rules that anvil does not enforce.
async fn conforms(node: &Node, strict: bool) -> Outcome {
    let endpoint = node.endpoint()?;
    let signer = account(0)?;
    let me = signer.address();
    let provider = endpoint.connect(Some(signer))?;
    endpoint.expect_chain_id(&provider, 31_337).await?;
    let wrong = endpoint.expect_chain_id(&provider, 1).await;
    assert!(matches!(wrong, Err(EndpointError::ChainId { expected: 1, actual: 31_337, .. })), "{wrong:?}");

    let probe = deploys(&provider, me).await?;
    stores_and_logs(&provider, &probe).await?;
    reverts(&provider, &probe).await?;
    proves(&provider, *probe.address()).await?;
    blocks_chain_up(&provider, &probe).await?;
    checks_nonces_and_funds(&provider, me).await?;
    has_the_precompiles(&provider).await?;
    moves_its_clock(&provider, &probe).await?;
    destroys(&provider, &probe).await?;
    clears(&provider, &probe).await?;
    takes_many_at_once(node).await?;
    if strict {
        enforces_limits(&provider, me).await?;
    }
    Ok(())
}

type Contract = Probe::ProbeInstance<DynProvider>;

async fn deploys(provider: &DynProvider, me: Address) -> Outcome<Contract> {
    let before = provider.get_balance(me).await?;
    let receipt = Probe::deploy_builder(provider, uint!(40_U256)).send().await?.get_receipt().await?;
    assert!(receipt.status());
    let address = receipt.contract_address.ok_or("no contract address")?;
    assert_eq!(address, me.create(0));
    assert!(provider.get_code_at(address).await?.len() > 100);
    let paid = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price);
    assert_eq!(provider.get_balance(me).await?, before - paid);
    let contract = Probe::new(address, provider.clone());
    assert_eq!(contract.count().call().await?, uint!(40_U256));
    Ok(contract)
}

async fn stores_and_logs(provider: &DynProvider, probe: &Contract) -> Outcome {
    let (key, value) = (uint!(7_U256), uint!(0xdead_beef_U256));
    let receipt = probe.store(key, value).send().await?.get_receipt().await?;
    assert_eq!(probe.load(key).call().await?, value);
    assert_eq!(probe.count().call().await?, uint!(41_U256));
    let slot = keccak256([key.to_be_bytes::<32>(), [0; 32]].concat());
    assert_eq!(provider.get_storage_at(*probe.address(), slot.into()).await?, value);

    let [log] = receipt.logs() else { return Err("one log expected".into()) };
    assert_eq!(log.topics(), [Probe::Stored::SIGNATURE_HASH, B256::from(key)]);
    assert_eq!(log.block_hash, receipt.block_hash);
    let number = receipt.block_number.ok_or("no block number")?;
    let filter = Filter::new().address(*probe.address()).event_signature(Probe::Stored::SIGNATURE_HASH);
    assert_eq!(provider.get_logs(&filter.clone().from_block(number)).await?, std::slice::from_ref(log));
    let by_hash = filter.clone().at_block_hash(receipt.block_hash.ok_or("no block hash")?).topic1(B256::from(key));
    assert_eq!(provider.get_logs(&by_hash).await?.len(), 1);
    assert!(provider.get_logs(&filter.clone().from_block(0).topic1(B256::ZERO)).await?.is_empty());
    assert!(provider.get_logs(&Filter::new().from_block(0).address(Address::ZERO)).await?.is_empty());

    let transaction = provider.get_transaction_by_hash(receipt.transaction_hash).await?.ok_or("unknown transaction")?;
    assert_eq!(transaction.block_number, Some(number));
    assert_eq!(transaction.inner.signer(), receipt.from);
    assert_eq!(transaction.inner.ty(), 2);
    assert_eq!(provider.get_transaction_by_hash(B256::ZERO).await?, None);
    assert_eq!(provider.get_transaction_receipt(B256::ZERO).await?, None);
    assert_eq!(probe.load(key).block(BlockId::number(number - 1)).call().await?, U256::ZERO);
    Ok(())
}

async fn reverts(provider: &DynProvider, probe: &Contract) -> Outcome {
    let Err(error) = probe.refuse(uint!(9_U256)).call().await else { return Err("refuse() must revert".into()) };
    let refused = error.as_decoded_error::<Probe::Refused>().ok_or("the custom error is not decoded")?;
    assert_eq!(refused.key, uint!(9_U256));

    let call = probe.refuseInWords().into_transaction_request();
    let Err(error) = provider.call(call.clone()).await else { return Err("refuseInWords() must revert".into()) };
    let payload = error.as_error_resp().ok_or("no error response")?;
    assert_eq!(payload.code, 3);
    assert!(payload.message.contains("execution reverted: not today"), "{}", payload.message);
    assert!(provider.estimate_gas(call).await.is_err());

    // If it is sent in spite of that, it is in a block as failed, and nothing else changed.
    let before = probe.count().call().await?;
    let receipt = probe.refuse(uint!(9_U256)).gas(100_000).send().await?.get_receipt().await?;
    assert!(!receipt.status());
    assert!(receipt.logs().is_empty());
    assert_eq!(probe.count().call().await?, before);
    // A transaction that runs out of gas uses all of its gas.
    let receipt = probe.spin().gas(60_000).send().await?.get_receipt().await?;
    assert!(!receipt.status());
    assert_eq!(receipt.gas_used, 60_000);
    assert_eq!(Probe::Refused::abi_decode(&Probe::Refused { key: U256::ONE }.abi_encode())?.key, U256::ONE);
    Ok(())
}

async fn newest(provider: &DynProvider) -> Outcome<VerifiedHeader> {
    Ok(proof::fetch_header(provider, BlockId::latest()).await?)
}

async fn proves(provider: &DynProvider, contract: Address) -> Outcome {
    let slot = U256::from_be_bytes(keccak256([uint!(7_U256).to_be_bytes::<32>(), [0; 32]].concat()).0);
    let header = newest(provider).await?;
    assert_eq!(proof::fetch_header(provider, BlockId::hash(header.hash())).await?, header);
    assert_eq!(proof::verified_storage(provider, contract, slot, &header).await?, uint!(0xdead_beef_U256));
    assert_eq!(proof::verified_storage(provider, contract, U256::ONE, &header).await?, uint!(41_U256));
    // Proofs of absence: a slot, a slot of an account without storage, an account.
    assert_eq!(proof::verified_storage(provider, contract, uint!(12345_U256), &header).await?, U256::ZERO);
    assert_eq!(proof::verified_storage(provider, account(0)?.address(), slot, &header).await?, U256::ZERO);
    let nobody = address!("0x00000000000000000000000000000000deadbeef");
    assert_eq!(proof::verified_storage(provider, nobody, slot, &header).await?, U256::ZERO);

    // An older block keeps its own state.
    let then = proof::fetch_header(provider, BlockId::number(1)).await?;
    assert_eq!(proof::verified_storage(provider, contract, U256::ONE, &then).await?, uint!(40_U256));
    assert_eq!(proof::verified_storage(provider, contract, slot, &then).await?, U256::ZERO);
    Ok(())
}

async fn blocks_chain_up(provider: &DynProvider, probe: &Contract) -> Outcome {
    let newest = provider.get_block_number().await?;
    let mut parent: Option<VerifiedHeader> = None;
    for number in 0..=newest {
        let header = proof::fetch_header(provider, BlockId::number(number)).await?;
        if let Some(parent) = parent {
            assert_eq!(header.parent_hash(), parent.hash());
            // anvil lets blocks share a second.
            assert!(header.timestamp() >= parent.timestamp());
        }
        parent = Some(header);
        let block = provider.get_block_by_number(number.into()).full().await?.ok_or("no block")?;
        assert_eq!(block.transactions.len(), usize::from(number > 0));
        let signed: Vec<TxEnvelope> = block.transactions.txns().map(|full| full.inner.inner().clone()).collect();
        assert_eq!(proofs::calculate_transaction_root(&signed), block.header.transactions_root);
        assert!(block.header.gas_used <= block.header.gas_limit);
        for hash in block.transactions.hashes() {
            let receipt = provider.get_transaction_receipt(hash).await?.ok_or("no receipt")?;
            assert_eq!(receipt.block_hash, Some(block.header.hash));
            assert_eq!(receipt.gas_used, block.header.gas_used);
            let inner = receipt.inner.into_primitives_receipt();
            assert_eq!(inner.bloom(), block.header.logs_bloom);
            let root = proofs::calculate_receipt_root(&[inner]);
            assert_eq!(root, block.header.receipts_root);
        }
    }
    let parent = parent.ok_or("no block")?;
    assert_eq!(probe.hashOf(U256::from(newest - 1)).call().await?, parent.parent_hash());
    assert!(provider.get_block_by_number((newest + 1).into()).await?.is_none());
    assert!(provider.get_block_by_hash(B256::ZERO).await?.is_none());
    assert_eq!(provider.get_block_by_number(BlockNumberOrTag::Earliest).await?.ok_or("no block")?.header.number, 0);
    let history = provider.get_fee_history(2, BlockNumberOrTag::Latest, &[50.0]).await?;
    assert_eq!(history.base_fee_per_gas.len(), 3);
    assert_eq!(history.reward.ok_or("no reward")?.len(), 2);
    Ok(())
}

/// A signed transfer of 1 wei, changed by `change`.
async fn signed(n: u8, change: impl FnOnce(&mut TransactionRequest)) -> Outcome<Vec<u8>> {
    let wallet = EthereumWallet::from(account(n)?);
    let mut request = TransactionRequest::default()
        .with_to(Address::repeat_byte(0x77))
        .with_value(U256::ONE)
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(10_000_000_000)
        .with_max_priority_fee_per_gas(1_000_000_000)
        .with_nonce(0)
        .with_chain_id(31_337);
    change(&mut request);
    let envelope: TxEnvelope = NetworkWallet::<Ethereum>::sign_request(&wallet, request).await?;
    Ok(envelope.encoded_2718())
}

async fn refused(provider: &DynProvider, raw: &[u8], words: &str) -> Outcome {
    match provider.send_raw_transaction(raw).await {
        Ok(_) => Err(format!("accepted what should fail with {words:?}").into()),
        Err(error) => {
            let text = error.to_string().to_lowercase();
            assert!(text.contains(words), "{text:?} does not say {words:?}");
            Ok(())
        }
    }
}

async fn checks_nonces_and_funds(provider: &DynProvider, me: Address) -> Outcome {
    refused(provider, &signed(0, |_| ()).await?, "nonce too low").await?;
    let nonce = provider.get_transaction_count(me).await?;
    assert!(nonce > 3);
    refused(provider, &signed(9, |_| ()).await?, "insufficient funds").await?;
    refused(provider, &signed(1, |tx| tx.chain_id = Some(1)).await?, "chain id").await?;
    refused(provider, &signed(1, |tx| tx.gas = Some(20_999)).await?, "intrinsic gas too low").await?;
    refused(provider, b"\x02nonsense", "").await?;
    let mut altered = signed(1, |_| ()).await?;
    let last = altered.len() - 40;
    altered[last] ^= 1;
    refused(provider, &altered, "").await?;

    // All three types of transaction, from another account.
    let legacy = signed(2, |tx| {
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas, tx.gas_price) = (None, None, Some(10_000_000_000));
    });
    let with_list = signed(2, |tx| {
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas, tx.gas_price) = (None, None, Some(10_000_000_000));
        tx.access_list = Some(Default::default());
        tx.nonce = Some(1);
    });
    let dynamic = signed(2, |tx| tx.nonce = Some(2));
    for (kind, raw) in [legacy.await?, with_list.await?, dynamic.await?].into_iter().enumerate() {
        let receipt = provider.send_raw_transaction(&raw).await?.get_receipt().await?;
        assert!(receipt.status());
        assert_eq!(receipt.gas_used, 21_000);
        assert_eq!(usize::from(receipt.transaction_type() as u8), kind);
        refused(provider, &raw, "").await?;
    }
    assert_eq!(provider.get_balance(Address::repeat_byte(0x77)).await?, uint!(3_U256));
    Ok(())
}

async fn has_the_precompiles(provider: &DynProvider) -> Outcome {
    let call = async |at: u8, input: Bytes| -> Outcome<Bytes> {
        let request = TransactionRequest::default().with_to(Address::with_last_byte(at)).with_input(input);
        Ok(provider.call(request).await?)
    };
    // 3^2 mod 5 (EIP-198).
    let word = |n: u8| B256::with_last_byte(n).0;
    let input = [&word(1)[..], &word(1), &word(1), &[3, 2, 5]].concat();
    assert_eq!(call(5, input.into()).await?, bytes!("04"));
    // The generator of BN254 doubled (EIP-196), and e(G1, G2) e(-G1, G2) = 1 (EIP-197).
    let generator = [word(1), word(2)].concat();
    let doubled = call(6, [generator.clone(), generator.clone()].concat().into()).await?;
    assert_eq!(
        doubled,
        bytes!(
            "030644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd3"
            "15ed738c0e0a7c92e7845f96b2ae9c0a68a6a449e3538fc7ff3ebf7a5a18a2c4"
        )
    );
    let minus_two: U256 = uint!(21888242871839275222246405745257275088696311157297823662689037894645226208581_U256);
    let g2 = bytes!(
        "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2"
        "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
        "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b"
        "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
    );
    let pairs = [&generator[..], &g2, &word(1), &minus_two.to_be_bytes::<32>(), &g2].concat();
    assert_eq!(call(8, pairs.into()).await?, Bytes::from(word(1)));
    Ok(())
}

async fn moves_its_clock(provider: &DynProvider, probe: &Contract) -> Outcome {
    let before = probe.time().call().await?;
    let _: serde_json::Value = provider.raw_request("evm_increaseTime".into(), (86_400,)).await?;
    let _: serde_json::Value = provider.raw_request("evm_mine".into(), ()).await?;
    // If blocks are made faster than one per second, their time is already ahead of the clock, but by less than this.
    let after = before + uint!(86_000_U256);
    assert!(probe.time().call().await? >= after);
    assert!(U256::from(newest(provider).await?.timestamp()) >= after);
    Ok(())
}

/// A cleared slot is provably zero, and its neighbours are unchanged.
async fn clears(provider: &DynProvider, probe: &Contract) -> Outcome {
    let slot = |key: u64| U256::from_be_bytes(keccak256([U256::from(key).to_be_bytes::<32>(), [0; 32]].concat()).0);
    probe.storeMany(U256::ZERO, uint!(30_U256)).send().await?.get_receipt().await?;
    for key in [3u64, 4, 5, 17] {
        probe.store(U256::from(key), U256::ZERO).send().await?.get_receipt().await?;
    }
    let header = newest(provider).await?;
    for key in 0..30 {
        let expected = if [3, 4, 5, 17].contains(&key) { U256::ZERO } else { U256::from(key + 1) };
        assert_eq!(proof::verified_storage(provider, *probe.address(), slot(key), &header).await?, expected);
    }
    Ok(())
}

/// A contract that is created and destroyed in one transaction leaves only its ether, at the beneficiary (EIP-6780).
async fn destroys(provider: &DynProvider, probe: &Contract) -> Outcome {
    let receipt = probe.createAndDestroy().value(uint!(5_U256)).send().await?.get_receipt().await?;
    assert!(receipt.status());
    let brief = probe.address().create(1);
    let header = newest(provider).await?;
    let proof = provider.get_proof(brief, vec![B256::ZERO]).block_id(BlockId::number(header.number())).await?;
    assert_eq!(proof::verify_account(header.state_root(), brief, &proof)?, Default::default());
    assert_eq!(proof::verify_storage(header.state_root(), brief, U256::ZERO, &proof)?, U256::ZERO);
    Ok(())
}

/// Many accounts can send transactions at the same time.
async fn takes_many_at_once(node: &Node) -> Outcome {
    let mut senders = JoinSet::new();
    for n in [1, 3] {
        let provider = node.endpoint()?.connect(Some(account(n)?))?;
        senders.spawn(async move {
            for _ in 0..10 {
                let to = TransactionRequest::default().with_to(Address::repeat_byte(0x66)).with_value(U256::ONE);
                let sent = provider.send_transaction(to).await.map_err(|error| error.to_string())?;
                let receipt = sent.get_receipt().await.map_err(|error| error.to_string())?;
                assert!(receipt.status());
            }
            Ok::<(), String>(())
        });
    }
    for sender in senders.join_all().await {
        sender?;
    }
    let provider = node.endpoint()?.connect(None)?;
    assert_eq!(provider.get_balance(Address::repeat_byte(0x66)).await?, uint!(20_U256));
    Ok(())
}

async fn enforces_limits(provider: &DynProvider, me: Address) -> Outcome {
    let raw = signed(1, |tx| tx.gas = Some(TRANSACTION_GAS_CAP + 1)).await?;
    refused(provider, &raw, "eip-7825").await?;
    // Initcode that returns `size` zero bytes: PUSH3 size, PUSH0, RETURN.
    let returning = |size: u32| [&[0x62][..], &size.to_be_bytes()[1..], &[0x5f, 0xf3]].concat();
    let deploy = |code: Vec<u8>| {
        let request =
            TransactionRequest::default().with_from(me).with_deploy_code(code).with_gas_limit(TRANSACTION_GAS_CAP);
        async move { Outcome::Ok(provider.send_transaction(request).await?.get_receipt().await?) }
    };
    assert!(deploy(returning(24_576)).await?.status());
    let too_large = deploy(returning(24_577)).await?;
    assert!(!too_large.status());
    assert_eq!(too_large.gas_used, TRANSACTION_GAS_CAP);
    assert!(deploy(vec![0; 49_152]).await?.status());
    let Err(error) = deploy(vec![0; 49_153]).await else { return Err("49153 bytes of initcode accepted".into()) };
    assert!(error.to_string().contains("EIP-3860"), "{error}");

    // Limits of calls.
    let call = TransactionRequest::default().with_to(Address::ZERO).with_max_fee_per_blob_gas(1);
    assert!(provider.call(call).await.is_ok());
    let Err(error) = provider.raw_request::<_, serde_json::Value>("eth_nonsense".into(), ()).await else {
        return Err("an unknown method was answered".into());
    };
    assert_eq!(error.as_error_resp().map(|payload| payload.code), Some(-32601));
    let Err(error) = provider.raw_request::<_, serde_json::Value>("eth_getBalance".into(), ("me",)).await else {
        return Err("a malformed address was answered".into());
    };
    assert_eq!(error.as_error_resp().map(|payload| payload.code), Some(-32602));
    let slots = vec![B256::ZERO; 1025];
    assert!(provider.get_proof(me, slots).await.is_err());
    Ok(())
}
