//! `emr-doctor break-glass`: an emergency grant that the patient did not give.

use std::{io::Write, path::PathBuf};

use clap::Args;
use emr_client::{
    client::Client,
    flow::break_glass::{Emergency, EmergencyTerms},
    verify::card::Card,
};
use emr_core::{Class, Reason};
use serde::Serialize;

use crate::{
    failure::Failure,
    options::parse_purpose,
    records,
    report::{Answer, print, written},
};

/// The command's arguments.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The patient's card
    #[arg(value_name = "PATIENT-CARD")]
    pub patient: PathBuf,
    /// The class of records that you need
    #[arg(long)]
    class: Class,
    /// The reason: treatment, emergency, payment, operations, research, patient-request, public-health
    #[arg(long, value_parser = parse_purpose)]
    reason: Reason,
    /// How many hours it holds
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=EmergencyTerms::MAX_HOURS))]
    hours: u64,
    /// Wait until a batch has settled it
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Serialize)]
struct BrokenGlass {
    patient: u64,
    slot: u64,
    class: Class,
    reason: Reason,
    until: String,
    /// Always false in this version.
    keys_released: bool,
    #[serde(flatten)]
    promise: records::Promise,
}

impl Answer for BrokenGlass {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { patient, slot, class, reason, until, .. } = self;
        writeln!(
            out,
            "emergency access to {class} records of patient {patient} is on record until {until} ({reason}; slot {slot})"
        )?;
        self.promise.write(out)?;
        writeln!(out, "this version releases no keys in an emergency: the grant is on record, and it opens no records")
    }
}

/// Opens the grant and prints it.
///
/// # Errors
/// Fails if the card does not hold, or the node refuses or does not answer.
pub async fn run(client: &Client, card: &Card, arguments: &Arguments, json: bool) -> Result<(), Failure> {
    let Arguments { class, reason, hours, wait, .. } = *arguments;
    let emergency = client.break_glass(card, &EmergencyTerms { class, reason, hours }).await?;
    let promise = records::promise(client, &emergency.acknowledged, wait).await?;
    let Emergency { patient, slot, grant, .. } = emergency;
    let until = written(grant.not_after);
    print(
        &BrokenGlass { patient: patient.get(), slot: slot.get(), class, reason, until, keys_released: false, promise },
        json,
    )
}
