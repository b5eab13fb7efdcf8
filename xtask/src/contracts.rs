//! Builds the contract artefacts that the Rust crates contain, with the pinned compiler. Checks that the committed
//! artefacts match the sources.
//!
//! The contracts of `contracts/src` become `contracts/artifacts/NAME.json`. Each contract in `contracts/test`, and each
//! `contracts/test/generated/NAME.sol` (a verifier that snark-verifier generated from a verifying key), becomes
//! `contracts/test/artifacts/NAME.json`, which only tests use. An artefact holds the ABI, the creation code and the
//! size of the deployed code. It has no metadata hash, so equal sources give equal bytes on every machine.
//! `contracts/artifacts/storage-layout.json` says where each variable of the shipped contracts lies in storage.

mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use xtask::parts::{PartError, Parts};

/// The largest size of deployed code in bytes (EIP-170).
const MAX_DEPLOYED_BYTES: usize = 24_576;

/// Why the artefacts could not be built, or that they differ.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContractsError {
    #[error(transparent)]
    Part(#[from] PartError),
    #[error("cannot run `node` ({0}): install Node.js 20 or newer")]
    Node(io::Error),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("the compiler did not answer with JSON: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("the compiler's answer for {0} lacks a requested part")]
    Incomplete(String),
    #[error("the contracts do not compile:\n{0}")]
    Compile(String),
    #[error("{contract} has {size} bytes of code; the limit is {MAX_DEPLOYED_BYTES} (EIP-170)")]
    TooLarge { contract: String, size: usize },
    #[error("these artefacts do not match the sources: {}; run `cargo xtask contracts` and commit the result", .0.join(", "))]
    Differs(Vec<String>),
}

/// Builds every artefact under `root`, the workspace folder. With `check`, writes nothing and compares instead.
///
/// # Errors
/// Returns [`ContractsError`] if the compiler cannot be installed, if the sources do not compile, or (with `check`) if
/// an artefact differs.
pub(crate) fn run(root: &Path, check: bool) -> Result<(), ContractsError> {
    let parts = Parts::open()?;
    parts.install_solc()?;
    let contracts = root.join("contracts");
    let compiler = Compiler { contracts: &contracts, modules: parts.solc_modules() };

    let shipped = compiler.compile(
        &["src/EmrRollup.sol", "src/governance/Governance.sol", "src/Verifier.sol"],
        own_settings(),
        &[],
    )?;
    let tests = solidity_files(&contracts, "test")?;
    let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
    let mut test = compiler.compile(&tests, own_settings(), &[])?;
    if let Some(large) = shipped.iter().chain(&test).find(|artifact| artifact.deployed_size > MAX_DEPLOYED_BYTES) {
        return Err(ContractsError::TooLarge { contract: large.name.clone(), size: large.deployed_size });
    }
    for source in solidity_files(&contracts, "test/generated")? {
        test.append(&mut compiler.compile_generated(&source)?);
    }

    let mut files = BTreeMap::new();
    let (mut sizes, mut layouts) = (serde_json::Map::new(), serde_json::Map::new());
    for artifact in &shipped {
        sizes.insert(artifact.name.clone(), artifact.deployed_size.into());
        layouts.insert(artifact.name.clone(), artifact.storage.clone());
        files.insert(format!("artifacts/{}.json", artifact.name), artifact.to_json()?);
    }
    files.insert("artifacts/sizes.json".to_owned(), pretty(&Value::Object(sizes))?);
    files.insert("artifacts/storage-layout.json".to_owned(), pretty(&Value::Object(layouts))?);
    for artifact in &test {
        files.insert(format!("test/artifacts/{}.json", artifact.name), artifact.to_json()?);
    }
    if check { compare(&contracts, &files) } else { write(&contracts, &files) }
}

/// One compiled contract.
struct Artifact {
    name: String,
    abi: Value,
    /// Creation code, hexadecimal without prefix.
    bytecode: String,
    /// Bytes of deployed code.
    deployed_size: usize,
    /// Where its variables lie in storage.
    storage: Value,
}

impl Artifact {
    fn to_json(&self) -> Result<String, ContractsError> {
        pretty(&json!({
            "contractName": self.name,
            "deployedSize": self.deployed_size,
            "abi": self.abi,
            "bytecode": format!("0x{}", self.bytecode),
        }))
    }
}

fn pretty(value: &Value) -> Result<String, ContractsError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Compiler settings for the project's contracts, optimised for the frequent calls: settlement and registration.
fn own_settings() -> Value {
    json!({ "optimizer": { "enabled": true, "runs": 100 }, "viaIR": true })
}

/// Compiler settings for snark-verifier's Solidity. The default optimizer fails on it ("stack too deep"), and the IR
/// pipeline makes a contract that always reverts.
fn generated_settings() -> Value {
    json!({
        "optimizer": {
            "enabled": true,
            "runs": 1,
            "details": {
                "peephole": true,
                "inliner": false,
                "jumpdestRemover": true,
                "orderLiterals": true,
                "deduplicate": true,
                "cse": true,
                "constantOptimizer": true,
                "yul": false,
            },
        },
    })
}

/// The Solidity files of a folder, sorted, as paths relative to `contracts`. Empty if the folder does not exist.
fn solidity_files(contracts: &Path, folder: &str) -> Result<Vec<String>, ContractsError> {
    let path = contracts.join(folder);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let at = |source| ContractsError::File { path: path.clone(), source };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&path).map_err(at)? {
        let name = entry.map_err(at)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sol") {
            names.insert(format!("{folder}/{name}"));
        }
    }
    Ok(names.into_iter().collect())
}

