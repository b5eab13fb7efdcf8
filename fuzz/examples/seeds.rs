//! Writes the seeds of each target into its corpus. Run it after a change of a format, and for a new target.
//!
//! `cargo run --release --package emr-fuzz --example seeds`

use std::{fs, path::Path};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for target in emr_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)()?.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
