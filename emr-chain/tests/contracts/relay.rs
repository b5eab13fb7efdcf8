//! Registrations that an owner signed and someone else relays: who can relay them, and why nobody can replay them.

use alloy::{
    primitives::{B256, U256, aliases::U24},
    signers::SignerSync,
};
use emr_chain::{Registration, Revert, RollupInstance, RsaPossession, SignedRegistration};
use emr_core::{AccountIndex, KemHash, Opaque, Role, UnixTime};
use emr_testkit::{Outcome, chain::account};

use crate::{
    on_each_chain, on_geth,
    reference::{Point, word},
    world::{DEADLINE, DOCTOR, HOSPITAL, PATIENT, SEQUENCER, World, another, kem, patient, stranger, submitted},
};

on_each_chain!(anyone_relays, signature_covers_everything, not_replayed_elsewhere, expires, contract_wallets);
on_geth!(contract_wallets);

async fn reason(world: &World, signed: &SignedRegistration) -> Outcome<Revert> {
    let call = world.rollup.register_for(signed).await;
    Ok(call.err().and_then(|error| error.revert().cloned()).ok_or("the contract accepts it")?)
}

async fn anyone_relays(world: World) -> Outcome {
    let signed = world.signed_patient(PATIENT, 1)?;
    // The registration travels as JSON, and the relayer is a stranger to the patient.
    let signed: SignedRegistration = serde_json::from_str(&serde_json::to_string(&signed)?)?;
    let (index, _) = world.as_account(DOCTOR).await?.register_for(&signed).await?;
    assert_eq!(world.rollup.account_of(account(PATIENT)?.address()).await?, Some(index));
    assert_eq!(world.rollup.account_of(account(DOCTOR)?.address()).await?, None);
    // It works only once, because then the owner has an account.
    let owner = account(PATIENT)?.address();
    assert_eq!(reason(&world, &signed).await?, Revert::AlreadyRegistered { owner, account: index.get() });
    Ok(())
}

/// Anyone who sees a signed registration in the mempool can only relay it unchanged.
async fn signature_covers_everything(world: World) -> Outcome {
    let owner = account(PATIENT)?.address();
    let signed = world.sign(PATIENT, patient(3))?;
    let with = |registration: Registration| SignedRegistration { registration, ..signed.clone() };
    let key = world.possession(2048, owner, Role::Doctor, 3);
    let forgeries = [
        // Another point: the attacker's key for the patient's account.
        with(patient(4)),
        with(Registration::patient(submitted(3).bytes(), Opaque::of(b"another key"))),
        // The negative of the point, also on the curve.
        with(Registration::patient(negative(&submitted(3)).bytes(), Opaque::of(&3_u64.to_be_bytes()))),
        with(Registration::doctor(submitted(3).bytes(), None, key.clone())),
        with(Registration::doctor(submitted(3).bytes(), Some(AccountIndex::new(1)?), key.clone())),
        with(Registration::hospital(submitted(3).bytes(), key)),
        SignedRegistration { deadline: UnixTime::new(DEADLINE - 1)?, ..signed.clone() },
        SignedRegistration { signature: vec![0; 65].into(), ..signed.clone() },
        SignedRegistration { signature: signed.signature[..64].to_vec().into(), ..signed.clone() },
        SignedRegistration { signature: high_s(&signed).into(), ..signed.clone() },
    ];
    for (case, forgery) in forgeries.iter().enumerate() {
        assert_eq!(reason(&world, forgery).await?, Revert::InvalidOwnerSignature(owner), "case {case}");
    }
    // Another owner: the attacker registers the patient's point for themselves with the patient's signature.
    let attacker = account(DOCTOR)?.address();
    let stolen = SignedRegistration { owner: attacker, ..signed.clone() };
    assert_eq!(reason(&world, &stolen).await?, Revert::InvalidOwnerSignature(attacker));
    // A doctor's signed registration binds its RSA parts, its second key and organisation too.
    let doctor = world.sign(DOCTOR, world.doctor(9, None)?)?;
    let key = world.possession(2048, attacker, Role::Doctor, 9);
    let mut other_signature = key.signature.clone();
    other_signature[0] ^= 1;
    for forged in [
        RsaPossession { signature: other_signature, ..key.clone() },
        // The relayer's own second key, and none.
        RsaPossession { kem: kem(8), ..key.clone() },
        RsaPossession { kem: KemHash::NONE, ..key },
    ] {
        let registration = Registration::doctor(submitted(9).bytes(), None, forged);
        let forgery = SignedRegistration { registration, ..doctor.clone() };
        assert_eq!(reason(&world, &forgery).await?, Revert::InvalidOwnerSignature(attacker));
    }
    world.rollup.register_for(&doctor).await?;
    world.rollup.register_for(&signed).await?;
    Ok(())
}

