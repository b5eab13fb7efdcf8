//! What owners do with their accounts on L1: forced revocations, new keys, closed accounts; and suspension by the registrar.

use alloy::{
    primitives::{B256, U256, aliases::U24},
    signers::SignerSync,
};
use emr_chain::{
    QueueName, QueuedChange, Registration, Revert, Revocation, RsaPossession, SettlementLayer, SignedRevocation,
    SignedRotation, Standing, bindings::IRegistry::Registration as Raw,
};
use emr_core::{AccountIndex, GrantSlot, KemHash, Opaque, Role, UnixTime};
use emr_testkit::{Outcome, chain::account};

use crate::{
    on_each_chain, on_geth,
    reference::{integer, rsa, word},
    world::{
        DEADLINE, DOCTOR, HOSPITAL, HOUR, PATIENT, REGISTRAR, SEQUENCER, World, another, bytes, kem, nobody, patient,
        patient_commitment, refusal, rollup_key, submitted,
    },
};

on_each_chain!(
    a_patient_revokes,
    a_revocation_is_relayed_once,
    a_rotation_is_relayed_once,
    a_wallet_revokes,
    only_patients_and_only_one_at_a_time,
    a_change_needs_a_settled_registration,
    keys_are_rotated,
    accounts_are_suspended_and_reinstated,
    owners_close_their_accounts,
    a_registration_can_be_withdrawn,
);
on_geth!(a_patient_revokes, a_revocation_is_relayed_once, keys_are_rotated);

/// D1's packed word: kind 8, account 24, role 8, status 8, org 24, tree 2, slot 16, replace_directory 1.
fn packed(kind: u64, account: u64, status: u64, tree: u64, slot: u64, replace: u64) -> [u8; 32] {
    let word = (U256::from(kind) << 83_usize)
        | (U256::from(account) << 59_usize)
        | (U256::from(status) << 43_usize)
        | U256::from(tree << 17 | slot << 1 | replace);
    word.to_be_bytes()
}

impl World {
    /// What patient `n` signs: the grant in one slot ends, or all.
    pub async fn signed_revocation(&self, n: u8, slot: Option<u64>) -> Outcome<SignedRevocation> {
        let revocation = Revocation { slot: slot.map(GrantSlot::new).transpose()?, directory: None };
        self.sign_revocation(n, revocation).await
    }

    async fn sign_revocation(&self, n: u8, revocation: Revocation) -> Outcome<SignedRevocation> {
        let (owner, deadline) = (account(n)?.address(), UnixTime::new(DEADLINE)?);
        let nonce = self.rollup.nonce_of(owner).await?;
        Ok(revocation.sign(self.rollup.instance(), owner, &account(n)?, nonce, deadline)?)
    }

    pub async fn revoke_all(&self, n: u8) -> Outcome<QueuedChange> {
        Ok(self.rollup.force_revoke_for(&self.signed_revocation(n, None).await?).await?)
    }

    pub async fn revoke_slot(&self, n: u8, slot: u64) -> Outcome<QueuedChange> {
        Ok(self.rollup.force_revoke_for(&self.signed_revocation(n, Some(slot)).await?).await?)
    }

    /// Settles everything that waits.
    async fn settle_queues(&self) -> Outcome {
        let queues = self.rollup.head().await?.queues;
        let mut entries = self.urgent(queues.urgent.waiting()).await?;
        let urgent = entries.len() as u16;
        entries.extend(self.ordinary(queues.ordinary.waiting()).await?);
        let mut batch = self.batch(entries, Vec::new()).await?;
        batch.urgent = urgent;
        assert_eq!(refusal(self, &self.rollup, &batch).await?, None);
        Ok(())
    }

    /// The newest entry of the urgent queue.
    async fn newest(&self) -> Outcome<[[u8; 32]; 4]> {
        let length = self.rollup.head().await?.queues.urgent.length;
        Ok(self.urgent(length - 1..length).await?[0])
    }
}

