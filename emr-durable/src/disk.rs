//! The operations on the file system that durable files need.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, Write},
    path::Path,
    sync::Arc,
};

#[cfg(feature = "redb")]
use tempfile::TempPath;
use tempfile::{NamedTempFile, TempDir};

use crate::{Step, Watch};

/// The prefix of the names of unfinished files and folders.
const UNFINISHED: &str = ".new-";
/// How many bytes of a file that is written in parts are one write.
pub(crate) const PART: usize = 1 << 18;

/// The file system. Clones share the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    watch: Option<Arc<dyn Watch>>,
}

impl Disk {
    /// A disk that reports every step.
    pub fn watched(watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch) }
    }

    #[cfg(feature = "redb")]
    pub(crate) fn watch(&self) -> Option<&Arc<dyn Watch>> {
        self.watch.as_ref()
    }

    pub(crate) fn done(&self, step: Step<'_>) {
        if let Some(watch) = &self.watch {
            watch.done(step);
        }
    }

    /// Makes a folder and the folders above it, durably. Always syncs the name of the lowest folder that exists
    /// already: a process may have made it and been killed before it synced the folder above.
    ///
    /// # Errors
    /// Returns the file system's error. Folders that were made before the error stay.
    pub fn create_folder_all(&self, folder: &Path) -> io::Result<()> {
        let above = parent(folder);
        match self.create_folder(folder) {
            Ok(true) => self.sync_existing(parent(above))?,
            Ok(false) => return self.sync_existing(above),
            Err(error) if error.kind() == io::ErrorKind::NotFound && above != folder => {
                self.create_folder_all(above)?;
                self.create_folder(folder)?;
            }
            Err(error) => return Err(error),
        }
        self.sync_folder(above)
    }

    /// Syncs a folder in which this process made nothing. Ignores a missing permission: the folder may belong to
    /// another user.
    fn sync_existing(&self, folder: &Path) -> io::Result<()> {
        match self.sync_folder(folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }

    /// Makes a folder durably, unless it exists. The folder above must be durable.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn add_folder(&self, folder: &Path) -> io::Result<()> {
        self.create_folder(folder)?;
        self.sync_folder(parent(folder))
    }

    /// Makes a folder, unless it exists. Returns whether it made the folder. Does not sync the folder above.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn create_folder(&self, folder: &Path) -> io::Result<bool> {
        match fs::create_dir(folder) {
            Ok(()) => {
                self.done(Step::FolderCreated(folder));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a temporary folder with mode 0700 for unfinished work. It is removed when dropped. Does not sync.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn unfinished_folder(&self, above: &Path) -> io::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(above)?;
        self.done(Step::FolderCreated(folder.path()));
        Ok(folder)
    }

    /// Writes a file that must not exist yet, and syncs it. Does not sync the folder.
    ///
    /// # Errors
    /// Returns the file system's error. A part of the file may then exist.
    pub fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        self.done(Step::FileCreated(path));
        self.fill(&mut file, path, bytes)
    }

    /// Writes a file with these bytes and mode 0600, durably, completely or not at all. Replaces an existing file.
    ///
    /// # Errors
    /// Returns the file system's error. The old file is then unchanged, unless the last sync failed.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.place(path, bytes, parent(path))
    }

    /// The same as [`Self::replace`], but the unfinished file is in the folder `staging`, which must be on the same
    /// file system.
    ///
    /// # Errors
    /// The same as [`Self::replace`].
    pub fn place(&self, path: &Path, bytes: &[u8], staging: &Path) -> io::Result<()> {
        let file = self.stage(bytes, staging)?;
        let from = file.path().to_owned();
        #[expect(clippy::disallowed_methods, reason = "here it is synced")]
        file.persist(path).map_err(|refused| refused.error)?;
        self.done(Step::Renamed { from: &from, to: path });
        self.sync_folder(parent(path))
    }

    /// The same as [`Self::replace`], for bytes that `write` makes one part after another, and that are never in memory together.
    ///
    /// # Errors
    /// The error of `write` or of the file system. The old file is then unchanged, unless the last sync failed.
    pub fn replace_in_parts(
        &self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(parent(path))?;
        let from = file.path().to_owned();
        self.done(Step::FileCreated(&from));
        let parts = Parts { disk: self, path: &from, file: file.as_file_mut(), offset: 0 };
        let mut out = BufWriter::with_capacity(PART, parts);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        flush(file.as_file())?;
        self.done(Step::FileSynced(&from));
        #[expect(clippy::disallowed_methods, reason = "here it is synced")]
        file.persist(path).map_err(|refused| refused.error)?;
        self.done(Step::Renamed { from: &from, to: path });
        self.sync_folder(parent(path))
    }

    /// Removes what a process left unfinished in a folder, for example because it was killed. Nobody else may write there. Does not sync.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn remove_unfinished_files(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) && entry.file_type()?.is_file() {
                self.remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The same as [`Self::replace`], for a file that must not exist yet.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::AlreadyExists`] if the file exists, and other errors of the file system.
    pub fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.stage(bytes, parent(path))?;
        let from = file.path().to_owned();
        #[expect(clippy::disallowed_methods, reason = "here it is synced")]
        file.persist_noclobber(path).map_err(|refused| refused.error)?;
        self.done(Step::Renamed { from: &from, to: path });
        self.sync_folder(parent(path))
    }

    /// Writes bytes at the end of a file of `length` bytes, and syncs it. Makes the file, durably, if it does not exist. What the file has beyond
    /// `length` is cut off first: a crash can leave a part of an earlier call there.
    ///
    /// # Errors
    /// Returns the file system's error. A part of the bytes may then be in the file.
    pub fn append(&self, path: &Path, length: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut file, is_new) = match File::options().write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (File::create_new(path)?, true),
            other => (other?, false),
        };
        if is_new {
            self.done(Step::FileCreated(path));
        }
        if file.metadata()?.len() != length {
            file.set_len(length)?;
            self.done(Step::Resized { path, length });
        }
        file.seek(io::SeekFrom::Start(length))?;
        file.write_all(bytes)?;
        self.done(Step::Written { path, offset: length, bytes });
        flush(&file)?;
        self.done(Step::FileSynced(path));
        if is_new { self.sync_folder(parent(path)) } else { Ok(()) }
    }

    /// Makes an empty file durably, unless it exists. Only its name matters, so there are no bytes to sync.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn mark(&self, path: &Path) -> io::Result<()> {
        match File::create_new(path) {
            Ok(_) => self.done(Step::FileCreated(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        self.sync_folder(parent(path))
    }

    /// Renames a file or folder. This is atomic. Does not sync.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "the caller syncs, and a test takes that out")]
        fs::rename(from, to)?;
        self.done(Step::Renamed { from, to });
        Ok(())
    }

    /// Removes a file. Does not sync.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        self.done(Step::Removed(path));
        Ok(())
    }

    /// Removes a folder with everything in it. This is not atomic. Does not sync.
    ///
    /// # Errors
    /// Returns the file system's error. A part may then be removed.
    pub fn remove_folder_all(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // Removes a symbolic link, and does not follow it.
            if entry.file_type()?.is_dir() {
                self.remove_folder_all(&entry.path())?;
            } else {
                self.remove_file(&entry.path())?;
            }
        }
        fs::remove_dir(folder)?;
        self.done(Step::Removed(folder));
        Ok(())
    }

    /// Makes all changes of names in a folder durable.
    ///
    /// # Errors
    /// Returns the file system's error.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        flush(&File::open(folder)?)?;
        self.done(Step::FolderSynced(folder));
        Ok(())
    }

    /// Makes an empty file with mode 0600 that is removed when dropped. Does not sync.
    #[cfg(feature = "redb")]
    pub(crate) fn unfinished_file(&self, folder: &Path) -> io::Result<TempPath> {
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
        self.done(Step::FileCreated(file.path()));
        Ok(file.into_temp_path())
    }

    /// Gives an unfinished file its name, unless a file has that name. Does not sync.
    #[cfg(feature = "redb")]
    pub(crate) fn name(&self, file: TempPath, path: &Path) -> io::Result<()> {
        let from = file.to_path_buf();
        file.persist_noclobber(path).map_err(|refused| refused.error)?;
        self.done(Step::Renamed { from: &from, to: path });
        Ok(())
    }

    /// Writes and syncs a file with a temporary name.
    fn stage(&self, bytes: &[u8], staging: &Path) -> io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(staging)?;
        let path = file.path().to_owned();
        self.done(Step::FileCreated(&path));
        self.fill(file.as_file_mut(), &path, bytes)?;
        Ok(file)
    }

    fn fill(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)?;
        self.done(Step::Written { path, offset: 0, bytes });
        flush(file)?;
        self.done(Step::FileSynced(path));
        Ok(())
    }
}

/// An unfinished file that is written in parts.
pub(crate) struct Parts<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) path: &'a Path,
    pub(crate) file: &'a mut File,
    pub(crate) offset: u64,
}

impl Write for Parts<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.disk.done(Step::Written { path: self.path, offset: self.offset, bytes: &bytes[..written] });
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Calls `fsync`. Nothing else in this project does, except redb for its own files.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(crate) fn flush(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// The folder that holds a path's last name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// The kernel refuses to sync `/dev/null`. Without the call there would be no error.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_sync_reaches_the_kernel() -> TestResult {
        assert!(flush(&File::open("/dev/null")?).is_err());
        assert!(Disk::default().sync_folder(Path::new("/dev/null")).is_err());
        let mut null = File::options().write(true).open("/dev/null")?;
        assert!(Disk::default().fill(&mut null, Path::new("/dev/null"), b"x").is_err());
        Ok(())
    }

    #[test]
    fn files_are_whole_and_private() -> TestResult {
        let folder = tempfile::tempdir()?;
        let disk = Disk::default();
        let deep = folder.path().join("a/b/c");
        disk.create_folder_all(&deep)?;
        disk.create_folder_all(&deep)?;
        let file = deep.join("file");
        disk.create(&file, b"one")?;
        assert_eq!(disk.create(&file, b"two").map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read(&file)?, b"one");
        disk.replace(&file, b"two")?;
        assert_eq!(fs::read(&file)?, b"two");
        assert!(disk.write_new(&file, b"three").is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
        }
        disk.replace_in_parts(&file, |out| (0..3_u8).try_for_each(|part| out.write_all(&vec![part; PART - 1])))?;
        assert_eq!(fs::read(&file)?, [[0; PART - 1], [1; PART - 1], [2; PART - 1]].concat());
        let refused = disk.replace_in_parts(&file, |out| {
            out.write_all(&vec![3; 2 * PART])?;
            Err(io::Error::other("the writer fails"))
        });
        assert!(refused.is_err() && fs::metadata(&file)?.len() == 3 * (PART as u64 - 1));
        assert_eq!(fs::read_dir(&deep)?.count(), 1, "nothing unfinished is left");
        fs::write(deep.join(".new-left"), "by a process that was killed")?;
        disk.remove_unfinished_files(&deep)?;
        assert_eq!(fs::read_dir(&deep)?.count(), 1);
        disk.remove_folder_all(&folder.path().join("a"))?;
        assert_eq!(fs::read_dir(folder.path())?.count(), 0);
        assert!(disk.create_folder_all(&folder.path().join("a")).is_ok());
        fs::write(folder.path().join("file"), "")?;
        assert!(disk.create_folder_all(&folder.path().join("file")).is_err());
        Ok(())
    }

    #[test]
    fn a_file_grows_at_its_end_and_loses_what_a_crash_left() -> TestResult {
        let folder = tempfile::tempdir()?;
        let (disk, file) = (Disk::default(), folder.path().join("file"));
        disk.append(&file, 0, b"one")?;
        disk.append(&file, 3, b"two")?;
        assert_eq!(fs::read(&file)?, b"onetwo");
        disk.append(&file, 4, b"!")?;
        assert_eq!(fs::read(&file)?, b"onet!");
        assert!(disk.append(&folder.path().join("none/file"), 0, b"x").is_err());
        Ok(())
    }

    #[test]
    fn a_plain_name_is_in_the_current_folder() {
        assert_eq!(parent(Path::new("file")), Path::new("."));
        assert_eq!(parent(Path::new("/file")), Path::new("/"));
        assert_eq!(parent(Path::new("/")), Path::new("/"));
    }
}
