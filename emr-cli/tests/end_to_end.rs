//! Runs the demo, which uses the whole system, on embedded and on real parts. Kills it and runs it again.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use emr_testkit::part::{Anvil, Geth, Kubo};
use serde_json::Value;

type TestResult = Result<(), Box<dyn Error>>;

/// How long a demo may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(1500);

fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emr-hospital"));
    command.args(["demo", "--json", "--data-dir"]).arg(folder).args(arguments).stdin(Stdio::null());
    for variable in ["EMR_DATA_DIR", "EMR_NODE", "EMR_RPC", "EMR_PASSPHRASE", "EMR_PASSPHRASE_FILE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs a demo to its end, within a time limit. Returns its JSON object.
fn run(folder: &Path, arguments: &[&str]) -> Result<Value, Box<dyn Error>> {
    let output = folder.with_extension("stdout");
    let mut child = demo(folder, arguments).stdout(std::fs::File::create(&output)?).spawn()?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Err("the demo did not end in time".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let text = std::fs::read_to_string(&output)?;
    if !status.success() {
        return Err(format!("{status}: {text}").into());
    }
    Ok(serde_json::from_str(&text)?)
}

/// Checks the outcome that every demo must have.
fn check(outcome: &Value) -> Result<(), Box<dyn Error>> {
    for held in ["retrieved_equal", "revoked_refused", "old_keys_fail", "fresh_process_equal", "light_verified"] {
        assert_eq!(outcome[held], true, "{held}: {outcome}");
    }
    let batches = outcome["batches"].as_array().ok_or("no batches")?;
    assert_eq!(batches.len(), 2);
    for batch in batches {
        let number = |name: &str| batch[name].as_u64().ok_or(format!("no {name}"));
        assert!(number("operations")? > 0);
        assert!(number("proof_bytes")? > 0);
        let gas = number("gas_used")?;
        assert!((100_000..900_000).contains(&gas), "{gas} gas");
        assert!(batch["prove_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
        assert_eq!(batch["tx_hash"].as_str().map(str::len), Some(66));
    }
    assert_eq!(batches[0]["post_root"], batches[1]["pre_root"]);
    assert!(outcome["record_cid"].as_str().is_some_and(|cid| cid.starts_with("bafy")), "{outcome}");
    // The hospital may write and doctor A read and write; doctor B's grant is revoked.
    assert_eq!(outcome["access"], 2);
    Ok(())
}

/// Kills a demo while its first batch is being proved.
fn kill_while_proving(folder: &Path) -> TestResult {
    let mut child = demo(folder, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().ok_or("no stderr")?;
    let reached = BufReader::new(stderr).lines().map_while(Result::ok).any(|line| line.starts_with("4. "));
    // Long enough to seal the batch, too short to prove it.
    std::thread::sleep(Duration::from_secs(3));
    child.kill()?;
    child.wait()?;
    assert!(reached, "the demo ended before its first batch");
    Ok(())
}

#[test]
fn a_killed_demo_goes_on_and_the_next_one_continues_from_there() -> TestResult {
    let parent = tempfile::tempdir()?;
    let folder: PathBuf = parent.path().join("demo");
    std::fs::create_dir(&folder)?;
    kill_while_proving(&folder)?;
    let first = run(&folder, &[])?;
    check(&first)?;
    let second = run(&folder, &[])?;
    check(&second)?;
    for kept in ["accounts", "contract", "chain_id"] {
        assert_eq!(first[kept], second[kept], "{kept}");
    }
    assert_eq!(second["batches"][0]["pre_root"], first["batches"][1]["post_root"]);
    assert!(second["audit_entries"].as_u64() > first["audit_entries"].as_u64());
    Ok(())
}

#[test]
fn the_demo_runs_on_anvil_and_kubo() -> TestResult {
    let (Some(anvil), Some(kubo)) = (Anvil::start_or_skip(&[])?, Kubo::start_or_skip()?) else { return Ok(()) };
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("demo");
    std::fs::create_dir(&folder)?;
    check(&run(&folder, &["--rpc", anvil.url(), "--ipfs", kubo.url()])?)
}

/// On geth's own genesis, as the README says it. It takes some gas costs from forks to come.
#[test]
fn the_demo_runs_on_geth() -> TestResult {
    let Some(geth) = Geth::start_or_skip(&["--dev.gaslimit", "30000000"])? else { return Ok(()) };
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("demo");
    std::fs::create_dir(&folder)?;
    check(&run(&folder, &["--rpc", geth.url()])?)
}
