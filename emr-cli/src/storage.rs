//! Shows who uses how much of a patient's space at the hospital.

use std::io::Write;

use emr_api::{StorageAmount, StorageView};
use emr_client::client::Client;
use serde::Serialize;

use crate::{
    failure::{Exit, Failure, OrExit},
    report::{Answer, print},
};

/// Prints the node's figures.
///
/// # Errors
/// Fails if the node does not answer.
pub async fn show(client: &Client, json: bool) -> Result<(), Failure> {
    let patient = client.account().or_exit(Exit::Usage)?;
    let view = client.node().storage(patient).await;
    let view = view?;
    print(&Storage(view), json)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Storage(StorageView);

fn written(amount: StorageAmount) -> String {
    let StorageAmount { bytes, blocks } = amount;
    let size = match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    };
    format!("{size} in {blocks} blocks")
}

impl Answer for Storage {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let StorageView { patient, writers, limit, rekeyed, directories } = &self.0;
        for writer in writers {
            let who = if writer.account == *patient { "you".to_owned() } else { format!("account {}", writer.account) };
            writeln!(
                out,
                "{who}: {} of {}; record slots {} of {}",
                written(writer.used),
                written(writer.limit),
                writer.slots,
                writer.slot_limit
            )?;
        }
        writeln!(out, "all together at most {}", written(*limit))?;
        if *rekeyed != StorageAmount::default() {
            let copies = written(*rekeyed);
            writeln!(
                out,
                "old ciphertext of rekeyed records, removed a day after a batch settled the rekey: {copies}"
            )?;
        }
        writeln!(out, "your key directories, which are outside these limits: {}", written(*directories))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_unit() {
        let amount = |bytes| written(StorageAmount { bytes, blocks: 3 });
        assert_eq!(amount(1023), "1023 B in 3 blocks");
        assert_eq!(amount(1024), "1 KiB in 3 blocks");
        assert_eq!(amount(2 << 30), "2048 MiB in 3 blocks");
    }
}
