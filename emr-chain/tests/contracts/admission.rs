//! Endorsement by hospitals and admission by the registrar.

use alloy::primitives::{Address, aliases::U24};
use emr_chain::{PendingRegistration, QueueName, Revert, SettlementLayer, Standing};
use emr_core::{AccountIndex, Opaque, Role};
use emr_testkit::{Outcome, chain::account};
use num_bigint::BigUint;

use crate::{
    on_each_chain, on_geth,
    reference::{register_entry, rsa},
    world::{DOCTOR, HOSPITAL, PATIENT, REGISTRAR, World, kem, nobody, patient, rollup_key},
};

on_each_chain!(
    a_doctor_joins_a_hospital,
    only_a_hospital_endorses,
    an_endorsement_can_be_withdrawn,
    only_what_was_looked_at,
    suspension,
);
on_geth!(a_doctor_joins_a_hospital);

fn org(index: AccountIndex) -> U24 {
    U24::from(index.get())
}

async fn a_doctor_joins_a_hospital(world: World) -> Outcome {
    let doctor = account(DOCTOR)?.address();
    let hospital = world.admitted_hospital().await?;
    let rollup = world.as_account(DOCTOR).await?;
    let early = rollup.register(&world.doctor(5, Some(hospital))?).await.err();
    let not_endorsed = Revert::NotEndorsed { hospital: hospital.get(), doctor };
    assert_eq!(early.and_then(|error| error.revert().cloned()), Some(not_endorsed));

    world.as_account(HOSPITAL).await?.endorse(doctor).await?;
    assert!(rollup.is_endorsed(hospital, doctor).await?);
    let (index, _) = rollup.register(&world.doctor(5, Some(hospital))?).await?;
    let stored = rollup.account(index).await?.ok_or("no account")?;
    assert_eq!((stored.org, stored.standing), (Some(hospital), Standing::Pending));
    world.admit(index).await?;
    assert_eq!(rollup.account(index).await?.map(|account| account.standing), Some(Standing::Admitted));

    // The hospital's entry comes before the doctor's, which names the hospital.
    let entries = rollup.queue_entries(QueueName::Ordinary, 0..2, 0).await?;
    let commitment = |k| {
        let commitment = emr_chain::rsa_commitment(&rsa(2048).modulus(), &[1, 0, 1], kem(k));
        BigUint::from_bytes_be(&commitment.to_be_bytes32())
    };
    assert_eq!(entries[0].words, register_entry(hospital.get(), 3, 0, &rollup_key(77), &commitment(77)));
    assert_eq!(entries[1].words, register_entry(index.get(), 2, hospital.get(), &rollup_key(5), &commitment(5)));
    Ok(())
}

async fn only_a_hospital_endorses(world: World) -> Outcome {
    let doctor = account(DOCTOR)?.address();
    // Strangers, patients, and hospitals that are not admitted yet cannot endorse, and nobody can join them.
    let endorse = || world.rollup.contract().endorse(doctor);
    assert_eq!(world.refusal(HOSPITAL, endorse()).await?, Revert::NotAdmittedHospital(0));
    let (other, _) = world.rollup.register_for(&world.sign(PATIENT, patient(1))?).await?;
    assert_eq!(world.refusal(PATIENT, endorse()).await?, Revert::NotAdmittedHospital(other.get()));
    let (pending, _) = world.as_account(HOSPITAL).await?.register(&world.hospital(77)?).await?;
    assert_eq!(world.refusal(HOSPITAL, endorse()).await?, Revert::NotAdmittedHospital(pending.get()));
    let withdraw = world.rollup.contract().withdrawEndorsement(doctor);
    assert_eq!(world.refusal(HOSPITAL, withdraw).await?, Revert::NotAdmittedHospital(pending.get()));

    for org in [other, pending, AccountIndex::new(99)?] {
        let joined = world.as_account(DOCTOR).await?.register(&world.doctor(5, Some(org))?).await.err();
        let refused = joined.and_then(|error| error.revert().cloned());
        assert_eq!(refused, Some(Revert::NotAdmittedHospital(org.get())));
    }
    // An endorsement is for one address only.
    world.admit(pending).await?;
    world.as_account(HOSPITAL).await?.endorse(account(PATIENT)?.address()).await?;
    let joined = world.as_account(DOCTOR).await?.register(&world.doctor(5, Some(pending))?).await.err();
    let refused = joined.and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(Revert::NotEndorsed { hospital: pending.get(), doctor }));
    Ok(())
}