async fn a_patient_revokes(world: World) -> Outcome {
    // An account with ether: the patient pays the gas.
    let patient_ = world.as_account(DOCTOR).await?;
    let (index, _) = patient_.register(&patient(5)).await?;
    world.settle_queues().await?;
    let directory = Opaque::of(b"a new directory");
    let with = |slot: Option<u64>, directory| {
        Outcome::Ok(Revocation { slot: slot.map(GrantSlot::new).transpose()?, directory })
    };
    let zero = [0; 32];
    for (revocation, expected) in [
        (with(Some(64), None)?, [packed(19, 1, 0, 1, 64, 0), zero, zero, zero]),
        (with(None, Some(directory))?, [packed(19, 1, 0, 0, 0, 1), zero, zero, directory.to_be_bytes32()]),
        (with(Some(1023), Some(directory))?, [packed(19, 1, 0, 1, 1023, 1), zero, zero, directory.to_be_bytes32()]),
        (with(Some(0), None)?, [packed(19, 1, 0, 1, 0, 0), zero, zero, zero]),
        (with(None, None)?, [packed(19, 1, 0, 0, 0, 0), zero, zero, zero]),
    ] {
        let queued = patient_.force_revoke(&revocation).await?;
        assert_eq!(world.urgent(queued.index..queued.index + 1).await?, [expected], "{revocation:?}");
        let overdue = async |index, words| world.rollup.overdue_from(QueueName::Urgent, index, words).await;
        let due = overdue(queued.index, &expected).await?.ok_or("not held")?;
        assert_eq!(due.get(), world.now().await? + 6 * HOUR);
        assert_eq!(overdue(queued.index + 1, &expected).await?, None);
        assert_eq!(overdue(queued.index, &[[7; 32]; 4]).await?, None);
        world.settle_queues().await?;
    }
    assert_eq!(index.get(), 1);
    Ok(())
}

/// Nobody can change what the patient signed, use it twice, or use it at another rollup or after its deadline.
async fn a_revocation_is_relayed_once(world: World) -> Outcome {
    world.settled_patients(1).await?;
    let owner = account(PATIENT)?.address();
    let signed = world.signed_revocation(PATIENT, Some(64)).await?;
    let relay = async |signed: &SignedRevocation| {
        let refused = world.rollup.force_revoke_for(signed).await.err();
        Outcome::Ok(refused.and_then(|error| error.revert().cloned()))
    };
    let with = |revocation| SignedRevocation { revocation, ..signed.clone() };
    let revocation = signed.revocation;
    let mut other_signature = signed.signature.to_vec();
    other_signature[0] ^= 1;
    for forged in [
        with(Revocation { slot: None, ..revocation }),
        with(Revocation { slot: Some(GrantSlot::new(65)?), ..revocation }),
        with(Revocation { directory: Some(Opaque::of(b"the relayer's")), ..revocation }),
        SignedRevocation { deadline: UnixTime::new(DEADLINE - 1)?, ..signed.clone() },
        SignedRevocation { signature: other_signature.into(), ..signed.clone() },
    ] {
        assert_eq!(relay(&forged).await?, Some(Revert::InvalidOwnerSignature(owner)), "{forged:?}");
    }
    // A registration's signature is not one for a revocation, and the other way round.
    let registration = world.signed_patient(PATIENT, 1)?;
    let forged = SignedRevocation { signature: registration.signature, ..signed.clone() };
    assert_eq!(relay(&forged).await?, Some(Revert::InvalidOwnerSignature(owner)));
    let other = another(&world).await?;
    let elsewhere = other.force_revoke_for(&signed).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(elsewhere, Some(Revert::InvalidOwnerSignature(owner)));

    assert_eq!(relay(&signed).await?, None);
    world.settle_queues().await?;
    // A second relay would end a grant that the patient gave since.
    assert_eq!(relay(&signed).await?, Some(Revert::InvalidOwnerSignature(owner)));
    let expired = revocation.sign(
        world.rollup.instance(),
        owner,
        &account(PATIENT)?,
        world.rollup.nonce_of(owner).await?,
        UnixTime::new(world.now().await? - 1)?,
    )?;
    assert!(matches!(relay(&expired).await?, Some(Revert::RegistrationExpired(_))));
    Ok(())
}

