//! The disk of a running node is full for a while.

use emr_api::{BatchView, NodeStatus, OperationStatus};
use std::process::Command;

use emr_core::Class;
use emr_testkit::again::{Again, job};

use crate::stage::*;

/// Limits the size of every file that this process writes, in bytes.
fn limit_files(to: &str) -> Outcome {
    let process = std::process::id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={to}:unlimited")]).status()?;
    if limited.success() { Ok(()) } else { Err("prlimit".into()) }
}

/// Not a separate test: it runs in a child process. A node whose disk accepts no writes for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_limited_files() -> Outcome {
    if job().is_none() {
        return Ok(());
    }
    let scene = World::populated().await?;
    let (patient, account) = (&scene.patient, scene.accounts.patient);
    let record = patient.upload(&[b"content"]).await?;
    let put = |slot| patient.put_record(account, slot, Class::Summary, &record);
    let (first, second) = (put(0), put(1));
    let promised = patient.submit(&first).await?;

    limit_files("4096")?;
    for _ in 0..3 {
        let refused = patient.submit(&second).await.expect_err("must be refused");
        assert_eq!((refused.status, refused.code.as_str()), (503, "unavailable"));
    }
    assert_eq!(code(scene.hospital.post::<BatchView>("v1/batches/seal", &()).await), "unavailable");
    // The node still serves what it has in memory.
    assert_eq!(patient.get::<NodeStatus>("v1/status").await?.pending, 1);

    limit_files("unlimited")?;
    until(|| async { patient.submit(&second).await.is_ok() }).await?;
    assert_eq!(patient.submit(&first).await?, promised);
    let sealed: BatchView = scene.hospital.post("v1/batches/seal", &()).await?;
    assert_eq!(sealed.public.n, 2);
    let scene = scene.restart().await?;
    for operation in [first, second] {
        let path = format!("v1/operations/{}", operation.signed.id(scene.world.domain()));
        let status: OperationStatus = scene.patient.get(&path).await?;
        assert_eq!(status, OperationStatus::Sealed { batch: 1 });
    }
    scene.node.shutdown().await;
    println!("recovered");
    Ok(())
}

#[test]
fn a_node_goes_on_when_there_is_space_again() -> Outcome {
    // A limit on the size of files stands in for a full disk. The child sets it itself.
    let output = Again::new("full_disk::a_node_with_limited_files", "limited").surviving_full_disks().output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("recovered"), "{said} {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
