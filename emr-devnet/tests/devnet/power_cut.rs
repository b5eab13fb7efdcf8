//! The chain's file on a disk that loses unsynced writes at a crash.

use std::{path::Path, sync::Arc};

use alloy::{
    eips::BlockId,
    primitives::{B256, U256, uint},
    providers::{DynProvider, Provider},
};
use emr_chain::{endpoint::Endpoint, proof};
use emr_devnet::EmbeddedChain;
use emr_durable::crash::{ALL, Journal, Survivors, Sync, no_sync};
use emr_testkit::{
    Outcome,
    chain::{Probe, account, config},
};
use tokio::runtime::Runtime;

const FOLDER: &str = "data/chain";

/// What a chain acknowledged: after how many steps each transaction is in a block, and how far ahead the clock is.
struct Scene {
    runtime: Runtime,
    journal: Arc<Journal>,
    transactions: Vec<(usize, B256)>,
    clock: Vec<(usize, u64)>,
}

fn provider(chain: &EmbeddedChain) -> Outcome<DynProvider> {
    Ok(Endpoint::in_process(chain.transport()).connect(Some(account(0)?))?)
}

/// Runs every call that changes the file, each more than once.
fn history() -> Outcome<Scene> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let journal = Journal::new()?;
    let (mut transactions, mut clock) = (Vec::new(), vec![(0, 0)]);
    journal.begin("open");
    let chain = EmbeddedChain::open_on(&journal.disk(), &journal.root().join(FOLDER), &config()?)?;
    runtime.block_on(async {
        let provider = provider(&chain)?;
        journal.begin("transaction");
        let probe = Probe::deploy(provider, U256::ZERO).await?;
        for key in 0..4_u64 {
            let sent = probe.storeMany(U256::from(key * 5), uint!(5_U256)).gas(600_000).send().await?;
            transactions.push((journal.steps(), *sent.tx_hash()));
        }
        Outcome::Ok(())
    })?;
    for seconds in [10, 20] {
        journal.begin("clock");
        let ahead = chain.advance_clock(seconds)?;
        clock.push((journal.steps(), ahead));
    }
    Ok(Scene { runtime, journal, transactions, clock })
}

impl Scene {
    /// Checks that the chain opens with every acknowledged transaction and a state that its headers commit to.
    fn check(&self, steps: usize, image: &Path) -> Outcome {
        let chain = EmbeddedChain::open(&image.join(FOLDER), &config()?)?;
        self.runtime.block_on(async {
            let provider = provider(&chain)?;
            for (acknowledged, hash) in &self.transactions {
                let receipt = provider.get_transaction_receipt(*hash).await?;
                if *acknowledged <= steps && !receipt.is_some_and(|receipt| receipt.status()) {
                    return Err(format!("transaction {hash} is lost").into());
                }
            }
            if provider.get_block_number().await? > 0 {
                let header = proof::fetch_header(&provider, BlockId::latest()).await?;
                let probe = account(0)?.address().create(0);
                proof::verified_storage(&provider, probe, U256::ZERO, &header).await?;
            }
            Outcome::Ok(())
        })?;
        let ahead = chain.advance_clock(0)?;
        let last = self.clock.iter().rposition(|(said, _)| *said <= steps).unwrap_or(0);
        if self.clock[last..].iter().take(2).any(|(_, allowed)| *allowed == ahead) {
            Ok(())
        } else {
            Err(format!("the clock is {ahead} s ahead").into())
        }
    }

    fn does_harm(&self, ways: &[Survivors], left_out: impl Fn(&Sync) -> bool) -> bool {
        self.journal.check(ways, left_out, |steps, image| self.check(steps, image)).is_err()
    }
}

#[test]
fn acknowledged_transactions_survive_any_crash() -> Outcome {
    let scene = history()?;
    Ok(scene.journal.check(&ALL, no_sync, |steps, image| scene.check(steps, image))?)
}

/// redb syncs bytes: if all syncs of a call are left out, some crash does harm. This crate syncs names: each of these
/// is needed.
#[test]
fn every_call_needs_its_syncs() -> Outcome {
    let scene = history()?;
    let ways = [Survivors::Nothing, Survivors::Some(1)];
    for call in ["open", "transaction", "clock"] {
        assert!(scene.does_harm(&ways, |sync| sync.operation() == call && !sync.is_of_folder()), "{call}");
    }
    let folders: Vec<_> = scene.journal.syncs().into_iter().filter(Sync::is_of_folder).collect();
    let names: Vec<_> = folders.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["open: folder .", "open: folder data", "open: folder data/chain"]);
    for folder in &folders {
        assert!(scene.does_harm(&ways, |sync| sync == folder), "{folder} is not needed");
    }
    Ok(())
}
