//! What participants do, one flow a file. Each is a method of [`crate::Client`], or of [`crate::L1Client`] if it needs no node.

pub mod account_change;
pub mod admission;
pub mod break_glass;
pub mod delegate;
mod emergencies;
mod ended_grants;
mod fate;
pub mod force_revoke;
pub mod grant;
pub mod handed_on;
pub mod invite;
mod light_check;
pub mod next_version;
mod on_l1;
pub mod own_directory;
mod own_grants;
mod owners;
pub mod register;
pub mod rekey;
pub mod request;
pub mod retrieve;
mod retry;
pub mod revoke;
pub mod rotate;
pub mod settle_queue;
pub mod submit;
pub mod upload;