/// Nobody can change what the owner signed, use it twice, or use it at another rollup. A registration's or a revocation's signature is not one for a rotation.
async fn a_rotation_is_relayed_once(world: World) -> Outcome {
    world.settled_patients(1).await?;
    let (owner, instance) = (account(PATIENT)?.address(), *world.rollup.instance());
    let nonce = world.rollup.nonce_of(owner).await?;
    let deadline = UnixTime::new(DEADLINE)?;
    let signed = patient(6).sign_rotation(&instance, owner, &account(PATIENT)?, nonce, deadline)?;
    let relay = async |signed: &SignedRotation| {
        let refused = world.rollup.rotate_keys_for(signed).await.err();
        Outcome::Ok(refused.and_then(|error| error.revert().cloned()))
    };
    let registration = world.signed_patient(PATIENT, 6)?;
    let revocation = world.signed_revocation(PATIENT, None).await?;
    for forged in [
        SignedRotation { registration: patient(7), ..signed.clone() },
        SignedRotation { deadline: UnixTime::new(DEADLINE - 1)?, ..signed.clone() },
        SignedRotation { signature: registration.signature, ..signed.clone() },
        SignedRotation { signature: revocation.signature, ..signed.clone() },
    ] {
        assert_eq!(relay(&forged).await?, Some(Revert::InvalidOwnerSignature(owner)), "{forged:?}");
    }
    let elsewhere = another(&world).await?.rotate_keys_for(&signed).await.err();
    assert_eq!(elsewhere.and_then(|error| error.revert().cloned()), Some(Revert::InvalidOwnerSignature(owner)));

    assert_eq!(relay(&signed).await?, None);
    world.settle_queues().await?;
    // A second relay would bring back a key that the owner replaced since.
    assert_eq!(relay(&signed).await?, Some(Revert::InvalidOwnerSignature(owner)));

    // The second key of a doctor or hospital is what they signed.
    world.admitted_hospital().await?;
    world.settle_queues().await?;
    let (owner, q) = (account(HOSPITAL)?.address(), submitted(8).bytes());
    let nonce = world.rollup.nonce_of(owner).await?;
    let signed = world.hospital(8)?.sign_rotation(&instance, owner, &account(HOSPITAL)?, nonce, deadline)?;
    for other in [kem(9), KemHash::NONE] {
        let key = world.possession_with(2048, owner, Role::Hospital, 8, other);
        let forged = SignedRotation { registration: Registration::hospital(q, key), ..signed.clone() };
        assert_eq!(relay(&forged).await?, Some(Revert::InvalidOwnerSignature(owner)), "{other}");
    }
    assert_eq!(relay(&signed).await?, None);
    Ok(())
}

/// A patient whose account belongs to a contract (ERC-1271).
async fn a_wallet_revokes(world: World) -> Outcome {
    let key = account(PATIENT)?;
    let wallet = *world.wallet(key.address()).await?.address();
    let (instance, deadline) = (*world.rollup.instance(), UnixTime::new(DEADLINE)?);
    let registration = patient(1);
    let signature = key.sign_hash_sync(&registration.signing_hash(&instance, wallet, deadline))?.as_bytes();
    let registered =
        emr_chain::SignedRegistration { registration, owner: wallet, deadline, signature: signature.into() };
    world.rollup.register_for(&registered).await?;
    world.settle_queues().await?;

    let revocation = Revocation { slot: None, directory: None };
    let hash = revocation.signing_hash(&instance, wallet, U256::ZERO, deadline);
    let signed = |signature: [u8; 65]| SignedRevocation {
        instance,
        revocation,
        owner: wallet,
        deadline,
        signature: signature.into(),
    };
    let forged = signed(account(DOCTOR)?.sign_hash_sync(&hash)?.as_bytes());
    let refused = world.rollup.force_revoke_for(&forged).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(Revert::InvalidOwnerSignature(wallet)));
    world.rollup.force_revoke_for(&signed(key.sign_hash_sync(&hash)?.as_bytes())).await?;
    assert_eq!(world.newest().await?[0], packed(19, 1, 0, 0, 0, 0));
    Ok(())
}

