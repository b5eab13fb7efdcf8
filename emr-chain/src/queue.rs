//! The two queues on L1, as the contract's events show them.

use std::{fmt, ops::Range};

use alloy::{
    primitives::{B256, U256},
    providers::Provider,
    sol_types::SolEvent,
};
use emr_core::UnixTime;
use serde::{Deserialize, Serialize};

use crate::{
    bindings::EmrRollup,
    revert::RollupError,
    rollup::Rollup,
    settlement_layer::{LOG_WINDOW, Words, decode, position},
};

/// A queue of L1 operations. A batch takes entries of the urgent queue first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueName {
    /// What ends or changes the rights of an account: ForcedRevoke, SetStatus, RotateKey.
    Urgent,
    /// Registrations.
    Ordinary,
}

impl QueueName {
    /// Both, in the order in which a batch takes them.
    pub const ALL: [Self; 2] = [Self::Urgent, Self::Ordinary];

    /// The contract's code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Urgent => 0,
            Self::Ordinary => 1,
        }
    }

    /// The queue with a code of the contract.
    pub(crate) fn from_code(code: u8) -> Result<Self, RollupError> {
        let found = Self::ALL.into_iter().find(|queue| queue.code() == code);
        found.ok_or_else(|| RollupError::Malformed(format!("there is no queue {code}")))
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Urgent => "urgent",
            Self::Ordinary => "ordinary",
        })
    }
}

/// How far a queue is, read at one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueProgress {
    /// Position of the first entry that is not settled.
    pub head: u64,
    /// How many entries were appended in all.
    pub length: u64,
    /// How many entries are overdue, up to the most that a batch of any size holds.
    pub overdue: u64,
    /// When the first entry that is not settled was appended; `None` if no entry waits.
    pub oldest: Option<UnixTime>,
}

impl QueueProgress {
    /// The positions of the entries that wait.
    pub const fn waiting(&self) -> Range<u64> {
        self.head..self.length
    }
}

/// A value for each queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerQueue<T> {
    /// That of the urgent queue.
    pub urgent: T,
    /// That of the ordinary queue.
    pub ordinary: T,
}

impl<T> PerQueue<T> {
    /// That of a queue.
    pub const fn of(&self, queue: QueueName) -> &T {
        match queue {
            QueueName::Urgent => &self.urgent,
            QueueName::Ordinary => &self.ordinary,
        }
    }

    /// That of a queue, to change it.
    pub const fn of_mut(&mut self, queue: QueueName) -> &mut T {
        match queue {
            QueueName::Urgent => &mut self.urgent,
            QueueName::Ordinary => &mut self.ordinary,
        }
    }
}

/// An entry of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Its position, counted from 0 since the contract's deployment.
    pub index: u64,
    /// Its D1 words.
    pub words: Words,
    /// The block that holds it.
    pub block_number: u64,
}

/// How many queue entries one request can name. Nodes limit the number of values of a topic. A request for more entries
/// names none of them, and gets the logs of all entries.
const NAMED_ENTRIES: u64 = 64;

impl<P: Provider> Rollup<P> {
    pub(crate) async fn entries_of(
        &self,
        queue: QueueName,
        range: Range<u64>,
        from_block: u64,
    ) -> Result<Vec<QueueEntry>, RollupError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let filter = self.events(EmrRollup::Enqueued::SIGNATURE_HASH).topic1(U256::from(queue.code()));
        let filter = if range.end - range.start <= NAMED_ENTRIES {
            // The filter names the positions, so that the node does not send other entries.
            filter.topic2(range.clone().map(|index| B256::from(U256::from(index))).collect::<Vec<_>>())
        } else {
            filter
        };
        // Entries that wait are young, and their positions grow with the blocks. So the newest blocks are read first, until the first entry is found.
        let earliest = from_block.max(self.deployed_at());
        let mut end = Some(self.provider().get_block_number().await?);
        let mut entries: Vec<QueueEntry> = Vec::new();
        while let Some(last) = end.filter(|end| *end >= earliest) {
            let first = last.saturating_sub(LOG_WINDOW - 1).max(earliest);
            for log in self.logs_between(filter.clone(), first, last).await? {
                let event = decode::<EmrRollup::Enqueued>(&log)?;
                let index = event.index.to();
                if event.queue == queue.code() && range.contains(&index) {
                    let block_number = position(&log)?.1;
                    entries.push(QueueEntry { index, words: event.words.map(|word| word.to_be_bytes()), block_number });
                }
            }
            if entries.iter().any(|entry| entry.index == range.start) {
                break;
            }
            end = first.checked_sub(1);
        }
        entries.sort_by_key(|entry| entry.index);
        for (index, position) in range.zip(0..) {
            if entries.get(position).is_none_or(|entry: &QueueEntry| entry.index != index) {
                return Err(RollupError::QueueEntryMissing { queue, index });
            }
        }
        Ok(entries)
    }
}
