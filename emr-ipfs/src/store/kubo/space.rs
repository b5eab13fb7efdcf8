//! How much more a Kubo node takes.

use std::path::PathBuf;

use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::KuboStore;
use crate::{FreeSpace, StoreError};

/// The answer of `repo/stat`, in bytes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RepositorySize {
    repo_size: u64,
    storage_max: u64,
}

/// The part of the answer of `diag/sys` that is about the disk of the repository.
#[derive(Deserialize)]
struct System {
    diskinfo: DiskInfo,
    environment: Environment,
}

#[derive(Deserialize)]
struct DiskInfo {
    free_space: u64,
    total_space: u64,
}

/// The environment of the node's process.
#[derive(Deserialize)]
struct Environment {
    /// The folder of the repository. Empty if it is the default.
    #[serde(rename = "IPFS_PATH", default)]
    repository: PathBuf,
}

/// File systems keep this part of a disk for root. Kubo counts it as free.
const KEPT_FOR_ROOT: u64 = 20;

/// The free space of the disk that holds the repository, and not more than `Datastore.StorageMax` leaves. Kubo itself does
/// not refuse blocks beyond `StorageMax`. It does not say how many files the disk takes, and counts the space for root. So
/// if the node is on this machine and names its repository, the system is asked too.
pub(super) async fn free(store: &KuboStore) -> Result<FreeSpace, StoreError> {
    let System { diskinfo, environment } = store.ask("diag/sys", &[], None).await?;
    let size: RepositorySize = store.ask("repo/stat", &[("size-only", "true")], None).await?;
    let allowed = size.storage_max.saturating_sub(size.repo_size);
    let free = diskinfo.free_space.saturating_sub(diskinfo.total_space / KEPT_FOR_ROOT).min(allowed);
    let here = if store.is_here && environment.repository.is_absolute() {
        let asked = spawn_blocking(move || emr_durable::FreeSpace::of(&environment.repository));
        asked.await.ok().and_then(Result::ok)
    } else {
        None
    };
    Ok(match here {
        Some(here) => FreeSpace { bytes: here.bytes.min(allowed), blocks: here.files },
        None => FreeSpace { bytes: free, blocks: u64::MAX },
    })
}
