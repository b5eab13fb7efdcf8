//! Registration: the data that the contract stores for an owner, and the registrations that it refuses.

use alloy::{
    primitives::{
        B256, U256,
        aliases::{U24, U56},
        keccak256,
    },
    providers::Provider,
};
use emr_chain::{
    QueueName, Registration, Revert, SettlementLayer, Standing, bindings::IRegistry::Registration as Raw,
    rsa_commitment,
};
use emr_core::{AccountIndex, KemHash, Role};
use emr_testkit::{
    Outcome,
    chain::{Node, account},
};
use num_bigint::BigUint;

use crate::{
    on_each_chain, on_geth,
    reference::{Point, modulus, register_entry, rsa, word},
    world::{
        DOCTOR, HOSPITAL, PATIENT, SEQUENCER, World, bytes, kem, patient, patient_commitment, rollup_key, submitted,
    },
};

on_each_chain!(
    patient_is_queued_at_once,
    key_is_eight_times_the_point,
    doctors_and_hospitals_wait,
    commitments_are_those_of_hashlib,
    refusals
);
on_geth!(patient_is_queued_at_once, doctors_and_hospitals_wait);

async fn patient_is_queued_at_once(world: World) -> Outcome {
    let owner = account(DOCTOR)?.address();
    let rollup = world.as_account(DOCTOR).await?;
    let (index, _) = rollup.register(&patient(5)).await?;
    assert_eq!(index, AccountIndex::new(1)?);
    assert_eq!(rollup.account_of(owner).await?, Some(index));
    let stored = rollup.account(index).await?.ok_or("no account")?;
    assert_eq!(
        (stored.owner, stored.role, stored.standing, stored.org),
        (owner, Role::Patient, Standing::Admitted, None)
    );
    assert_eq!(rollup.contract().ownerOf(U24::from(1)).call().await?, owner);
    assert_eq!(rollup.account(AccountIndex::new(2)?).await?, None);

    let expected = register_entry(1, 1, 0, &rollup_key(5), &patient_commitment(5));
    let entries = rollup.queue_entries(QueueName::Ordinary, 0..1, 0).await?;
    assert_eq!(entries[0].words, expected);
    let stored = rollup.contract().queueEntry(1, U56::ZERO).call().await?;
    assert_eq!(stored.wordsHash, keccak256(expected.as_flattened())[..27]);
    assert_eq!(stored.enqueuedAt, U256::from(world.now().await?));

    // An owner has one account. A second registration is refused, whatever it contains.
    let again = rollup.register(&patient(6)).await;
    let refused = Revert::AlreadyRegistered { owner, account: 1 };
    assert_eq!(again.err().and_then(|e| e.revert().cloned()), Some(refused));
    // The next owner has the next index.
    let (index, _) = world.rollup.register_for(&world.signed_patient(PATIENT, 6)?).await?;
    assert_eq!(index, AccountIndex::new(2)?);
    Ok(())
}

/// Compared with affine arithmetic on big integers, and with circomlib's pair of generators.
async fn key_is_eight_times_the_point(world: World) -> Outcome {
    let p = modulus();
    let generator = Point::generator();
    // The points whose order divides 8. A key must not depend on them.
    let torsion = generator.times(&Point::order());
    let inverse_of_8 = BigUint::from(8_u8).modpow(&(Point::order() - 2_u8), &Point::order());
    let points = [
        generator.clone(),
        generator.times(&(&p - 1_u8)),
        Point::base8().add(&torsion),
        Point::base8().add(&torsion.times(&3_u8.into())),
        // A client that has the key Base8 submits an eighth of it.
        Point::base8().times(&inverse_of_8),
        submitted(0x1234_5678_9abc_def1),
    ];
    for (n, q) in points.iter().enumerate() {
        let registration = Registration::patient(q.bytes(), emr_core::Opaque::of(b"key"));
        world.rollup.register_for(&world.sign(PATIENT + u8::try_from(n)?, registration)?).await?;
    }
    let entries = world.rollup.queue_entries(QueueName::Ordinary, 0..points.len() as u64, 0).await?;
    for (entry, q) in entries.iter().zip(&points) {
        let key = q.times(&8_u8.into());
        assert_eq!((entry.words[1], entry.words[2]), (word(&key.x), word(&key.y)));
    }
    assert_eq!(entries[0].words[1], word(&Point::base8().x));
    assert_eq!(entries[4].words[2], word(&Point::base8().y));
    Ok(())
}

