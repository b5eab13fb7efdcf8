//! Lost requests, lost answers, and nodes that lie.

use emr_api::{NodeStatus, PatientView, Receipt};
use emr_client::{ClientError, Connections, client::Client, flow::submit::Fate, node::NodeError};
use emr_core::{Class, ClassMask, Rights};
use emr_node::Limits;
use emr_rollup::setup::{SetupChoice, SetupId};

use crate::{
    proxy::{Fault, Proxy},
    scene::*,
};

const OPERATIONS: &str = "POST /v1/operations ";

/// If a request or an answer is lost, repeating the command gives exactly one record.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_request_or_answer_loses_and_doubles_nothing() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let proxy = Proxy::new(scene.node.url())?;
    let card = handed_over(&patient);
    let mut number = 0;
    for lost in ["POST /v1/blocks", OPERATIONS] {
        for fault in [Fault::LoseRequest, Fault::LoseAnswer] {
            let text = format!("record {number}");
            let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
            let (line, what) = (lost.to_owned(), fault.clone());
            proxy.set(move |request, answer| {
                let now = answer.is_empty() == (what == Fault::LoseRequest);
                (request.starts_with(&line) && now).then(|| what.clone())
            });
            let failed = doctor.upload(&card, Class::Laboratory, &record(&text)).await;
            let unreachable = matches!(&failed, Err(ClientError::Node(NodeError::Unreachable { .. })));
            assert!(unreachable, "{failed:?}");
            drop(doctor);

            // A new process, and a node without faults.
            proxy.clear();
            let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
            if number % 2 == 0 {
                let fates: Vec<_> = doctor.resume().await?.into_iter().map(|resumed| resumed.fate).collect();
                assert_eq!(fates.iter().filter(|fate| **fate == Fate::Acknowledged).count(), 1, "{fates:?}");
            }
            let written = doctor.upload(&card, Class::Laboratory, &record(&text)).await?;
            assert_eq!(written.slot.get(), number);
            number += 1;
            assert_eq!(doctor.records(&card).await?.len() as u64, number);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_the_hospital_did_not_sign_is_refused() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let proxy = Proxy::new(scene.node.url())?;
    let card = handed_over(&patient);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    proxy.set(|request, answer| {
        if !request.starts_with(OPERATIONS) || answer.is_empty() {
            return None;
        }
        let mut receipt: Receipt = serde_json::from_str(answer).ok()?;
        receipt.settle_by = receipt.settle_by.saturating_add(1_000_000);
        Some(Fault::Answer(serde_json::to_string(&receipt).ok()?))
    });
    let refused = doctor.upload(&card, Class::Laboratory, &record("x")).await;
    assert!(matches!(refused, Err(ClientError::Receipt(_))), "{refused:?}");
    // The operation is kept until a valid receipt arrives.
    proxy.clear();
    let resumed = doctor.resume().await?;
    assert_eq!(resumed[0].fate, Fate::Acknowledged);
    Ok(())
}

/// A node that shows writers an older directory, its own directory, or no directory.
#[tokio::test(flavor = "multi_thread")]
async fn writers_do_not_seal_to_a_directory_that_the_node_chose() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let proxy = Proxy::new(scene.node.url())?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let old = patient.node().patient(patient.account()?).await?;
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Laboratory.into())).await?;
    patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    let view: PatientView = patient.node().patient(patient.account()?).await?;
    assert_eq!(view.directory_operations.len(), 3);

    let own = emr_crypto::PatientDirectory::create(&STRANGER.identity).published().cid();
    let lie = |change: &dyn Fn(&mut PatientView)| {
        let mut lied = view.clone();
        change(&mut lied);
        lied
    };
    let lies = [
        lie(&|view| view.directory = Some(own)),
        lie(&|view| view.directory = old.directory),
        lie(&|view| {
            view.directory = Some(own);
            view.directory_commitment = emr_rollup::operation::DirectoryCommitment::of(&own);
        }),
        lie(&|view| view.directory_operations.swap(0, 1)),
    ];
    let path = format!("GET /v1/patients/{} ", patient.account()?);
    for mut lied in lies {
        lied.grants = doctor.node().patient(patient.account()?).await?.grants;
        let (path, body) = (path.clone(), serde_json::to_string(&lied)?);
        proxy.set(move |request, answer| {
            (request.starts_with(&path) && !answer.is_empty()).then(|| Fault::Answer(body.clone()))
        });
        let refused = doctor.upload(&card, Class::Laboratory, &record("x")).await;
        assert!(matches!(refused, Err(ClientError::Directory(_))), "{refused:?}");
        proxy.clear();
    }
    doctor.upload(&card, Class::Laboratory, &record("x")).await?;
    Ok(())
}

