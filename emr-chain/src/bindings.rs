//! Bindings of the contracts, generated from the committed artefacts (`cargo xtask contracts`). What they mean is in the
//! natspec of `contracts/src` and in `docs/contracts.md`.
#![expect(clippy::too_many_arguments, reason = "generated: events have a parameter per field")]

alloy::sol!(
    #[sol(rpc, all_derives)]
    EmrRollup,
    "../contracts/artifacts/EmrRollup.json"
);

alloy::sol!(
    /// The verifier of the circuit in use. It has no functions: its calldata are instances and proof, and it reverts to refuse.
    Verifier,
    "../contracts/artifacts/Verifier.json"
);
