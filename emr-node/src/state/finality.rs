//! Which settled state L1 cannot take back any more. Only that one opens anything: deny on the newest state, allow on the final one.

use std::{collections::VecDeque, sync::Arc};

use emr_rollup::state::ledger::Ledger;

/// The settled states from the newest final one on. Their trees share what did not change.
#[derive(Clone, Debug)]
pub(crate) struct FinalStates {
    /// The newest final state. `None` if the derivation began with a snapshot that is not final yet.
    newest: Option<Arc<Ledger>>,
    /// The later ones, each with the block that settled it.
    later: VecDeque<(u64, Arc<Ledger>)>,
}

impl FinalStates {
    /// Begins with a state that was settled in this block or before. Blocks up to `final_block` are final.
    pub(crate) fn from(state: Arc<Ledger>, block: u64, final_block: u64) -> Self {
        let mut states = Self { newest: None, later: VecDeque::from([(block, state)]) };
        states.advance(final_block);
        states
    }

    /// Adds the state after a batch, which this block settled.
    pub(crate) fn settle(&mut self, state: Arc<Ledger>, block: u64, final_block: u64) {
        self.later.push_back((block, state));
        self.advance(final_block);
    }

    /// Blocks up to this one are final now.
    pub(crate) fn advance(&mut self, final_block: u64) {
        while let Some((_, state)) = self.later.pop_front_if(|(block, _)| *block <= final_block) {
            self.newest = Some(state);
        }
    }

    /// Whether [`Self::advance`] would change anything.
    pub(crate) fn is_behind(&self, final_block: u64) -> bool {
        self.later.front().is_some_and(|(block, _)| *block <= final_block)
    }

    /// The newest final state, if one is known.
    pub(crate) fn newest(&self) -> Option<&Ledger> {
        self.newest.as_deref()
    }
}
