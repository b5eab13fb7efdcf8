//! Checks the programs' output where no node is needed: help, and every error. The transcripts are in `cmd`. Rewrite them with
//! `TRYCMD=overwrite`, then read the diff.

use std::{
    error::Error,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
};
use emr_api::Submission;
use emr_chain::RollupInstance;
use emr_client::{
    profile::{
        Profile,
        outbox::{NewEntry, Parties, Refusal},
    },
    verify::card::Card,
};
use emr_core::{AccountEpoch, AccountIndex, Class, RecordSlot, RecordStatus, Revision, Role, UnixTime, Version};
use emr_crypto::{Identity, KeyProfile, RsaBits, ScryptCost};
use emr_rollup::{
    operation::{Action, Domain, Operation, OperationId, PutRecord},
    primitive::{eddsa::SigningKey, field::Fr},
    state::leaf::RecordLeaf,
};
use secrecy::SecretString;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

const PASSPHRASE: &str = "correct horse";
const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cmd");
/// Environment variables that a developer may have set.
const VARIABLES: [&str; 12] = [
    "EMR_DATA_DIR",
    "EMR_NODE",
    "EMR_RPC",
    "EMR_AGREE",
    "EMR_PASSPHRASE",
    "EMR_PASSPHRASE_FILE",
    "EMR_CHAIN_ID",
    "EMR_INSECURE",
    "EMR_LOG",
    "EMR_SIZES",
    "EMR_PASSPHRASE_FROM",
    "EMR_SCRYPT_SECONDS",
];

/// The folder that the transcripts run in.
fn stage() -> TestResult<tempfile::TempDir> {
    let stage = tempfile::tempdir()?;
    let at = |name: &str| stage.path().join(name);
    for role in [Role::Doctor, Role::Patient, Role::Hospital] {
        let identity = Identity::generate(role, RsaBits::new(2048)?, KeyProfile::Hybrid);
        let passphrase = SecretString::from(PASSPHRASE);
        Profile::create(&at(role.name()), &identity, &passphrase, ScryptCost::Development)?;
        if role == Role::Patient {
            fs::write(at("patient-card.json"), card(&identity)?.to_json())?;
        }
    }
    let identity = Identity::generate(Role::Doctor, RsaBits::new(2048)?, KeyProfile::Hybrid);
    let kept = Profile::create(&at("kept"), &identity, &PASSPHRASE.into(), ScryptCost::Development)?;
    let parties = Parties { signer: Address::repeat_byte(2), patient: Address::repeat_byte(3) };
    for (slot, id) in [(7, 0x5c), (8, 0x7a)] {
        kept.outbox().add(NewEntry::plain(OperationId::from_bytes([id; 32]), parties, put_record(slot)?))?;
    }
    let refusal = Refusal { time: UnixTime::new(1)?, reason: "slot 7 is taken".to_owned() };
    kept.outbox().refuse(OperationId::from_bytes([0x5c; 32]), refusal)?;
    drop(kept);
    let identity = fs::read(at("doctor").join("identity"))?;
    for (name, bytes, mode) in [("truncated", &identity[..100], 0o600), ("exposed", &identity[..], 0o644)] {
        fs::create_dir(at(name))?;
        fs::write(at(name).join("identity"), bytes)?;
        fs::set_permissions(at(name).join("identity"), fs::Permissions::from_mode(mode))?;
    }
    fs::write(at("passphrase"), format!("{PASSPHRASE}\n"))?;
    fs::write(at("wrong"), "incorrect horse\n")?;
    fs::write(at("credential"), format!("emr-prover-{}\n", "0".repeat(64)))?;
    fs::set_permissions(at("credential"), fs::Permissions::from_mode(0o600))?;
    fs::write(at("empty"), "\n")?;
    fs::write(at("record.json"), r#"{"resourceType":"Patient","gender":"female"}"#)?;
    fs::write(at("not-json.json"), "{\"resourceType\":\n")?;
    fs::write(at("not-fhir.json"), r#"{"resourceType":"Receipt"}"#)?;
    fs::write(at("binary.json"), [0x89, 0x50, 0x4e, 0x47, 0xff, 0x00])?;
    Ok(stage)
}

/// A signed record, without its blocks.
fn put_record(slot: u64) -> TestResult<Submission> {
    let leaf = RecordLeaf {
        status: RecordStatus::Live,
        class: Class::Laboratory,
        author: AccountIndex::new(2)?,
        custodian: None,
        version: Version::ZERO.next()?,
        revision: Revision::ZERO.next()?,
        authored: Fr::from(1),
        stored: Fr::from(2),
    };
    let operation = Operation {
        signer: AccountIndex::new(2)?,
        signer_epoch: AccountEpoch::FIRST,
        patient: AccountIndex::new(3)?,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: UnixTime::new(1000)?,
        salt: Fr::from(slot),
        action: Action::PutRecord(PutRecord { slot: RecordSlot::new(slot)?, expected: Revision::ZERO, leaf }),
    };
    let signed = operation.sign(Domain::new(31337, [1; 20]), &SigningKey::from_seed(&[1; 32]), None);
    Ok(Submission { signed, stored: None, epoch: None, directory: None })
}

fn card(identity: &Identity) -> TestResult<Card> {
    let ethereum = PrivateKeySigner::from_bytes(&B256::from(*identity.ethereum_secret()))?.address();
    let instance = RollupInstance { chain_id: 31337, contract: ethereum };
    Ok(Card::of(identity, &instance, Some(emr_core::AccountIndex::new(4)?)))
}

/// A command of a transcript: variables, program, arguments, and the documented exit code.
#[derive(Debug)]
struct Step {
    variables: Vec<(String, String)>,
    program: String,
    arguments: Vec<String>,
    exit: i32,
}

fn steps(file: &Path) -> TestResult<Vec<Step>> {
    let text = fs::read_to_string(file)?;
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let mut words = command.split_whitespace().map(str::to_owned).peekable();
            let mut variables = Vec::new();
            while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
                variables.push((name.to_owned(), value.to_owned()));
                words.next();
            }
            let program = words.next().ok_or("no program")?;
            steps.push(Step { variables, program, arguments: words.collect(), exit: 0 });
        } else if let (Some(code), Some(step)) = (line.strip_prefix("? "), steps.last_mut()) {
            step.exit = code.parse()?;
        }
    }
    Ok(steps)
}

