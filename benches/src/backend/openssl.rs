//! The program `openssl speed`, with its machine-readable output.

use std::{error::Error, path::Path, process::Command};

/// The peer.
pub(crate) struct Openssl<'a> {
    program: &'a Path,
    version: String,
}

impl<'a> Openssl<'a> {
    pub(crate) fn new(program: &'a Path) -> Result<Self, Box<dyn Error>> {
        let mut openssl = Self { program, version: String::new() };
        openssl.version = openssl.output(&["version"])?.trim().to_owned();
        Ok(openssl)
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    fn output(&self, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = Command::new(self.program).args(arguments).output();
        let output = output.map_err(|error| format!("{}: {error}; name it with --openssl", self.program.display()))?;
        if !output.status.success() {
            return Err(format!("openssl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A field of a line of `openssl speed -mr`, which counts user CPU time. Colons separate the fields.
    fn speed(&self, arguments: &[&str], line: &str, field: usize) -> Result<f64, Box<dyn Error>> {
        let output = self.output(&[&["speed", "-mr", "-seconds", "1"], arguments].concat())?;
        let found = output.lines().find(|found| found.starts_with(line));
        let figure = found.and_then(|found| found.split(':').nth(field));
        Ok(figure.ok_or_else(|| format!("openssl speed printed something else: {output}"))?.parse()?)
    }

    /// Seconds of one private operation of RSA-3072, which is nearly all of an OAEP decryption.
    pub(crate) fn rsa_private_seconds(&self) -> Result<f64, Box<dyn Error>> {
        Ok(1.0 / self.speed(&["rsa3072"], "+F2:", 3)?)
    }

    /// Bytes of a chunk's size that a cipher or a digest takes in a second.
    pub(crate) fn bytes_a_second(&self, algorithm: &str) -> Result<f64, Box<dyn Error>> {
        self.speed(&["-bytes", "262144", "-evp", algorithm], "+F:", 3)
    }
}