/// Nobody else ends a patient's grants. A patient has one entry for a slot and one for all grants waiting, so nobody
/// fills the queue alone; and the one for all never waits for the other.
async fn only_patients_and_only_one_at_a_time(world: World) -> Outcome {
    world.settled_patients(1).await?;
    let (doctor, _) = world.as_account(DOCTOR).await?.register(&world.doctor(5, None)?).await?;
    world.admit(doctor).await?;
    world.settle_queues().await?;
    let revoke = |all: bool, slot: u16, replace: bool, directory: U256| {
        let revocation =
            emr_chain::bindings::IAccountChanges::Revocation { all, slot, replaceDirectory: replace, directory };
        world.rollup.contract().forceRevoke(revocation)
    };
    let (none, all) = (U256::ZERO, || revoke(true, 0, false, U256::ZERO));
    assert_eq!(world.refusal(DOCTOR, all()).await?, Revert::NotPatient(doctor.get()));
    for from in [SEQUENCER, REGISTRAR, HOSPITAL] {
        assert_eq!(world.refusal(from, all()).await?, Revert::NotRegistered(account(from)?.address()));
    }
    for malformed in [
        revoke(true, 1, false, none),
        revoke(false, 1024, false, none),
        revoke(false, 64, false, U256::ONE),
        revoke(true, 0, true, U256::ONE << 248_usize),
    ] {
        assert_eq!(world.refusal(PATIENT, malformed).await?, Revert::InvalidRevocation);
    }

    let slot = world.revoke_slot(PATIENT, 64).await?;
    let waiting = |index| Revert::EntryWaiting { account: 1, queue: QueueName::Urgent, index };
    assert_eq!(world.refusal(PATIENT, revoke(false, 65, false, none)).await?, waiting(slot.index));
    let every = world.revoke_all(PATIENT).await?;
    assert_eq!(world.refusal(PATIENT, all()).await?, waiting(every.index));
    world.settle_queues().await?;
    world.revoke_slot(PATIENT, 65).await?;
    world.revoke_all(PATIENT).await?;
    Ok(())
}

/// Before the registration is settled, a change would have no effect. Behind it in the other queue it would wait as long as
/// registrations can, also after the account has come to life. So it is refused until then.
async fn a_change_needs_a_settled_registration(world: World) -> Outcome {
    world.register_patients(2).await?;
    let owner = world.as_account(DOCTOR).await?;
    let (doctor, _) = owner.register(&world.doctor(5, None)?).await?;
    world.admit(doctor).await?;
    let waiting = |account, index| Revert::EntryWaiting { account, queue: QueueName::Ordinary, index };
    let early = world.signed_revocation(PATIENT, None).await?;
    let refused = world.rollup.force_revoke_for(&early).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(waiting(1, 0)));
    let contract = world.rollup.contract();
    let behind = waiting(doctor.get(), 2);
    assert_eq!(world.refusal(DOCTOR, contract.closeAccount()).await?, behind);
    assert_eq!(world.refusal(REGISTRAR, contract.suspend(U24::from(doctor.get()))).await?, behind);
    let rotated = owner.rotate_keys(&world.doctor(8, None)?).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(rotated, Some(behind));
    // However many registrations come behind: a change waits for none of them.
    world.register_patients_from(PATIENT + 2, 3).await?;
    let batch = world.batch(world.ordinary(0..3).await?, Vec::new()).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    assert_eq!(world.rollup.force_revoke_for(&early).await?.index, 0);
    world.as_account(REGISTRAR).await?.suspend(doctor).await?;
    assert_eq!(world.newest().await?[0], packed(17, doctor.get(), 2, 0, 0, 0));
    Ok(())
}

