//! Acknowledged transactions survive kill -9, a full disk and a restart.

use std::{fs, path::Path, time::Duration};

use alloy::{
    eips::BlockId,
    primitives::{Address, B256, U256, uint},
    providers::{DynProvider, Provider},
};
use emr_chain::{endpoint::Endpoint, proof};
use emr_devnet::{EmbeddedChain, OpenError, StoreError};
use emr_testkit::{
    Outcome,
    again::{Again, job},
    chain::{Probe, account, config},
};

fn open(folder: &Path) -> Outcome<(EmbeddedChain, DynProvider)> {
    let chain = EmbeddedChain::open(folder, &config()?)?;
    let provider = Endpoint::in_process(chain.transport()).connect(Some(account(0)?))?;
    Ok((chain, provider))
}

/// The program of the child processes: sends transactions without end, and prints each acknowledgement. In an ordinary
/// run of the tests it does nothing.
#[tokio::test]
async fn writer() -> Outcome {
    let Some(folder) = job() else { return Ok(()) };
    let (_chain, provider) = open(Path::new(&folder))?;
    let nonce = provider.get_transaction_count(account(0)?.address()).await?;
    let probe = if nonce == 0 {
        Probe::deploy(provider.clone(), U256::ZERO).await?
    } else {
        Probe::new(account(0)?.address().create(0), provider.clone())
    };
    for key in 0..100_000u64 {
        let sent = probe.storeMany(U256::from(key * 20), uint!(20_U256)).gas(600_000).send().await;
        match sent {
            Ok(pending) => println!("acknowledged {}", pending.tx_hash()),
            Err(error) => {
                println!("refused {error}");
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Checks that all acknowledged transactions are in blocks, that the state is consistent, and that the chain accepts
/// new transactions.
async fn check(folder: &Path, acknowledged: &[B256]) -> Outcome {
    let (_chain, provider) = open(folder)?;
    let mut newest = 0;
    for hash in acknowledged {
        let receipt = provider.get_transaction_receipt(*hash).await?.ok_or("an acknowledged transaction is lost")?;
        assert!(receipt.status());
        newest = newest.max(receipt.block_number.unwrap_or_default());
    }
    let head = provider.get_block_number().await?;
    // There may be one more block, whose acknowledgement was cut off.
    assert!(head == newest || head == newest + 1 || acknowledged.is_empty(), "head {head}, acknowledged {newest}");
    assert_eq!(provider.get_transaction_count(account(0)?.address()).await?, head);
    let header = proof::fetch_header(&provider, BlockId::latest()).await?;
    let contract = account(0)?.address().create(0);
    proof::verified_storage(&provider, contract, U256::ZERO, &header).await?;
    Ok(())
}

#[tokio::test]
async fn survives_kill_at_any_time() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut acknowledged = Vec::new();
    // The number of acknowledgements before the kill, and a further pause in microseconds.
    for (count, pause) in [(0, 9_000), (1, 0), (7, 300), (20, 1_100), (3, 2_500), (11, 700)] {
        let mut writer = Again::new("crash::writer", folder.path()).start()?;
        for _ in 0..count {
            acknowledged.push(writer.next("acknowledged")?.parse()?);
        }
        std::thread::sleep(Duration::from_micros(pause));
        // The acknowledgements that it printed before it died.
        for hash in writer.kill("acknowledged")? {
            acknowledged.push(hash.parse()?);
        }
        check(folder.path(), &acknowledged).await?;
    }
    assert!(acknowledged.len() >= 42);
    Ok(())
}

/// The disk is full (here, files may not grow past 3 MiB). The transaction is refused with a reason, nothing is lost,
/// and the chain continues when there is space again.
#[tokio::test]
async fn survives_a_full_disk() -> Outcome {
    let folder = tempfile::tempdir()?;
    let output = Again::new("crash::writer", folder.path()).with_files_up_to(3072).output()?;
    let output = String::from_utf8_lossy(&output.stdout);
    let hashes: Vec<B256> = output
        .lines()
        .filter_map(|line| line.split_once("acknowledged "))
        .map(|(_, hash)| hash.parse())
        .collect::<Result<_, _>>()?;
    assert!(hashes.len() > 3, "{output}");
    let refusal = output.lines().find(|line| line.starts_with("refused ")).ok_or("it was never refused")?;
    assert!(refusal.contains("check space and permissions"), "{refusal}");
    check(folder.path(), &hashes).await?;
    let (_chain, provider) = open(folder.path())?;
    let probe = Probe::new(account(0)?.address().create(0), provider);
    assert!(probe.store(uint!(1_U256), uint!(1_U256)).send().await?.get_receipt().await?.status());
    Ok(())
}

#[tokio::test]
async fn reopens_as_it_was() -> Outcome {
    let folder = tempfile::tempdir()?;
    let chain = EmbeddedChain::open(folder.path(), &config()?)?;
    assert!(matches!(EmbeddedChain::open(folder.path(), &config()?), Err(OpenError::Store(StoreError::Busy))));
    let provider = Endpoint::in_process(chain.transport()).connect(Some(account(0)?))?;
    let probe = Probe::deploy(provider.clone(), U256::ZERO).await?;
    for key in 0..150u64 {
        // Sets, overwrites and clears slots.
        probe.store(U256::from(key % 40), U256::from(key % 7)).send().await?.get_receipt().await?;
    }
    chain.advance_clock(1000)?;
    let head = provider.get_block_number().await?;
    let mut before = Vec::new();
    for number in head - 127..=head {
        let header = proof::fetch_header(&provider, BlockId::number(number)).await?;
        before.push((header, proof::verified_storage(&provider, *probe.address(), U256::ONE, &header).await?));
    }
    let block = provider.get_block_by_number(77.into()).full().await?;
    let address = *probe.address();
    drop((chain, probe, provider));

    // Balances that are requested for an existing chain have no effect.
    let other = config()?.prefund(Address::repeat_byte(9), U256::ONE);
    let chain = EmbeddedChain::open(folder.path(), &other)?;
    let provider = Endpoint::in_process(chain.transport()).connect(Some(account(0)?))?;
    assert_eq!(provider.get_balance(Address::repeat_byte(9)).await?, U256::ZERO);
    assert_eq!(provider.get_block_number().await?, head);
    assert_eq!(provider.get_block_by_number(77.into()).full().await?, block);
    for (header, value) in before {
        assert_eq!(proof::fetch_header(&provider, BlockId::hash(header.hash())).await?, header);
        assert_eq!(proof::verified_storage(&provider, address, U256::ONE, &header).await?, value);
    }
    let gone = provider.get_balance(address).number(head - 128).await;
    assert!(gone.is_err_and(|error| error.to_string().contains("no longer kept")));
    let probe = Probe::new(address, provider.clone());
    let after = probe.store(uint!(1_U256), uint!(1_U256)).send().await?.get_receipt().await?;
    assert_eq!(after.block_number, Some(head + 1));
    assert_eq!(chain.advance_clock(0)?, 1000);
    drop((chain, probe, provider));

    let mut wrong = config()?;
    wrong.chain_id = 1;
    let refused = EmbeddedChain::open(folder.path(), &wrong);
    assert!(matches!(refused, Err(OpenError::ChainId { found: 31_337, wanted: 1 })));
    Ok(())
}

/// Opening a file with any damage gives an error, never a panic.
#[test]
fn refuses_a_damaged_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("chain.redb"), b"not a database")?;
    assert!(matches!(EmbeddedChain::open(folder.path(), &config()?), Err(OpenError::Store(StoreError::Disk(_)))));
    let file = folder.path().join("a file");
    fs::write(&file, b"")?;
    assert!(matches!(EmbeddedChain::open(&file, &config()?), Err(OpenError::Store(StoreError::Disk(_)))));
    Ok(())
}
