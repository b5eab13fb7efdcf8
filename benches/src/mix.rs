//! The batches that are measured.

use std::error::Error;

use clap::ValueEnum;
use emr_core::{
    AccountEpoch, AccountIndex, Class, ClassMask, GrantSlot, Purpose, Reason, RecordSlot, RecordStatus, Revision,
    Rights, Role, UnixTime, Uses, Version,
};
use emr_rollup::{
    batch::{Batch, Sealed},
    l1_operation::Register,
    operation::{Action, CLIENT_VALIDITY, Domain, Operation, PutRecord, RequestAccess, SetGrant},
    primitive::{eddsa::SigningKey, field::Fr},
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        ledger::Ledger,
    },
    version::CircuitVersion,
};
use serde::Serialize;

/// What the operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mix {
    /// Every operation is a grant of another patient
    Grants,
    /// Every operation is a record of another doctor for another patient: no account is used twice
    Distinct,
    /// 20 doctors, 200 patients: 70% records, 10% grants, 20% requests
    Hospital,
}

const HOSPITAL: u64 = 1;
const DOCTORS: u64 = 20;
const PATIENTS: u64 = 200;

/// Accounts, their keys and a clock.
struct World {
    domain: Domain,
    now: UnixTime,
}

impl World {
    fn key(index: u64) -> SigningKey {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&index.to_be_bytes());
        SigningKey::from_seed(&seed)
    }

    fn register(&self, ledger: &mut Ledger, index: u64, role: Role, org: Option<u64>) -> Result<(), Box<dyn Error>> {
        let operation = Register {
            account: AccountIndex::new(index)?,
            role,
            org: org.map(AccountIndex::new).transpose()?,
            key: Self::key(index).public(),
            encryption: Fr::from(index),
        };
        ledger.consume(&operation.into(), self.now)?;
        Ok(())
    }

    fn push(
        &self,
        batch: &mut Batch<emr_rollup::batch::Open>,
        [signer, patient]: [u64; 2],
        action: Action,
        authority: Option<GrantSlot>,
        salt: u64,
    ) -> Result<(), Box<dyn Error>> {
        let operation = Operation {
            signer: AccountIndex::new(signer)?,
            signer_epoch: AccountEpoch::FIRST,
            patient: AccountIndex::new(patient)?,
            patient_epoch: AccountEpoch::FIRST,
            valid_until: self.now.saturating_add(CLIENT_VALIDITY),
            salt: Fr::from(salt),
            action,
        };
        batch.push(&operation.sign(self.domain, &Self::key(signer), authority))?;
        Ok(())
    }

    fn grant(&self, slot: GrantSlot, grantee: u64, directory: [u64; 2]) -> Result<Action, Box<dyn Error>> {
        Ok(Action::SetGrant(SetGrant {
            slot,
            expected: Version::ZERO,
            leaf: GrantLeaf {
                grantee: Some(AccountIndex::new(grantee)?),
                rights: Rights::READ | Rights::WRITE,
                scope: ClassMask::ALL,
                not_after: self.now.saturating_add(86_400),
                uses: Uses::ZERO,
                version: Version::new(1)?,
                salt: Fr::from(grantee),
            },
            directory_before: Fr::from(directory[0]).into(),
            directory_after: Fr::from(directory[1]).into(),
        }))
    }
}

/// A doctor's new record, in the custody of a hospital or of nobody.
fn record(slot: u64, author: u64, custodian: Option<u64>) -> Result<Action, Box<dyn Error>> {
    let leaf = RecordLeaf {
        status: RecordStatus::Live,
        class: Class::Laboratory,
        author: AccountIndex::new(author)?,
        custodian: custodian.map(AccountIndex::new).transpose()?,
        version: Version::new(1)?,
        revision: Revision::new(1)?,
        authored: Fr::from(1000 + slot),
        stored: Fr::from(2000 + slot),
    };
    Ok(Action::PutRecord(PutRecord { slot: RecordSlot::new(slot)?, expected: Revision::new(0)?, leaf }))
}

/// The first batch of a rollup, sealed, of so many operations at this time. Accounts and earlier operations, of the same time, are in its state already, so the state before
/// it does not depend on the domain.
///
/// # Errors
/// Fails if `version` holds fewer operations.
pub fn batch(
    mix: Mix,
    version: CircuitVersion,
    (domain, now): (Domain, UnixTime),
    operations: usize,
) -> Result<Batch<Sealed>, Box<dyn Error>> {
    let world = World { domain, now };
    let ledger = Ledger::genesis(world.domain, version);
    match mix {
        Mix::Grants => grants(&world, ledger, operations as u64),
        Mix::Distinct => distinct(&world, ledger, operations as u64),
        Mix::Hospital => hospital(&world, ledger, version, operations as u64),
    }
}