async fn keys_are_rotated(world: World) -> Outcome {
    let (hospital, doctor) = (world.as_account(HOSPITAL).await?, world.as_account(DOCTOR).await?);
    let (patient_, _) = hospital.register(&patient(5)).await?;
    let (index, _) = doctor.register(&world.doctor(7, None)?).await?;
    let early = doctor.rotate_keys(&world.doctor(8, None)?).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(early, Some(Revert::NotOpen(index.get())));
    world.admit(index).await?;
    world.settle_queues().await?;

    hospital.rotate_keys(&patient(6)).await?;
    let key = |k: u64| (word(&rollup_key(k).x), word(&rollup_key(k).y));
    let (x, y) = key(6);
    let expected = [packed(18, patient_.get(), 0, 0, 0, 0), x, y, word(&patient_commitment(6))];
    assert_eq!(world.newest().await?, expected);
    // A doctor proves that they hold the new RSA key, for the new rollup key.
    doctor.rotate_keys(&world.doctor(8, None)?).await?;
    let (x, y) = key(8);
    // Computed with Python's hashlib over `0003 010001 0100 || n || sha256(8 as 8 bytes)`.
    let commitment = "0x00f2ac8b6efab983fd6cbf533076e7166a0eda7383d651819bc2e1d5df31a686";
    let commitment = commitment.parse::<B256>()?.0;
    assert_eq!(world.newest().await?, [packed(18, index.get(), 0, 0, 0, 0), x, y, commitment]);
    world.settle_queues().await?;
    let owner = account(DOCTOR)?.address();
    let keys = |key| Registration::doctor(submitted(9).bytes(), None, key);
    let possession = world.possession(2048, owner, Role::Doctor, 9);
    let another_role = Registration::hospital(submitted(9).bytes(), world.possession(2048, owner, Role::Hospital, 9));
    // The RSA key of somebody else, with a proof by the doctor's present one.
    let not_theirs = RsaPossession { modulus: rsa(3072).modulus(), ..possession.clone() };
    for (registration, refused) in [
        (keys(world.possession_with(2048, owner, Role::Doctor, 8, kem(9))), Revert::InvalidRsaSignature),
        (keys(RsaPossession { kem: kem(8), ..possession.clone() }), Revert::InvalidRsaSignature),
        (keys(RsaPossession { kem: KemHash::NONE, ..possession.clone() }), Revert::InvalidRsaSignature),
        (keys(RsaPossession { signature: Vec::new(), ..possession }), Revert::InvalidRsaSignature),
        (keys(not_theirs), Revert::InvalidRsaSignature),
        (another_role, Revert::AnotherRole(index.get())),
        (world.doctor(9, Some(AccountIndex::new(1)?))?, Revert::AnotherRole(index.get())),
        (patient(9), Revert::AnotherRole(index.get())),
    ] {
        let found = doctor.rotate_keys(&registration).await.err().and_then(|error| error.revert().cloned());
        assert_eq!(found, Some(refused));
    }
    // A patient's hash stays off the chain in a rotation too.
    let q = submitted(9).bytes();
    let raw = Raw {
        role: 1,
        org: U24::ZERO,
        qx: U256::from_be_bytes(q.x),
        qy: U256::from_be_bytes(q.y),
        encryptionCommitment: U256::from(5),
        kemHash: B256::with_last_byte(1),
        rsaModulus: bytes(&[]),
        rsaSignature: bytes(&[]),
    };
    let fee = world.rollup.urgent_fee().await?;
    let call = world.rollup.contract().rotateKeys(raw).value(fee);
    assert_eq!(world.refusal(HOSPITAL, call).await?, Revert::UnexpectedKemHash);
    Ok(())
}

async fn accounts_are_suspended_and_reinstated(world: World) -> Outcome {
    let registrar = world.as_account(REGISTRAR).await?;
    let hospital = world.admitted_hospital().await?;
    world.settle_queues().await?;
    let standing = async || Outcome::Ok(world.rollup.account(hospital).await?.map(|account| account.standing));
    registrar.suspend(hospital).await?;
    assert_eq!(world.newest().await?, [packed(17, hospital.get(), 2, 0, 0, 0), integer(0), integer(0), integer(0)]);
    assert_eq!(standing().await?, Some(Standing::Suspended));
    // A suspended hospital endorses nobody.
    let endorse = world.rollup.contract().endorse(account(DOCTOR)?.address());
    assert_eq!(world.refusal(HOSPITAL, endorse).await?, Revert::NotAdmittedHospital(hospital.get()));
    // The order of the two entries must not depend on queues: the second waits for the first.
    let id = U24::from(hospital.get());
    let waiting = Revert::EntryWaiting { account: hospital.get(), queue: QueueName::Urgent, index: 0 };
    assert_eq!(world.refusal(REGISTRAR, world.rollup.contract().reinstate(id)).await?, waiting);
    assert_eq!(
        world.refusal(REGISTRAR, world.rollup.contract().suspend(id)).await?,
        Revert::NotPending(hospital.get())
    );
    world.settle_queues().await?;
    registrar.reinstate(hospital).await?;
    assert_eq!(world.newest().await?[0], packed(17, hospital.get(), 1, 0, 0, 0));
    assert_eq!(standing().await?, Some(Standing::Admitted));
    Ok(())
}

