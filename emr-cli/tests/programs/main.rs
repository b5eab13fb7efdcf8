//! Tests of the programs. Each command is a separate process.

#[cfg(target_os = "linux")]
mod attachments;
mod bulk;
mod ceremony;
mod classed;
mod delegate;
mod deploy;
mod dev;
mod disclose;
mod ending;
mod force;
mod identity;
mod jwe;
mod keystore;
mod link;
#[cfg(target_os = "linux")]
mod memory;
mod office;
mod owner;
mod serve;
mod settle;
mod world;
