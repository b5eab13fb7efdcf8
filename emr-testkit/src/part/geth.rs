//! geth, the Ethereum node that most of mainnet runs, with the development chain that it brings.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::find_or_skip;
use super::process::Running;
use xtask::parts::Parts;

use super::PartError;

/// A running `geth --dev`, with a new chain, on a free port of 127.0.0.1. It has no peers and looks for none.
#[derive(Debug)]
pub struct Geth {
    running: Running,
    url: String,
    folder: TempDir,
}

impl Geth {
    /// The number of its own chain.
    pub const CHAIN_ID: u64 = 1337;
    /// Starts `geth --dev` with further `arguments` (such as `["--dev.period", "1"]`; without a period, it makes a block
    /// for each transaction). Returns `None`, after a line on stderr, if the test must be skipped.
    ///
    /// # Errors
    /// Returns [`PartError::NotInstalled`] if geth is required but not installed, [`PartError::Start`] if it does not
    /// start, and [`PartError::Io`] if its files cannot be written.
    pub fn start_or_skip(arguments: &[&str]) -> Result<Option<Self>, PartError> {
        Self::find_and_start(None, arguments)
    }

    /// The same with this genesis (JSON) instead of geth's own, whose rules need not be those of any real chain:
    /// geth 1.17 takes some gas costs from forks to come.
    ///
    /// # Errors
    /// The same as [`start_or_skip`](Self::start_or_skip).
    pub fn with_genesis_or_skip(genesis: &str, arguments: &[&str]) -> Result<Option<Self>, PartError> {
        Self::find_and_start(Some(genesis), arguments)
    }

    fn find_and_start(genesis: Option<&str>, arguments: &[&str]) -> Result<Option<Self>, PartError> {
        let Some(program) = find_or_skip("geth", Parts::open()?.geth())? else { return Ok(None) };
        let folder = tempfile::Builder::new()
            .prefix("emr-geth-")
            .tempdir()
            .map_err(PartError::io(Path::new("the folder for temporary files")))?;
        let mut command = Command::new(&program);
        command.arg("--dev");
        // Without one of these two, it would write the developer's key into the user's folder.
        match genesis {
            Some(genesis) => {
                initialise(&program, folder.path(), genesis)?;
                command.arg("--datadir").arg(folder.path())
            }
            None => command.arg("--keystore").arg(folder.path()),
        };
        // `--dev` turns peers off, but with a data folder it still asks the network for its own address.
        command.args(["--ipcdisable", "--nat", "none"]);
        command.args(["--http", "--http.addr", "127.0.0.1", "--http.port", "0"]);
        // `debug` and `testing` take blocks back and make them.
        command.args(["--http.api", "eth,net,txpool,debug,testing"]).args(arguments);
        let (running, address) = Running::start("geth", &mut command, address)?;
        Ok(Some(Self { running, url: format!("http://{address}"), folder }))
    }

    /// The URL of its JSON-RPC, such as `http://127.0.0.1:34645`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it. Its chain is lost.
    pub fn kill(&mut self) {
        self.running.kill();
    }
}

fn initialise(program: &Path, folder: &Path, genesis: &str) -> Result<(), PartError> {
    let path = folder.join("genesis.json");
    fs::write(&path, genesis).map_err(PartError::io(&path))?;
    let mut command = Command::new(program);
    command.arg("init").arg("--datadir").arg(folder).arg(&path).stdin(Stdio::null());
    let done = command.output().map_err(PartError::io(program))?;
    if done.status.success() {
        return Ok(());
    }
    Err(PartError::Start { part: "geth", reason: String::from_utf8_lossy(&done.stderr).into_owned() })
}

/// The address in the line about the server that needs no token.
fn address(line: &str) -> Option<String> {
    let (_, fields) = line.split_once("HTTP server started")?;
    let field = |name: &str| fields.split_whitespace().find_map(|field| field.strip_prefix(name));
    (field("auth=") == Some("false")).then(|| field("endpoint="))?.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_address_is_not_the_one_for_consensus_clients() {
        let line = |endpoint: &str, auth: bool| {
            format!(
                "INFO [11-30|00:00:00.000] HTTP server started                      endpoint={endpoint} auth={auth} prefix= cors= vhosts=localhost"
            )
        };
        assert_eq!(address(&line("127.0.0.1:4001", false)).as_deref(), Some("127.0.0.1:4001"));
        assert_eq!(address(&line("127.0.0.1:4002", true)), None);
        assert_eq!(address("INFO [11-30|00:00:00.000] Started P2P networking"), None);
    }

    #[test]
    fn it_answers_on_loopback_until_it_is_dropped() -> Result<(), Box<dyn std::error::Error>> {
        let Some(geth) = Geth::start_or_skip(&[])? else { return Ok(()) };
        let address = geth.url().strip_prefix("http://").unwrap_or_default().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        let ask = |method: &str| -> Result<String, Box<dyn std::error::Error>> {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[]}}"#);
            let mut stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            write!(
                stream,
                "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let chain = ask("eth_chainId")?;
        assert!(chain.contains(&format!("\"{:#x}\"", Geth::CHAIN_ID)), "{chain}");
        let peers = ask("net_peerCount")?;
        assert!(peers.contains("\"0x0\""), "{peers}");
        let folder = geth.folder().to_owned();
        assert!(folder.is_dir());
        drop(geth);
        assert!(TcpStream::connect(&address).is_err() && !folder.exists());
        Ok(())
    }
}
