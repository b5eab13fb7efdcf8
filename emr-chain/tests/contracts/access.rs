//! The rights of the roles, and deployments that are refused.

use alloy::{
    primitives::{
        Address, B256, Bytes, U256,
        aliases::{U48, U96},
    },
    providers::Provider,
    sol_types::SolCall,
};
use emr_chain::{
    DeployError, Deployment, GovernanceRefusal, Officers, Revert, Rollup, RollupError, SettlementLayer, SizeDeployment,
    VerifierCode,
    bindings::{EmrRollup::settleCall, IEmrRollup, IGovernance, ISettlement::Size},
    deploy, deploy_on_named_chain,
    endpoint::Endpoint,
};
use emr_devnet::{ChainConfig, EmbeddedChain};
use emr_testkit::{
    Outcome,
    chain::{Node, account, config},
};

use crate::{
    on_each_chain, reference,
    world::{
        DOCTOR, ExpectingVerifier, Newborn, PATIENT, REGISTRAR, SEQUENCER, World, deployment, nobody, operations,
        sizes, stranger,
    },
};

on_each_chain!(registrar_only, sequencer_only, not_through_a_contract, fees);

async fn registrar_only(world: World) -> Outcome {
    let contract = world.rollup.contract();
    let (doctor, _) = world.as_account(DOCTOR).await?.register(&world.doctor(5, None)?).await?;
    let id = alloy::primitives::aliases::U24::from(doctor.get());
    let candidate = nobody();
    for from in [SEQUENCER, DOCTOR] {
        let refused = Revert::NotRegistrar(account(from)?.address());
        assert_eq!(world.refusal(from, contract.admit(id, candidate.clone())).await?, refused);
        assert_eq!(world.refusal(from, contract.suspend(id)).await?, refused);
        assert_eq!(world.refusal(from, contract.reinstate(id)).await?, refused);
        let refused = Revert::Governance(GovernanceRefusal::ThroughTimelockOnly(account(from)?.address()));
        assert_eq!(world.refusal(from, contract.setSequencer(Address::ZERO)).await?, refused);
        assert_eq!(world.refusal(from, contract.setRegistrationFee(U256::ZERO)).await?, refused);
        assert_eq!(world.refusal(from, contract.setSizes(1, Vec::new())).await?, refused);
        assert_eq!(world.refusal(from, contract.halt()).await?, refused);
        assert_eq!(world.refusal(from, contract.resume()).await?, refused);
    }
    Ok(())
}

async fn sequencer_only(world: World) -> Outcome {
    let batch = world.batch(Vec::new(), operations(1)).await?;
    world.expect(&batch).await?;
    for from in [DOCTOR, REGISTRAR] {
        let refused =
            world.as_account(from).await?.settle(&batch).await.err().and_then(|error| error.revert().cloned());
        assert_eq!(refused, Some(Revert::NotSequencer(account(from)?.address())));
    }
    world.rollup.settle(&batch).await?;
    Ok(())
}

/// If another contract called `settle`, the batch data would not be in the transaction. Only the caller could then
/// compute the next state.
async fn not_through_a_contract(world: World) -> Outcome {
    world.register_patients(1).await?;
    world.wait(24 * crate::world::HOUR + 60).await?;
    // Anyone may settle now. The identity of a wallet contract would not matter.
    let wallet = world.wallet(account(PATIENT)?.address()).await?;
    let batch = world.batch(world.ordinary(0..1).await?, Vec::new()).await?;
    world.expect(&batch).await?;
    let word = |word: &[u8; 32]| U256::from_be_bytes(*word);
    let call = settleCall {
        batch: emr_chain::bindings::ISettlement::Batch {
            size: 0,
            urgent: 0,
            pre: word(batch.pre.as_bytes()),
            post: word(batch.post.as_bytes()),
            time: alloy::primitives::aliases::U40::from(batch.time.get()),
            commitment: word(&batch.commitment),
        },
        d1: batch.d1.as_flattened().iter().map(word).collect(),
        d2: Vec::new(),
        proof: batch.proof.clone().into(),
    };
    let through = wallet.execute(world.rollup.instance().contract, call.abi_encode().into());
    assert_eq!(world.refusal(SEQUENCER, through).await?, Revert::NotDirectCall(*wallet.address()));
    // A contract that is being created and has no code yet cannot settle either.
    let (to, data) = (world.rollup.instance().contract, call.abi_encode().into());
    let newborn = Newborn::deploy_builder(world.provider(), to, data).from(account(SEQUENCER)?.address());
    let refused = newborn.call_raw().await.err().map(RollupError::from).and_then(|error| error.revert().cloned());
    assert!(matches!(refused, Some(Revert::NotDirectCall(_))), "{refused:?}");
    // An account with code, as under EIP-7702, cannot settle even as the origin of the transaction.
    let from_code = world.rollup.contract().settle(call.batch, call.d1, call.d2, call.proof).from(*wallet.address());
    match from_code.call_raw().await.map_err(RollupError::from) {
        Err(RollupError::Reverted(revert)) => assert_eq!(revert, Revert::NotDirectCall(*wallet.address())),
        // A chain may refuse the sender itself (EIP-3607).
        Err(RollupError::Node { .. }) => {}
        other => return Err(format!("{other:?}").into()),
    }
    world.rollup.settle(&batch).await?;
    Ok(())
}

