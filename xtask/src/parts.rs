//! The pinned real parts: where they are, and how they are installed.

mod foundry;
mod go;
mod npm;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use foundry::{ANVIL, FORGE, Foundry};
use go::{GETH, GoPart, KUBO, NEED_GO};
use npm::{JOSE, NpmPart, SHL_VIEWER};
use sha2::{Digest, Sha256};

const SOLC_PACKAGE: &str = include_str!("../../contracts/package.json");
const SOLC_LOCK: &str = include_str!("../../contracts/package-lock.json");
const SLITHER_LOCK: &str = include_str!("../parts/slither/requirements.txt");
const PYDICOM_LOCK: &str = include_str!("../parts/pydicom/requirements.txt");
const JOSE_PYTHON_LOCK: &str = include_str!("../parts/jose-python/requirements.txt");

const NEED_NODE: &str = "Node.js 20 or newer";
const NEED_PYTHON: &str = "Python 3.10 or newer with pip";
/// The prefix of the names of unfinished folders.
const INCOMING: &str = ".incoming-";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// npm prints only errors, and packages cannot run scripts.
const NPM_OPTIONS: [&str; 4] = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];

/// A real part could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// No cache folder is known.
    #[error("neither EMR_CACHE nor HOME is set: set EMR_CACHE to a folder for the pinned parts")]
    NoCache,
    /// Programs that install the parts are missing.
    #[error("{missing}. Install what is missing, or run `cargo xtask test --embedded`, which needs only Rust")]
    ToolMissing {
        /// The missing programs, why they are needed, and what installs them.
        missing: String,
    },
    /// An installer failed.
    #[error("installing {part} failed: `{command}` ended with {status}; see its output above ({advice})")]
    Install {
        /// The part.
        part: String,
        /// The command.
        command: String,
        /// The exit status.
        status: String,
        /// What the installer needs.
        advice: &'static str,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl PartError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// The cache folder of the real parts. It need not exist.
#[derive(Clone, Debug)]
pub struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Uses the folder `${EMR_CACHE:-~/.cache/emr}/parts`.
    ///
    /// # Errors
    /// Returns [`PartError::NoCache`] if neither `EMR_CACHE` nor `HOME` is set.
    pub fn open() -> Result<Self, PartError> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("EMR_CACHE").or_else(|| Some(set("HOME")?.join(".cache/emr"))).ok_or(PartError::NoCache)?;
        Ok(Self { folder: std::path::absolute(&cache).map_err(PartError::io(&cache))?.join("parts") })
    }

    /// The path of the Kubo program. The variable `EMR_KUBO` overrides it.
    pub fn kubo(&self) -> PathBuf {
        from_environment("EMR_KUBO").unwrap_or_else(|| self.go_program(&KUBO))
    }

    /// The path of the anvil program. The variable `EMR_ANVIL` overrides it.
    pub fn anvil(&self) -> PathBuf {
        from_environment("EMR_ANVIL").unwrap_or_else(|| self.foundry_program(&ANVIL))
    }

    /// The path of the geth program. The variable `EMR_GETH` overrides it.
    pub fn geth(&self) -> PathBuf {
        from_environment("EMR_GETH").unwrap_or_else(|| self.go_program(&GETH))
    }

    /// The path of the forge program. The variable `EMR_FORGE` overrides it.
    pub fn forge(&self) -> PathBuf {
        from_environment("EMR_FORGE").unwrap_or_else(|| self.foundry_program(&FORGE))
    }

    /// The module of the viewer of SMART Health Links, which Node.js runs. The variable `EMR_SHL_VIEWER` overrides it.
    pub fn shl_viewer(&self) -> PathBuf {
        from_environment("EMR_SHL_VIEWER").unwrap_or_else(|| SHL_VIEWER.path(&self.npm_folder(&SHL_VIEWER)))
    }

    /// The module of jose, which Node.js runs. The variable `EMR_JOSE` overrides it.
    pub fn jose(&self) -> PathBuf {
        from_environment("EMR_JOSE").unwrap_or_else(|| JOSE.path(&self.npm_folder(&JOSE)))
    }

    /// The `node_modules` folder that holds `solc` and `@openzeppelin/contracts`.
    pub fn solc_modules(&self) -> PathBuf {
        self.solc_folder().join("node_modules")
    }

    /// The folder with slither and the packages that it needs, for `PYTHONPATH`.
    pub fn slither_packages(&self) -> PathBuf {
        self.folder.join(format!("slither-{}", digest(&[SLITHER_LOCK])))
    }

    /// The folder with pydicom and its test files, for `PYTHONPATH`.
    pub fn pydicom_packages(&self) -> PathBuf {
        self.folder.join(format!("pydicom-{}", digest(&[PYDICOM_LOCK])))
    }

    /// The folder with joserfc and jwcrypto and the packages that they need, for `PYTHONPATH`.
    pub fn jose_python_packages(&self) -> PathBuf {
        self.folder.join(format!("jose-python-{}", digest(&[JOSE_PYTHON_LOCK])))
    }

    /// Installs all missing parts that tests need.
    ///
    /// # Errors
    /// Returns [`PartError::ToolMissing`] if npm, Go or Python is missing, [`PartError::Install`] if an installer fails, and
    /// [`PartError::Io`] if a file cannot be written.
    pub fn install(&self) -> Result<(), PartError> {
        // Names all missing programs together, before the first download.
        let mut missing = Vec::new();
        let foundry = [ANVIL, FORGE].map(|part| self.foundry_folder(&part));
        let folders =
            [self.solc_folder(), self.npm_folder(&SHL_VIEWER), self.npm_folder(&JOSE)].into_iter().chain(foundry);
        let npm = folders.into_iter().any(|folder| !folder.is_dir());
        let go = [KUBO, GETH].iter().any(|part| !self.go_folder(part).is_dir());
        let python = !self.pydicom_packages().is_dir() || !self.jose_python_packages().is_dir();
        for (wanted, tool, part, advice) in [
            (npm, "npm", "solc, anvil, forge, kill-the-clipboard and jose", NEED_NODE),
            (go, "go", "Kubo and geth", NEED_GO),
            (python, "python3", "pydicom, joserfc and jwcrypto", NEED_PYTHON),
        ] {
            if wanted && let Err(PartError::ToolMissing { missing: tool }) = find(tool, part, advice) {
                missing.push(tool);
            }
        }
        if !missing.is_empty() {
            return Err(PartError::ToolMissing { missing: missing.join("; ") });
        }
        self.install_solc()?;
        self.install_foundry(&ANVIL)?;
        self.install_forge()?;
        self.install_npm(&SHL_VIEWER)?;
        self.install_npm(&JOSE)?;
        self.install_go(&KUBO)?;
        self.install_go(&GETH)?;
        self.install_python("pydicom", &self.pydicom_packages(), PYDICOM_LOCK)?;
        self.install_python("joserfc and jwcrypto", &self.jose_python_packages(), JOSE_PYTHON_LOCK)
    }

    /// Installs solc and OpenZeppelin from npm.
    ///
    /// # Errors
    /// The same as [`install`](Self::install).
    pub fn install_solc(&self) -> Result<(), PartError> {
        if self.solc_folder().is_dir() {
            return Ok(());
        }
        let npm = find("npm", "solc", NEED_NODE)?;
        eprintln!("parts: installing solc and OpenZeppelin with npm");
        self.fill(&self.solc_folder(), |folder| npm_ci(&npm, "solc", folder, SOLC_PACKAGE, SOLC_LOCK))
    }

    /// Installs forge from npm.
    ///
    /// # Errors
    /// The same as [`install`](Self::install).
    pub fn install_forge(&self) -> Result<(), PartError> {
        self.install_foundry(&FORGE)
    }

    fn install_npm(&self, part: &NpmPart) -> Result<(), PartError> {
        let folder = self.npm_folder(part);
        if folder.is_dir() {
            return Ok(());
        }
        let npm = find("npm", part.name, NEED_NODE)?;
        eprintln!("parts: installing {} with npm", part.name);
        self.fill(&folder, |folder| part.fill(folder, &npm))
    }

    fn install_foundry(&self, part: &Foundry) -> Result<(), PartError> {
        let folder = self.foundry_folder(part);
        if folder.is_dir() {
            return Ok(());
        }
        let npm = find("npm", part.name, NEED_NODE)?;
        eprintln!("parts: installing {} {} with npm", part.name, part.version());
        self.fill(&folder, |folder| part.fill(folder, &npm))
    }

    /// Installs slither from PyPI. No package can run code of its own while it is installed.
    ///
    /// # Errors
    /// The same as [`install`](Self::install).
    pub fn install_slither(&self) -> Result<(), PartError> {
        self.install_python("slither", &self.slither_packages(), SLITHER_LOCK)
    }

    /// Installs exactly the locked packages from PyPI into a folder.
    fn install_python(&self, part: &str, folder: &Path, lock: &str) -> Result<(), PartError> {
        if folder.is_dir() {
            return Ok(());
        }
        let python = find("python3", part, NEED_PYTHON)?;
        eprintln!("parts: installing {part} with pip");
        self.fill(folder, |folder| {
            let requirements = folder.join("requirements.txt");
            write(&requirements, lock)?;
            let mut pip = Command::new(&python);
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--root-user-action=ignore",
                "--only-binary=:all:",
            ]);
            pip.args(["--require-hashes", "--no-deps", "--target"]).arg(folder).arg("--requirement").arg(requirements);
            run(part, NEED_PYTHON, &mut pip)
        })
    }

    fn install_go(&self, part: &GoPart) -> Result<(), PartError> {
        let folder = self.go_folder(part);
        if folder.is_dir() {
            return Ok(());
        }
        let go = find("go", part.name, NEED_GO)?;
        eprintln!("parts: building {} {} with Go (some minutes, once)", part.name, part.version());
        self.fill(&folder, |folder| part.fill(folder, &go))
    }

    fn solc_folder(&self) -> PathBuf {
        self.folder.join(format!("solc-{}", digest(&[SOLC_PACKAGE, SOLC_LOCK])))
    }

    fn npm_folder(&self, part: &NpmPart) -> PathBuf {
        self.folder.join(part.folder())
    }

    fn foundry_folder(&self, part: &Foundry) -> PathBuf {
        self.folder.join(part.folder())
    }

    fn foundry_program(&self, part: &Foundry) -> PathBuf {
        part.program(&self.foundry_folder(part))
    }

    fn go_folder(&self, part: &GoPart) -> PathBuf {
        self.folder.join(part.folder())
    }

    fn go_program(&self, part: &GoPart) -> PathBuf {
        part.program(&self.go_folder(part))
    }

    /// Removes unfinished folders that are older than a day. Younger ones may belong to an installer that is running.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if entry.file_name().to_string_lossy().starts_with(INCOMING) && age > DAY {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes a folder completely or not at all: fills it under another name, and then renames it.
    fn fill(&self, folder: &Path, fill: impl FnOnce(&Path) -> Result<(), PartError>) -> Result<(), PartError> {
        fs::create_dir_all(&self.folder).map_err(PartError::io(&self.folder))?;
        self.sweep().map_err(PartError::io(&self.folder))?;
        let incoming =
            tempfile::Builder::new().prefix(INCOMING).tempdir_in(&self.folder).map_err(PartError::io(&self.folder))?;
        fill(incoming.path())?;
        #[expect(clippy::disallowed_methods, reason = "downloaded parts need not survive a power cut")]
        match fs::rename(incoming.path(), folder) {
            Err(_) if folder.is_dir() => Ok(()), // another process was faster
            renamed => renamed.map_err(PartError::io(folder)),
        }
    }
}

