//! Who can log in.

use emr_api::{LoginChallenge, LoginChallengeRequest, LoginRequest, LoginToken, PatientView};
use emr_core::KemHash;

use crate::stage::*;

async fn refused(caller: &Caller, request: &LoginRequest) -> String {
    code(caller.post::<LoginToken>("v1/login", request).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_of_the_committed_key_logs_in_and_once_per_challenge() -> Outcome {
    let scene = World::populated().await?;
    let Scene { patient, doctor, accounts, .. } = &scene;

    let good = patient.sign_in().await?;
    let login_token: LoginToken = patient.post("v1/login", &good).await?;
    assert_ne!(login_token.token, [0; 32]);
    assert_eq!(refused(patient, &good).await, "unauthorized", "a challenge counts once");

    // Another person's key, signature, salt or account; a nonce that the node did not give out; one that it gave to
    // another account.
    let good = patient.sign_in().await?;
    let other = people().other.identity.committed_key();
    let key = LoginRequest { public_key: other.rsa, ..good.clone() };
    assert_eq!(refused(patient, &key).await, "unauthorized");
    let salt = LoginRequest { commitment_salt: Some([7; 32]), ..good.clone() };
    assert_eq!(refused(patient, &salt).await, "unauthorized");
    let no_salt = LoginRequest { commitment_salt: None, ..good.clone() };
    assert_eq!(refused(patient, &no_salt).await, "unauthorized");
    // A second key to which the account does not commit, though the RSA key signs.
    let kem = LoginRequest { kem_hash: KemHash::of(b"another"), ..good.clone() };
    assert_eq!(refused(patient, &kem).await, "unauthorized");
    let signature = LoginRequest { signature: patient.sign_in().await?.signature, ..good.clone() };
    assert_eq!(refused(patient, &signature).await, "unauthorized");
    let account = LoginRequest { account: accounts.other, ..good.clone() };
    assert_eq!(refused(patient, &account).await, "unauthorized");
    let invented = LoginChallenge { nonce: [5; 32], expires: good.expires };
    assert_eq!(refused(patient, &patient.answer(&invented, accounts.hospital)?).await, "unauthorized");
    let longer = LoginChallenge { nonce: good.nonce, expires: good.expires.saturating_add(3600) };
    assert_eq!(refused(patient, &patient.answer(&longer, accounts.hospital)?).await, "unauthorized");
    let for_doctor: LoginChallenge =
        patient.post("v1/login/challenge", &LoginChallengeRequest { account: accounts.doctor }).await?;
    assert_eq!(refused(patient, &patient.answer(&for_doctor, accounts.hospital)?).await, "unauthorized");
    // Signed for another hospital. So a node that forwards another node's challenge cannot log in.
    let challenge: LoginChallenge =
        patient.post("v1/login/challenge", &LoginChallengeRequest { account: accounts.patient }).await?;
    assert_eq!(refused(patient, &patient.answer(&challenge, accounts.doctor)?).await, "unauthorized");
    // Signed for another address, as by a client that was lured to a node that forwards everything.
    let lured = patient.answer_at(&challenge, accounts.hospital, "https://hostile.example")?;
    assert_eq!(refused(patient, &lured).await, "forbidden");
    let renamed = LoginRequest { origin: good.origin.clone(), ..lured };
    assert_eq!(refused(patient, &renamed).await, "unauthorized", "the signature covers the address");
    // A doctor's commitment has no salt.
    let doctors = LoginRequest { commitment_salt: Some([0; 32]), ..doctor.sign_in().await? };
    assert_eq!(refused(doctor, &doctors).await, "unauthorized");
    let doctors = LoginRequest { kem_hash: KemHash::of(b"another"), ..doctor.sign_in().await? };
    assert_eq!(refused(doctor, &doctors).await, "unauthorized");

    for (field, text) in [
        ("nonce", "zz".to_owned()),
        ("public_key", "!".to_owned()),
        ("public_key", "A".repeat(5000)),
        ("signature", "!".to_owned()),
        ("signature", "A".repeat(5000)),
        ("kem_hash", "0x1".to_owned()),
        ("commitment_salt", "1".to_owned()),
        ("origin", "127.0.0.1".to_owned()),
        ("origin", format!("https://{}.example", "a".repeat(5000))),
    ] {
        let broken = with_field(&good, field, text)?;
        let answer = patient.post::<LoginToken>("v1/login", &broken).await.expect_err("must be refused");
        assert!(answer.code == "malformed" && answer.message.contains(&format!("field `{field}`")), "{answer}");
    }
    let unknown = LoginRequest { account: 999.try_into()?, ..good.clone() };
    assert_eq!(refused(patient, &unknown).await, "not-found");
    // The unused challenge is still valid after all of that.
    patient.post::<LoginToken>("v1/login", &good).await?;
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_for_one_account_and_end() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, scene.accounts);
    patient.view(accounts.patient).await?;

    let with = |token: &str| Caller { token: Some(token.to_owned()), ..patient.clone() };
    let mine = patient.token.clone().unwrap_or_default();
    for token in ["", "abc", &mine[1..], &format!("{mine}00"), &hex::encode([0; 32])] {
        assert_eq!(code(with(token).view(accounts.patient).await), "unauthorized", "{token}");
    }
    let nobody = Caller { token: None, ..patient.clone() };
    let answer =
        nobody.get::<PatientView>(&format!("v1/patients/{}", accounts.patient)).await.expect_err("must be refused");
    assert_eq!(answer.status, 401);
    // Another account's token does not open the patient's data.
    assert_eq!(code(scene.other.view(accounts.patient).await), "forbidden");

    // Of many challenges, the oldest is forgotten.
    for _ in 0..16 {
        Caller::log_in(patient.url.clone(), patient.domain, patient.person, patient.account).await?;
    }
    assert_eq!(code(patient.view(accounts.patient).await), "unauthorized");

    // The token expires by L1's time, which is ahead of this machine's.
    let fresh = Caller::log_in(patient.url.clone(), patient.domain, patient.person, patient.account).await?;
    let unused = fresh.sign_in().await?;
    advance(&scene.world, 4000).await?;
    until(|| async { fresh.view(accounts.patient).await.is_err() }).await?;
    assert_eq!(code(fresh.view(accounts.patient).await), "unauthorized");
    assert_eq!(refused(&fresh, &unused).await, "unauthorized", "the challenge has expired");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hospital_that_is_not_registered_logs_nobody_in() -> Outcome {
    let world = World::new().await?;
    let patient = world.register(&people().patient, None).await?;
    let node = world.start().await?;
    let caller = Caller::anonymous(node.url().clone(), world.domain(), &people().patient, patient);
    let answer = caller.post::<LoginChallenge>("v1/login/challenge", &LoginChallengeRequest { account: patient }).await;
    assert_eq!(code(answer), "unavailable");
    node.shutdown().await;
    Ok(())
}
