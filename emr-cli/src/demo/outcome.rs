//! The result of a demo: the JSON object, and the report for people while it runs.

use emr_api::BatchView;
use std::{io::Write, time::Instant};

use emr_client::verify::settled_state::SettledState;
use emr_core::AccountIndex;
use serde::Serialize;

use crate::report::Answer;

/// A settled batch.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Batch {
    number: u64,
    operations: u64,
    pre_root: String,
    post_root: String,
    prove_seconds: f64,
    operations_per_second: f64,
    proof_bytes: u64,
    gas_used: u64,
    gas_per_operation: u64,
    tx_hash: String,
}

impl Batch {
    /// The node's data about a settled batch; `None` if the batch is not settled.
    pub(super) fn of(view: &BatchView) -> Option<Self> {
        let (gas_used, prove_seconds) = (view.gas_used?, view.prove_seconds?);
        Some(Self {
            number: view.number,
            operations: view.operations,
            pre_root: view.public.pre.to_string(),
            post_root: view.public.post.to_string(),
            prove_seconds,
            operations_per_second: view.operations as f64 / prove_seconds,
            proof_bytes: view.proof_bytes?,
            gas_used,
            gas_per_operation: gas_used / view.operations.max(1),
            tx_hash: view.tx_hash?.to_string(),
        })
    }

    /// Whether this is the state that was checked against L1.
    pub(super) fn is_at(&self, state: &SettledState) -> bool {
        (self.number, &self.post_root) == (state.batches(), &state.root().to_string())
    }

    pub(super) fn lines(&self) -> [String; 3] {
        [
            format!(
                "batch {}: {} operations, proved in {:.1} s ({:.2} operations/s), {} bytes of proof",
                self.number, self.operations, self.prove_seconds, self.operations_per_second, self.proof_bytes
            ),
            format!("settled with {} gas ({} per operation), {}", self.gas_used, self.gas_per_operation, self.tx_hash),
            format!("state root {} -> {}", self.pre_root, self.post_root),
        ]
    }
}

/// The accounts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Accounts {
    pub(super) hospital: AccountIndex,
    pub(super) doctor_a: AccountIndex,
    pub(super) doctor_b: AccountIndex,
    pub(super) patient: AccountIndex,
}

/// The demo's JSON object.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) chain_id: u64,
    pub(super) contract: String,
    /// Gas of deploying verifiers and rollup.
    pub(super) deploy_gas: u64,
    pub(super) accounts: Accounts,
    /// Gas of each registration, in the order of `accounts`.
    pub(super) register_gas: [u64; 4],
    pub(super) record: String,
    pub(super) record_cid: String,
    pub(super) submit_milliseconds: Vec<f64>,
    pub(super) batches: Vec<Batch>,
    pub(super) retrieved_equal: bool,
    pub(super) revoked_refused: bool,
    pub(super) revoked_message: String,
    pub(super) old_keys_fail: bool,
    pub(super) fresh_process_equal: bool,
    pub(super) light_verified: bool,
    pub(super) access: usize,
    pub(super) audit_entries: u64,
    pub(super) seconds: f64,
}

/// Prints nothing more for people, because the teller reported each step.
impl Answer for Outcome {
    fn write(&self, _: &mut dyn Write) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reports to people what happens: on stdout, or on stderr if stdout is for JSON.
#[derive(Debug)]
pub(super) struct Teller {
    json: bool,
    started: Instant,
    step: u32,
}

impl Teller {
    pub(super) fn new(json: bool) -> Self {
        Self { json, started: Instant::now(), step: 0 }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn line(&self, line: &str) {
        // A closed stdout does not stop the demo.
        let _ = if self.json { writeln!(std::io::stderr(), "{line}") } else { writeln!(std::io::stdout(), "{line}") };
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        self.line(&format!("\n{}. {title}  [{:.1} s]", self.step, self.seconds()));
    }

    /// Reports an event of the current step.
    pub(super) fn say(&self, text: impl AsRef<str>) {
        self.line(&format!("   {}", text.as_ref()));
    }
}
