//! `adopt`: takes over the operation log of the hospital that was the sequencer.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use emr_durable::Disk;
use serde::Serialize;

use super::{HOSPITAL, deployment::DeploymentFile};
use crate::{
    failure::{Exit, Failure, OrExit},
    options::Options,
    report::{Answer, Progress, print},
};

#[derive(Debug, Serialize)]
struct Adopted {
    from: PathBuf,
    folder: PathBuf,
    blocks: bool,
}

impl Answer for Adopted {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{} goes on with the operation log of {}", self.folder.display(), self.from.display())?;
        if !self.blocks {
            writeln!(out, "its blocks are not here: let `--ipfs` name the Kubo node that keeps them")?;
        }
        writeln!(
            out,
            "`emr-hospital serve` starts the node, once this identity is the sequencer (`emr-hospital office take`)"
        )
    }
}

/// Copies deployment, operation log and blocks from the data folder of another hospital, or from a copy of it. Its node must not run.
///
/// # Errors
/// Fails if this hospital has a deployment already, or if a file cannot be read or written.
pub async fn run(options: &Options, from: &Path) -> Result<(), Failure> {
    let folder = options.data_dir(HOSPITAL)?;
    if !folder.join("identity").exists() {
        let message = format!("there is no hospital in {}: create one with `emr-hospital init`", folder.display());
        return Err(Failure::new(Exit::Identity, message));
    }
    let deployment = DeploymentFile::read(from)?.ok_or_else(|| {
        let message = format!(
            "{} has no deployment.json: name the data folder of the hospital that was the sequencer",
            from.display()
        );
        Failure::new(Exit::Input, message)
    })?;
    if let Some(own) = DeploymentFile::read(&folder)? {
        let message =
            format!("this hospital has a rollup already, {}: adopt into the folder of another identity", own.contract);
        return Err(Failure::new(Exit::Refused, message));
    }
    let progress = Progress::start("copying");
    let (source, target) = (from.to_owned(), folder.clone());
    let copied = tokio::task::spawn_blocking(move || {
        emr_node::adopt(&source.join("node"), &target.join("node")).or_exit(Exit::Storage)?;
        let blocks = source.join("blocks");
        let found = blocks.is_dir();
        if found {
            copy(&blocks, &target.join("blocks")).or_exit(Exit::Storage)?;
        }
        // Last: with this file the folder is complete.
        let file = fs::read(source.join(DeploymentFile::NAME)).or_exit(Exit::Storage)?;
        Disk::default().replace(&target.join(DeploymentFile::NAME), &file).or_exit(Exit::Storage)?;
        Ok::<_, Failure>(found)
    });
    let blocks = copied.await.or_exit(Exit::Internal)??;
    drop(progress);
    eprintln!("contract {} on chain {}", deployment.contract, deployment.chain_id);
    print(&Adopted { from: from.to_owned(), folder, blocks }, options.json)
}

/// Copies the folders and files of a block store.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