async fn an_endorsement_can_be_withdrawn(world: World) -> Outcome {
    let doctor = account(DOCTOR)?.address();
    let hospital = world.admitted_hospital().await?;
    let consenting = world.as_account(HOSPITAL).await?;
    consenting.endorse(doctor).await?;
    let (index, _) = world.as_account(DOCTOR).await?.register(&world.doctor(5, Some(hospital))?).await?;
    consenting.withdraw_endorsement(doctor).await?;
    let registrar = world.as_account(REGISTRAR).await?;
    let waiting = registrar.pending(index).await?.ok_or("nothing waits")?;
    let refused = registrar.admit(&waiting).await.err();
    let not_endorsed = Revert::NotEndorsed { hospital: hospital.get(), doctor };
    assert_eq!(refused.and_then(|error| error.revert().cloned()), Some(not_endorsed));
    assert_eq!(world.registrations().await?.length, 1);
    consenting.endorse(doctor).await?;
    world.admit(index).await?;
    Ok(())
}

/// After a reorganisation, the account index may belong to another registration. So the registrar admits a
/// registration, not a number.
async fn only_what_was_looked_at(world: World) -> Outcome {
    let registrar = world.as_account(REGISTRAR).await?;
    let (doctor, _) = world.as_account(DOCTOR).await?.register(&world.doctor(5, None)?).await?;
    let pending = registrar.pending(doctor).await?.ok_or("nothing waits")?;
    let commitment = emr_chain::rsa_commitment(&rsa(2048).modulus(), &[1, 0, 1], kem(5));
    let expected = PendingRegistration {
        account: doctor,
        owner: account(DOCTOR)?.address(),
        role: Role::Doctor,
        org: None,
        key: rollup_key(5).bytes(),
        commitment,
    };
    assert_eq!(pending, expected);

    let others = [
        PendingRegistration { owner: Address::ZERO, ..pending },
        PendingRegistration { role: Role::Hospital, ..pending },
        PendingRegistration { org: Some(doctor), ..pending },
        PendingRegistration { key: rollup_key(6).bytes(), ..pending },
        PendingRegistration { commitment: Opaque::of(b"another RSA key"), ..pending },
    ];
    for (case, other) in others.iter().enumerate() {
        let refused = registrar.admit(other).await.err().and_then(|error| error.revert().cloned());
        assert_eq!(refused, Some(Revert::RegistrationChanged(doctor.get())), "case {case}");
    }
    registrar.admit(&pending).await?;
    assert_eq!(registrar.pending(doctor).await?, None);
    assert!(world.rollup.contract().registrationHash(org(doctor)).call().await?.is_zero());
    Ok(())
}

async fn suspension(world: World) -> Outcome {
    let registrar = world.as_account(REGISTRAR).await?;
    let contract = world.rollup.contract();
    let (doctor, _) = world.as_account(DOCTOR).await?.register(&world.doctor(5, None)?).await?;
    let (pending, id) = (doctor.get(), org(doctor));

    assert_eq!(world.refusal(REGISTRAR, contract.reinstate(id)).await?, Revert::NotSuspended(pending));
    registrar.suspend(doctor).await?;
    assert_eq!(world.rollup.account(doctor).await?.map(|account| account.standing), Some(Standing::Withheld));
    assert_eq!(world.refusal(REGISTRAR, contract.admit(id, nobody())).await?, Revert::NotPending(pending));
    assert_eq!(world.refusal(REGISTRAR, contract.suspend(id)).await?, Revert::NotPending(pending));
    registrar.reinstate(doctor).await?;
    world.admit(doctor).await?;
    assert_eq!(world.registrations().await?.length, 1);

    // An account is admitted only once.
    assert_eq!(world.refusal(REGISTRAR, contract.admit(id, nobody())).await?, Revert::NotPending(pending));
    assert_eq!(world.refusal(REGISTRAR, contract.reinstate(id)).await?, Revert::NotSuspended(pending));
    // The registrar has no say over patients.
    let (patient, _) = world.rollup.register_for(&world.signed_patient(PATIENT, 1)?).await?;
    assert_eq!(world.rollup.account(patient).await?.map(|account| account.role), Some(Role::Patient));
    let (number, id) = (patient.get(), org(patient));
    assert_eq!(world.refusal(REGISTRAR, contract.suspend(id)).await?, Revert::PatientsAreNotSuspended(number));
    assert_eq!(world.refusal(REGISTRAR, contract.admit(id, nobody())).await?, Revert::NotPending(number));
    // An account that does not exist is refused too.
    assert_eq!(world.refusal(REGISTRAR, contract.admit(U24::from(50), nobody())).await?, Revert::NotPending(50));
    assert_eq!(world.refusal(REGISTRAR, contract.suspend(U24::from(50))).await?, Revert::NotPending(50));
    Ok(())
}
