//! The flows against a real node and a real chain, with the real verifier: before anything is settled, and after.

mod admission;
mod audit_pages;
mod break_glass;
mod card_device;
mod chains;
mod crash;
mod delegate;
mod ended_grants;
mod everyday;
mod faults;
mod forced;
mod from_now;
mod hostile_delegate;
mod lies;
mod lying_l1;
mod many;
mod no_room;
mod other_contract;
mod outbox;
mod power_cut;
mod proxy;
mod rekey;
mod reorganised;
mod scene;
mod settled;
mod which_header;
