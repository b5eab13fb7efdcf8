//! Kubo, the IPFS node in Go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::find_or_skip;
use super::process::Running;
use xtask::parts::Parts;

use super::PartError;

/// A running Kubo node with a new repository. It listens only on free ports of 127.0.0.1, and knows and searches no
/// other nodes.
#[derive(Debug)]
pub struct Kubo {
    running: Running,
    url: String,
    program: PathBuf,
    repository: TempDir,
}

impl Kubo {
    /// Starts a node. Returns `None`, after a line on stderr, if the test must be skipped.
    ///
    /// # Errors
    /// Returns [`PartError::NotInstalled`] if Kubo is required but not installed, [`PartError::Start`] if it does not
    /// start, and [`PartError::Io`] if its files cannot be written.
    pub fn start_or_skip() -> Result<Option<Self>, PartError> {
        let Some(program) = find_or_skip("Kubo", Parts::open()?.kubo())? else { return Ok(None) };
        let repository = tempfile::Builder::new()
            .prefix("emr-kubo-")
            .tempdir()
            .map_err(PartError::io(Path::new("the folder for temporary files")))?;
        initialise(&program, repository.path())?;
        let (running, url) = start(&program, repository.path())?;
        Ok(Some(Self { running, url, program, repository }))
    }

    /// The URL of its HTTP RPC, such as `http://127.0.0.1:41097`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of its repository.
    pub fn repository(&self) -> &Path {
        self.repository.path()
    }

    /// Kills it. Its repository stays.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts it again with the same repository, on another port.
    ///
    /// # Errors
    /// Returns [`PartError::Start`] if it does not start, and [`PartError::Io`] if its files cannot be read.
    pub fn restart(&mut self) -> Result<(), PartError> {
        self.running.kill();
        (self.running, self.url) = start(&self.program, self.repository.path())?;
        Ok(())
    }
}

fn ipfs(program: &Path, repository: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("IPFS_PATH", repository).env("IPFS_TELEMETRY", "off").env_remove("LIBP2P_FORCE_PNET");
    command
}

fn initialise(program: &Path, repository: &Path) -> Result<(), PartError> {
    let done = ipfs(program, repository, &["init", "--profile=test", "--empty-repo"])
        .stdin(Stdio::null())
        .output()
        .map_err(PartError::io(program))?;
    if !done.status.success() {
        return Err(PartError::Start { part: "Kubo", reason: String::from_utf8_lossy(&done.stderr).into_owned() });
    }
    let path = repository.join("config");
    let text = fs::read_to_string(&path).map_err(PartError::io(&path))?;
    let mut config: Value =
        serde_json::from_str(&text).map_err(|error| PartError::Io { path: path.clone(), source: error.into() })?;
    seclude(&mut config);
    fs::write(&path, format!("{config:#}")).map_err(PartError::io(&path))
}

/// Restricts the node to loopback, without peers or lookups. Turns on fsync, as a hospital must.
fn seclude(config: &mut Value) {
    config["Addresses"]["API"] = json!("/ip4/127.0.0.1/tcp/0");
    config["Addresses"]["Gateway"] = json!("/ip4/127.0.0.1/tcp/0");
    config["Addresses"]["Swarm"] = json!(["/ip4/127.0.0.1/tcp/0"]);
    config["Bootstrap"] = json!([]);
    config["Discovery"]["MDNS"]["Enabled"] = json!(false);
    config["Routing"]["Type"] = json!("none");
    config["AutoConf"]["Enabled"] = json!(false);
    config["AutoTLS"]["Enabled"] = json!(false);
    config["AutoNAT"]["ServiceMode"] = json!("disabled");
    config["Swarm"]["DisableNatPortMap"] = json!(true);
    config["Swarm"]["EnableHolePunching"] = json!(false);
    config["Swarm"]["RelayClient"]["Enabled"] = json!(false);
    config["Swarm"]["RelayService"]["Enabled"] = json!(false);
    config["Provide"]["Enabled"] = json!(false);
    config["Version"]["SwarmCheckEnabled"] = json!(false);
    for mount in config["Datastore"]["Spec"]["mounts"].as_array_mut().into_iter().flatten() {
        if mount["type"] == "flatfs" {
            mount["sync"] = json!(true);
        }
    }
}

fn start(program: &Path, repository: &Path) -> Result<(Running, String), PartError> {
    // A killed node leaves a file with its old address.
    let address = repository.join("api");
    if address.exists() {
        fs::remove_file(&address).map_err(PartError::io(&address))?;
    }
    let mut daemon = ipfs(program, repository, &["daemon", "--migrate=false"]);
    let (running, ()) = Running::start("Kubo", &mut daemon, |line| (line == "Daemon is ready").then_some(()))?;
    let multiaddr = fs::read_to_string(&address).map_err(PartError::io(&address))?;
    match multiaddr.trim().split('/').collect::<Vec<_>>()[..] {
        ["", "ip4", host, "tcp", port] => Ok((running, format!("http://{host}:{port}"))),
        _ => Err(PartError::Start { part: "Kubo", reason: format!("`{multiaddr}` is not an address") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_alone_and_comes_back_after_a_crash() -> Result<(), PartError> {
        let Some(mut kubo) = Kubo::start_or_skip()? else { return Ok(()) };
        assert!(kubo.url().starts_with("http://127.0.0.1:"));
        kubo.kill();
        kubo.restart()?;
        let peers = ipfs(&kubo.program, kubo.repository(), &["swarm", "peers"])
            .output()
            .map_err(PartError::io(&kubo.program))?;
        assert!(peers.status.success() && peers.stdout.is_empty());
        let listening = ipfs(&kubo.program, kubo.repository(), &["swarm", "addrs", "local"])
            .output()
            .map_err(PartError::io(&kubo.program))?;
        let listening = String::from_utf8_lossy(&listening.stdout);
        assert!(
            listening.lines().count() > 0 && listening.lines().all(|line| line.starts_with("/ip4/127.0.0.1/")),
            "{listening}"
        );
        Ok(())
    }
}
