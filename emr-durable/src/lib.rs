#![doc = include_str!("../README.md")]

mod copy;
#[cfg(feature = "crash")]
pub mod crash;
#[cfg(feature = "redb")]
mod database;
mod disk;
mod free;
mod watch;

#[cfg(feature = "redb")]
pub use database::open_database;
pub use disk::Disk;
pub use free::FreeSpace;
pub use watch::{Step, Watch};
