//! Registration through the node, and the node's answers about accounts.

use alloy::providers::Provider;
use emr_api::{AccountView, NodeStatus, Registered, RelayRegistration, encryption};
use emr_chain::{CurvePoint, Registration, RsaPossession};
use emr_core::{AccountIndex, KemHash, Role, UnixTime};
use emr_rollup::primitive::field;

use crate::stage::*;

/// A registration with an invitation of the hospital, which has the first account.
pub(crate) fn relay(world: &World, person: &Person, deadline: UnixTime) -> Outcome<RelayRegistration> {
    let instance = world.rollup.instance();
    let signed =
        person.registration(instance, None).sign(instance, person.ethereum.address(), &person.ethereum, deadline)?;
    let point = person.key.registration_point();
    let role = person.identity.role();
    let patient = role == Role::Patient;
    let committed = person.identity.committed_key();
    let key = person.key.public();
    let a = emr_chain::CurvePoint { x: field::to_bytes(&key.x()), y: field::to_bytes(&key.y()) };
    let possession = instance.possession_message(person.address(), a, role, committed.kem);
    // PKCS#1 v1.5 signatures are deterministic, so this is the one inside `signed`.
    let rsa = person.identity.rsa();
    Ok(RelayRegistration {
        owner: person.address(),
        role,
        org: None,
        q_x: point.x(),
        q_y: point.y(),
        encryption: if patient { encryption::element(&committed) } else { field::Fr::zero() },
        kem_hash: if patient { KemHash::NONE } else { committed.kem },
        rsa_modulus: if patient { Vec::new() } else { rsa.public().modulus() },
        rsa_signature: if patient { Vec::new() } else { rsa.sign_pkcs1v15(&possession) },
        deadline,
        signature: signed.signature[..].try_into()?,
        invitation: Some(world.invitation(&people().hospital, 1.try_into()?)?),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_relays_and_knows_at_once() -> Outcome {
    let world = World::new().await?;
    world.register(&people().hospital, None).await?;
    let node = world.start().await?;
    let anyone = Caller::anonymous(node.url().clone(), world.domain(), &people().patient, 1.try_into()?);
    let later = UnixTime::now().saturating_add(600);

    let patient = relay(&world, &people().patient, later)?;
    let registered: Registered = anyone.post("v1/accounts", &patient).await?;
    assert_eq!(registered.account, AccountIndex::new(2)?);
    let view: AccountView = anyone.get("v1/accounts/2").await?;
    assert_eq!((view.role, view.settled, view.proof), (Role::Patient, false, None));
    assert_eq!(view.identity.encryption, patient.encryption);
    let status: NodeStatus = anyone.get("v1/status").await?;
    assert_eq!(status.queued, 2);

    // A registration twice, a forged one, a late one, and junk.
    let twice = relay(&world, &people().patient, later)?;
    assert_eq!(code(anyone.post::<Registered>("v1/accounts", &twice).await), "refused");
    let good = relay(&world, &people().other, later)?;
    let forged = RelayRegistration { deadline: later.saturating_add(1), ..good.clone() };
    let refused = anyone.post::<Registered>("v1/accounts", &forged).await.expect_err("must be refused");
    assert_eq!((refused.status, refused.code.as_str()), (422, "refused"));
    assert!(refused.message.contains("not signed by"), "{refused}");
    let late = relay(&world, &people().other, UnixTime::new(1)?)?;
    assert_eq!(code(anyone.post::<Registered>("v1/accounts", &late).await), "refused");
    let above = format!("0x{}", "f".repeat(64));
    for (field, value) in [
        ("owner", "me".to_owned()),
        ("owner", format!("{}00", good.owner)),
        ("q_x", above.clone()),
        ("encryption", above),
        ("kem_hash", "00".repeat(32)),
        ("kem_hash", format!("0x{}", "00".repeat(33))),
        ("rsa_modulus", "0".repeat(1026)),
        ("signature", "00".repeat(64)),
        ("signature", "00".repeat(66)),
        ("invitation", "emr1a".to_owned()),
    ] {
        let nonsense = with_field(&good, field, value)?;
        let refused = anyone.post::<Registered>("v1/accounts", &nonsense).await.expect_err("must be refused");
        assert!(refused.code == "malformed" && refused.message.contains(&format!("field `{field}`")), "{refused}");
    }

    // A doctor waits for the registrar.
    let doctor = relay(&world, &people().stranger, later)?;
    let registered: Registered = anyone.post("v1/accounts", &doctor).await?;
    let path = format!("v1/accounts/{}", registered.account);
    let refused = anyone.get::<AccountView>(&path).await.expect_err("must be refused");
    assert_eq!((refused.status, refused.code.as_str()), (404, "not-found"));
    world.admit(registered.account).await?;
    let seen = async {
        loop {
            if let Ok(view) = anyone.get::<AccountView>(&path).await {
                break view;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let view = tokio::time::timeout(std::time::Duration::from_secs(10), seen).await?;
    assert_eq!((view.role, view.org), (Role::Doctor, None));
    assert_eq!(code(anyone.get::<AccountView>("v1/accounts/77").await), "not-found");
    assert_eq!(code(anyone.get::<AccountView>("v1/accounts/0").await), "malformed");
    node.shutdown().await;
    Ok(())
}

/// Junk costs the hospital nothing, and uses up no invitation.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_sent_to_l1_counts() -> Outcome {
    let world = World::new().await?;
    world.register(&people().hospital, None).await?;
    let node = world.start().await?;
    let anyone = Caller::anonymous(node.url().clone(), world.domain(), &people().patient, 1.try_into()?);
    let later = UnixTime::now().saturating_add(600);
    let good = relay(&world, &people().patient, later)?;
    anyone.post::<Registered>("v1/accounts", &good).await?;
    let provider = world.rollup.provider();
    let sent = provider.get_transaction_count(people().hospital.address()).await?;
    let next = relay(&world, &people().other, later)?;
    let mut other_parity = next.signature;
    other_parity[64] ^= 1;
    // A doctor does not have the key that they claim. The request is signed correctly, but the contract refuses it.
    let doctor = relay(&world, &people().doctor, later)?;
    let owner = &people().doctor.ethereum;
    let point = people().doctor.key.registration_point();
    let q = CurvePoint { x: field::to_bytes(&point.x()), y: field::to_bytes(&point.y()) };
    let modulus = people().doctor.identity.rsa().public().modulus();
    let nothing = vec![1; modulus.len()];
    let keyless =
        Registration::doctor(q, None, RsaPossession { modulus, kem: KemHash::NONE, signature: nothing.clone() });
    let keyless = keyless.sign(world.rollup.instance(), owner.address(), owner, later)?;
    let claimed = RelayRegistration { rsa_signature: nothing, signature: keyless.signature[..].try_into()?, ..doctor };
    for garbage in [
        relay(&world, &people().patient, later)?,
        RelayRegistration { signature: other_parity, ..next.clone() },
        RelayRegistration { signature: [0; 65], ..next.clone() },
        relay(&world, &people().other, UnixTime::new(1)?)?,
        claimed,
    ] {
        for _ in 0..20 {
            assert_eq!(code(anyone.post::<Registered>("v1/accounts", &garbage).await), "refused");
        }
    }
    // If the owner is a contract, it decides how much gas the check of its signature takes.
    let contract = RelayRegistration { owner: world.rollup.instance().contract, ..next.clone() };
    let refused = anyone.post::<Registered>("v1/accounts", &contract).await.expect_err("must be refused");
    assert!(refused.message.contains("registers on L1 itself"), "{refused}");
    assert_eq!(provider.get_transaction_count(people().hospital.address()).await?, sent);
    anyone.post::<Registered>("v1/accounts", &next).await?;
    node.shutdown().await;
    Ok(())
}