fn grants(world: &World, mut ledger: Ledger, operations: u64) -> Result<Batch<Sealed>, Box<dyn Error>> {
    for index in 1..=operations {
        world.register(&mut ledger, index, Role::Patient, None)?;
    }
    let mut batch = Batch::open(ledger, 1, world.now);
    for index in 1..=operations {
        let action = world.grant(GrantSlot::FIRST_ORDINARY, 1 + index % operations, [0, index])?;
        world.push(&mut batch, [index, index], action, None, index)?;
    }
    Ok(batch.seal().0)
}

fn distinct(world: &World, mut ledger: Ledger, operations: u64) -> Result<Batch<Sealed>, Box<dyn Error>> {
    let doctor_of = |patient| operations + patient;
    for patient in 1..=operations {
        world.register(&mut ledger, patient, Role::Patient, None)?;
        world.register(&mut ledger, doctor_of(patient), Role::Doctor, None)?;
    }
    let granted = GrantSlot::FIRST_ORDINARY;
    let mut batch = Batch::open(ledger, 1, world.now);
    for patient in 1..=operations {
        let action = world.grant(granted, doctor_of(patient), [0, 1])?;
        world.push(&mut batch, [patient, patient], action, None, patient)?;
    }
    let mut batch = Batch::open(batch.seal().1, 1, world.now);
    for patient in 1..=operations {
        let doctor = doctor_of(patient);
        world.push(&mut batch, [doctor, patient], record(patient, doctor, None)?, Some(granted), patient)?;
    }
    Ok(batch.seal().0)
}

fn hospital(
    world: &World,
    mut ledger: Ledger,
    version: CircuitVersion,
    operations: u64,
) -> Result<Batch<Sealed>, Box<dyn Error>> {
    world.register(&mut ledger, HOSPITAL, Role::Hospital, None)?;
    let doctors = HOSPITAL + 1..HOSPITAL + 1 + DOCTORS;
    let patients: Vec<_> = (doctors.end..doctors.end + PATIENTS).collect();
    for doctor in doctors.clone() {
        world.register(&mut ledger, doctor, Role::Doctor, Some(HOSPITAL))?;
    }
    for patient in &patients {
        world.register(&mut ledger, *patient, Role::Patient, None)?;
    }
    // Every patient has granted the hospital access before.
    let granted = GrantSlot::FIRST_ORDINARY;
    // In batches of the standard size, however small the one is that is measured.
    let standard = CircuitVersion { max_l2: version.max_l2.max(CircuitVersion::V1.max_l2), ..version };
    for patients in patients.chunks(standard.max_l2) {
        let mut batch = Batch::open(ledger, 1, world.now).in_sizes(standard.into());
        for patient in patients {
            let action = world.grant(granted, HOSPITAL, [0, 1])?;
            world.push(&mut batch, [*patient, *patient], action, None, *patient)?;
        }
        ledger = batch.seal().1;
    }
    let mut batch = Batch::open(ledger, 1, world.now);
    // A fixed stride instead of chance: doctors and patients repeat as they do in a hospital.
    for i in 0..operations {
        let doctor = doctors.start + i * 7 % DOCTORS;
        let patient = patients[(i * 37 % PATIENTS) as usize];
        // How often this patient had the same kind of operation before.
        let before = i / PATIENTS;
        match i % 10 {
            0..7 => {
                let put = record(i, doctor, Some(HOSPITAL))?;
                world.push(&mut batch, [doctor, patient], put, Some(granted), i)?;
            }
            7 => {
                let slot = GrantSlot::new(granted.get() + 1 + before)?;
                let action = world.grant(slot, doctor, [1 + before, 2 + before])?;
                world.push(&mut batch, [patient, patient], action, None, i)?;
            }
            _ => {
                let purpose = Purpose { reason: Reason::Treatment, class: Class::Laboratory };
                let expected = Uses::new(before)?;
                let request = RequestAccess { slot: granted, version: Version::new(1)?, expected, purpose };
                world.push(&mut batch, [doctor, patient], Action::RequestAccess(request), None, i)?;
            }
        }
    }
    Ok(batch.seal().0)
}