/// The compiler's warning of code beyond the limit of EIP-170.
const LARGE_CODE: &str = "5574";

/// The pinned compiler. It resolves imports only in `contracts` and in the pinned packages.
struct Compiler<'a> {
    contracts: &'a Path,
    /// The `node_modules` folder with solc and OpenZeppelin.
    modules: PathBuf,
}

impl Compiler<'_> {
    /// Compiles a generated file, and names its only contract after the file. Its code may be too large for Ethereum.
    fn compile_generated(&self, source: &str) -> Result<Vec<Artifact>, ContractsError> {
        let mut artifacts = self.compile(&[source], generated_settings(), &[LARGE_CODE])?;
        let stem = Path::new(source).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        for artifact in &mut artifacts {
            artifact.name.clone_from(&stem);
        }
        Ok(artifacts)
    }

    /// Compiles files, and returns the contracts that have code. A warning fails the build like an error, unless its code is allowed.
    fn compile(&self, files: &[&str], mut settings: Value, allowed: &[&str]) -> Result<Vec<Artifact>, ContractsError> {
        let mut sources = serde_json::Map::new();
        for &name in files {
            let path = self.contracts.join(name);
            let content = fs::read_to_string(&path).map_err(|source| ContractsError::File { path, source })?;
            sources.insert(name.to_owned(), json!({ "content": content }));
        }
        settings["evmVersion"] = "cancun".into();
        settings["metadata"] = json!({ "appendCBOR": false, "bytecodeHash": "none" });
        settings["outputSelection"] =
            json!({ "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "storageLayout"] } });
        let answer = self.run(&json!({ "language": "Solidity", "sources": sources, "settings": settings }))?;

        let complaints = answer["errors"].as_array().into_iter().flatten();
        // OpenZeppelin answers for the style of its own sources.
        let is_theirs = |error: &Value| {
            let file = error["sourceLocation"]["file"].as_str();
            error["severity"] == "warning" && file.is_some_and(|file| file.starts_with("@openzeppelin/"))
        };
        let is_allowed =
            |error: &Value| is_theirs(error) || error["errorCode"].as_str().is_some_and(|code| allowed.contains(&code));
        let complaints: Vec<_> = complaints
            .filter(|error| !is_allowed(error))
            .filter_map(|error| error["formattedMessage"].as_str())
            .collect();
        if !complaints.is_empty() {
            return Err(ContractsError::Compile(complaints.concat()));
        }
        let mut artifacts = Vec::new();
        for &source in files {
            let compiled = answer["contracts"][source].as_object();
            let compiled = compiled.ok_or_else(|| ContractsError::Incomplete(source.to_owned()))?;
            for (name, contract) in compiled {
                artifacts.extend(artifact(name, contract)?);
            }
        }
        Ok(artifacts)
    }

    /// Runs the compiler on standard JSON input.
    fn run(&self, input: &Value) -> Result<Value, ContractsError> {
        let temporary = |source| ContractsError::File { path: std::env::temp_dir(), source };
        // Uses files, because the compiler's wrapper waits neither for data in an empty pipe nor for space in a full
        // one.
        let mut question = tempfile::tempfile().map_err(temporary)?;
        let mut answer = tempfile::tempfile().map_err(temporary)?;
        let input = serde_json::to_vec(input)?;
        question.write_all(&input).and_then(|()| question.rewind()).map_err(temporary)?;
        Command::new("node")
            .arg(self.modules.join("solc/solc.js"))
            .args(["--standard-json", "--base-path", ".", "--include-path"])
            .arg(&self.modules)
            .current_dir(self.contracts)
            .stdin(question)
            .stdout(answer.try_clone().map_err(temporary)?)
            .status()
            .map_err(ContractsError::Node)?;
        let mut text = Vec::new();
        answer.rewind().and_then(|()| answer.read_to_end(&mut text)).map_err(temporary)?;
        // The wrapper prints another line before the JSON.
        let start = text.iter().position(|&byte| byte == b'{').unwrap_or(0);
        Ok(serde_json::from_slice(&text[start..])?)
    }
}

/// The artefact of a compiled contract. `None` for interfaces, which have no code.
fn artifact(name: &str, contract: &Value) -> Result<Option<Artifact>, ContractsError> {
    let code = |which: &str| {
        let object = contract["evm"][which]["object"].as_str();
        object.map(str::to_owned).ok_or_else(|| ContractsError::Incomplete(name.to_owned()))
    };
    let (bytecode, deployed) = (code("bytecode")?, code("deployedBytecode")?);
    let deployed_size = deployed.len() / 2;
    if deployed_size == 0 {
        return Ok(None);
    }
    let mut abi = contract["abi"].clone();
    forget_internal_types(&mut abi);
    let storage =
        storage::readable(&contract["storageLayout"]).ok_or_else(|| ContractsError::Incomplete(name.to_owned()))?;
    Ok(Some(Artifact { name: name.to_owned(), abi, bytecode, deployed_size, storage }))
}

/// Removes the names of user-defined value types and enums (`AccountIndex`, `enum Role`) from an ABI, because binding
/// generators would have to resolve them across files. Keeps the names of structs.
fn forget_internal_types(abi: &mut Value) {
    match abi {
        Value::Array(items) => items.iter_mut().for_each(forget_internal_types),
        Value::Object(fields) => {
            let is_struct = fields.get("type").and_then(Value::as_str).is_some_and(|name| name.starts_with("tuple"));
            if !is_struct {
                fields.remove("internalType");
            }
            fields.values_mut().for_each(forget_internal_types);
        }
        _ => {}
    }
}

/// Writes the files, and removes artefacts whose contract no longer exists.
fn write(contracts: &Path, files: &BTreeMap<String, String>) -> Result<(), ContractsError> {
    for stale in committed(contracts)?.difference(&files.keys().cloned().collect()) {
        let path = contracts.join(stale);
        fs::remove_file(&path).map_err(|source| ContractsError::File { path, source })?;
    }
    for (name, text) in files {
        let path = contracts.join(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        folder.and_then(|()| fs::write(&path, text)).map_err(|source| ContractsError::File { path, source })?;
    }
    Ok(())
}

/// Fails and names every committed artefact that is missing, different, or of a contract that no longer exists.
fn compare(contracts: &Path, files: &BTreeMap<String, String>) -> Result<(), ContractsError> {
    let mut differing = committed(contracts)?;
    for (name, text) in files {
        if fs::read_to_string(contracts.join(name)).is_ok_and(|committed| &committed == text) {
            differing.remove(name);
        } else {
            differing.insert(name.clone());
        }
    }
    if differing.is_empty() { Ok(()) } else { Err(ContractsError::Differs(differing.into_iter().collect())) }
}

/// The existing artefacts, as paths relative to `contracts`.
fn committed(contracts: &Path) -> Result<BTreeSet<String>, ContractsError> {
    let mut names = BTreeSet::new();
    for folder in ["artifacts", "test/artifacts"] {
        let path = contracts.join(folder);
        if !path.exists() {
            continue;
        }
        let at = |source| ContractsError::File { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(at)? {
            let name = entry.map_err(at)?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".json") {
                names.insert(format!("{folder}/{name}"));
            }
        }
    }
    Ok(names)
}
