//! Tests of verified reads and endpoints through the public interface.

mod endpoint;
mod lying_node;
