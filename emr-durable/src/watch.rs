//! What a test sees of a disk.

use std::{fmt, path::Path};

/// One change of a file system, after it was done.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// An empty file was made.
    FileCreated(&'a Path),
    /// Bytes were written.
    Written {
        /// The file.
        path: &'a Path,
        /// Where the first byte went.
        offset: u64,
        /// What was written.
        bytes: &'a [u8],
    },
    /// A file was cut, or extended with zeros.
    Resized {
        /// The file.
        path: &'a Path,
        /// Its new length in bytes.
        length: u64,
    },
    /// A file's bytes and length were synced. Its name was not.
    FileSynced(&'a Path),
    /// An empty folder was made.
    FolderCreated(&'a Path),
    /// The names in a folder were synced. What they name was not.
    FolderSynced(&'a Path),
    /// A file or folder got another name. What had that name before is gone.
    Renamed {
        /// The old name.
        from: &'a Path,
        /// The new name.
        to: &'a Path,
    },
    /// A file or an empty folder was removed.
    Removed(&'a Path),
}

/// Told of every step.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Called after the step, by the thread that did it.
    fn done(&self, step: Step<'_>);
}
