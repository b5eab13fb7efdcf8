//! A viewer of SMART Health Links that others wrote: `kill-the-clipboard`, which decrypts with `jose`. Node.js runs it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use xtask::parts::Parts;

use super::{PartError, find_or_skip};

/// What Node.js runs.
const SCRIPT: &str = include_str!("shl_viewer.mjs");

/// The installed viewer.
#[derive(Clone, Debug)]
pub struct ShlViewer {
    module: PathBuf,
}

impl ShlViewer {
    /// Finds the viewer. Returns `None`, after a line on stderr, if the test must be skipped.
    ///
    /// # Errors
    /// Returns [`PartError::NotInstalled`] if the viewer is required but not installed.
    pub fn find_or_skip() -> Result<Option<Self>, PartError> {
        let module = find_or_skip("kill-the-clipboard", Parts::open()?.shl_viewer())?;
        Ok(module.map(|module| Self { module }))
    }

    /// Opens a link. Returns `{"manifest": .., "resources": [..]}`, or `{"error": NAME}` with the viewer's name of the
    /// error. Blocks until the viewer ends; it waits for the node's answers, which have time limits.
    ///
    /// # Errors
    /// Returns [`PartError::Start`] if Node.js does not run, or says something else.
    pub fn open(
        &self,
        link: &str,
        recipient: &str,
        passcode: Option<&str>,
        embedded: Option<u64>,
    ) -> Result<Value, PartError> {
        let failed = |reason: String| PartError::Start { part: "kill-the-clipboard", reason };
        let mut request = json!({ "module": self.module, "link": link, "recipient": recipient });
        if let Some(passcode) = passcode {
            request["passcode"] = passcode.into();
        }
        if let Some(embedded) = embedded {
            request["embeddedLengthMax"] = embedded.into();
        }
        let mut child = Command::new("node")
            .args(["--input-type=module", "--eval", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("node: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(request.to_string().as_bytes()).map_err(|error| failed(error.to_string()))?;
        }
        let said = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&said.stdout)
            .map_err(|error| failed(format!("{error}: {}", String::from_utf8_lossy(&said.stderr))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refuses_what_is_no_link() -> Result<(), PartError> {
        let Some(viewer) = ShlViewer::find_or_skip()? else { return Ok(()) };
        let answer = viewer.open("shlink:/e30", "test", None, None)?;
        assert_eq!(answer, json!({ "error": "SHLFormatError" }));
        Ok(())
    }
}
