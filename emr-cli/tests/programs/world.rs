//! The participants' data folders, and functions that run the programs as processes.

use std::{
    error::Error,
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use alloy::providers::{Provider, ProviderBuilder};
use serde::Serialize;
use serde_json::Value;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error>>;

pub(crate) const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../emr-core/fixtures/synthea-bundle.json");
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// The time limit for a command, and for a start of the node, on a loaded machine.
pub(crate) const COMMAND: Duration = Duration::from_secs(300);
/// The time limit for a batch on a loaded machine, with everything before it and with making the keys.
pub(crate) const BATCH: Duration = Duration::from_secs(1200);

/// A child process that is killed at the end of the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Waits for its end, and returns its exit code.
    pub(crate) fn wait(&mut self, limit: Duration) -> TestResult<Option<i32>> {
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(POLL);
        }
        Err(format!("not done within {} s", limit.as_secs()).into())
    }

    /// Sends a signal, waits until the process has ended, and returns its exit code.
    pub(crate) fn end(mut self, signal: &str, limit: Duration) -> TestResult<Option<i32>> {
        let sent = Command::new("kill").args(["-s", signal, &self.0.id().to_string()]).status()?;
        if sent.success() { self.wait(limit) } else { Err(format!("no SIG{signal} was sent").into()) }
    }

    /// The greatest resident memory so far, in MiB.
    pub(crate) fn peak_mebibytes(&self) -> TestResult<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
        Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> TestResult {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The child may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The output of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Its stdout, if it succeeded.
    pub(crate) fn done(self) -> TestResult<String> {
        if self.exit == Some(0) { Ok(self.stdout) } else { Err(format!("{self:?}").into()) }
    }

    /// Checks that it failed with this exit code, one line on stderr, and nothing on stdout. Returns the line.
    pub(crate) fn failed(self, exit: i32) -> TestResult<String> {
        let one_line = self.stderr.starts_with("error: ") && self.stderr.trim_end().lines().count() == 1;
        if self.exit == Some(exit) && one_line && self.stdout.is_empty() {
            Ok(self.stderr)
        } else {
            Err(format!("not exit code {exit} with one line: {self:?}").into())
        }
    }
}

/// The port of a server's address.
pub(crate) fn port(url: &str) -> TestResult<u16> {
    Ok(url.rsplit(':').next().ok_or("a port")?.trim_end_matches('/').parse()?)
}

/// A folder with all participants' data folders, and the node's addresses.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) node: u16,
    pub(crate) rpc: u16,
    /// The programs' cache, if it is not the developer's.
    pub(crate) cache: Option<PathBuf>,
}

