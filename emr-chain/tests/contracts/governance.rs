//! The offices of the rollup, through this crate: proposals, votes, offers, halts, the bond. The rules themselves are tested in
//! `contracts/test/forge`.

use alloy::primitives::{Address, B256, U256};
use emr_chain::{
    Change, Deployment, GovernanceRefusal, Officers, ProposalState, Revert, RollupError, SettlementLayer, Size,
};
use emr_testkit::{
    Outcome,
    chain::{Node, account},
};

use crate::{
    on_each_chain,
    world::{DOCTOR, HOSPITAL, HOUR, PATIENT, REGISTRAR, SEQUENCER, World, deployment, nobody, operations, refusal},
};

const DAY: u64 = 24 * HOUR;
/// Some blocks of this chain are ahead of its clock.
const SOON: u64 = 600;

on_each_chain!(
    registrars_change_through_the_timelock,
    registrars_replace_the_sequencer_and_the_sizes,
    hospitals_replace_the_sequencer,
    a_sequencer_passes_the_office_on,
    guardians_halt_and_cancel,
    an_overdue_entry_takes_from_the_bond,
);

fn governance<T>(answer: Result<T, RollupError>) -> Option<GovernanceRefusal> {
    match answer.err()?.revert()? {
        Revert::Governance(refusal) => Some(refusal.clone()),
        _ => None,
    }
}

fn address(n: u8) -> Outcome<Address> {
    Ok(account(n)?.address())
}

impl World {
    /// A rollup with two guardians, the doctor and the hospital, who must agree, and a forfeit.
    async fn guarded(node: Node) -> Outcome<Self> {
        let guardians = vec![address(DOCTOR)?, address(HOSPITAL)?];
        let officers = Officers { guardians, threshold: 2, forfeit: U256::from(1000), ..deployment(0)?.officers };
        Self::deployed(node, &Deployment { officers, ..deployment(0)? }).await
    }

    /// Proposes a change as account `n`, and lets the time pass after which it can be executed.
    async fn proposed(&self, n: u8, change: &Change) -> Outcome<(B256, B256)> {
        let salt = B256::repeat_byte(n + 1);
        let (id, _) = self.as_account(n).await?.propose(change, salt).await?;
        self.wait(14 * DAY + SOON).await?;
        Ok((id, salt))
    }

    async fn state_of(&self, id: B256) -> Outcome<(Option<Change>, ProposalState)> {
        let all = self.rollup.proposals().await?;
        let found = all.into_iter().find(|proposal| proposal.id == id).ok_or("no such proposal")?;
        Ok((found.change, found.state))
    }
}

async fn registrars_change_through_the_timelock(world: World) -> Outcome {
    let registrar = world.as_account(REGISTRAR).await?;
    let (other, anyone) = (world.as_account(HOSPITAL).await?, world.as_account(DOCTOR).await?);
    let add = Change::AddRegistrar(address(HOSPITAL)?);
    let salt = B256::repeat_byte(1);
    // The sequencer proposes nothing.
    for n in [SEQUENCER, HOSPITAL] {
        let refused = governance(world.as_account(n).await?.propose(&add, salt).await);
        assert_eq!(refused, Some(GovernanceRefusal::NotInOffice(address(n)?)));
    }
    let (id, _) = registrar.propose(&add, salt).await?;
    assert!(matches!(world.state_of(id).await?, (Some(change), ProposalState::Waiting(_)) if change == add));
    world.wait(14 * DAY - SOON).await?;
    assert_eq!(governance(anyone.execute(&add, salt).await), Some(GovernanceRefusal::ProposalState(id)));
    world.wait(2 * SOON).await?;
    // Another change, or another salt, is another proposal.
    let other_change = Change::AddRegistrar(address(DOCTOR)?);
    assert!(matches!(governance(anyone.execute(&other_change, salt).await), Some(GovernanceRefusal::ProposalState(_))));
    anyone.execute(&add, salt).await?;
    assert_eq!(world.state_of(id).await?.1, ProposalState::Done);
    assert_eq!(world.rollup.parameters().await?.registrars, [address(REGISTRAR)?, address(HOSPITAL)?]);
    assert_eq!(governance(anyone.execute(&add, salt).await), Some(GovernanceRefusal::ProposalState(id)));

    // A registrar does not stop the proposal that ends their office.
    let end = Change::RemoveRegistrar(address(REGISTRAR)?);
    let (id, salt) = world.proposed(HOSPITAL, &end).await?;
    assert_eq!(
        governance(registrar.withdraw_proposal(id).await),
        Some(GovernanceRefusal::NotProposer(address(REGISTRAR)?))
    );
    anyone.execute(&end, salt).await?;
    let refused = world.refusal(REGISTRAR, world.rollup.contract().admit(Default::default(), nobody())).await?;
    assert_eq!(refused, Revert::NotRegistrar(address(REGISTRAR)?));
    // The last one stays.
    let last = Change::RemoveRegistrar(address(HOSPITAL)?);
    let (_, salt) = world.proposed(HOSPITAL, &last).await?;
    assert_eq!(governance(anyone.execute(&last, salt).await), Some(GovernanceRefusal::RegistrarRequired));
    // What was proposed can be withdrawn.
    let (id, _) = other.propose(&Change::Delay(30 * DAY), B256::ZERO).await?;
    other.withdraw_proposal(id).await?;
    assert_eq!(world.state_of(id).await?.1, ProposalState::Cancelled);
    Ok(())
}

