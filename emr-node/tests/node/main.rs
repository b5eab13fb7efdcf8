//! A whole node over loopback HTTP, on the embedded chain with the real contract.

mod access;
mod crash;
mod dishonest_l1;
mod epochs;
mod flood;
mod forged_invitations;
mod full_disk;
mod incomplete_l1;
mod invitations;
mod limits;
mod login;
mod mempool;
mod operations;
mod power_cut;
mod power_cut_node;
mod provers;
mod registration;
mod reorganisation;
mod revokes;
mod sealing;
mod settlement;
mod stage;
mod start;
mod tasks;
mod unmined;
mod unread;
