//! For tests only: an honest history with every kind of operation, and a sequencer that checks nothing. Unit tests and
//! `tests/` share them.

pub mod forger;
pub mod scenario;