fn transcripts() -> TestResult<Vec<PathBuf>> {
    let mut files = fs::read_dir(TRANSCRIPTS)?
        .map(|entry| Ok(entry?.path()))
        .filter(|path| path.as_ref().is_ok_and(|path: &PathBuf| path.extension().is_some_and(|end| end == "trycmd")))
        .collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn program(name: &str) -> TestResult<&'static str> {
    match name {
        "emr-doctor" => Ok(env!("CARGO_BIN_EXE_emr-doctor")),
        "emr-patient" => Ok(env!("CARGO_BIN_EXE_emr-patient")),
        "emr-hospital" => Ok(env!("CARGO_BIN_EXE_emr-hospital")),
        _ => Err(format!("no program {name}").into()),
    }
}

/// The output is exactly that of the transcripts. A failing command prints one line on stderr and nothing on stdout, and writes no file.
#[test]
fn programs_print_what_the_transcripts_say() -> TestResult {
    let stage = stage()?;
    let files = transcripts()?;
    assert!(files.len() >= 5, "{files:?}");
    for step in files.iter().map(|file| steps(file)).collect::<TestResult<Vec<_>>>()?.iter().flatten() {
        let mut command = Command::new(program(&step.program)?);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        let output = command
            .args(&step.arguments)
            .envs(step.variables.iter().cloned())
            .current_dir(stage.path())
            .stdin(Stdio::null())
            .output()?;
        let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        assert_eq!(output.status.code(), Some(step.exit), "{step:?}: {stderr}");
        if step.exit == 0 {
            assert!(!stdout.is_empty() && stderr.is_empty(), "{step:?}: {stderr}");
        } else {
            assert_eq!(stdout, "", "{step:?}");
            assert!(stderr.starts_with("error: ") && stderr.ends_with('\n'), "{step:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{step:?}: {stderr}");
        }
    }
    assert!(!stage.path().join("new").exists(), "a refused init left a folder");

    std::env::set_current_dir(stage.path())?;
    for file in files {
        // One after the other: only one process at a time may have a data folder open.
        let cases = trycmd::TestCases::new();
        for name in ["emr-doctor", "emr-patient", "emr-hospital"] {
            cases.register_bin(name, Path::new(program(name)?));
        }
        cases.case(file).run();
    }
    Ok(())
}

/// A full stdout is an error with an exit code, not a crash.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_reported() -> TestResult {
    let stage = stage()?;
    let output = Command::new(program("emr-doctor")?)
        .args(["--data-dir", "fresh", "--passphrase-file", "passphrase", "init", "--rsa-bits", "2048"])
        .current_dir(stage.path())
        .stdin(Stdio::null())
        .stdout(fs::OpenOptions::new().write(true).open("/dev/full")?)
        .output()?;
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8(output.stderr)?.lines().count(), 1);
    assert!(stage.path().join("fresh/identity").exists());
    Ok(())
}

/// If the file size is limited, `init` reports it, leaves no file, and works afterwards.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_behind() -> TestResult {
    let stage = stage()?;
    let folder = stage.path().join("full");
    let init = |limit: &str| {
        Command::new("bash")
            .args(["-c", &format!("ulimit -f {limit}; exec \"$@\""), "bash", program("emr-doctor")?])
            .args(["--data-dir", "full", "--passphrase-file", "passphrase", "init", "--rsa-bits", "2048"])
            .current_dir(stage.path())
            .stdin(Stdio::null())
            .output()
            .map_err(Box::<dyn Error>::from)
    };
    let refused = init("1")?;
    assert_eq!(refused.status.code(), Some(7));
    assert_eq!(
        String::from_utf8(refused.stderr)?,
        "error: no space left for full/identity: free some space or raise the limit, then try again; nothing was lost\n"
    );
    assert_eq!(fs::read_dir(&folder)?.count(), 0);
    let made = init("unlimited")?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// With `--json`, another program can find out what went wrong without parsing text.
#[test]
fn with_json_an_error_is_an_object() -> TestResult {
    let stage = stage()?;
    let cases: [(&str, &[&str], &str, i32, bool); 3] = [
        (
            "emr-hospital",
            &["--data-dir", "hospital", "--json", "--node", "http://127.0.0.1:1", "status"],
            "node-unreachable",
            5,
            true,
        ),
        ("emr-doctor", &["--data-dir", "nowhere", "--json", "outbox", "list"], "no-profile", 8, false),
        ("emr-doctor", &["--data-dir", "kept", "--json", "outbox", "discard", "0000"], "input", 3, false),
    ];
    for (name, arguments, code, exit, temporary) in cases {
        let output =
            Command::new(program(name)?).args(arguments).current_dir(stage.path()).stdin(Stdio::null()).output()?;
        let stderr = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(exit), "{stderr}");
        let said: serde_json::Value = serde_json::from_str(&stderr)?;
        assert_eq!(
            (&said["error"], &said["exit"], &said["temporary"]),
            (&code.into(), &exit.into(), &temporary.into())
        );
        assert!(said["message"].as_str().is_some_and(|message| !message.is_empty()), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    Ok(())
}