async fn registrars_replace_the_sequencer_and_the_sizes(world: World) -> Outcome {
    let anyone = world.as_account(DOCTOR).await?;
    let appoint = Change::Appoint(address(HOSPITAL)?);
    let (_, salt) = world.proposed(REGISTRAR, &appoint).await?;
    anyone.execute(&appoint, salt).await?;
    let batch = world.batch(Vec::new(), operations(1)).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, Some(Revert::NotSequencer(address(SEQUENCER)?)));
    let next = world.as_account(HOSPITAL).await?;
    assert_eq!(refusal(&world, &next, &batch).await?, None);

    let offices = world.rollup.offices().await?;
    assert_eq!((offices.sequencer, offices.sizes_revision), (address(HOSPITAL)?, 0));
    let before = world.rollup.sizes().await?;
    let sizes = vec![Size { max_l1: before[0].max_l1 + 1, ..before[0] }];
    let change = Change::Sizes { circuit_version: 2, sizes: sizes.clone() };
    let (_, salt) = world.proposed(REGISTRAR, &change).await?;
    anyone.execute(&change, salt).await?;
    let now = world.rollup.parameters().await?;
    assert_eq!((now.sizes, now.circuit_version), (sizes, 2));
    assert_eq!(world.rollup.offices().await?.sizes_revision, 1);
    let second = emr_chain::BatchContent { size: 1, ..world.batch(Vec::new(), operations(1)).await? };
    assert!(matches!(refusal(&world, &next, &second).await?, Some(Revert::UnknownSize { .. })));
    // A verifier without code fails, as at the deployment.
    let nothing =
        Change::Sizes { circuit_version: 3, sizes: vec![Size { verifier: Address::repeat_byte(1), ..before[0] }] };
    let (_, salt) = world.proposed(REGISTRAR, &nothing).await?;
    let refused = anyone.execute(&nothing, salt).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(Revert::InvalidParameter("verifier".to_owned())));
    let fee = Change::RegistrationFee(U256::from(5));
    let (_, salt) = world.proposed(REGISTRAR, &fee).await?;
    anyone.execute(&fee, salt).await?;
    assert_eq!(world.rollup.parameters().await?.registration_fee, U256::from(5));
    Ok(())
}

async fn hospitals_replace_the_sequencer(world: World) -> Outcome {
    let hospital = world.admitted_hospital().await?;
    let voter = world.as_account(HOSPITAL).await?;
    assert!(matches!(governance(voter.vote(Some(hospital)).await), Some(GovernanceRefusal::VotesFrom(_))));
    world.wait(30 * DAY + SOON).await?;
    let nobody = world.as_account(DOCTOR).await?;
    assert_eq!(
        governance(nobody.vote(Some(hospital)).await),
        Some(GovernanceRefusal::NotActiveHospital(address(DOCTOR)?))
    );
    let account = hospital.get();
    assert_eq!(governance(voter.install().await), Some(GovernanceRefusal::NotElected { account, from: 0 }));
    voter.vote(Some(hospital)).await?;
    let offices = world.rollup.offices().await?;
    assert_eq!((offices.elected, offices.voters), (Some(hospital), 1));
    assert_eq!(world.rollup.votes_for(hospital).await?, 1);
    let from = offices.elected_from.ok_or("no time")?.get();
    assert_eq!(governance(voter.install().await), Some(GovernanceRefusal::NotElected { account, from }));
    world.wait(2 * DAY + SOON).await?;
    // Who took the vote back is not elected any more.
    voter.vote(None).await?;
    assert_eq!(governance(voter.install().await), Some(GovernanceRefusal::NotElected { account, from: 0 }));
    voter.vote(Some(hospital)).await?;
    world.wait(2 * DAY + SOON).await?;
    nobody.count_votes(hospital).await?;
    voter.install().await?;
    // The hospital's own registration is overdue, so anyone may settle it. Operations are the sequencer's alone.
    let batch = world.batch(world.ordinary(0..1).await?, operations(1)).await?;
    let refused = refusal(&world, &world.rollup, &batch).await?;
    assert_eq!(refused, Some(Revert::OperationsBySequencerOnly(address(SEQUENCER)?)));
    assert_eq!(refusal(&world, &voter, &batch).await?, None);
    Ok(())
}

