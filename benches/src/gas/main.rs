//! The gas of an operation in a batch, over the size of the batch, against the gas of the same operation in a contract
//! without a rollup. Everything is a transaction on the embedded chain: the proofs are real, and so are verifiers and keys.
//!
//! `cargo run --release --package benches --bin gas -- --csv gas.csv`

mod plain;

use std::{error::Error, fs, path::PathBuf};

use alloy::{
    primitives::{Address, B256, U256},
    providers::Provider,
    rpc::types::TransactionTrait,
};
use benches::mix::{self, Mix};
use clap::Parser;
use emr_api::settlement;
use emr_chain::{
    Deployed, Deployment, Officers, SettlementLayer, SizeDeployment, VerifierCode, deploy, endpoint::Endpoint,
};
use emr_core::{StateRoot, UnixTime};
use emr_devnet::{ChainConfig, EmbeddedChain};
use emr_rollup::{
    operation::Domain,
    prover::{Prover, default_cache},
    setup::SetupChoice,
    version::{CircuitSizes, CircuitVersion},
};
use plain::Direct;
use serde::Serialize;

/// Measure the gas of an operation, against a contract without a rollup
#[derive(Debug, Parser)]
struct Arguments {
    /// Also measure batches of the large size. Making its key and its proofs takes minutes
    #[arg(long)]
    large: bool,
    /// Write the table to this file, as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Folder of the proving keys
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A settled batch.
#[derive(Debug, Serialize)]
struct Row {
    operations: usize,
    /// The binary logarithm of the rows of its circuit.
    k: u32,
    calldata_bytes: usize,
    gas: u64,
    /// What the transaction must pay for its calldata alone (EIP-7623).
    calldata_floor: u64,
    gas_per_operation: u64,
    direct_per_operation: u64,
    times_cheaper: f64,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Figures {
    direct: Direct,
    rows: Vec<Row>,
}

impl Figures {
    fn csv(&self) -> String {
        let head =
            "operations,k,calldata_bytes,gas,calldata_floor,gas_per_operation,direct_per_operation,times_cheaper";
        let line = |row: &Row| {
            let Row { operations, k, calldata_bytes, gas, calldata_floor, .. } = row;
            let Row { gas_per_operation, direct_per_operation, times_cheaper, .. } = row;
            format!(
                "{operations},{k},{calldata_bytes},{gas},{calldata_floor},{gas_per_operation},{direct_per_operation},{times_cheaper:.2}"
            )
        };
        [head.to_owned()].into_iter().chain(self.rows.iter().map(line)).map(|line| line + "\n").collect()
    }
}

/// The numbers of operations that are measured in a size.
fn counts(size: &CircuitVersion, smaller: usize) -> Vec<usize> {
    let most = size.max_l2;
    let mut counts = vec![1, smaller + 1, most / 3, most * 2 / 3, most];
    counts.retain(|count| (smaller + 1..=most).contains(count));
    counts.dedup();
    counts
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let cache = arguments.cache.or_else(default_cache).ok_or("no home folder; name a folder with --cache")?;
    let ether = U256::from(10).pow(U256::from(21));
    let config =
        plain::addresses(3)?.into_iter().fold(ChainConfig::default(), |config, address| config.prefund(address, ether));
    let chain = EmbeddedChain::temporary(&config)?;
    let endpoint = Endpoint::in_process(chain.transport());
    let direct = Direct::measure(&endpoint, plain::signer(2)?, plain::signer(3)?).await?;

    let known = CircuitSizes::v1_all();
    let mut rows: Vec<Row> = Vec::new();
    let mut sizes: Vec<_> = known.iter().filter(|size| size.max_l2 > 0).copied().collect();
    sizes.sort_by_key(|size| size.max_l2);
    sizes.retain(|size| arguments.large || size.k <= CircuitVersion::V1.k);
    let mut smaller = 0;
    for size in sizes {
        let stage = |stage| eprintln!("{} operations: {stage}", size.max_l2);
        let prover = Prover::load_or_generate(&cache, size, SetupChoice::InsecureDevelopment, stage)?;
        for operations in counts(&size, smaller) {
            eprintln!("{operations} operations");
            rows.push(settled(&endpoint, &prover, size, operations, &direct).await?);
        }
        smaller = size.max_l2;
    }
    let figures = Figures { direct, rows };
    if let Some(file) = &arguments.csv {
        fs::write(file, figures.csv())?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        let Direct { put, edit, grant, revoke, request } = direct;
        println!(
            "directly: put {put}, edit {edit}, grant {grant}, revoke {revoke}, request {request}, hospital mix {}",
            direct.mean()
        );
        print!("{}", figures.csv());
    }
    Ok(())
}

/// Deploys a rollup that begins with the state before the batch, and settles the batch.
async fn settled(
    endpoint: &Endpoint,
    prover: &Prover,
    size: CircuitVersion,
    operations: usize,
    direct: &Direct,
) -> Result<Row, Box<dyn Error>> {
    let nowhere = Domain::new(31337, Address::ZERO.into_array());
    let now = UnixTime::now();
    let genesis: StateRoot = mix::batch(Mix::Hospital, size, (nowhere, now), operations)?.public().pre;
    let sequencer = plain::signer(1)?;
    let provider = endpoint.connect(Some(sequencer.clone()))?;
    let verifier_code = VerifierCode::with_key(prover.verifier().key_contract().into());
    let deployment = Deployment {
        factory: None,
        salt: B256::left_padding_from(&operations.to_be_bytes()),
        begun_at: 0,
        sizes: vec![SizeDeployment { verifier_code, max_l1: size.max_l1 as u64, max_l2: size.max_l2 as u64 }],
        circuit_version: size.number.into(),
        genesis,
        sequencer: sequencer.address(),
        officers: Officers::registrar(sequencer.address()),
        registration_fee: U256::ZERO,
    };
    let Deployed { rollup, .. } = deploy(provider, &deployment).await?;
    let instance = rollup.instance();
    let domain = Domain::new(instance.chain_id, instance.contract.into_array());
    let batch = mix::batch(Mix::Hospital, size, (domain, now), operations)?;
    let proven = batch.prove(prover).map_err(|(_, error)| error)?;
    let receipt = rollup.settle(&settlement::content(&proven, 0, 0)).await?;

    let sent = rollup.provider().get_transaction_by_hash(receipt.tx_hash).await?.ok_or("no transaction")?;
    let input = sent.input();
    let zeros = input.iter().filter(|byte| **byte == 0).count() as u64;
    let tokens = 4 * (input.len() as u64 - zeros) + zeros;
    let (gas, direct_per_operation) = (receipt.gas_used, direct.mean());
    let gas_per_operation = gas / operations as u64;
    Ok(Row {
        operations,
        k: size.k,
        calldata_bytes: input.len(),
        gas,
        calldata_floor: 21_000 + 10 * tokens,
        gas_per_operation,
        direct_per_operation,
        times_cheaper: direct_per_operation as f64 / gas_per_operation as f64,
    })
}
