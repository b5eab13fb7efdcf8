//! Strangers send as many requests as they can, while a patient ends a grant. Each flood comes from 127.0.0.1. The
//! patient comes from 127.0.0.2.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use emr_api::{AccountView, NodeStatus, OperationStatus};
use emr_core::{Class, Rights, UnixTime};
use emr_node::{Limits, Node, NodeConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{registration::relay, stage::*};

/// Within this time a patient must log in, read their view, upload a key directory, and get the receipt for a Revoke.
const IN_TIME: Duration = Duration::from_secs(20);

/// Runs one round. With `EMR_SOAK_MINUTES` (`cargo xtask soak http`) it runs rounds for that time.
async fn rounds<F: Future<Output = Outcome>>(round: impl Fn() -> F) -> Outcome {
    let minutes = std::env::var("EMR_SOAK_MINUTES").ok().and_then(|minutes| minutes.parse::<u64>().ok()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    loop {
        round().await?;
        if Instant::now() >= until {
            return Ok(());
        }
    }
}

async fn grants(scene: &Scene, numbers: std::ops::Range<u64>) -> Outcome {
    for number in numbers {
        scene.patient.grant(slot(number), scene.accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;
    }
    Ok(())
}

/// A patient without a connection logs in and ends a grant.
async fn revokes_in_time(scene: &Scene, number: u64) -> Outcome<Duration> {
    let began = Instant::now();
    let patient = scene.patient.at([127, 0, 0, 2]);
    let revoked = tokio::time::timeout(IN_TIME, async {
        let login = patient.sign_in().await?;
        let login_token: emr_api::LoginToken = patient.post("v1/login", &login).await?;
        let patient = Caller { token: Some(hex::encode(login_token.token)), ..patient.clone() };
        patient.revoke(slot(number)).await
    });
    let revoked = revoked.await.map_err(|_| "no receipt in time")??;
    let took = began.elapsed();
    let id = revoked.signed.id(scene.world.domain());
    let status: OperationStatus = scene.patient.at([127, 0, 0, 2]).get(&format!("v1/operations/{id}")).await?;
    assert_eq!(status, OperationStatus::Pending);
    Ok(took)
}

fn port(scene: &Scene) -> Outcome<u16> {
    Ok(scene.node.url().port().ok_or("a port")?)
}

/// One address opens connections as fast as it can. It sends nothing on them, or one byte at a time.
#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_address_keep_nobody_out() -> Outcome {
    rounds(connections).await
}

async fn connections() -> Outcome {
    let scene = World::populated().await?;
    grants(&scene, 64..66).await?;
    let port = port(&scene)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut flood = JoinSet::new();
    // Twice as many as the node serves. Each is opened again as soon as it is closed.
    for number in 0..1024 {
        let stop = Arc::clone(&stop);
        flood.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                if number % 2 == 0 {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                } else {
                    while !stop.load(Ordering::SeqCst) && stream.write_all(b"G").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for number in 64..66 {
        let took = revokes_in_time(&scene, number).await?;
        eprintln!("a Revoke among connections of one address: {took:?}");
    }
    stop.store(true, Ordering::SeqCst);
    flood.abort_all();
    scene.node.shutdown().await;
    Ok(())
}

/// Every connection of one address sends a request whose body never ends.
#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_keep_nobody_out() -> Outcome {
    rounds(slow_bodies).await
}

async fn slow_bodies() -> Outcome {
    let scene = World::populated().await?;
    grants(&scene, 64..65).await?;
    let port = port(&scene)?;
    let token = scene.doctor.token.clone().ok_or("a token")?;
    let mut slow = Vec::new();
    for number in 0..600 {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
        let (path, login) = match number % 3 {
            0 => ("v1/revokes", format!("authorization: Bearer {token}\r\n")),
            1 => ("v1/operations", format!("authorization: Bearer {token}\r\n")),
            _ => ("v1/accounts", String::new()),
        };
        let head = format!(
            "POST /{path} HTTP/1.1\r\nhost: x\r\n{login}content-type: application/json\r\ncontent-length: 60000\r\n\r\n{{"
        );
        if stream.write_all(head.as_bytes()).await.is_ok() {
            slow.push(stream);
        }
    }
    let took = revokes_in_time(&scene, 64).await?;
    eprintln!("a Revoke among {} slow bodies: {took:?}", slow.len());
    scene.node.shutdown().await;
    drop(slow);
    Ok(())
}

/// One account submits the same operation again and again, and many others. Requests above its share are told when to
/// try again.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_submissions_of_one_account_keep_nobody_out() -> Outcome {
    rounds(submissions).await
}

async fn submissions() -> Outcome {
    let scene = World::populated().await?;
    grants(&scene, 64..65).await?;
    let other = &scene.other;
    let record = other.upload(&[b"a record"]).await?;
    let puts: Vec<_> =
        (0..50).map(|slot| Arc::new(other.put_record(scene.accounts.other, slot, Class::Summary, &record))).collect();
    let mut flood = JoinSet::new();
    for number in 0..1500 {
        let (other, put) = (other.clone(), Arc::clone(&puts[if number % 2 == 0 { 0 } else { number % 50 }]));
        flood.spawn(async move { other.submit(&put).await.map(drop).map_err(|refused| refused.code) });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let took = revokes_in_time(&scene, 64).await?;
    eprintln!("a Revoke among 1500 submissions of one account: {took:?}");
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(answer) = flood.join_next().await {
        *answers.entry(answer?.err().unwrap_or_else(|| "receipt".to_owned())).or_default() += 1;
    }
    eprintln!("{answers:?}");
    assert!(answers.get("too-many").is_some_and(|refused| *refused > 100), "{answers:?}");
    let known = ["receipt", "too-many", "unavailable", "unreachable"];
    assert!(answers.keys().all(|code| known.contains(&code.as_str())), "{answers:?}");
    scene.node.shutdown().await;
    Ok(())
}

/// Strangers at many addresses ask the hospital to pay for registrations, all at once, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_registrations_keeps_nobody_out() -> Outcome {
    rounds(registrations).await
}

async fn registrations() -> Outcome {
    let scene = World::populated().await?;
    grants(&scene, 64..65).await?;
    let later = UnixTime::now().saturating_add(600);
    let stranger = Caller { token: None, ..scene.stranger.clone() };
    let mut flood = JoinSet::new();
    for number in 0x10_u8..0x70 {
        let owner =
            Person { ethereum: PrivateKeySigner::from_bytes(&B256::repeat_byte(number))?, ..people().patient.clone() };
        let registration = relay(&scene.world, &owner, later)?;
        let at = stranger.at([127, 0, 0, 10 + number % 12]);
        flood.spawn(async move {
            let mut refused = BTreeMap::new();
            for _ in 0..3 {
                if let Err(error) = at.post::<emr_api::Registered>("v1/accounts", &registration).await {
                    *refused.entry(error.code).or_insert(0_usize) += 1;
                }
            }
            refused
        });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let took = revokes_in_time(&scene, 64).await?;
    eprintln!("a Revoke among registrations from 12 addresses: {took:?}");
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(of_one) = flood.join_next().await {
        of_one?.into_iter().for_each(|(code, count)| *refused.entry(code).or_default() += count);
    }
    eprintln!("{refused:?}");
    // Either the limit of an address refuses, or the limit for all. The timing decides.
    let turned_away = ["too-many", "unavailable"].iter().filter_map(|code| refused.get(*code)).sum::<usize>();
    assert!(turned_away > 20, "{refused:?}");
    assert!(
        refused.keys().all(|code| ["too-many", "unavailable", "refused", "missing-block"].contains(&code.as_str())),
        "{refused:?}"
    );
    scene.node.shutdown().await;
    Ok(())
}

/// An address that sends requests without a login as fast as it can is told when to try again. Then its request is
/// served.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_rate_and_is_told_when_to_come_back() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let limits = Limits { address_rate: 2.try_into()?, ..Limits::default() };
    let node = Node::start(NodeConfig { limits, ..world.config()? }).await?;
    let anonymous = Caller::anonymous(node.url().clone(), world.domain(), &people().patient, accounts.patient);
    let flood = || async {
        let mut answered = 0;
        loop {
            let answer = anonymous.http.get(anonymous.url.join("v1/status")?).send().await?;
            if answer.status() != 429 {
                answered += 1;
                continue;
            }
            let wait: u64 = answer.headers()["retry-after"].to_str()?.parse()?;
            let problem: emr_api::Problem = serde_json::from_slice(&answer.bytes().await?)?;
            assert_eq!(problem.code, "too-many");
            return Outcome::Ok((answered, wait));
        }
    };
    let (answered, wait) = flood().await?;
    assert!((20..30).contains(&answered), "{answered}");
    assert_eq!(wait, 1);
    // Another address is not limited. This one is served again after a while.
    anonymous.at([127, 0, 0, 2]).get::<NodeStatus>("v1/status").await?;
    tokio::time::sleep(Duration::from_secs(wait)).await;
    anonymous.get::<NodeStatus>("v1/status").await?;

    // No proxy is in front of this node, so a client cannot claim another address by a header.
    let spoofed = |number: u8| {
        let request = anonymous.http.get(anonymous.url.join("v1/status").expect("a path"));
        request.header("x-forwarded-for", format!("192.0.2.{number}")).send()
    };
    let mut refused = 0;
    for number in 0..20 {
        refused += usize::from(spoofed(number).await?.status() == 429);
    }
    assert!(refused > 10, "{refused}");
    node.shutdown().await;

    // Behind a proxy, only the last hop counts.
    let limits = Limits { behind_proxy: true, ..limits };
    let node = Node::start(NodeConfig { limits, ..world.config()? }).await?;
    let anonymous = Caller { url: node.url().clone(), ..anonymous.clone() };
    let hops = |text: String| {
        let request = anonymous.http.get(anonymous.url.join("v1/status").expect("a path"));
        request.header("x-forwarded-for", text).send()
    };
    let mut refused = 0;
    for number in 0..40 {
        refused += usize::from(hops(format!("192.0.2.{number}, 198.51.100.1")).await?.status() == 429);
        assert_eq!(hops(format!("198.51.100.1, 192.0.2.{number}")).await?.status(), 200);
    }
    assert!(refused > 10, "{refused}");
    node.shutdown().await;
    Ok(())
}

/// Somebody at the patient's own address uses all that the address may use, requests at work included. The patient
/// still logs in and ends a grant.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_at_the_same_address_does_not_keep_a_patient_from_revoking() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let limits = Limits { address_rate: 2.try_into()?, ..Limits::default() };
    let node = Node::start(NodeConfig { limits, ..world.config()? }).await?;
    let patient = Caller::log_in(node.url().clone(), world.domain(), &people().patient, accounts.patient).await?;
    patient.grant(slot(64), accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;

    let anonymous = Caller { token: None, ..patient.clone() };
    let mut at_work = Vec::new();
    for _ in 0..64 {
        let mut slow = TcpStream::connect(("127.0.0.1", node.url().port().ok_or("a port")?)).await?;
        slow.write_all(
            b"POST /v1/accounts HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{",
        )
        .await?;
        at_work.push(slow);
    }
    let asked = format!("v1/accounts/{}", accounts.doctor);
    while anonymous.get::<AccountView>(&asked).await.is_ok() {}
    let flood = tokio::spawn({
        let anonymous = anonymous.clone();
        async move {
            loop {
                let _ = anonymous.get::<AccountView>(&asked).await;
            }
        }
    });
    let login = anonymous.sign_in().await?;
    let login_token: emr_api::LoginToken = anonymous.post("v1/login", &login).await?;
    let patient = Caller { token: Some(hex::encode(login_token.token)), ..anonymous.clone() };
    patient.revoke(slot(64)).await?;
    flood.abort();
    node.shutdown().await;
    Ok(())
}

/// The route for Revokes takes nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn only_revokes_use_the_room_for_revokes() -> Outcome {
    let scene = World::populated().await?;
    let record = scene.patient.upload(&[b"a record"]).await?;
    let put = scene.patient.put_record(scene.accounts.patient, 0, Class::Summary, &record);
    assert_eq!(code(scene.patient.post::<emr_api::Receipt>("v1/revokes", &put).await), "refused");
    let nobody = Caller { token: None, ..scene.patient.clone() };
    assert_eq!(code(nobody.post::<emr_api::Receipt>("v1/revokes", &put).await), "unauthorized");
    scene.node.shutdown().await;
    Ok(())
}
