//! A proved batch in the form in which L1 takes it.

use emr_chain::BatchContent;
use emr_rollup::{
    batch::{Batch, D1Entry, D2Entry, Proven},
    primitive::field,
};

/// A batch for [`SettlementLayer::settle`](emr_chain::SettlementLayer::settle). `size` is the position of its size in L1's list, and `urgent` the
/// number of its entries of the urgent queue, which come first.
pub fn content(batch: &Batch<Proven>, size: u8, urgent: u16) -> BatchContent {
    let public = batch.public();
    BatchContent {
        size,
        pre: public.pre,
        post: public.post,
        time: batch.time(),
        commitment: field::to_bytes(&public.commitment),
        urgent,
        d1: batch.data().d1.iter().map(D1Entry::to_bytes).collect(),
        d2: batch.data().d2.iter().map(D2Entry::to_bytes).collect(),
        proof: batch.proof().to_vec(),
    }
}
