//! Operations that come through the queue on L1: no signature of ours, and total. An entry that cannot take effect is consumed
//! and changes nothing. Each has a file: its data, its words of D1, and the leaf that it writes.

mod register;

pub use register::{Registration, RegistrationError};
