//! Programs in Go, each built from source as the tool of a module that pins everything it is built from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PartError, digest, program, run, write};

/// What builds these programs.
pub(super) const NEED_GO: &str = "Go 1.26.2 or newer";

/// A program, and the pins of its module.
#[derive(Debug)]
pub(super) struct GoPart {
    /// Its name in messages and in the cache.
    pub(super) name: &'static str,
    /// The module that has it, as `go.mod` names it.
    source: &'static str,
    /// The folder of its package in the module. The last part is the program's name.
    package: &'static str,
    /// Build tags, or nothing.
    tags: &'static str,
    module: &'static str,
    pub(super) sums: &'static str,
}

/// The IPFS node. `nofuse`, because the tests mount nothing.
pub(super) const KUBO: GoPart = GoPart {
    name: "Kubo",
    source: "github.com/ipfs/kubo",
    package: "cmd/ipfs",
    tags: "nofuse",
    module: include_str!("../../parts/kubo/go.mod"),
    sums: include_str!("../../parts/kubo/go.sum"),
};

/// The Ethereum node that most of mainnet runs.
pub(super) const GETH: GoPart = GoPart {
    name: "geth",
    source: "github.com/ethereum/go-ethereum",
    package: "cmd/geth",
    tags: "",
    module: include_str!("../../parts/geth/go.mod"),
    sums: include_str!("../../parts/geth/go.sum"),
};

impl GoPart {
    /// The pinned version, such as `v0.41.0`.
    pub(super) fn version(&self) -> &'static str {
        let pinned = |line: &'static str| line.strip_prefix("require ")?.strip_prefix(self.source)?.strip_prefix(' ');
        self.module.lines().find_map(pinned).map_or("unknown", str::trim)
    }

    /// The name of its folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("{}-{}-{}", self.name.to_ascii_lowercase(), self.version(), digest(&[self.module, self.sums]))
    }

    /// Where the program is in its folder.
    pub(super) fn program(&self, folder: &Path) -> PathBuf {
        folder.join(program(self.package.rsplit('/').next().unwrap_or(self.package)))
    }

    /// Fills its folder.
    pub(super) fn fill(&self, folder: &Path, go: &Path) -> Result<(), PartError> {
        let module = folder.join("module");
        fs::create_dir(&module).map_err(PartError::io(&module))?;
        write(&module.join("go.mod"), self.module)?;
        write(&module.join("go.sum"), self.sums)?;
        let mut command = Command::new(go);
        command.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"]);
        command.arg(format!("-tags={}", self.tags)).arg("-o").arg(self.program(folder));
        command.arg(format!("{}/{}", self.source, self.package));
        // Without cgo, no C compiler is needed.
        command.env("CGO_ENABLED", "0").env("GOWORK", "off");
        command.env_remove("GOFLAGS").env_remove("GOOS").env_remove("GOARCH");
        run(self.name, NEED_GO, command.current_dir(&module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_are_read() {
        for part in [KUBO, GETH] {
            let version = part.version().strip_prefix('v').expect("a version begins with v");
            assert!(version.split('.').all(|number| number.parse::<u32>().is_ok()), "{version}");
            assert!(part.sums.contains(&format!("{} {} h1:", part.source, part.version())));
            assert!(part.module.contains(&format!("\ntool {}/{}\n", part.source, part.package)));
            assert!(part.folder().starts_with(&format!("{}-v", part.name.to_ascii_lowercase())));
        }
        assert_eq!(GETH.program(Path::new("cache")), Path::new("cache").join(program("geth")));
        assert_eq!(KUBO.program(Path::new("cache")), Path::new("cache").join(program("ipfs")));
    }
}
