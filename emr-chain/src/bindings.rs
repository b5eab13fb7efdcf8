//! Bindings of the contracts, generated from the committed artefacts (`cargo xtask contracts`). What they mean is in the
//! natspec of `contracts/src` and in `docs/contracts.md`.

alloy::sol!(
    #[sol(rpc, all_derives)]
    EmrRollup,
    "../contracts/artifacts/EmrRollup.json"
);
