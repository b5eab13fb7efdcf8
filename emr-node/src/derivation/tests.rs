use emr_core::Role;
use emr_rollup::{
    l1_operation::Register,
    primitive::{eddsa::SigningKey, field::Fr},
};

use super::*;

/// An Ethereum node does not decide which account seals batches and sees witnesses.
#[test]
fn the_hospital_is_a_hospital_and_stays_the_same() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let anchor =
        crate::mempool::Anchor { chain_id: 1, contract: String::new(), deployed_at: 0, block_hash: String::new() };
    let mempool = Mempool::open(folder.path(), &anchor)?;
    let domain = Domain::new(31337, [7; 20]);
    let mut queue = Vec::new();
    for (number, role) in [(1, Role::Patient), (2, Role::Hospital), (3, Role::Hospital)] {
        let (account, key) = (AccountIndex::new(number)?, SigningKey::from_seed(&[number as u8; 32]).public());
        queue.push(Register { account, role, org: None, key, encryption: Fr::from(number) }.into());
    }
    let told_of = |hospital: Option<u64>, queue: &[L1Operation]| {
        let hospital = hospital.map(AccountIndex::new).transpose()?;
        let waiting = PerQueue { ordinary: queue.to_vec(), ..PerQueue::default() };
        let queues = L1Queues::new(PerQueue::default(), waiting);
        let view = L1Data { batches: Vec::new(), queues, hospital, from_block: 0, final_block: u64::MAX };
        let base = SettledLedger::genesis(domain, Arc::new(CircuitSizes::v1()));
        Ok::<_, Box<dyn std::error::Error>>(derive(&mempool, base, view))
    };
    let told = |hospital| told_of(hospital, &queue);
    assert!(matches!(told(Some(1))?, Err(DerivationError::NotHospital(account)) if account.get() == 1));
    assert_eq!(told(None)?.map(|state| state.hospital)?, None);
    // The account is not registered yet.
    assert_eq!(told(Some(4))?.map(|state| state.hospital)?, None);
    let mut state = told(Some(2))??;
    assert_eq!(state.hospital, Some(AccountIndex::new(2)?));
    // The registration is only queued: L1 may still undo it.
    assert_eq!(told(Some(3))??.hospital, Some(AccountIndex::new(3)?));
    assert_eq!(mempool.hospital()?, None);

    state.settled = Arc::clone(&state.soft);
    let found = hospital(None, &state, Some(AccountIndex::new(2)?))?;
    assert_eq!(found.account, state.hospital);
    mempool.apply_derived(&DerivedChanges { hospital: found.pin, ..DerivedChanges::default() })?;
    let is_other =
        |told: &Result<_, _>| matches!(told, Err(DerivationError::OtherHospital { settled }) if settled.get() == 2);
    for other in [Some(1), Some(3), Some(4)] {
        assert!(is_other(&told(other)?), "{other:?}");
    }
    // Its account may have another owner on L1, and then belongs to this hospital all the same, as long as the state has it.
    for same in [None, Some(2)] {
        assert_eq!(told(same)??.hospital, state.hospital);
    }
    assert!(is_other(&told_of(None, &queue[..1])?));
    Ok(())
}
