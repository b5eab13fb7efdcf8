//! The programs, each command a process of its own, as people run them.

mod dev;
mod serve;
mod world;
