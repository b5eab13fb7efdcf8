//! The programs, each command a process of its own, as people run them.

mod dev;
#[cfg(target_os = "linux")]
mod memory;
mod serve;
mod world;
