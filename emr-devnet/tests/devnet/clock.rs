//! A chain whose clock begins behind the machine's.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy::{eips::BlockId, providers::Provider};
use emr_chain::endpoint::Endpoint;
use emr_devnet::{ChainConfig, EmbeddedChain};
use emr_testkit::{Outcome, chain::config};

const DAY: u64 = 24 * 3600;

#[tokio::test]
async fn a_chain_that_begins_in_the_past_is_moved_to_the_present() -> Outcome {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map(|elapsed| elapsed.as_secs());
    let chain = EmbeddedChain::temporary(&ChainConfig { clock_behind: 2 * DAY, ..config()? })?;
    let provider = Endpoint::in_process(chain.transport()).connect(None)?;
    let newest = async || -> Outcome<u64> {
        Ok(provider.get_block(BlockId::latest()).await?.ok_or("the newest block")?.header.timestamp)
    };
    let behind = |time: u64, seconds: u64| Outcome::Ok((time + seconds).abs_diff(now()?) < 60);
    assert!(behind(newest().await?, 2 * DAY)?, "the first block");
    for left in [DAY, 0] {
        chain.advance_clock(DAY)?;
        let _: serde_json::Value = provider.raw_request("evm_mine".into(), ()).await?;
        assert!(behind(newest().await?, left)?, "{left}");
    }
    Ok(())
}
