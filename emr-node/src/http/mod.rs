//! The node's HTTP interface ([`emr_api`]).

pub(crate) mod login;
pub(crate) mod refusal;
pub(crate) mod routes;
pub(crate) mod server;