async fn not_replayed_elsewhere(world: World) -> Outcome {
    let owner = account(PATIENT)?.address();
    let here = *world.rollup.instance();
    // A second instance on the same chain, where the patient never registered.
    let other = another(&world).await?;
    assert_ne!(other.instance().contract, here.contract);
    assert_ne!(other.domain(), world.rollup.domain());
    let signed = world.signed_patient(PATIENT, 1)?;
    let refused = other.register_for(&signed).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(Revert::InvalidOwnerSignature(owner)));
    // The same address on another chain.
    let elsewhere = RollupInstance { chain_id: 1337, ..here };
    let signed =
        patient(1).sign(&elsewhere, account(PATIENT)?.address(), &account(PATIENT)?, UnixTime::new(DEADLINE)?)?;
    assert_eq!(reason(&world, &signed).await?, Revert::InvalidOwnerSignature(owner));
    // An RSA proof for one instance is refused at the other, even with a new signature of the owner.
    let registration = world.doctor(9, None)?;
    let signed =
        registration.sign(other.instance(), account(DOCTOR)?.address(), &account(DOCTOR)?, UnixTime::new(DEADLINE)?)?;
    let refused = other.register_for(&signed).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(Revert::InvalidRsaSignature));
    Ok(())
}

async fn expires(world: World) -> Outcome {
    let deadline = world.now().await? + 1000;
    let signed = patient(1).sign(
        world.rollup.instance(),
        account(PATIENT)?.address(),
        &account(PATIENT)?,
        UnixTime::new(deadline)?,
    )?;
    world.wait(1100).await?;
    assert_eq!(reason(&world, &signed).await?, Revert::RegistrationExpired(U256::from(deadline)));
    Ok(())
}

async fn contract_wallets(world: World) -> Outcome {
    let key = account(PATIENT)?;
    let wallet = *world.wallet(key.address()).await?.address();
    let deadline = UnixTime::new(DEADLINE)?;
    let registration = patient(1);
    let hash = registration.signing_hash(world.rollup.instance(), wallet, deadline);
    let sign = |signature: Vec<u8>| SignedRegistration {
        registration: registration.clone(),
        owner: wallet,
        deadline,
        signature: signature.into(),
    };
    // Signed by a key that is not the wallet's, and by the wallet's key for another account.
    let wrong = sign(stranger()?.sign_hash_sync(&hash)?.as_bytes().to_vec());
    assert_eq!(reason(&world, &wrong).await?, Revert::InvalidOwnerSignature(wallet));
    let own = registration.signing_hash(world.rollup.instance(), key.address(), deadline);
    let own = sign(key.sign_hash_sync(&own)?.as_bytes().to_vec());
    assert_eq!(reason(&world, &own).await?, Revert::InvalidOwnerSignature(wallet));

    let (index, _) = world.rollup.register_for(&sign(key.sign_hash_sync(&hash)?.as_bytes().to_vec())).await?;
    assert_eq!(world.rollup.contract().ownerOf(U24::from(index.get())).call().await?, wallet);
    Ok(())
}

#[tokio::test]
async fn the_relayer_pays_the_fee() -> Outcome {
    let world = World::with_fee(emr_testkit::chain::Node::embedded()?, 1_000).await?;
    let signed = world.signed_patient(PATIENT, 1)?;
    let unpaid = world.rollup.contract().registerFor(
        signed.owner,
        emr_chain::bindings::IRegistry::Registration {
            role: 1,
            org: U24::ZERO,
            qx: U256::from_be_bytes(submitted(1).bytes().x),
            qy: U256::from_be_bytes(submitted(1).bytes().y),
            encryptionCommitment: U256::from_be_bytes(Opaque::of(&1_u64.to_be_bytes()).to_be_bytes32()),
            kemHash: B256::ZERO,
            rsaModulus: Vec::new().into(),
            rsaSignature: Vec::new().into(),
        },
        U256::from(DEADLINE),
        signed.signature.clone(),
    );
    let (expected, sent) = (U256::from(1_000), U256::ZERO);
    assert_eq!(world.refusal(SEQUENCER, unpaid).await?, Revert::WrongFee { expected, sent });
    world.as_account(HOSPITAL).await?.register_for(&signed).await?;
    Ok(())
}

fn negative(point: &Point) -> Point {
    Point { x: crate::reference::modulus() - &point.x, y: point.y.clone() }
}

/// The second signature that plain ECDSA accepts: the group order minus `s` instead of `s`, with `v` flipped.
fn high_s(signed: &SignedRegistration) -> Vec<u8> {
    let order =
        num_bigint::BigUint::parse_bytes(b"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16);
    let s = num_bigint::BigUint::from_bytes_be(&signed.signature[32..64]);
    let s = word(&(order.unwrap_or_default() - s));
    [&signed.signature[..32], &s, &[signed.signature[64] ^ 7]].concat()
}
