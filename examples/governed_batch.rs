//! Executes a batch of governed operations and checks it against the statement. Uses only `emr-rollup`, without a
//! prover.
//!
//! `cargo run --release --example governed_batch`

use std::error::Error;

use emr_core::{AccountEpoch, AccountIndex, Class, GrantSlot, Purpose, Reason, Rights, Role, UnixTime, Uses, Version};
use emr_rollup::{
    batch::Batch,
    l1_operation::Register,
    operation::{Action, CLIENT_VALIDITY, Domain, Operation, RequestAccess, SetGrant},
    primitive::{eddsa::SigningKey, field::Fr},
    state::{StateTrees, leaf::GrantLeaf, ledger::Ledger},
    statement::check_batch,
    version::CircuitVersion,
};

fn main() -> Result<(), Box<dyn Error>> {
    let domain = Domain::new(31337, [0x11; 20]);
    let (doctor, patient) = (AccountIndex::new(1)?, AccountIndex::new(2)?);
    let (doctor_key, patient_key) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
    let now = UnixTime::now();
    let mut batch = Batch::open(Ledger::genesis(domain, CircuitVersion::V1), 1, now);
    for (account, role, key) in [(doctor, Role::Doctor, &doctor_key), (patient, Role::Patient, &patient_key)] {
        let encryption = Fr::from(account.get());
        batch.push_l1(&Register { account, role, org: None, key: key.public(), encryption }.into())?;
    }

    let slot = GrantSlot::FIRST_ORDINARY;
    let operation = |signer, salt: u64, action| Operation {
        signer,
        signer_epoch: AccountEpoch::FIRST,
        patient,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: now.saturating_add(CLIENT_VALIDITY),
        salt: Fr::from(salt),
        action,
    };
    let request = Action::RequestAccess(RequestAccess {
        slot,
        version: Version::ZERO.next()?,
        expected: Uses::ZERO,
        purpose: Purpose { reason: Reason::Treatment, class: Class::Laboratory },
    });
    let request = operation(doctor, 1, request).sign(domain, &doctor_key, None);
    println!("before the grant: {}", batch.push(&request).err().ok_or("a request without a grant went through")?);

    let grant = Action::SetGrant(SetGrant {
        slot,
        expected: Version::ZERO,
        leaf: GrantLeaf {
            grantee: Some(doctor),
            rights: Rights::READ,
            scope: Class::Laboratory.into(),
            not_after: now.saturating_add(30 * 86_400),
            uses: Uses::ZERO,
            version: Version::new(1)?,
            salt: Fr::from(77),
        },
        directory_before: Fr::from(0).into(),
        directory_after: Fr::from(88).into(),
    });
    batch.push(&operation(patient, 2, grant).sign(domain, &patient_key, None))?;
    batch.push(&request)?;

    let (sealed, ledger) = batch.seal();
    check_batch(sealed.witness(), sealed.public())?;
    println!("after it: batch {} with {} operations satisfies the statement", sealed.number(), sealed.data().d2.len());

    // Anyone can compute the same state from the batch's data alone.
    let mut trees = StateTrees::genesis(CircuitVersion::V1);
    trees.apply(sealed.data(), sealed.time())?;
    assert_eq!(trees.root(), ledger.trees().root());
    println!("state root, also from the data alone: {}", trees.root());
    Ok(())
}
