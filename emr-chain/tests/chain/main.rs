//! Tests of verified reads and endpoints through the public interface.

mod endpoint;
mod headers;
mod lying_node;
mod submitter;