async fn doctors_and_hospitals_wait(world: World) -> Outcome {
    for (n, bits, role) in
        [(DOCTOR, 2048, Role::Doctor), (HOSPITAL, 3072, Role::Hospital), (SEQUENCER, 4096, Role::Doctor)]
    {
        let k = bits as u64 + 1;
        let key = world.possession(bits, account(n)?.address(), role, k);
        let registration = match role {
            Role::Hospital => Registration::hospital(submitted(k).bytes(), key),
            _ => Registration::doctor(submitted(k).bytes(), None, key),
        };
        let (index, receipt) = world.as_account(n).await?.register(&registration).await?;
        assert_eq!(world.rollup.registration_of(index).await?, Some(receipt));
        let stored = world.rollup.account(index).await?.ok_or("no account")?;
        assert_eq!((stored.role, stored.standing), (role, Standing::Pending));
    }
    assert_eq!(world.rollup.registration_of(AccountIndex::new(4)?).await?, None);
    assert_eq!(world.registrations().await?.length, 0);
    // Admission queues the registered data, with the commitment computed from the RSA key.
    let registrar = world.as_account(crate::world::REGISTRAR).await?;
    for (index, bits, role) in [(2, 3072, 3), (1, 2048, 2), (3, 4096, 2)] {
        world.admit(AccountIndex::new(index)?).await?;
        let last = world.registrations().await?.length - 1;
        let commitment = rsa_commitment(&rsa(bits).modulus(), &[1, 0, 1], kem(bits as u64 + 1)).to_be_bytes32();
        let commitment = BigUint::from_bytes_be(&commitment);
        let expected = register_entry(index, role, 0, &rollup_key(bits as u64 + 1), &commitment);
        assert_eq!(registrar.queue_entries(QueueName::Ordinary, last..last + 1, 0).await?[0].words, expected);
    }
    Ok(())
}

/// Computed with Python's hashlib over `0003 010001 || uint16 length of n || n || kem hash` for the three RSA keys: without a second key, and
/// with one whose hash is the SHA-256 of "abc".
async fn commitments_are_those_of_hashlib(world: World) -> Outcome {
    let (none, abc) = (KemHash::NONE, KemHash::of(b"abc"));
    let vectors = [
        (2048, none, "0x002bf7a3ab581dd9c8418dde88c98e8bd1369abe6ec75237a749172877bdc368"),
        (2048, abc, "0x0057e5837a685ac6a019593201bb646ab5b9002aaa45c59e3000229628ea7f64"),
        (3072, none, "0x00fe02fb1db889c370adb32e071f889976b86cac2f6e082344eee941c9311b93"),
        (3072, abc, "0x001a715c49cc432638b505d1aec6700b9054311585768c2780f2bc25c2d9bc8e"),
        (4096, none, "0x00cd12eb292d82d871273f817c605ebc4c2dae23b8d32851ae7cf6d43166b5fc"),
        (4096, abc, "0x009a7a65e7553a4fcefa20042ed6c896ca61a09991e107a8c17e1faf0405fea8"),
    ];
    for (n, (bits, kem, expected)) in (PATIENT..).zip(vectors) {
        let key = world.possession_with(bits, account(n)?.address(), Role::Doctor, 9, kem);
        let registration = Registration::doctor(submitted(9).bytes(), None, key);
        assert_eq!(registration.commitment().to_string(), expected);
        let (index, _) = world.rollup.register_for(&world.sign(n, registration)?).await?;
        let waiting = world.rollup.pending(index).await?.ok_or("nothing waits")?;
        assert_eq!(waiting.commitment.to_string(), expected, "{bits} bits, {kem}");
    }
    Ok(())
}

/// A patient's registration as the contract's argument.
fn raw_patient() -> Raw {
    let q = submitted(9).bytes();
    Raw {
        role: 1,
        org: U24::ZERO,
        qx: U256::from_be_bytes(q.x),
        qy: U256::from_be_bytes(q.y),
        encryptionCommitment: U256::from(5),
        kemHash: B256::ZERO,
        rsaModulus: bytes(&[]),
        rsaSignature: bytes(&[]),
    }
}

