//! pydicom, a reader of DICOM files in Python, and the files that its own tests read.

use std::path::PathBuf;
use std::process::Command;

use xtask::parts::Parts;

use super::{PartError, find_or_skip};

const PART: &str = "pydicom";

/// An installed pydicom.
#[derive(Debug)]
pub struct Pydicom {
    packages: PathBuf,
}

impl Pydicom {
    /// Finds pydicom. Returns `None` if the test must be skipped.
    ///
    /// # Errors
    /// Returns [`PartError`] if pydicom is required and not installed.
    pub fn find_or_skip() -> Result<Option<Self>, PartError> {
        let packages = Parts::open()?.pydicom_packages();
        let found = find_or_skip(PART, packages.join("pydicom/__init__.py"))?;
        Ok(found.map(|_| Self { packages }))
    }

    /// The folder of its data, in which `test_files` and `charset_files` are.
    pub fn data(&self) -> PathBuf {
        self.packages.join("pydicom/data")
    }

    /// Runs a script that can import pydicom, with the folder of the data as its argument. Returns what it prints.
    ///
    /// # Errors
    /// Returns [`PartError::Start`] if Python is missing or the script fails.
    pub fn run(&self, script: &str) -> Result<Vec<u8>, PartError> {
        let failed = |reason: String| PartError::Start { part: PART, reason };
        let mut python = Command::new("python3");
        // Nothing is written beside the packages, and warnings about odd files are not wanted.
        python.args(["-B", "-W", "ignore", "-c", script]).arg(self.data()).env("PYTHONPATH", &self.packages);
        let output = python.output().map_err(|error| failed(error.to_string()))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(failed(String::from_utf8_lossy(&output.stderr).chars().take(2000).collect())),
        }
    }
}