async fn a_sequencer_passes_the_office_on(world: World) -> Outcome {
    let (next, third) = (world.as_account(DOCTOR).await?, world.as_account(HOSPITAL).await?);
    world.rollup.deposit_bond(address(SEQUENCER)?, U256::from(77)).await?;
    assert_eq!(governance(world.rollup.withdraw_bond(address(DOCTOR)?).await), Some(GovernanceRefusal::BondLocked));
    let not_offered = |n| address(n).map(|caller| Some(GovernanceRefusal::NotOffered(caller)));
    assert_eq!(governance(third.offer_office(Some(address(HOSPITAL)?)).await), not_offered(HOSPITAL)?);
    world.rollup.offer_office(Some(address(DOCTOR)?)).await?;
    assert_eq!(world.rollup.offices().await?.offered_to, Some(address(DOCTOR)?));
    assert_eq!(governance(third.accept_office().await), not_offered(HOSPITAL)?);
    world.rollup.offer_office(None).await?;
    assert_eq!(governance(next.accept_office().await), not_offered(DOCTOR)?);
    world.rollup.offer_office(Some(address(DOCTOR)?)).await?;
    next.accept_office().await?;
    let offices = world.rollup.offices().await?;
    assert_eq!((offices.sequencer, offices.bond, offices.offered_to), (address(DOCTOR)?, U256::from(77), None));
    assert_eq!(governance(world.rollup.withdraw_bond(address(DOCTOR)?).await), Some(GovernanceRefusal::BondLocked));
    world.wait(31 * DAY).await?;
    assert_eq!(
        governance(world.rollup.withdraw_bond(address(DOCTOR)?).await),
        Some(GovernanceRefusal::NoBond(address(SEQUENCER)?))
    );
    let batch = world.batch(Vec::new(), operations(1)).await?;
    assert_eq!(refusal(&world, &next, &batch).await?, None);
    Ok(())
}

async fn guardians_halt_and_cancel(world: World) -> Outcome {
    let world = World::guarded(world.node).await?;
    let (one, two) = (world.as_account(DOCTOR).await?, world.as_account(HOSPITAL).await?);
    assert_eq!(
        governance(world.rollup.agree_to_halt().await),
        Some(GovernanceRefusal::NotInOffice(address(SEQUENCER)?))
    );
    one.agree_to_halt().await?;
    assert_eq!(world.rollup.last_halt().await?, None);
    let batch = world.batch(Vec::new(), operations(1)).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    two.agree_to_halt().await?;
    let halt = world.rollup.last_halt().await?.ok_or("no halt")?;
    assert_eq!(halt.until.get() - halt.from.get(), 21 * DAY);
    let batch = world.batch(Vec::new(), operations(1)).await?;
    let until = halt.until.get();
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, Some(Revert::SettlementHalted { until }));
    world.wait(60).await?;
    one.agree_to_resume().await?;
    two.agree_to_resume().await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    assert_eq!(governance(one.agree_to_resume().await), None);
    assert_eq!(governance(two.agree_to_resume().await), Some(GovernanceRefusal::NotHalted));
    world.wait(60).await?;
    one.agree_to_halt().await?;
    let from = halt.from.get() + 180 * DAY;
    assert_eq!(governance(two.agree_to_halt().await), Some(GovernanceRefusal::HaltedBefore { from }));

    let appoint = Change::Appoint(address(REGISTRAR)?);
    let (id, salt) = world.proposed(REGISTRAR, &appoint).await?;
    one.agree_to_veto(id).await?;
    assert!(matches!(world.state_of(id).await?.1, ProposalState::Waiting(_)));
    two.agree_to_veto(id).await?;
    assert_eq!(world.state_of(id).await?.1, ProposalState::Cancelled);
    assert_eq!(governance(one.execute(&appoint, salt).await), Some(GovernanceRefusal::ProposalState(id)));
    Ok(())
}

/// The sequencer leaves an entry out until somebody else settles it: its owner is paid, once, and nobody else.
async fn an_overdue_entry_takes_from_the_bond(world: World) -> Outcome {
    let world = World::guarded(world.node).await?;
    world.rollup.deposit_bond(address(SEQUENCER)?, U256::from(1500)).await?;
    world.admitted_hospital().await?;
    let registration = world.batch(world.ordinary(0..1).await?, Vec::new()).await?;
    assert_eq!(refusal(&world, &world.rollup, &registration).await?, None);
    let owner = world.as_account(HOSPITAL).await?;
    assert_eq!(owner.claim_forfeit(0, address(PATIENT)?).await?, None);
    owner.contract().closeAccount().send().await?.get_receipt().await?;
    let stranger = world.as_account(DOCTOR).await?;
    world.wait(6 * HOUR + 60).await?;
    let late = world.batch(world.urgent(0..1).await?, Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &late).await?, None);
    assert_eq!(governance(stranger.claim_forfeit(0, address(DOCTOR)?).await), Some(GovernanceRefusal::NoForfeit(0)));
    let claim = owner.claim_forfeit(0, address(PATIENT)?).await?.ok_or("nothing was late")?;
    assert_eq!((claim.sequencer, claim.amount), (address(SEQUENCER)?, U256::from(1000)));
    assert_eq!(governance(owner.claim_forfeit(0, address(PATIENT)?).await), Some(GovernanceRefusal::NoForfeit(0)));
    assert_eq!(world.rollup.offices().await?.bond, U256::from(500));
    assert!(world.rollup.head().await?.queues.urgent.waiting().is_empty());
    Ok(())
}
