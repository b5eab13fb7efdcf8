//! How much more a disk takes.

use std::{io, path::Path};

/// The free space of the file system that holds a folder, for programs without special rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes.
    pub bytes: u64,
    /// How many more files and folders it takes (inodes). `u64::MAX` if the file system does not count them.
    pub files: u64,
}

impl FreeSpace {
    /// Asks the system.
    ///
    /// # Errors
    /// [`io::Error`] if the folder does not exist or the system does not say.
    #[cfg(unix)]
    pub fn of(folder: &Path) -> io::Result<Self> {
        let space = rustix::fs::statvfs(folder)?;
        // File systems that make inodes as they need them report none at all.
        let files = if space.f_files == 0 { u64::MAX } else { space.f_favail };
        Ok(Self { bytes: space.f_bavail.saturating_mul(space.f_frsize), files })
    }

    /// Asks the system. Only on Unix does it say.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`].
    #[cfg(not(unix))]
    pub fn of(_folder: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_says_what_is_free() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let free = FreeSpace::of(folder.path())?;
        assert!(free.bytes > 0 && free.files > 0, "{free:?}");
        assert_eq!(
            FreeSpace::of(&folder.path().join("none")).map_err(|error| error.kind()),
            Err(io::ErrorKind::NotFound)
        );
        Ok(())
    }
}