/// The node hides a revocation, so that the next grant would give the old readers access again.
#[tokio::test(flavor = "multi_thread")]
async fn a_patient_does_not_build_on_a_replaced_directory() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(patient);
    let stranger = scene.registered(STRANGER).await?;
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let before = serde_json::to_string(&patient.node().patient(patient.account()?).await?)?;
    patient.revoke(doctor.account()?, ClassMask::ALL).await?;

    let path = format!("GET /v1/patients/{} ", patient.account()?);
    proxy.set(move |request, answer| {
        (request.starts_with(&path) && !answer.is_empty()).then(|| Fault::Answer(before.clone()))
    });
    let card = handed_over(&stranger);
    let terms = terms(Rights::READ, Class::Summary.into());
    let refused = patient.grant(&card, &terms).await;
    let withheld = matches!(&refused, Err(ClientError::Withheld));
    assert!(withheld, "{refused:?}");
    proxy.clear();
    patient.grant(&card, &terms).await?;
    Ok(())
}

/// A node that serves other bytes than were written.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_blocks_are_not_read() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Laboratory, &record("x")).await?;
    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    proxy.set(|request, answer| {
        (request.starts_with("GET /v1/blocks/") && !answer.is_empty()).then(|| Fault::Answer("other".to_owned()))
    });
    let refused = patient.retrieve(&card, written.slot, None).await;
    let wrong = matches!(&refused, Err(ClientError::Node(NodeError::WrongBlock(_))));
    assert!(wrong, "{refused:?}");
    Ok(())
}

/// A profile stays with its contract, and a login with its hospital.
#[tokio::test(flavor = "multi_thread")]
async fn another_deployment_or_hospital_is_noticed() -> TestResult {
    let scene = Scene::new().await?;
    let patient = scene.registered(PATIENT).await?;
    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    drop(scene.client_at(PATIENT, &proxy.address).await?);
    let contract = scene.contract.to_string();
    proxy.set(move |request, answer| {
        let lie = answer.replace(&contract, "0x0000000000000000000000000000000000000007");
        (request.starts_with("GET /v1/status") && !answer.is_empty()).then_some(Fault::Answer(lie))
    });
    let elsewhere = scene.client_at(PATIENT, &proxy.address).await.expect_err("another contract");
    assert!(elsewhere.to_string().contains("belongs to contract"), "{elsewhere}");
    // The account is not a hospital's on L1, so no login is signed for it.
    proxy.set(|request, answer| {
        let lie = answer.replace("\"hospital\":1", "\"hospital\":2");
        (request.starts_with("GET /v1/status") && !answer.is_empty()).then_some(Fault::Answer(lie))
    });
    let impostor = scene.client_at(PATIENT, &proxy.address).await.expect_err("no hospital");
    assert!(impostor.to_string().contains("is no hospital on L1"), "{impostor}");
    Ok(())
}

