//! Packages from npm that need no program of this host besides Node.js.

use std::path::{Path, PathBuf};

use super::{PartError, digest, npm_ci};

/// A package, and the pins of all that it needs.
#[derive(Debug)]
pub(super) struct NpmPart {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    pub(super) lock: &'static str,
    /// Its file that tests use, in `node_modules`.
    pub(super) file: &'static str,
}

/// A viewer of SMART Health Links.
pub(super) const SHL_VIEWER: NpmPart = NpmPart {
    name: "kill-the-clipboard",
    package: include_str!("../../parts/shl-viewer/package.json"),
    lock: include_str!("../../parts/shl-viewer/package-lock.json"),
    file: "kill-the-clipboard/dist/index.esm.js",
};

/// A library of JOSE (JSON Object Signing and Encryption).
pub(super) const JOSE: NpmPart = NpmPart {
    name: "jose",
    package: include_str!("../../parts/jose/package.json"),
    lock: include_str!("../../parts/jose/package-lock.json"),
    file: "jose/dist/webapi/index.js",
};

impl NpmPart {
    /// The name of its folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("{}-{}", self.name, digest(&[self.package, self.lock]))
    }

    /// Where its file is in its folder.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join("node_modules").join(self.file)
    }

    /// Fills its folder.
    pub(super) fn fill(&self, folder: &Path, npm: &Path) -> Result<(), PartError> {
        npm_ci(npm, self.name, folder, self.package, self.lock)
    }
}
