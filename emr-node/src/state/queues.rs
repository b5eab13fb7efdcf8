//! The entries of the two queues on L1 that no settled batch includes yet.

use std::{collections::VecDeque, time::Instant};

use emr_chain::{PerQueue, QueueName};
use emr_rollup::l1_operation::L1Operation;

/// An entry of a queue on L1 that no settled batch includes yet.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) operation: L1Operation,
    pub(crate) seen: Instant,
}

/// One queue from its head on.
#[derive(Clone, Debug, Default)]
struct Waiting {
    /// Position on L1 of the first entry.
    head: u64,
    entries: VecDeque<Queued>,
}

/// The entries that wait in both queues.
#[derive(Clone, Debug, Default)]
pub(crate) struct L1Queues {
    queues: PerQueue<Waiting>,
}

impl L1Queues {
    /// The entries of each queue from these positions on.
    pub(crate) fn new(heads: PerQueue<u64>, entries: PerQueue<Vec<L1Operation>>) -> Self {
        let waiting = |head| Waiting { head, entries: VecDeque::new() };
        let mut queues = Self { queues: PerQueue { urgent: waiting(heads.urgent), ordinary: waiting(heads.ordinary) } };
        queues.append(QueueName::Urgent, entries.urgent);
        queues.append(QueueName::Ordinary, entries.ordinary);
        queues
    }

    /// Position on L1 of the first entry of a queue.
    pub(crate) const fn head(&self, queue: QueueName) -> u64 {
        self.queues.of(queue).head
    }

    /// The entries of one queue.
    pub(crate) fn of(&self, queue: QueueName) -> impl DoubleEndedIterator<Item = &Queued> + Clone {
        self.queues.of(queue).entries.iter()
    }

    /// How many entries of a queue wait.
    pub(crate) fn waiting(&self, queue: QueueName) -> usize {
        self.queues.of(queue).entries.len()
    }

    /// How many entries wait in all.
    pub(crate) fn len(&self) -> usize {
        QueueName::ALL.into_iter().map(|queue| self.waiting(queue)).sum()
    }

    /// All entries, in the order in which batches take them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> + Clone {
        self.of(QueueName::Urgent).chain(self.of(QueueName::Ordinary))
    }

    /// The entries that a batch takes: so many of each queue, the urgent ones first.
    pub(crate) fn first(&self, count: PerQueue<usize>) -> impl Iterator<Item = &Queued> {
        self.of(QueueName::Urgent).take(count.urgent).chain(self.of(QueueName::Ordinary).take(count.ordinary))
    }

    /// The entries that are left behind by a batch that takes so many of each queue.
    pub(crate) fn after(&self, count: PerQueue<usize>) -> impl Iterator<Item = &Queued> {
        self.of(QueueName::Urgent).skip(count.urgent).chain(self.of(QueueName::Ordinary).skip(count.ordinary))
    }

    /// When the entry that waits longest was seen.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        QueueName::ALL.into_iter().filter_map(|queue| self.of(queue).next()).map(|queued| queued.seen).min()
    }

    /// Adds entries at the end of a queue.
    pub(crate) fn append(&mut self, queue: QueueName, entries: Vec<L1Operation>) {
        let seen = Instant::now();
        let entries = entries.into_iter().map(|operation| Queued { operation, seen });
        self.queues.of_mut(queue).entries.extend(entries);
    }

    /// Removes the entries that a settled batch took, and moves the heads. Returns fewer if some were not seen.
    pub(crate) fn take(&mut self, count: PerQueue<usize>) -> Vec<Queued> {
        let mut taken = Vec::new();
        for queue in QueueName::ALL {
            let (waiting, count) = (self.queues.of_mut(queue), *count.of(queue));
            taken.extend(waiting.entries.drain(..count.min(waiting.entries.len())));
            waiting.head += count as u64;
        }
        taken
    }
}
