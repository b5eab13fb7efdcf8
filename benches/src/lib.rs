//! What several measurements use: batches of operations as they occur.

pub mod mix;