fn from_environment(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn program(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

fn digest(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text);
    }
    hex::encode(&hash.finalize()[..6])
}

/// Installs exactly the locked packages into `folder/node_modules`.
fn npm_ci(npm: &Path, part: &str, folder: &Path, package: &str, lock: &str) -> Result<(), PartError> {
    write(&folder.join("package.json"), package)?;
    write(&folder.join("package-lock.json"), lock)?;
    run(part, NEED_NODE, Command::new(npm).arg("ci").args(NPM_OPTIONS).current_dir(folder))
}

fn write(path: &Path, text: &str) -> Result<(), PartError> {
    fs::write(path, text).map_err(PartError::io(path))
}

/// Searches for a program in `PATH`.
fn find(tool: &str, part: &str, advice: &str) -> Result<PathBuf, PartError> {
    let names: &[&str] = if cfg!(windows) { &[".cmd", ".exe"] } else { &[""] };
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |suffix| folder.join(format!("{tool}{suffix}"))))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| PartError::ToolMissing {
            missing: format!("`{tool}` was not found; it installs {part} and comes with {advice}"),
        })
}

fn run(part: &str, advice: &'static str, command: &mut Command) -> Result<(), PartError> {
    let failed = |status: String, command: &Command| PartError::Install {
        part: part.to_owned(),
        command: format!("{command:?}"),
        status,
        advice,
    };
    // stdout is for the parts' paths alone, which a shell evaluates.
    match command.stdout(io::stderr()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.to_string(), command)),
        Err(error) => Err(failed(error.to_string(), command)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_pins_are_read() {
        for part in [ANVIL, FORGE] {
            assert!(part.version().starts_with("1."), "{}", part.version());
            assert!(part.lock.contains(&format!("node_modules/@foundry-rs/{}-linux-amd64", part.name)));
        }
        assert_eq!(ANVIL.version(), FORGE.version());
        assert!(SOLC_LOCK.contains("node_modules/solc"));
        assert!(SHL_VIEWER.lock.contains("node_modules/kill-the-clipboard"));
        assert!(JOSE.lock.contains("node_modules/jose"));
        for package in ["joserfc==1.", "jwcrypto==1."] {
            assert!(JOSE_PYTHON_LOCK.contains(package), "{package}");
        }
    }

    #[test]
    fn the_locks_name_no_registry_and_pin_every_checksum() {
        for lock in [SOLC_LOCK, ANVIL.lock, FORGE.lock, SHL_VIEWER.lock, JOSE.lock] {
            assert!(!lock.contains("\"resolved\""));
            let lock: serde_json::Value = serde_json::from_str(lock).expect("the lock is JSON");
            let packages = lock["packages"].as_object().expect("it lists packages");
            assert!(packages.len() > 1);
            for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
                assert!(package["integrity"].as_str().is_some_and(|it| it.starts_with("sha512-")), "{name}");
            }
        }
    }

    #[test]
    fn a_folder_is_filled_whole_or_not_at_all() -> Result<(), PartError> {
        let cache = tempfile::tempdir().map_err(PartError::io(Path::new("temporary folder")))?;
        let parts = Parts { folder: cache.path().join("parts") };
        let folder = parts.folder.join("thing-1");
        let fail = parts.fill(&folder, |inside| {
            write(&inside.join("half"), "half")?;
            run("nothing", "nothing", &mut Command::new("/nonexistent"))
        });
        assert!(matches!(fail, Err(PartError::Install { .. })));
        assert!(!folder.exists());
        assert_eq!(fs::read_dir(&parts.folder).map_err(PartError::io(&folder))?.count(), 0);

        let (stale, busy) = (parts.folder.join(".incoming-stale"), parts.folder.join(".incoming-busy"));
        for left in [&stale, &busy] {
            fs::create_dir(left).map_err(PartError::io(left))?;
        }
        let long_ago = SystemTime::now() - 2 * DAY;
        fs::File::open(&stale).and_then(|it| it.set_modified(long_ago)).map_err(PartError::io(&stale))?;
        parts.fill(&folder, |inside| write(&inside.join("whole"), "whole"))?;
        assert!(folder.join("whole").is_file());
        assert!(busy.exists() && !stale.exists());
        Ok(())
    }

    #[test]
    fn a_missing_tool_is_named_with_what_to_do() {
        let error = find("emr-no-such-tool", "Kubo", "Go 1.26.2 or newer").expect_err("there is none");
        let text = error.to_string();
        assert!(
            text.contains("emr-no-such-tool") && text.contains("--embedded") && text.contains("Go 1.26.2"),
            "{text}"
        );
    }
}
