//! Verified reads and endpoints, seen from outside.

mod endpoint;
mod lying_node;
