//! Tests that a passphrase is no longer in the program's memory after the identity is open.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    net::TcpListener,
    path::Path,
    process::Stdio,
};

use crate::world::*;

/// Whether a text is in a process's writable memory.
fn remembers(process: u32, text: &[u8]) -> TestResult<bool> {
    let process = Path::new("/proc").join(process.to_string());
    let mut memory = File::open(process.join("mem"))?;
    for line in fs::read_to_string(process.join("maps"))?.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Some((from, to)) = range.split_once('-').filter(|_| rights.starts_with("rw")) else { continue };
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        memory.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        // Some of the kernel's own mappings cannot be read.
        let _ = memory.by_ref().take(to - from).read_to_end(&mut bytes);
        if bytes.windows(text.len()).any(|part| part == text) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_passphrase_does_not_stay_in_memory() -> TestResult {
    let world = World::new()?;
    // Longer than a reader's first buffer, and a text that occurs nowhere else.
    let words: Vec<String> = (0..40).map(|number| format!("word-{}", number * 7919)).collect();
    let passphrase = words.join(" ");
    fs::write(world.at("passphrase"), format!("{passphrase}\n"))?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;

    // A node that accepts the connection but never answers. The program waits for it with its identity open.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", silent.local_addr()?);
    let mut command =
        world.prepare(None, "emr-patient", "patient", &["records", "--node", &address, "--rpc", &address])?;
    let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let (_connection, _) = silent.accept()?;
    let process = running.0.id();
    // The search works: it finds the name of the data folder, which is in the environment.
    assert!(remembers(process, world.at("patient").to_string_lossy().as_bytes())?);
    for part in [&passphrase[..24], &passphrase[100..124], &passphrase[passphrase.len() - 24..]] {
        assert!(!remembers(process, part.as_bytes())?, "{part}");
    }
    running.kill()
}
