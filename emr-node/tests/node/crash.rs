//! kill -9 at any point. Everything that was acknowledged is there afterwards.

use std::{io::Write, path::Path};

use emr_api::{NodeStatus, OperationStatus, RecordSummary};
use emr_chain::{DeploymentRecord, Rollup, endpoint::Endpoint};
use emr_core::Class;
use emr_devnet::EmbeddedChain;
use emr_node::Node;
use emr_rollup::operation::Domain;
use emr_testkit::again::{Again, job};

use crate::stage::*;

/// Not a separate test: it runs in a child process. A node with its chain, and a patient who writes record after record
/// until the process is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_until_it_is_killed() -> Outcome {
    let Some(folder) = job() else { return Ok(()) };
    let folder = Path::new(&folder);
    let (node, patient) = resume(folder).await?;
    let first: Vec<RecordSummary> = patient.get(&format!("v1/patients/{}/records", patient.account)).await?;
    let mut slot = first.len() as u64;
    println!("ready {}", node.url());
    loop {
        let record = patient.upload(&[&slot.to_be_bytes()]).await?;
        let submission = patient.put_record(patient.account, slot, Class::Summary, &record);
        let receipt = patient.submit(&submission).await?;
        println!("acknowledged {slot} {} {record}", receipt.operation);
        std::io::stdout().flush()?;
        slot += 1;
    }
}

/// The node of a folder, and its patient.
async fn resume(folder: &Path) -> Outcome<(emr_node::RunningNode, Caller)> {
    let chain = EmbeddedChain::open(&folder.join("chain"), &prefunded())?;
    let endpoint = Endpoint::in_process(chain.transport());
    let provider = endpoint.connect(Some(people().hospital.ethereum.clone()))?;
    let deployed: (DeploymentRecord, u64) = serde_json::from_slice(&std::fs::read(folder.join("deployed.json"))?)?;
    let (record, deployed_at) = deployed;
    let rollup = Rollup::attach(provider, record.contract().ok_or("a contract")?, deployed_at).await?;
    let instance = *rollup.instance();
    let node = Node::start(config(endpoint, &rollup, &record, folder)?).await?;
    let domain = Domain::new(instance.chain_id, instance.contract.into_array());
    let account = rollup.account_of(people().patient.address()).await?.ok_or("the patient is registered")?;
    let patient = Caller::log_in(node.url().clone(), domain, &people().patient, account).await?;
    Ok((node, patient))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() -> Outcome {
    let world = World::new().await?;
    world.register(&people().hospital, None).await?;
    world.register(&people().patient, None).await?;
    let folder = world.folder.clone();
    let deployed = (&world.record, world.rollup.deployed_at());
    std::fs::write(folder.path().join("deployed.json"), serde_json::to_vec(&deployed)?)?;
    drop(world);

    let mut acknowledged: Vec<(u64, String, String)> = Vec::new();
    for round in 0..4 {
        let path = folder.path().to_owned();
        let lines = tokio::task::spawn_blocking(move || -> Outcome<Vec<String>> {
            let mut child = Again::new("crash::a_node_until_it_is_killed", &path).start()?;
            let mut seen = Vec::new();
            // Kills it after some acknowledgements, while it does something else.
            while seen.len() < 3 + 2 * round {
                seen.push(child.next("acknowledged")?);
            }
            std::thread::sleep(std::time::Duration::from_millis(u64::from(rand::random::<u8>()) / 8));
            seen.extend(child.kill("acknowledged")?);
            Ok(seen)
        });
        for line in lines.await?? {
            let words: Vec<_> = line.split(' ').collect();
            if let [slot, id, cid] = words[..] {
                acknowledged.push((slot.parse()?, id.to_owned(), cid.to_owned()));
            }
        }
        // The next start finds everything: operations, state, blocks, and who may read them.
        let (node, patient) = resume(folder.path()).await?;
        let records: Vec<RecordSummary> = patient.get(&format!("v1/patients/{}/records", patient.account)).await?;
        assert!(records.len() >= acknowledged.len());
        for (slot, id, cid) in &acknowledged {
            let status: OperationStatus = patient.get(&format!("v1/operations/{id}")).await?;
            assert_eq!(status, OperationStatus::Pending, "round {round}");
            let record = records.iter().find(|record| record.slot.get() == *slot).ok_or("a record is lost")?;
            assert_eq!(record.stored.manifest.to_string(), *cid);
            let block = patient.block(&record.stored.manifest).await?;
            assert_eq!(emr_core::cid::cid_of(emr_core::Codec::DagCbor, &block), record.stored.manifest);
        }
        let status: NodeStatus = patient.get("v1/status").await?;
        assert!(status.pending >= acknowledged.len() as u64);
        node.shutdown().await;
    }
    assert!(acknowledged.len() >= 18);
    Ok(())
}
