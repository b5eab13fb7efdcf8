//! Credentials of provers on other machines: what they allow, and for how long.

use alloy::providers::Provider;
use emr_api::{NewProver, ProofJob, ProverView, prover::ProverCredential, route};
use emr_core::{Class, Rights};
use reqwest::Method;

use crate::stage::*;

/// Adds a prover as the hospital. Returns the prover as a caller.
async fn add(hospital: &Caller, name: &str) -> Answer<Caller> {
    let credential = ProverCredential::generate();
    let new = NewProver { name: name.to_owned(), digest: credential.digest() };
    let view: ProverView = hospital.post("v1/provers", &new).await?;
    assert_eq!(view.name, name);
    Ok(Caller { token: Some(credential.expose().to_owned()), ..hospital.clone() })
}

async fn names(hospital: &Caller) -> Answer<Vec<String>> {
    let provers: Vec<ProverView> = hospital.get("v1/provers").await?;
    Ok(provers.into_iter().map(|prover| prover.name).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_good_for_jobs_and_proofs_and_nothing_else() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, scene.accounts);
    let block = patient.publish_directory().await?.0;
    let prover = add(&scene.hospital, "rack-7").await?;
    assert_eq!(prover.get::<Option<ProofJob>>("v1/prover/job").await?, None);
    assert_eq!(code(prover.post_bytes("v1/prover/jobs/1", vec![1]).await), "not-found");

    // Every other route refuses the prover, with every method that it has, unless it answers anybody.
    let public = [
        route::STATUS,
        route::ACCOUNTS,
        route::ACCOUNT,
        route::CHALLENGE,
        route::LOGIN,
        route::BATCH,
        route::SHL,
        route::SHL_FILE,
    ];
    for path in
        route::ALL.iter().filter(|path| !public.contains(path) && ![route::PROOF_JOB, route::PROOF].contains(path))
    {
        let filled = [
            ("{cid}", block.to_string()),
            ("{id}", "0".repeat(64)),
            ("{patient}", accounts.patient.to_string()),
            ("{account}", accounts.patient.to_string()),
            ("{slot}", "0".to_owned()),
            ("{name}", "rack-7".to_owned()),
            ("{number}", "1".to_owned()),
            ("{address}", people().hospital.address().to_string()),
        ];
        let filled = filled.iter().fold((*path).to_owned(), |path, (name, value)| path.replace(name, value));
        assert!(!filled.contains('{'), "{filled}");
        let mut refused = 0;
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let url = format!("{}?codec=raw", prover.join(&filled));
            let answer = prover.send(prover.http.request(method.clone(), url).body("{}")).await;
            match answer.err().map(|refusal| (refusal.status, refusal.code)) {
                Some((403, code)) if code == "forbidden" => refused += 1,
                Some((405, _)) => {}
                other => panic!("{method} {filled}: {other:?}"),
            }
        }
        assert!(refused > 0, "{filled}");
    }

    // A credential with a small change, and one that nobody made.
    let token = prover.token.clone().unwrap_or_default();
    let last = if token.ends_with('0') { "1" } else { "0" };
    for wrong in [format!("{}{last}", &token[..token.len() - 1]), ProverCredential::generate().expose().to_owned()] {
        let wrong = Caller { token: Some(wrong), ..prover.clone() };
        assert_eq!(code(wrong.get::<Option<ProofJob>>("v1/prover/job").await), "forbidden");
    }
    // Nobody else can fetch jobs, or decide who may.
    for caller in [&scene.doctor, patient] {
        assert_eq!(code(caller.get::<Option<ProofJob>>("v1/prover/job").await), "forbidden");
        assert_eq!(code(add(caller, "mine").await.map(|_| ())), "forbidden");
        assert_eq!(code(names(caller).await), "forbidden");
        assert_eq!(code(caller.delete("v1/provers/rack-7").await), "forbidden");
    }
    // The node's disk holds nothing that logs a prover in.
    let folder = scene.world.node_folder();
    scene.node.shutdown().await;
    for file in std::fs::read_dir(folder)? {
        let bytes = std::fs::read(file?.path())?;
        assert!(!bytes.windows(32).any(|part| part == &token.as_bytes()[token.len() - 32..]));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_prover_is_refused_at_once_and_after_a_restart() -> Outcome {
    let scene = World::populated().await?;
    let (kept, removed) = (add(&scene.hospital, "kept").await?, add(&scene.hospital, "removed").await?);
    assert_eq!(code(add(&scene.hospital, "kept").await.map(|_| ())), "refused");
    for name in ["", "../x", "a b", &"a".repeat(41)] {
        assert_eq!(code(add(&scene.hospital, name).await.map(|_| ())), "malformed", "{name}");
    }
    assert_eq!(names(&scene.hospital).await?, ["kept", "removed"]);
    scene.hospital.delete("v1/provers/removed").await?;
    assert_eq!(code(removed.get::<Option<ProofJob>>("v1/prover/job").await), "forbidden");
    assert_eq!(code(scene.hospital.delete("v1/provers/removed").await), "not-found");
    assert_eq!(kept.get::<Option<ProofJob>>("v1/prover/job").await?, None);

    let scene = scene.restart().await?;
    let now = |caller: &Caller| Caller { url: scene.node.url().clone(), ..caller.clone() };
    assert_eq!(now(&kept).get::<Option<ProofJob>>("v1/prover/job").await?, None);
    assert_eq!(code(now(&removed).get::<Option<ProofJob>>("v1/prover/job").await), "forbidden");
    // The name is free again. The old credential stays invalid.
    let again = add(&scene.hospital, "removed").await?;
    assert_eq!(again.get::<Option<ProofJob>>("v1/prover/job").await?, None);
    assert_eq!(code(now(&removed).get::<Option<ProofJob>>("v1/prover/job").await), "forbidden");

    for number in 2..64 {
        add(&scene.hospital, &format!("prover-{number}")).await?;
    }
    assert_eq!(code(add(&scene.hospital, "one-more").await.map(|_| ())), "refused");
    scene.node.shutdown().await;
    Ok(())
}

/// A hostile prover submits junk as fast as it can. Most of it is not even verified, and none of it reaches L1. Another
/// prover is still served.
#[tokio::test(flavor = "multi_thread")]
async fn junk_proofs_are_bounded_and_cost_no_gas() -> Outcome {
    let scene = World::populated().await?;
    let (hostile, honest) = (add(&scene.hospital, "hostile").await?, add(&scene.hospital, "honest").await?);
    scene.patient.grant(FIRST, scene.accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;
    scene.hospital.post::<emr_api::BatchView>("v1/batches/seal", &()).await?;
    until(|| async { matches!(honest.get::<Option<ProofJob>>("v1/prover/job").await, Ok(Some(_))) }).await?;
    let sender = people().hospital.address();
    let sent = scene.world.rollup.provider().get_transaction_count(sender).await?;

    let mut verified = 0;
    for number in 0..200_u32 {
        let junk = number.to_be_bytes().repeat(648);
        match code(hostile.post_bytes("v1/prover/jobs/1", junk).await).as_str() {
            "refused" => verified += 1,
            "too-many" => {}
            other => return Err(other.to_owned().into()),
        }
    }
    assert!((1..=10).contains(&verified), "{verified}");
    assert_eq!(code(honest.post_bytes("v1/prover/jobs/1", vec![7; 2592]).await), "refused");
    assert!(honest.get::<Option<ProofJob>>("v1/prover/job").await?.is_some(), "the job stays");
    assert_eq!(scene.world.rollup.provider().get_transaction_count(sender).await?, sent);
    scene.node.shutdown().await;
    Ok(())
}