/// A doctor's registration as the contract's argument.
fn raw_doctor(world: &World) -> Outcome<Raw> {
    let key = world.possession(2048, account(DOCTOR)?.address(), Role::Doctor, 9);
    Ok(Raw {
        role: 2,
        encryptionCommitment: U256::ZERO,
        kemHash: B256::from(*key.kem.as_bytes()),
        rsaModulus: key.modulus.into(),
        rsaSignature: key.signature.into(),
        ..raw_patient()
    })
}

async fn refusals(world: World) -> Outcome {
    let refused = async |raw: Raw| world.refusal(DOCTOR, world.rollup.contract().register(raw)).await;
    let p = U256::from_be_bytes(word(&modulus()));

    // The unchanged registrations are accepted, so each refusal below has only the reason that it names.
    for accepted in [raw_patient(), raw_doctor(&world)?] {
        world.rollup.contract().register(accepted).from(account(DOCTOR)?.address()).call().await?;
    }

    assert_eq!(refused(Raw { role: 0, ..raw_patient() }).await?, Revert::UnknownRole);
    let one_wei = world.rollup.contract().register(raw_patient()).value(U256::ONE);
    assert_eq!(world.refusal(DOCTOR, one_wei).await?, Revert::WrongFee { expected: U256::ZERO, sent: U256::ONE });

    // The same point with coordinates that are not reduced.
    let raw = raw_patient();
    let x = raw.qx + p;
    assert_eq!(refused(Raw { qx: x, ..raw_patient() }).await?, Revert::CoordinateNotCanonical(x));
    let y = raw.qy + p;
    assert_eq!(refused(Raw { qy: y, ..raw_patient() }).await?, Revert::CoordinateNotCanonical(y));
    assert_eq!(refused(Raw { qx: p, ..raw_patient() }).await?, Revert::CoordinateNotCanonical(p));
    // Points that are not on the curve. The second would be on the curve with exchanged coordinates.
    assert_eq!(refused(Raw { qx: raw.qx + U256::ONE, ..raw_patient() }).await?, Revert::PointNotOnCurve);
    assert_eq!(refused(Raw { qx: raw.qy, qy: raw.qx, ..raw_patient() }).await?, Revert::PointNotOnCurve);
    assert_eq!(refused(Raw { qx: U256::ZERO, qy: U256::ZERO, ..raw_patient() }).await?, Revert::PointNotOnCurve);
    // All eight points of low order.
    let torsion = Point::generator().times(&Point::order());
    for multiple in 0_u8..8 {
        let point = torsion.times(&multiple.into()).bytes();
        let (qx, qy) = (U256::from_be_bytes(point.x), U256::from_be_bytes(point.y));
        assert_eq!(refused(Raw { qx, qy, ..raw_patient() }).await?, Revert::PointOfLowOrder, "{multiple}");
    }

    let too_wide = U256::ONE << 248;
    for commitment in [U256::ZERO, too_wide, U256::MAX] {
        let raw = Raw { encryptionCommitment: commitment, ..raw_patient() };
        assert_eq!(refused(raw).await?, Revert::InvalidEncryptionCommitment(commitment));
    }
    let chosen = Raw { encryptionCommitment: U256::ONE, ..raw_doctor(&world)? };
    assert_eq!(refused(chosen).await?, Revert::InvalidEncryptionCommitment(U256::ONE));
    let published = Raw { rsaModulus: rsa(2048).modulus().into(), ..raw_patient() };
    assert_eq!(refused(published).await?, Revert::UnexpectedRsaKey);
    assert_eq!(refused(Raw { rsaSignature: bytes(&[0]), ..raw_patient() }).await?, Revert::UnexpectedRsaKey);
    for hash in [B256::with_last_byte(1), B256::repeat_byte(0xff)] {
        assert_eq!(refused(Raw { kemHash: hash, ..raw_patient() }).await?, Revert::UnexpectedKemHash);
    }

    assert_eq!(refused(Raw { org: U24::ONE, ..raw_patient() }).await?, Revert::UnexpectedOrganisation);
    let hospital = Raw { role: 3, org: U24::ONE, ..raw_doctor(&world)? };
    assert_eq!(refused(hospital).await?, Revert::UnexpectedOrganisation);
    let doctor = Raw { org: U24::ONE, ..raw_doctor(&world)? };
    assert_eq!(refused(doctor).await?, Revert::NotAdmittedHospital(1));

    rsa_refusals(&world).await
}

