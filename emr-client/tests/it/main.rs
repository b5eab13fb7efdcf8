//! Verification without a node: states made by a ledger, and every way in which a node, a doctor or a forged card could
//! lie.

mod audit;
mod card;
mod directory_check;
mod disclosed;
mod fixtures;
mod history;
mod light;
mod node_api;
mod operation;
mod outbox;
mod power_cut;
mod verify;