async fn fees(world: World) -> Outcome {
    let fee = 1_000_000_u64;
    let deployed = deploy(world.provider().clone(), &deployment(fee)?).await?;
    let world = World { rollup: deployed.rollup, ..world };
    assert_eq!(world.rollup.parameters().await?.registration_fee, U256::from(fee));
    world.register_patients(2).await?;
    let (to, contract) = (stranger()?.address(), world.rollup.instance().contract);
    assert_eq!(world.provider().get_balance(contract).await?, U256::from(2 * fee));

    for from in [DOCTOR, REGISTRAR] {
        let refused = Revert::NotSequencer(account(from)?.address());
        assert_eq!(world.refusal(from, world.rollup.contract().collectFees(to)).await?, refused);
    }
    // A recipient that does not accept ether.
    let wallet = *world.wallet(to).await?.address();
    let refused = world.refusal(SEQUENCER, world.rollup.contract().collectFees(wallet)).await?;
    assert_eq!(refused, Revert::TransferFailed(wallet));
    assert_eq!(world.rollup.collect_fees(to).await?.0, U256::from(2 * fee));
    assert_eq!(world.provider().get_balance(to).await?, U256::from(2 * fee));
    Ok(())
}

#[tokio::test]
async fn deployment_refuses_other_chains() -> Outcome {
    for (chain_id, allowed) in [(1, false), (11_155_111, false), (1337, true)] {
        let chain = EmbeddedChain::temporary(&ChainConfig { chain_id, ..config()? })?;
        let provider = Endpoint::in_process(chain.transport()).connect(Some(account(SEQUENCER)?))?;
        match deploy(provider.clone(), &deployment(0)?).await {
            Err(DeployError::NotADevelopmentChain(id)) => assert_eq!((id, allowed), (chain_id, false)),
            other => assert!(other.is_ok() && allowed, "{other:?}"),
        }
        // If it refused, it sent nothing.
        let sent = provider.get_transaction_count(account(SEQUENCER)?.address()).await?;
        assert_eq!(sent, if allowed { 8 } else { 0 });
    }
    Ok(())
}

/// With the keys of a ceremony, the operator names the chain. A node of another chain gets nothing, also if that is a
/// development chain.
#[tokio::test]
async fn deployment_with_a_ceremonys_keys_is_for_the_chain_that_was_named() -> Outcome {
    for (chain_id, named) in [(11_155_111, 11_155_111), (11_155_111, 1), (1337, 11_155_111)] {
        let chain = EmbeddedChain::temporary(&ChainConfig { chain_id, ..config()? })?;
        let provider = Endpoint::in_process(chain.transport()).connect(Some(account(SEQUENCER)?))?;
        let mut deployment = deployment(0)?;
        for (size, verifier_code) in deployment.sizes.iter_mut().zip(VerifierCode::development()) {
            size.verifier_code = verifier_code;
        }
        let deployed = deploy_on_named_chain(provider.clone(), &deployment, named).await;
        match deployed {
            Err(DeployError::OtherChain { named: said, found }) => assert_eq!((said, found), (named, chain_id)),
            deployed => {
                assert_eq!(chain_id, named);
                // The creation code of the key is ten bytes and the key.
                let keys = deployed?.rollup.verifying_keys().await?;
                assert_eq!(keys.len(), 3);
                for (key, code) in keys.iter().zip(VerifierCode::development()) {
                    assert_eq!(key[..], code.key[10..]);
                }
            }
        }
        let sent = provider.get_transaction_count(account(SEQUENCER)?.address()).await?;
        assert_eq!(sent, if chain_id == named { 8 } else { 0 });
    }
    Ok(())
}

