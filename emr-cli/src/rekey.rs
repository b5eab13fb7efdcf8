//! `emr-patient rekey`: older records under the newest keys.

use std::io::Write;

use emr_client::{
    client::Client,
    flow::rekey::{RekeyOutcome, Rekeyed},
    verify::card::Card,
};
use emr_core::{AccountIndex, Class, ClassMask};
use serde::Serialize;

use crate::{
    failure::Failure,
    records,
    report::{Answer, Progress, print},
};

#[derive(Debug, Serialize)]
struct RekeyAnswer {
    rekeyed: Vec<RekeyedRecord>,
    already_newest: usize,
    /// Slots of records whose newest version waits for a batch.
    not_settled: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct RekeyedRecord {
    slot: u64,
    class: Class,
    epoch: u32,
    custodian: Option<AccountIndex>,
    #[serde(flatten)]
    promise: records::Promise,
}

impl Answer for RekeyAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for record in &self.rekeyed {
            write!(out, "record {} ({}) is encrypted under epoch {}", record.slot, record.class, record.epoch)?;
            match record.custodian {
                Some(custodian) => writeln!(out, ", custodian: account {custodian}")?,
                None => writeln!(out)?,
            }
            record.promise.write(out)?;
        }
        writeln!(out, "{} records rekeyed, {} needed no change", self.rekeyed.len(), self.already_newest)?;
        if !self.not_settled.is_empty() {
            let slots: Vec<_> = self.not_settled.iter().map(u64::to_string).collect();
            writeln!(out, "not settled yet, rekey again later: {}", slots.join(", "))?;
        }
        if self.rekeyed.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "the hospital removes the old ciphertext a day after this is settled; what was copied before cannot be taken back"
        )
    }
}

/// Rekeys, with progress on stderr, and prints what became of each record.
///
/// # Errors
/// Fails if a record does not verify, or the node or L1 does not do its part. The next run continues.
pub async fn run(
    client: &Client,
    classes: ClassMask,
    custodian: Option<&Card>,
    wait: bool,
    json: bool,
) -> Result<(), Failure> {
    let progress = Progress::start("encrypting records under the newest keys");
    let told = |record: &Rekeyed, left: usize| progress.say(format!("record {}; {left} left", record.slot));
    let records = client.rekey(classes, custodian, told).await;
    drop(progress);
    let mut answer = RekeyAnswer { rekeyed: Vec::new(), already_newest: 0, not_settled: Vec::new() };
    for Rekeyed { slot, class, outcome } in records? {
        match outcome {
            RekeyOutcome::Current => answer.already_newest += 1,
            RekeyOutcome::Unsettled => answer.not_settled.push(slot.get()),
            RekeyOutcome::Rekeyed { epoch, custodian, acknowledged } => {
                let promise = records::promise(client, &acknowledged, wait).await?;
                let (slot, epoch) = (slot.get(), epoch.get());
                answer.rekeyed.push(RekeyedRecord { slot, class, epoch, custodian, promise });
            }
        }
    }
    print(&answer, json)
}
