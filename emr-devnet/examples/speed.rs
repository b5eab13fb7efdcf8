//! Measures the embedded chain on this machine: transactions per second, in memory and on disk, and the time to make a
//! proof, to verify it, and to reopen the chain.
//!
//! `cargo run --release -p emr-devnet --example speed`

use std::{error::Error, hint::black_box, time::Instant};

use alloy::{
    consensus::TxEnvelope,
    eips::{BlockId, eip2718::Encodable2718},
    network::{Ethereum, EthereumWallet, NetworkWallet, TransactionBuilder},
    primitives::{Address, B256, U256, uint},
    providers::Provider,
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use emr_chain::{endpoint::Endpoint, proof};
use emr_devnet::{ChainConfig, EmbeddedChain};

/// Transactions per run.
const COUNT: u64 = 300;
/// Storage slots that each transaction sets.
const SLOTS: u64 = 20;

/// A contract without functions. It sets the slots `x .. x + SLOTS` to `x + 1`, where `x` is the calldata.
fn initcode() -> Vec<u8> {
    // PUSH0 CALLDATALOAD, then SLOTS times: DUP1 PUSH1 1 ADD DUP2 PUSH1 i ADD SSTORE, then STOP.
    let mut code = vec![0x5f, 0x35];
    for at in 0..SLOTS as u8 {
        code.extend([0x80, 0x60, 1, 0x01, 0x81, 0x60, at, 0x01, 0x55]);
    }
    code.push(0x00);
    // PUSH2 length DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN
    let length = (code.len() as u16).to_be_bytes();
    [&[0x61, length[0], length[1], 0x80, 0x60, 10, 0x5f, 0x39, 0x5f, 0xf3], &code[..]].concat()
}

async fn signed(wallet: &EthereumWallet, nonce: u64, contract: Address) -> Result<Vec<u8>, Box<dyn Error>> {
    let request = TransactionRequest::default()
        .with_nonce(nonce)
        .with_chain_id(31_337)
        .with_gas_limit(2_000_000)
        .with_max_fee_per_gas(10_000_000_000)
        .with_max_priority_fee_per_gas(1);
    let request = match nonce {
        0 => request.with_deploy_code(initcode()),
        _ => request.with_to(contract).with_input(U256::from(nonce * SLOTS).to_be_bytes::<32>().to_vec()),
    };
    let envelope: TxEnvelope = NetworkWallet::<Ethereum>::sign_request(wallet, request).await?;
    Ok(envelope.encoded_2718())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(1))?;
    let contract = signer.address().create(0);
    let config = ChainConfig::default().prefund(signer.address(), uint!(1_000_000_000_000_000_000_000_U256));
    let wallet = EthereumWallet::from(signer);
    let mut transactions = Vec::new();
    for nonce in 0..=COUNT {
        transactions.push(signed(&wallet, nonce, contract).await?);
    }

    let folder = tempfile::tempdir()?;
    for (place, chain) in
        [("in memory", EmbeddedChain::temporary(&config)?), ("on disk", EmbeddedChain::open(folder.path(), &config)?)]
    {
        let provider = Endpoint::in_process(chain.transport()).connect(None)?;
        let start = Instant::now();
        for raw in &transactions {
            provider.send_raw_transaction(raw).await?.get_receipt().await?;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("{place}: {:.0} transactions/s, {SLOTS} new slots each", transactions.len() as f64 / seconds);

        let header = proof::fetch_header(&provider, BlockId::latest()).await?;
        let slot = B256::from(U256::from(COUNT * SLOTS / 2));
        let start = Instant::now();
        for _ in 0..1000 {
            black_box(provider.get_proof(contract, vec![slot]).number(header.number()).await?);
        }
        println!(
            "{place}: eth_getProof {:.0} us with {} slots set",
            start.elapsed().as_secs_f64() * 1e3,
            COUNT * SLOTS
        );
        let answer = provider.get_proof(contract, vec![slot]).number(header.number()).await?;
        let start = Instant::now();
        for _ in 0..1000 {
            black_box(proof::verify_storage(header.state_root(), contract, slot.into(), &answer)?);
        }
        println!("{place}: verify_storage {:.0} us", start.elapsed().as_secs_f64() * 1e3);
    }
    let start = Instant::now();
    EmbeddedChain::open(folder.path(), &config)?;
    println!("reopening {COUNT} blocks: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