#[tokio::test]
async fn deployment_refuses_bad_parameters() -> Outcome {
    let provider = Node::embedded()?.endpoint()?.connect(Some(account(SEQUENCER)?))?;
    let good = deployment(0)?;
    let with = |slots: &[(u64, u64)]| Deployment { sizes: sizes(slots), ..good.clone() };
    let bad = [
        (with(&[]), "sizes"),
        (with(&[(1, 1), (0, 1)]), "maxL1"),
        (with(&[(1, 0), (9, 0)]), "maxL2"),
        (Deployment { sequencer: Address::ZERO, ..good.clone() }, "sequencer"),
    ];
    for (deployment, name) in bad {
        match deploy(provider.clone(), &deployment).await {
            Err(DeployError::Rollup(error)) => {
                assert_eq!(error.revert(), Some(&Revert::InvalidParameter(name.to_owned())));
            }
            other => return Err(format!("{name}: {other:?}").into()),
        }
    }
    // The contract takes eight sizes at most. The creation code of a rollup with eight is too large already: an eighth comes by a proposal.
    let eight = deploy(provider.clone(), &with(&[(1, 1); 8])).await;
    assert!(matches!(eight, Err(DeployError::CreationCodeTooLarge(_))), "{eight:?}");
    let account = account(REGISTRAR)?.address();
    let officers = |registrars: &[Address], guardians: &[Address], threshold| {
        let (registrars, guardians) = (registrars.to_vec(), guardians.to_vec());
        Deployment { officers: Officers { registrars, guardians, threshold, forfeit: U256::ZERO }, ..good.clone() }
    };
    let threshold = |threshold: u64, guardians: u64| GovernanceRefusal::Threshold {
        threshold: U256::from(threshold),
        guardians: U256::from(guardians),
    };
    for (deployment, expected) in [
        (officers(&[], &[], 0), GovernanceRefusal::RegistrarRequired),
        (officers(&[account], &[account], 0), threshold(0, 1)),
        (officers(&[account], &[account, account], 2), threshold(2, 1)),
        (officers(&[account], &[], 1), threshold(1, 0)),
    ] {
        match deploy(provider.clone(), &deployment).await {
            Err(DeployError::Rollup(error)) => assert_eq!(error.revert(), Some(&Revert::Governance(expected))),
            other => return Err(format!("{expected:?}: {other:?}").into()),
        }
    }
    let too_many = deploy(provider.clone(), &with(&[(1, 1 << 48)])).await;
    assert!(matches!(too_many, Err(DeployError::SizeTooLarge { max_l1: 1, max_l2 }) if max_l2 == 1 << 48));
    assert!(deploy(provider.clone(), &with(&[(1, (1 << 48) - 1); 7])).await.is_ok());
    // Creation code that returns nothing creates no verifier and no key. The verifier refuses what is no key.
    let [_, VerifierCode { key, verifier }, _] = VerifierCode::development();
    let with_code = |verifier_code: VerifierCode| Deployment {
        sizes: vec![SizeDeployment { verifier_code, max_l1: 1, max_l2: 1 }],
        ..good.clone()
    };
    let empty = Bytes::from(vec![0x00]);
    let not_created = [
        ("the verifier", VerifierCode { key: key.clone(), verifier: empty.clone() }),
        ("the verifying key", VerifierCode { key: empty, verifier: verifier.clone() }),
    ];
    for (name, verifier_code) in not_created {
        let refused = deploy(provider.clone(), &with_code(verifier_code)).await;
        assert!(matches!(refused, Err(DeployError::NotCreated(contract)) if contract == name), "{name}");
    }
    let no_key = VerifierCode { key: ExpectingVerifier::BYTECODE.clone(), verifier };
    assert!(deploy(provider, &with_code(no_key)).await.is_err());
    Ok(())
}

/// The contract refuses a verifier without code, because a call to it would always succeed, and a root that is not a
/// field element.
#[tokio::test]
async fn the_contract_refuses_invalid_deployments() -> Outcome {
    let provider = Node::embedded()?.endpoint()?.connect(Some(account(SEQUENCER)?))?;
    // Any contract can be named as verifier.
    let beside = deploy(provider.clone(), &deployment(0)?).await?.verifiers[0];
    let one = |verifier| Size { verifier, maxL1: U48::from(1), maxL2: U48::from(1) };
    let sizes = vec![one(beside)];
    let parameters = IEmrRollup::Parameters {
        sizes: vec![one(beside), one(stranger()?.address())],
        circuitVersion: 1,
        genesis: U256::ZERO,
        sequencer: account(SEQUENCER)?.address(),
        officers: IGovernance::Officers {
            registrars: vec![account(REGISTRAR)?.address()],
            guardians: Vec::new(),
            threshold: 0,
            forfeit: U96::ZERO,
        },
        registrationFee: U256::ZERO,
    };
    let genesis = U256::from_be_bytes(reference::word(&reference::modulus()));
    for (parameters, name) in [
        (parameters.clone(), "verifier"),
        (IEmrRollup::Parameters { sizes: sizes.clone(), genesis, ..parameters.clone() }, "genesis"),
        (IEmrRollup::Parameters { sizes, genesis: U256::MAX, ..parameters }, "genesis"),
    ] {
        let created = emr_chain::bindings::EmrRollup::deploy(provider.clone(), parameters).await;
        let refused = created.map_err(RollupError::from).err().and_then(|error| error.revert().cloned());
        assert_eq!(refused, Some(Revert::InvalidParameter(name.to_owned())));
    }
    Ok(())
}

#[tokio::test]
async fn an_address_without_a_contract_is_refused() -> Outcome {
    let provider = Node::embedded()?.endpoint()?.connect(None)?;
    let nowhere = Address::from_word(B256::repeat_byte(1));
    let attached = Rollup::attach(provider, nowhere, 0).await;
    assert!(matches!(attached, Err(RollupError::NoContract { address, chain_id: 31_337 }) if address == nowhere));
    Ok(())
}
