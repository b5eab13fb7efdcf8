//! anvil, the Ethereum development node of foundry.

use std::process::Command;

use super::process::Running;
use super::{Demand, find_or_skip};
use crate::parts::{PartError, Parts};

/// An anvil with a chain of its own, in memory, on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Anvil {
    running: Running,
    url: String,
}

impl Anvil {
    /// Starts anvil with further `arguments` (`["--chain-id", "31337"]`), or says that the test is skipped.
    ///
    /// # Errors
    /// [`PartError::NotInstalled`] where it is required; [`PartError::Start`].
    pub fn start_or_skip(arguments: &[&str]) -> Result<Option<Self>, PartError> {
        let Some(program) = find_or_skip("anvil", Parts::open()?.anvil(), Demand::read())? else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", "0"]).args(arguments);
        let (running, address) =
            Running::start("anvil", &mut command, |line| line.strip_prefix("Listening on ").map(str::to_owned))?;
        Ok(Some(Self { running, url: format!("http://{address}") }))
    }

    /// Its JSON-RPC, such as `http://127.0.0.1:34645`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it as a crash would. Its chain is gone.
    pub fn kill(&mut self) {
        self.running.kill();
    }
}
