//! Programs of Foundry, each from an npm package for the host's platform.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{NPM_OPTIONS, PartError, digest, npm_ci, program, run};

/// A program, and the pins of its package.
#[derive(Debug)]
pub(super) struct Foundry {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    pub(super) lock: &'static str,
}

/// The local Ethereum node.
pub(super) const ANVIL: Foundry = Foundry {
    name: "anvil",
    package: include_str!("../../parts/anvil/package.json"),
    lock: include_str!("../../parts/anvil/package-lock.json"),
};

/// The test runner for Solidity.
pub(super) const FORGE: Foundry = Foundry {
    name: "forge",
    package: include_str!("../../parts/forge/package.json"),
    lock: include_str!("../../parts/forge/package-lock.json"),
};

impl Foundry {
    /// The pinned version, such as `1.7.1`.
    pub(super) fn version(&self) -> String {
        let package: serde_json::Value = serde_json::from_str(self.package).unwrap_or_default();
        let pinned = format!("@foundry-rs/{}-linux-amd64", self.name);
        package["optionalDependencies"][&pinned].as_str().unwrap_or("unknown").to_owned()
    }

    /// The name of its folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("{}-{}-{}", self.name, self.version(), digest(&[self.package, self.lock]))
    }

    /// Where the program is in its folder.
    pub(super) fn program(&self, folder: &Path) -> PathBuf {
        folder.join("node_modules").join(self.host_package()).join("bin").join(program(self.name))
    }

    /// Fills its folder.
    pub(super) fn fill(&self, folder: &Path, npm: &Path) -> Result<(), PartError> {
        npm_ci(npm, self.name, folder, self.package, self.lock)?;
        let package = self.host_package();
        if folder.join("node_modules").join(&package).is_dir() {
            return Ok(());
        }
        // The lock has the checksum of the package for Linux on x86-64. On other hosts, the exact version is
        // installed.
        let wanted = format!("{package}@{}", self.version());
        let mut command = Command::new(npm);
        command.args(["install", "--no-save", "--no-package-lock"]).args(NPM_OPTIONS).arg(wanted);
        run(self.name, "is there a package for this machine?", command.current_dir(folder))
    }

    /// The npm package for this host.
    fn host_package(&self) -> String {
        let system = match env::consts::OS {
            "macos" => "darwin",
            "windows" => "win32",
            other => other,
        };
        let processor = match env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        format!("@foundry-rs/{}-{system}-{processor}", self.name)
    }
}
