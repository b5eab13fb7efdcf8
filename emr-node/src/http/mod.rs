//! The node's HTTP interface ([`emr_api`]).

mod connections;
pub(crate) mod limits;
pub(crate) mod login;
pub(crate) mod origins;
mod pace;
pub(crate) mod routes;
pub(crate) mod server;

pub(crate) use connections::{FairListener, Peer};