/// A node of a chain that is not for development. The participant must name this chain, and the node must not prove
/// with the development setup.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_chain_must_be_named_and_needs_a_ceremonys_setup() -> TestResult {
    let scene = Scene::new().await?;
    let proxy = Proxy::new(scene.node.url())?;
    let ceremony = format!("0x{}", "5e".repeat(32));
    for (setup, named, expected) in [
        ("insecure-development", None, "name the chain with --chain-id 11155111"),
        (&*ceremony, None, "name the chain with --chain-id 11155111"),
        (&*ceremony, Some(1), "chain is 11155111, not 1,"),
        ("insecure-development", Some(11_155_111), "proves with the development setup"),
        // The node can say what it wants: the address of the contract says which keys it has.
        (&*ceremony, Some(11_155_111), "proves with the development setup"),
    ] {
        let said = format!("\"setup\":\"{setup}\"");
        proxy.set(move |request, answer| {
            let lie = answer
                .replace("\"chain_id\":31337", "\"chain_id\":11155111")
                .replace("\"setup\":\"insecure-development\"", &said);
            (request.starts_with("GET /v1/status") && !answer.is_empty()).then_some(Fault::Answer(lie))
        });
        let (profile, identity) = scene.profile(PATIENT)?;
        let connections = Connections::over(&proxy.address, &scene.endpoint())?.on_chain(named);
        let refused = Client::join_through(profile, identity, &connections).await.expect_err("another chain");
        assert!(refused.to_string().contains(expected), "{setup}, {named:?}: {refused}");
        assert_eq!(refused.code(), "unsafe-chain", "{refused}");
    }
    // With other keys, of the rollup at another address, somebody must name it. Then the client goes on, and sees that its own Ethereum node is on
    // another chain.
    proxy.set(move |request, answer| {
        let mut status: NodeStatus = serde_json::from_str(answer).ok()?;
        status.deployment.sizes.iter_mut().for_each(|size| size.key.0.reverse());
        (status.chain_id, status.contract) = (11_155_111, status.deployment.contract()?);
        status.setup = SetupChoice::Imported(SetupId([0x5e; 32]));
        let lie = serde_json::to_string(&status).ok()?;
        request.starts_with("GET /v1/status").then_some(Fault::Answer(lie))
    });
    let (profile, identity) = scene.profile(PATIENT)?;
    let connections = Connections::over(&proxy.address, &scene.endpoint())?.on_chain(Some(11_155_111));
    let refused = Client::join_through(profile, identity, &connections).await.expect_err("an unnamed contract");
    let ClientError::UnnamedContract(contract) = refused else { return Err(refused.into()) };
    let (profile, identity) = scene.profile(PATIENT)?;
    let connections = connections.at_contract(Some(contract));
    let refused = Client::join_through(profile, identity, &connections).await.expect_err("another chain");
    assert_eq!(refused.code(), "other-chain", "{refused}");
    // A node that says that it is for a development chain, to someone who named a real one.
    proxy.set(|_, _| None);
    let (profile, identity) = scene.profile(PATIENT)?;
    let connections = Connections::over(&proxy.address, &scene.endpoint())?.on_chain(Some(11_155_111));
    let refused = Client::join_through(profile, identity, &connections).await.expect_err("a development chain");
    assert!(matches!(refused, ClientError::OtherChain { named: 11_155_111, found: 31337 }), "{refused}");
    Ok(())
}

/// Somebody at the patient's own address uses all requests that the address may send without a login. The patient
/// starts a new process and ends a grant.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_at_the_same_address_does_not_keep_a_patient_from_revoking() -> TestResult {
    let scene = Scene::limited(Limits { address_rate: 20.try_into()?, ..Limits::default() }).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let doctor = doctor.account()?;
    drop(patient);
    let asked = scene.node.url().join(&format!("v1/accounts/{doctor}"))?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let refused = |http: reqwest::Client, asked: reqwest::Url| async move {
        let answer = http.get(asked).send().await;
        answer.is_ok_and(|answer| answer.status() == reqwest::StatusCode::TOO_MANY_REQUESTS)
    };
    while !refused(http.clone(), asked.clone()).await {}
    let flood = tokio::spawn(async move {
        loop {
            refused(http.clone(), asked.clone()).await;
        }
    });
    let patient = scene.client(PATIENT).await?;
    patient.resume().await?;
    let revoked = patient.revoke(doctor, ClassMask::ALL).await?;
    assert_eq!(revoked.changed.len(), 1);
    flood.abort();
    Ok(())
}