impl World {
    pub(crate) fn new() -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("passphrase"), "correct horse\n")?;
        // Opens both ports at the same time, so that they differ.
        let (node, rpc) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        Ok(Self { folder, node: node.local_addr()?.port(), rpc: rpc.local_addr()?.port(), cache: None })
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Prepares a program with a data folder and the passphrase, without the developer's settings.
    pub(crate) fn prepare(
        &self,
        shell: Option<&str>,
        program: &str,
        data: &str,
        arguments: &[&str],
    ) -> TestResult<Command> {
        let path = match program {
            "emr-doctor" => env!("CARGO_BIN_EXE_emr-doctor"),
            "emr-patient" => env!("CARGO_BIN_EXE_emr-patient"),
            "emr-hospital" => env!("CARGO_BIN_EXE_emr-hospital"),
            _ => return Err(format!("no program {program}").into()),
        };
        let mut command = match shell {
            None => Command::new(path),
            Some(before) => {
                let mut command = Command::new("bash");
                command.args(["-c", &format!("{before}; exec \"$@\""), "bash", path]);
                command
            }
        };
        for variable in [
            "EMR_NODE",
            "EMR_RPC",
            "EMR_PASSPHRASE",
            "EMR_LOG",
            "EMR_CHAIN_ID",
            "EMR_CONTRACT",
            "EMR_FINALITY",
            "EMR_AGREE",
            "EMR_SIZES",
            "EMR_PASSPHRASE_FROM",
        ] {
            command.env_remove(variable);
        }
        if let Some(cache) = &self.cache {
            command.env("EMR_CACHE", cache);
        }
        command.env("EMR_DATA_DIR", self.at(data)).env("EMR_PASSPHRASE_FILE", self.at("passphrase"));
        // Tests do not wait for passphrases that nobody guesses.
        command.env("EMR_SCRYPT_SECONDS", "0");
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command to its end, within a time limit.
    pub(crate) fn run_in(
        &self,
        shell: Option<&str>,
        program: &str,
        data: &str,
        arguments: &[&str],
    ) -> TestResult<Said> {
        let (out, err) = (self.at("stdout"), self.at("stderr"));
        let mut command = self.prepare(shell, program, data, arguments)?;
        let child = command.stdout(File::create(&out)?).stderr(File::create(&err)?).spawn()?;
        let limit = if arguments.contains(&"--wait") { BATCH } else { COMMAND };
        let exit = Running(child).wait(limit).map_err(|error| format!("{program} {arguments:?}: {error}"))?;
        Ok(Said { exit, stdout: fs::read_to_string(out)?, stderr: fs::read_to_string(err)? })
    }

    pub(crate) fn doctor(&self, arguments: &[&str]) -> TestResult<Said> {
        self.run_in(None, "emr-doctor", "doctor", arguments)
    }

    pub(crate) fn patient(&self, arguments: &[&str]) -> TestResult<Said> {
        self.run_in(None, "emr-patient", "patient", arguments)
    }

    pub(crate) fn hospital(&self, arguments: &[&str]) -> TestResult<Said> {
        self.run_in(None, "emr-hospital", "hospital", arguments)
    }

    /// The options `--node` and `--rpc`, which a participant gives only once.
    pub(crate) fn addresses(&self) -> [String; 4] {
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        ["--node".to_owned(), at(self.node), "--rpc".to_owned(), at(self.rpc)]
    }

    /// Runs a command with these options.
    pub(crate) fn joining(&self, program: &str, data: &str, arguments: &[&str]) -> TestResult<Said> {
        let addresses = self.addresses();
        let all: Vec<&str> = addresses.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        self.run_in(None, program, data, &all)
    }

    /// Starts `dev` and waits until it is ready.
    pub(crate) fn dev(&self, data: &str, seal_after: &str) -> TestResult<Running> {
        let (node, rpc) = (format!("127.0.0.1:{}", self.node), format!("127.0.0.1:{}", self.rpc));
        self.serving(data, &["dev", "--listen", &node, "--rpc-listen", &rpc, "--seal-after", seal_after])
    }

    /// Starts a command that runs until it is stopped, and waits until it is ready.
    pub(crate) fn serving(&self, data: &str, arguments: &[&str]) -> TestResult<Running> {
        let what = arguments[0];
        let log = self.at(&format!("{data}-{what}.log"));
        let mut command = self.prepare(None, "emr-hospital", data, arguments)?;
        let mut running = Running(command.stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?);
        let started = Instant::now();
        while started.elapsed() < COMMAND {
            let said = fs::read_to_string(&log)?;
            if said.contains("Stop with Ctrl-C.") {
                return Ok(running);
            }
            if running.0.try_wait()?.is_some() {
                return Err(format!("{what} ended: {said}").into());
            }
            std::thread::sleep(POLL);
        }
        Err(format!("{what} does not start").into())
    }

    /// Waits until a running program has printed these words.
    pub(crate) fn until_it_says(&self, log: &str, words: &str) -> TestResult {
        let started = Instant::now();
        while !fs::read_to_string(self.at(log))?.contains(words) {
            if started.elapsed() > COMMAND {
                return Err(format!("{log} does not say: {words}").into());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The contract that the hospital deployed.
    pub(crate) fn contract(&self) -> TestResult<String> {
        let file: Value = serde_json::from_slice(&fs::read(self.at("hospital/deployment.json"))?)?;
        Ok(file["contract"].as_str().ok_or("an address")?.to_owned())
    }

    /// The node's status.
    pub(crate) fn status(&self) -> TestResult<Value> {
        Ok(serde_json::from_str(&self.hospital(&["--json", "status"])?.done()?)?)
    }

    /// Waits until the status fulfils a condition.
    pub(crate) fn wait_until(&self, what: &str, reached: impl Fn(&Value) -> bool) -> TestResult<Value> {
        let started = Instant::now();
        loop {
            let status = self.status()?;
            if reached(&status) {
                return Ok(status);
            }
            if started.elapsed() > BATCH {
                return Err(format!("not {what}: {status}").into());
            }
            std::thread::sleep(POLL * 5);
        }
    }

    /// Writes a participant's card to a file.
    pub(crate) fn keep_card(&self, program: &str, data: &str, file: &str) -> TestResult {
        let card = self.joining(program, data, &["whoami"])?.done()?;
        Ok(fs::write(self.at(file), card)?)
    }

    /// Registers and admits a doctor of this hospital or of none. `hospital.json` is the hospital's card.
    pub(crate) fn enrol_doctor(&self, name: &str, of_hospital: bool) -> TestResult {
        self.run_in(None, "emr-doctor", name, &["init", "--rsa-bits", "2048"])?.done()?;
        let (before, card) = (format!("{name}-0.json"), format!("{name}.json"));
        self.keep_card("emr-doctor", name, &before)?;
        let invitation = self.hospital(&["invite"])?.done()?;
        let register = ["register", "--invite", invitation.trim()];
        let joins: &[&str] = if of_hospital { &["--org", "hospital.json"] } else { &[] };
        if of_hospital {
            self.hospital(&["endorse", &before])?.done()?;
        }
        self.joining("emr-doctor", name, &[&register[..], joins].concat())?.done()?;
        self.hospital(&["registrar", "admit", &before])?.done()?;
        self.keep_card("emr-doctor", name, &card)
    }

    /// Asks the Ethereum node.
    pub(crate) fn ask_chain(&self, method: &'static str, parameters: impl Serialize) -> TestResult<Value> {
        let provider = ProviderBuilder::new().connect_http(format!("http://127.0.0.1:{}", self.rpc).parse()?);
        let parameters = serde_json::value::to_raw_value(&parameters)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async { provider.raw_request(method.into(), parameters).await })?)
    }
}
