//! Libraries that others wrote for JSON Web Encryption: joserfc and jwcrypto in Python, jose in JavaScript.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use xtask::parts::Parts;

use super::{PartError, find_or_skip};

/// What Python and Node.js run.
const PYTHON: &str = include_str!("jose.py");
const JAVASCRIPT: &str = include_str!("jose.mjs");

/// A library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoseName {
    /// joserfc (PyPI).
    Joserfc,
    /// jwcrypto (PyPI).
    Jwcrypto,
    /// jose (npm).
    Jose,
}

impl JoseName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Joserfc, Self::Jwcrypto, Self::Jose];

    const fn name(self) -> &'static str {
        match self {
            Self::Joserfc => "joserfc",
            Self::Jwcrypto => "jwcrypto",
            Self::Jose => "jose",
        }
    }
}

/// An installed library.
#[derive(Debug)]
pub struct JoseLibrary {
    name: JoseName,
    /// The module of jose, or the folder for `PYTHONPATH`.
    place: PathBuf,
}

impl JoseLibrary {
    /// Finds a library. Returns `None` if the test must be skipped.
    ///
    /// # Errors
    /// Returns [`PartError`] if it is required and not installed.
    pub fn find_or_skip(name: JoseName) -> Result<Option<Self>, PartError> {
        let parts = Parts::open()?;
        if name == JoseName::Jose {
            let module = find_or_skip(name.name(), parts.jose())?;
            return Ok(module.map(|place| Self { name, place }));
        }
        let packages = parts.jose_python_packages();
        let found = find_or_skip(name.name(), packages.join(name.name()).join("__init__.py"))?;
        Ok(found.map(|_| Self { name, place: packages }))
    }

    /// Makes a JWE in JSON of a text for the holders of public keys (PEM), with its media type as `cty`. One recipient gives the
    /// form that the library chooses, general or flattened.
    ///
    /// # Errors
    /// Returns [`PartError::Start`] if the library does not run.
    pub fn seal(&self, keys: &[String], content_type: &str, text: &str) -> Result<String, PartError> {
        self.run(&json!({ "do": "seal", "keys": keys, "cty": content_type, "text": text }))?
            .map_err(|reason| self.failed(reason))
    }

    /// Opens a JWE in JSON with a private key (PEM, PKCS#8). Returns its text, or the library's name of its error.
    ///
    /// # Errors
    /// Returns [`PartError::Start`] if the library does not run.
    pub fn open(&self, key: &str, jwe: &str) -> Result<Result<String, String>, PartError> {
        self.run(&json!({ "do": "open", "key": key, "jwe": jwe }))
    }

    fn failed(&self, reason: String) -> PartError {
        PartError::Start { part: self.name.name(), reason }
    }

    fn run(&self, request: &Value) -> Result<Result<String, String>, PartError> {
        let mut request = request.clone();
        request["library"] = self.name.name().into();
        request["module"] = json!(self.place);
        let mut command = match self.name {
            JoseName::Jose => {
                let mut node = Command::new("node");
                node.args(["--input-type=module", "--eval", JAVASCRIPT]);
                node
            }
            JoseName::Joserfc | JoseName::Jwcrypto => {
                let mut python = Command::new("python3");
                python.args(["-B", "-c", PYTHON]).env("PYTHONPATH", &self.place);
                python
            }
        };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| self.failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(request.to_string().as_bytes()).map_err(|error| self.failed(error.to_string()))?;
        }
        let said = child.wait_with_output().map_err(|error| self.failed(error.to_string()))?;
        let answer: Value = serde_json::from_slice(&said.stdout).map_err(|error| {
            let stderr: String = String::from_utf8_lossy(&said.stderr).chars().take(2000).collect();
            self.failed(format!("{error}: {stderr}"))
        })?;
        match (answer["done"].as_str(), answer["error"].as_str()) {
            (Some(done), _) => Ok(Ok(done.to_owned())),
            (None, Some(error)) => Ok(Err(error.to_owned())),
            (None, None) => Err(self.failed(answer.to_string())),
        }
    }
}
