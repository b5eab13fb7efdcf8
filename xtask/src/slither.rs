//! Runs slither over the shipped contracts, and compares what it finds with the answers in `contracts/slither.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use serde_json::Value;
use xtask::parts::{PartError, Parts};

use crate::checks::{self, CheckError};
use crate::forge;

/// The findings that have an answer: what slither says of which function, and why it is no fault.
const ANSWERS: &str = "slither.json";

/// Detectors that find a style, not a fault. The contracts use assembly and low-level calls on purpose, constants of an
/// interface are functions in capitals, and the verifier is one long function.
const STYLE: &str = "assembly,low-level-calls,naming-convention,cyclomatic-complexity";

/// Why slither did not run, or what has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SlitherError {
    #[error(transparent)]
    Part(#[from] PartError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{what} is not JSON of the expected form: {source}")]
    Form { what: &'static str, source: serde_json::Error },
    #[error("slither failed: {0}")]
    Failed(String),
    #[error(
        "slither finds what contracts/{ANSWERS} does not answer:\n{0}\nRepair the contract, or add each line with the reason why it is no fault"
    )]
    Unanswered(String),
    #[error("slither no longer finds these; remove them from contracts/{ANSWERS}:\n{0}")]
    Gone(String),
}

/// Installs slither, runs it, and compares.
pub(crate) fn run(root: &Path) -> Result<(), SlitherError> {
    let parts = Parts::open()?;
    parts.install_solc()?;
    parts.install_forge()?;
    parts.install_slither()?;
    let contracts = root.join("contracts");
    let path = contracts.join(ANSWERS);
    let text = fs::read_to_string(&path).map_err(|source| SlitherError::File { path, source })?;
    let answers: BTreeMap<String, String> =
        serde_json::from_str(&text).map_err(|source| SlitherError::Form { what: "contracts/slither.json", source })?;
    let found = findings(&report(root, &parts)?);
    let answered: BTreeSet<String> = answers.into_keys().collect();
    let lines = |findings: Vec<&String>| findings.into_iter().cloned().collect::<Vec<_>>().join("\n");
    let unanswered: Vec<_> = found.difference(&answered).collect();
    if !unanswered.is_empty() {
        return Err(SlitherError::Unanswered(lines(unanswered)));
    }
    let gone: Vec<_> = answered.difference(&found).collect();
    if !gone.is_empty() {
        return Err(SlitherError::Gone(lines(gone)));
    }
    println!("slither: {} findings, each with an answer in contracts/{ANSWERS}", found.len());
    Ok(())
}

/// Compiles the contracts, and returns slither's report.
fn report(root: &Path, parts: &Parts) -> Result<Value, SlitherError> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| SlitherError::File { path, source }
    };
    // A folder of its own, because slither reads every build that it finds there.
    let out = tempfile::tempdir().map_err(at(&env::temp_dir()))?;
    let forge_folder = parts.forge().parent().map(Path::to_path_buf).unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(forge_folder).chain(env::split_paths(&path))).unwrap_or(path);
    let prepare = |mut command: Command| {
        forge::environment(&mut command, root, parts, "slither", out.path());
        command.env("PATH", &path).env("PYTHONPATH", parts.slither_packages());
        command
    };
    checks::run(prepare(Command::new(parts.forge())).args(["build", "--offline", "--build-info"]))?;

    let mut slither = prepare(Command::new("python3"));
    slither
        .args(["-m", "slither", ".", "--foundry-ignore-compile", "--foundry-out-directory"])
        .arg(out.path().join("out"));
    slither.args(["--filter-paths", "node_modules", "--exclude", STYLE, "--fail-none", "--json", "-"]);
    let output = slither.stderr(Stdio::inherit()).output().map_err(at(Path::new("python3")))?;
    if output.stdout.is_empty() {
        return Err(SlitherError::Failed(output.status.to_string()));
    }
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|source| SlitherError::Form { what: "slither's report", source })?;
    match report["success"].as_bool() {
        Some(true) => Ok(report),
        _ => Err(SlitherError::Failed(report["error"].to_string())),
    }
}

/// What slither found, such as `timestamp: Registry._requireSigned`. Places in files are left out, because they move.
fn findings(report: &Value) -> BTreeSet<String> {
    let name = |element: &Value| element["name"].as_str().unwrap_or("?").to_owned();
    let found = report["results"]["detectors"].as_array().into_iter().flatten();
    found
        .map(|finding| {
            let mut place = Vec::new();
            let mut element = &finding["elements"][0];
            // A variable is in a function, which is in a contract.
            while element.is_object() && element["type"] != "file" {
                place.insert(0, name(element));
                element = &element["type_specific_fields"]["parent"];
            }
            format!("{}: {}", finding["check"].as_str().unwrap_or("?"), place.join("."))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_finding_is_named_by_its_place_in_the_contract() {
        let contract = json!({ "type": "contract", "name": "Queue", "type_specific_fields": { "parent": null } });
        let function = json!({ "type": "function", "name": "take", "type_specific_fields": { "parent": contract } });
        let variable = json!({ "type": "variable", "name": "head", "type_specific_fields": { "parent": function } });
        let finding = |check: &str, element: &Value| json!({ "check": check, "elements": [element] });
        let detectors = [finding("timestamp", &function), finding("unused", &variable), finding("odd", &Value::Null)];
        let found = findings(&json!({ "results": { "detectors": detectors } }));
        let expected = ["odd: ", "timestamp: Queue.take", "unused: Queue.take.head"];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        assert!(findings(&json!({})).is_empty());
    }
}
