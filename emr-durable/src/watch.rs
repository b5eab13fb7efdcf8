//! The steps of a disk, which a test can observe.

use std::{fmt, path::Path};

/// One change of the file system, reported after it was done.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// An empty file was made.
    FileCreated(&'a Path),
    /// Bytes were written.
    Written {
        /// The file.
        path: &'a Path,
        /// The position of the first byte in the file.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A file was truncated, or extended with zeros.
    Resized {
        /// The file.
        path: &'a Path,
        /// Its new length in bytes.
        length: u64,
    },
    /// A file's bytes and length were synced, but not its name.
    FileSynced(&'a Path),
    /// An empty folder was made.
    FolderCreated(&'a Path),
    /// The names in a folder were synced, but not the files themselves.
    FolderSynced(&'a Path),
    /// A file or folder was renamed. It replaced any file that had the new name.
    Renamed {
        /// The old name.
        from: &'a Path,
        /// The new name.
        to: &'a Path,
    },
    /// A file or an empty folder was removed.
    Removed(&'a Path),
}

/// Observes every step of a [`Disk`](crate::Disk).
pub trait Watch: fmt::Debug + Send + Sync {
    /// Called after each step, by the thread that did it.
    fn done(&self, step: Step<'_>);
}