async fn owners_close_their_accounts(world: World) -> Outcome {
    let owner = world.as_account(DOCTOR).await?;
    let (index, _) = owner.register(&patient(5)).await?;
    world.settle_queues().await?;
    let withdrawn = owner.withdraw_registration().await.err().and_then(|error| error.revert().cloned());
    assert_eq!(withdrawn, Some(Revert::NotPending(index.get())));
    owner.close_account().await?;
    assert_eq!(world.newest().await?[0], packed(17, index.get(), 3, 0, 0, 0));
    assert_eq!(world.rollup.account(index).await?.map(|account| account.standing), Some(Standing::Closed));
    world.settle_queues().await?;
    let again = owner.close_account().await.err().and_then(|error| error.revert().cloned());
    assert_eq!(again, Some(Revert::NotOpen(index.get())));
    let rotated = owner.rotate_keys(&patient(6)).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(rotated, Some(Revert::NotOpen(index.get())));
    // Closing keeps grants, so they can still be ended.
    owner.force_revoke(&Revocation { slot: None, directory: None }).await?;
    // The address stays the account's.
    let refused = owner.register(&patient(6)).await.err().and_then(|error| error.revert().cloned());
    let address = account(DOCTOR)?.address();
    assert_eq!(refused, Some(Revert::AlreadyRegistered { owner: address, account: index.get() }));
    Ok(())
}

/// A hospital never admits a doctor, or withdraws its endorsement. The doctor's address is not lost, and nobody can bring
/// back what the doctor withdrew.
async fn a_registration_can_be_withdrawn(world: World) -> Outcome {
    let (doctor, owner) = (world.as_account(DOCTOR).await?, account(DOCTOR)?.address());
    let registrar = world.as_account(REGISTRAR).await?;
    let registration = world.doctor(5, None)?;
    let signed = registration.sign(world.rollup.instance(), owner, &account(DOCTOR)?, UnixTime::new(DEADLINE)?)?;
    let (first, _) = world.rollup.register_for(&signed).await?;
    let waiting = doctor.pending(first).await?.ok_or("nothing waits")?;
    registrar.suspend(first).await?;
    // Closing is another thing: what is signed for one never does the other.
    assert_eq!(world.refusal(DOCTOR, world.rollup.contract().closeAccount()).await?, Revert::NotOpen(first.get()));
    let other = world.as_account(HOSPITAL).await?.withdraw_registration().await.err();
    let nobody_s = Revert::NotRegistered(account(HOSPITAL)?.address());
    assert_eq!(other.and_then(|error| error.revert().cloned()), Some(nobody_s));
    doctor.withdraw_registration().await?;
    assert_eq!((doctor.account_of(owner).await?, doctor.account(first).await?), (None, None));
    assert_eq!(doctor.pending(first).await?, None);
    let admitted = registrar.admit(&waiting).await.err();
    assert_eq!(admitted.and_then(|error| error.revert().cloned()), Some(Revert::NotPending(first.get())));
    let replayed = world.rollup.register_for(&signed).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(replayed, Some(Revert::RelayedRegistrationUsed(owner)));
    let (second, _) = doctor.register(&world.doctor(6, None)?).await?;
    assert_eq!(second.get(), first.get() + 1);
    world.admit(second).await?;
    let late = doctor.withdraw_registration().await.err().and_then(|error| error.revert().cloned());
    assert_eq!(late, Some(Revert::NotPending(second.get())));
    assert_eq!(
        world.refusal(REGISTRAR, world.rollup.contract().admit(U24::from(9), nobody())).await?,
        Revert::NotPending(9)
    );
    Ok(())
}
