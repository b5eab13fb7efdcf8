//! kill -9 at any point: whatever was acknowledged is there afterwards.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use emr_api::{NodeStatus, OperationStatus, RecordSummary};
use emr_chain::{Rollup, endpoint::Endpoint};
use emr_core::Class;
use emr_devnet::EmbeddedChain;
use emr_node::Node;
use emr_rollup::operation::Domain;

use crate::stage::*;

/// Set for the process that is to be killed: its folder.
const FOLDER: &str = "EMR_NODE_CRASH_FOLDER";

/// Not a test of its own: a node with its chain, and a patient who writes record after record, until killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_until_it_is_killed() -> Outcome {
    let Some(folder) = env::var_os(FOLDER) else { return Ok(()) };
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
    let deployed: (String, u64) = serde_json::from_slice(&std::fs::read(folder.join("deployed.json"))?)?;
    let rollup = Rollup::attach(provider, deployed.0.parse()?, deployed.1).await?;
    let instance = *rollup.instance();
    let node = Node::start(config(endpoint, &rollup, folder)?).await?;
    let domain = Domain::new(instance.chain_id, instance.contract.into_array());
    let account = rollup.account_of(people().patient.address()).await?.ok_or("the patient is registered")?;
    let patient = Caller::log_in(node.url().clone(), domain, &people().patient, account).await?;
    Ok((node, patient))
}

fn spawn(folder: &Path) -> Outcome<(Child, impl Iterator<Item = String>)> {
    let mut child = Command::new(env::current_exe()?)
        .args(["--exact", "crash::a_node_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(child.stdout.take().ok_or("no output")?);
    Ok((child, output.lines().map_while(Result::ok)))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() -> Outcome {
    let world = World::new().await?;
    world.register(&people().hospital, None).await?;
    world.register(&people().patient, None).await?;
    let instance = *world.rollup.instance();
    let folder = world.folder.clone();
    let deployed = (instance.contract.to_string(), world.rollup.deployed_at());
    std::fs::write(folder.path().join("deployed.json"), serde_json::to_vec(&deployed)?)?;
    drop(world);

    let mut acknowledged: Vec<(u64, String, String)> = Vec::new();
    for round in 0..4 {
        let path = folder.path().to_owned();
        let lines = tokio::task::spawn_blocking(move || -> Outcome<Vec<String>> {
            let (mut child, mut lines) = spawn(&path)?;
            let mut seen = Vec::new();
            // Killed after some acknowledgements, in the middle of whatever comes next.
            while seen.len() < 3 + 2 * round {
                let line = lines.next().ok_or("the child ended by itself")?;
                if line.contains("acknowledged ") {
                    seen.push(line);
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(u64::from(rand::random::<u8>()) / 8));
            child.kill()?;
            child.wait()?;
            seen.extend(lines.filter(|line| line.contains("acknowledged ")));
            Ok(seen)
        });
        for line in lines.await?? {
            let words: Vec<_> = line.split(' ').skip_while(|word| !word.ends_with("acknowledged")).skip(1).collect();
            if let [slot, id, cid] = words[..] {
                acknowledged.push((slot.parse()?, id.to_owned(), cid.to_owned()));
            }
        }
        // The next start has all of it: operations, state, blocks, who may read them.
        let (node, patient) = resume(folder.path()).await?;
        let records: Vec<RecordSummary> = patient.get(&format!("v1/patients/{}/records", patient.account)).await?;
        assert!(records.len() >= acknowledged.len());
        for (slot, id, cid) in &acknowledged {
            let status: OperationStatus = patient.get(&format!("v1/operations/{id}")).await?;
            assert_eq!(status, OperationStatus::Pending, "round {round}");
            let record = records.iter().find(|record| record.slot.get() == *slot).ok_or("a record is lost")?;
            assert_eq!(record.stored.manifest, *cid);
            let block = patient.block(&cid.parse()?).await?;
            assert_eq!(emr_core::cid::cid_of(emr_core::Codec::DagCbor, &block).to_string(), *cid);
        }
        let status: NodeStatus = patient.get("v1/status").await?;
        assert!(status.pending >= acknowledged.len() as u64);
        node.shutdown().await;
    }
    assert!(acknowledged.len() >= 18);
    Ok(())
}