async fn rsa_refusals(world: &World) -> Outcome {
    let refused = async |raw: Raw| world.refusal(DOCTOR, world.rollup.contract().register(raw)).await;
    let modulus = rsa(2048).modulus();
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut changed = modulus.clone();
        change(&mut changed);
        changed
    };
    let malformed = [
        Vec::new(),
        modulus[..255].to_vec(),
        // 2047 bits; an even number; 4104 bits; a leading zero.
        changed(|n| n[0] &= 0x7f),
        changed(|n| n[255] &= 0xfe),
        [&rsa(4096).modulus()[..], &[1]].concat(),
        changed(|n| n.insert(0, 0)),
    ];
    for modulus in malformed {
        let raw = Raw { rsaModulus: modulus.into(), ..raw_doctor(world)? };
        assert_eq!(refused(raw).await?, Revert::InvalidRsaModulus);
    }

    // Proofs for another owner, rollup key, role, second key or contract, also for none. Proofs that are too short, too long, or the same number
    // plus n.
    let doctor = account(DOCTOR)?.address();
    let mut elsewhere = *world.rollup.instance();
    elsewhere.contract = account(HOSPITAL)?.address();
    let elsewhere = elsewhere.possession_message(doctor, rollup_key(9).bytes(), Role::Doctor, kem(9));
    let good = world.possession(2048, doctor, Role::Doctor, 9).signature;
    let plus_n = BigUint::from_bytes_be(&good) + BigUint::from_bytes_be(&modulus);
    let signatures = [
        world.possession(2048, account(HOSPITAL)?.address(), Role::Doctor, 9).signature,
        world.possession_with(2048, doctor, Role::Doctor, 10, kem(9)).signature,
        world.possession_with(2048, doctor, Role::Doctor, 9, kem(10)).signature,
        world.possession_with(2048, doctor, Role::Doctor, 9, KemHash::NONE).signature,
        world.possession(2048, doctor, Role::Hospital, 9).signature,
        rsa(2048).sign(&elsewhere),
        good[..255].to_vec(),
        [&good[..], &[0]].concat(),
        plus_n.to_bytes_be(),
        Vec::new(),
        vec![0; 256],
    ];
    for (case, signature) in signatures.into_iter().enumerate() {
        let raw = Raw { rsaSignature: signature.into(), ..raw_doctor(world)? };
        assert_eq!(refused(raw).await?, Revert::InvalidRsaSignature, "case {case}");
    }
    // Nobody takes the second key away from what the RSA key signed, or puts another in its place.
    for hash in [B256::ZERO, B256::from(*kem(10).as_bytes())] {
        let raw = Raw { kemHash: hash, ..raw_doctor(world)? };
        assert_eq!(refused(raw).await?, Revert::InvalidRsaSignature);
    }
    // A proof for one key is not valid for another.
    let other = Raw { rsaModulus: changed(|n| n[1] ^= 1).into(), ..raw_doctor(world)? };
    assert_eq!(refused(other).await?, Revert::InvalidRsaSignature);
    Ok(())
}

/// Only anvil can pretend that sixteen million accounts exist.
#[tokio::test]
async fn no_account_follows_the_last_index() -> Outcome {
    let Some(node) = Node::anvil()? else { return Ok(()) };
    let world = World::new(node).await?;
    let contract = world.rollup.instance().contract;
    let slot = U256::from(15);
    world.rollup.register_for(&world.signed_patient(PATIENT, 1)?).await?;
    assert_eq!(world.provider().get_storage_at(contract, slot).await?, U256::ONE, "the slot of the account count");
    let count = B256::from(U256::from(0xff_fffe));
    let _: bool = world.provider().raw_request("anvil_setStorageAt".into(), (contract, slot, count)).await?;

    let (last, _) = world.rollup.register_for(&world.signed_patient(PATIENT + 1, 2)?).await?;
    assert_eq!(last, AccountIndex::new(0xff_ffff)?);
    let next = world.rollup.register_for(&world.signed_patient(PATIENT + 2, 3)?).await;
    assert_eq!(next.err().and_then(|e| e.revert().cloned()), Some(Revert::AccountsExhausted));
    Ok(())
}
