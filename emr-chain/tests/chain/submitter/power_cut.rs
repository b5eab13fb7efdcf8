//! The record on a disk that loses what was not synced.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use alloy::primitives::{B256, keccak256};
use emr_chain::{
    endpoint::Endpoint,
    submitter::{Submitter, SubmitterConfig},
};
use emr_durable::{
    Disk,
    crash::{ALL, Journal, Survivors, Sync, no_sync},
};
use emr_testkit::{Outcome, chain::account};
use tokio::runtime::Handle;

use super::{Stage, submit};

/// Each transaction that the Ethereum node got is in the record then, whenever the power is cut.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_on_record() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    let journal = Journal::new()?;
    // The hash of each transaction that reached the node, and how much was on disk then.
    let sent: Arc<Mutex<Vec<(usize, B256)>>> = Arc::default();
    {
        let (journal, sent) = (Arc::clone(&journal), Arc::clone(&sent));
        stage.proxy.tamper(move |request, answer| {
            if request["method"] == "eth_sendRawTransaction" {
                let raw =
                    request["params"][0].as_str().and_then(|raw| alloy::hex::decode(raw).ok()).unwrap_or_default();
                sent.lock().unwrap_or_else(PoisonError::into_inner).push((journal.steps(), keccak256(raw)));
            }
            Some(answer)
        });
    }
    let config = |root: &Path| {
        Ok::<_, Box<dyn std::error::Error + Send + std::marker::Sync>>(SubmitterConfig {
            record: root.join("transaction.json"),
            provider: Endpoint::connect(&stage.proxy.endpoint(), None)?,
            signer: account(1)?,
            ..stage.config()?
        })
    };
    let submitter = Submitter::open(journal.disk(), config(journal.root())?)?;
    for (operation, key) in [("first", 1), ("second", 2)] {
        journal.begin(operation);
        submit(&submitter, &stage.order(key)).await?;
    }
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(sent.len(), 2);

    tokio::task::block_in_place(|| -> Outcome {
        let check = |steps: usize, image: &Path| -> Outcome {
            let recorded = Handle::current().block_on(Submitter::open(Disk::default(), config(image)?)?.sent());
            let last = sent.iter().rev().find(|(on_disk, _)| *on_disk <= steps);
            match last {
                // The next one may be recorded before it is sent.
                Some((_, hash)) if !recorded.contains(hash) && !recorded.contains(&sent[1].1) => {
                    Err(format!("{hash} was sent, and {recorded:?} are on record").into())
                }
                _ => Ok(()),
            }
        };
        journal.check(&ALL, no_sync, check)?;
        let lost = [Survivors::Nothing, Survivors::Some(1), Survivors::Some(2)];
        let needed = |sync: &Sync| journal.check(&lost, |it| it == sync, check).is_err();
        let unneeded: Vec<_> = journal.syncs().iter().filter(|sync| !needed(sync)).map(Sync::to_string).collect();
        assert_eq!(unneeded, [""; 0]);
        Ok(())
    })
}
