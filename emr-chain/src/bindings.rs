//! Bindings of the contracts, generated from the committed artefacts (`cargo xtask contracts`). The natspec in
//! `contracts/src` and `docs/contracts.md` explain them.

alloy::sol!(
    #[sol(rpc, all_derives)]
    EmrRollup,
    "../contracts/artifacts/EmrRollup.json"
);

/// The contract that says who holds the rollup's offices. Its artefact repeats structs of the rollup's, so it has a module.
pub mod governance {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Governance,
        "../contracts/artifacts/Governance.json"
    );
}

alloy::sol!(
    /// The verifier of all circuits. Its raw calldata are the public inputs and the proof, and it reverts if the proof
    /// is wrong.
    #[sol(rpc)]
    Verifier,
    "../contracts/artifacts/Verifier.json"
);

alloy::sol!(
    /// The verifying key of the small size under the development setup: a contract whose code is data.
    VerifyingKeySmall,
    "../contracts/generated/VerifyingKeySmall.json"
);

alloy::sol!(
    /// The verifying key of the standard size under the development setup.
    VerifyingKeyStandard,
    "../contracts/generated/VerifyingKeyStandard.json"
);

alloy::sol!(
    /// The verifying key of the size for the queue under the development setup.
    VerifyingKeyQueue,
    "../contracts/generated/VerifyingKeyQueue.json"
);
