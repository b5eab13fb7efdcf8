//! anvil, the Ethereum development node of foundry.

use std::process::Command;

use super::find_or_skip;
use super::process::Running;
use xtask::parts::Parts;

use super::PartError;

/// A running anvil, with a new chain in memory, on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Anvil {
    running: Running,
    url: String,
}

impl Anvil {
    /// Starts anvil with further `arguments` (such as `["--chain-id", "31337"]`). Returns `None`, after a line on
    /// stderr, if the test must be skipped.
    ///
    /// # Errors
    /// Returns [`PartError::NotInstalled`] if anvil is required but not installed, and [`PartError::Start`] if it does
    /// not start.
    pub fn start_or_skip(arguments: &[&str]) -> Result<Option<Self>, PartError> {
        let Some(program) = find_or_skip("anvil", Parts::open()?.anvil())? else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", "0"]).args(arguments);
        let (running, address) =
            Running::start("anvil", &mut command, |line| line.strip_prefix("Listening on ").map(str::to_owned))?;
        Ok(Some(Self { running, url: format!("http://{address}") }))
    }

    /// The URL of its JSON-RPC, such as `http://127.0.0.1:34645`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills it. Its chain is lost.
    pub fn kill(&mut self) {
        self.running.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_answers_on_loopback_until_it_is_dropped() -> Result<(), Box<dyn std::error::Error>> {
        let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
        let address = anvil.url().strip_prefix("http://").unwrap_or_default().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        assert!(answer.contains("0x7a69"), "{answer}");
        drop(anvil);
        assert!(TcpStream::connect(&address).is_err());
        Ok(())
    }
}
