//! What `emr-hospital status` prints.

use std::io::{self, Write};

use emr_api::{NodeHealth, NodeStatus};
use emr_chain::QueueName;
use emr_rollup::setup::SetupChoice;
use serde::Serialize;

use crate::report::{Answer, written};

/// After how many seconds without an answer of the Ethereum node the status mentions it. The node asks every few seconds.
const SILENT: u64 = 60;

/// The answer to `status`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Status(pub(super) NodeStatus);

impl Answer for Status {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self(status) = self;
        writeln!(out, "chain {}, contract {}, circuit {}", status.chain_id, status.contract, status.circuit_version)?;
        let sizes: Vec<_> = status.sizes.iter().map(|size| format!("{} + {}", size.max_l1, size.max_l2)).collect();
        writeln!(out, "batches of up to {} registrations + operations", sizes.join(", "))?;
        writeln!(out, "{} batches settled; {} queued, {} pending", status.batches, status.queued, status.pending)?;
        writeln!(out, "{}", status.activity)?;
        health(&status.health, out)?;
        match status.setup {
            SetupChoice::InsecureDevelopment => writeln!(out, "the proving setup is for development only")?,
            SetupChoice::Imported(id) => writeln!(out, "setup {id}")?,
        }
        Ok(())
    }
}

fn health(health: &NodeHealth, out: &mut dyn Write) -> io::Result<()> {
    let age = |time: u64| ago(health.now.get().saturating_sub(time));
    writeln!(out, "L1 block {} of {} ago", health.l1_block, age(health.l1_block_time))?;
    let silent = health.now.get().saturating_sub(health.l1_reached.get());
    if silent > SILENT {
        let silent = ago(silent);
        writeln!(
            out,
            "L1 cannot be followed for {silent}: look whether the Ethereum node at --rpc runs, and into the log"
        )?;
    }
    queues(health, out)?;
    if let Some(oldest) = health.oldest {
        writeln!(out, "the oldest operation waits for {} (since {})", age(oldest.get()), written(oldest))?;
    }
    if let Some(reason) = &health.halted {
        writeln!(out, "halted: {reason}")?;
    }
    if health.nearly_full {
        writeln!(
            out,
            "a disk is nearly full (the node's folder, or the block store): only Revokes are taken; make space"
        )?;
    }
    for task in &health.ended_tasks {
        writeln!(out, "a bug ended the task that {task}: start the node again, and report its log")?;
    }
    if health.overdue > 0 {
        let overdue = health.overdue;
        writeln!(
            out,
            "{overdue} overdue: their receipts promise an earlier settlement. Mend what is said above; nothing is lost"
        )?;
    }
    Ok(())
}

/// What waits on L1: from when on others can settle it, the operator should know long before.
fn queues(health: &NodeHealth, out: &mut dyn Write) -> io::Result<()> {
    for (queue, what) in
        [(QueueName::Urgent, "revocations and account changes"), (QueueName::Ordinary, "registrations")]
    {
        let progress = health.queues.of(queue);
        let Some(oldest) = progress.oldest else { continue };
        let (waiting, age) = (progress.waiting().count(), ago(health.now.get().saturating_sub(oldest.get())));
        writeln!(out, "{what} that wait on L1: {waiting}, the first for {age}")?;
        let others = match queue {
            QueueName::Urgent => true,
            QueueName::Ordinary => health.strangers_from <= health.now,
        };
        if progress.overdue > 0 && others {
            writeln!(out, "  overdue, so that anyone may settle them: {}", progress.overdue)?;
        }
    }
    Ok(())
}

/// A time span in the largest unit that fits.
fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use emr_chain::{PerQueue, QueueProgress};
    use emr_core::UnixTime;

    use super::*;

    fn said(health_of: NodeHealth) -> Result<String, Box<dyn std::error::Error>> {
        let mut out = Vec::new();
        health(&health_of, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() -> Result<(), Box<dyn std::error::Error>> {
        let now = UnixTime::new(1_800_000_000)?;
        let well = NodeHealth {
            now,
            halted: None,
            l1_block: 7,
            l1_block_time: now.get() - 9,
            l1_reached: now,
            queues: PerQueue::default(),
            strangers_from: UnixTime::new(now.get() + 1)?,
            oldest: None,
            overdue: 0,
            ended_tasks: Vec::new(),
            nearly_full: false,
        };
        assert_eq!(said(well.clone())?, "L1 block 7 of 9 s ago\n");
        let down = NodeHealth {
            l1_block_time: now.get() - 3 * 86_400,
            l1_reached: UnixTime::new(now.get() - 3700)?,
            queues: PerQueue {
                urgent: QueueProgress {
                    head: 3,
                    length: 5,
                    overdue: 1,
                    oldest: Some(UnixTime::new(now.get() - 25_000)?),
                },
                ordinary: QueueProgress {
                    head: 7,
                    length: 8,
                    overdue: 1,
                    oldest: Some(UnixTime::new(now.get() - 90_000)?),
                },
            },
            oldest: Some(UnixTime::new(now.get() - 8000)?),
            halted: Some("it takes only Revokes: use another Ethereum node".to_owned()),
            overdue: 2,
            ended_tasks: vec!["removes blocks that nothing needs".to_owned()],
            nearly_full: true,
            ..well
        };
        let expected = "L1 block 7 of 3 days ago\n\
                        L1 cannot be followed for 61 min: look whether the Ethereum node at --rpc runs, and into the log\n\
                        revocations and account changes that wait on L1: 2, the first for 6 h\n\
                        \x20 overdue, so that anyone may settle them: 1\n\
                        registrations that wait on L1: 1, the first for 25 h\n\
                        the oldest operation waits for 2 h (since 2027-01-15T05:46:40Z)\n\
                        halted: it takes only Revokes: use another Ethereum node\n\
                        a disk is nearly full (the node's folder, or the block store): only Revokes are taken; make space\n\
                        a bug ended the task that removes blocks that nothing needs: start the node again, and report its log\n\
                        2 overdue: their receipts promise an earlier settlement. Mend what is said above; nothing is lost\n";
        assert_eq!(said(down)?, expected);
        Ok(())
    }
}
