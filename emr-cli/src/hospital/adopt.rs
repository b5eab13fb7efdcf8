//! `adopt`: takes over the operation log of the hospital that was the sequencer.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use emr_durable::Disk;
use emr_node::{AdoptError, StoppedNode};
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
        let disk = Disk::default();
        let stopped = StoppedNode::hold(&source.join("node")).or_exit(Exit::Storage)?;
        // Before the blocks are copied, which can take long.
        let node = target.join("node");
        if node.exists() {
            return Err(AdoptError::Exists(node)).or_exit(Exit::Storage);
        }
        let blocks = copy_blocks(&disk, &source.join("blocks"), &target.join("blocks"))?;
        emr_node::adopt(&stopped, &node).or_exit(Exit::Storage)?;
        // Last: with this file the folder is complete.
        let file = fs::read(source.join(DeploymentFile::NAME)).or_exit(Exit::Storage)?;
        disk.replace(&target.join(DeploymentFile::NAME), &file).or_exit(Exit::Storage)?;
        Ok::<_, Failure>(blocks)
    });
    let blocks = copied.await.or_exit(Exit::Internal)??;
    drop(progress);
    eprintln!("contract {} on chain {}", deployment.contract, deployment.chain_id);
    print(&Adopted { from: from.to_owned(), folder, blocks }, options.json)
}

/// Copies a block store. Returns whether there is one.
fn copy_blocks(disk: &Disk, from: &Path, to: &Path) -> Result<bool, Failure> {
    if !from.is_dir() {
        return Ok(false);
    }
    if to.exists() {
        let message = format!(
            "{} exists already: adopt into the folder of another identity. If an earlier `adopt` was interrupted, remove it",
            to.display()
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    // A kill leaves a folder under another name.
    let new = to.with_extension("adopting");
    if new.exists() {
        disk.remove_folder_all(&new).or_exit(Exit::Storage)?;
    }
    disk.copy_folder(from, &new, &|_| true).or_exit(Exit::Storage)?;
    disk.rename(&new, to).or_exit(Exit::Storage)?;
    disk.sync_folder(to.parent().unwrap_or(to)).or_exit(Exit::Storage)?;
    Ok(true)
}
