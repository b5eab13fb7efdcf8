//! What tests and developers do with a chain that nobody can do with a public one: they set its clock and its fee, and take blocks back.

use std::sync::{PoisonError, atomic::Ordering};

use alloy::{
    consensus::Header,
    eips::BlockId,
    primitives::{B256, Bytes},
};

use crate::{chain::Chain, failure::RpcFailure, world_state::Changes};

impl Chain {
    /// Moves the chain's clock `seconds` ahead. Returns by how much it was moved in total.
    pub(crate) fn advance_clock(&self, seconds: u64) -> Result<u64, RpcFailure> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = self.clock_offset.load(Ordering::Relaxed);
        // This is enough for any test, and keeps arithmetic on times from overflowing.
        let ahead = offset.checked_add(seconds).filter(|ahead| *ahead <= u64::from(u32::MAX));
        let ahead =
            ahead.ok_or_else(|| RpcFailure::invalid_params("the clock cannot be set more than 2^32 s ahead"))?;
        self.store.set_clock_offset(ahead)?;
        self.clock_offset.store(ahead, Ordering::Relaxed);
        Ok(ahead)
    }

    /// Sets the base fee of the next block, in wei. The one after it follows from it (EIP-1559).
    pub(crate) fn set_next_base_fee(&self, fee: u64) -> Result<(), RpcFailure> {
        if fee == 0 {
            return Err(RpcFailure::invalid_params("the base fee is at least 1 wei"));
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.next_base_fee.store(fee, Ordering::Relaxed);
        Ok(())
    }

    /// Takes back all blocks after the one with this hash. Returns `false` if it is not on the chain, or if its state is no longer kept. The clock
    /// stays as it is.
    pub(crate) fn take_back_to(&self, hash: B256) -> Result<bool, RpcFailure> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        match self.number_of(BlockId::hash(hash))? {
            Some(number) if self.state_at(BlockId::number(number)).is_ok() => {
                self.take_back(number)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes the newest `depth` blocks back, and makes as many empty ones.
    pub(crate) fn reorganise(&self, depth: u64) -> Result<(), RpcFailure> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.tip()?.header.number;
        let base = head.checked_sub(depth).ok_or_else(|| RpcFailure::invalid_params("the chain has fewer blocks"))?;
        self.state_at(BlockId::number(base))?;
        let mut replaced = Vec::new();
        for number in base + 1..=head {
            replaced.extend(self.store.header(number)?.map(|header| header.hash()));
        }
        self.take_back(base)?;
        for hash in replaced {
            let parent = self.tip()?;
            // Two empty blocks of the same second would be the same block.
            let extra_data = Bytes::copy_from_slice(&hash.0);
            let header = Header { extra_data, ..self.next_header(&parent.header) };
            self.seal(&parent, header, None, &Changes::default())?;
        }
        Ok(())
    }

    /// The caller holds `making`, and the state after the block `to` is kept.
    fn take_back(&self, to: u64) -> Result<(), RpcFailure> {
        self.store.take_back(to)?;
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        while recent.back().is_some_and(|tip| tip.header.number > to) {
            recent.pop_back();
        }
        Ok(())
    }
}
