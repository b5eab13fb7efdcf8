//! Copies folders durably.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::{
    Disk, Step,
    disk::{PART, Parts, flush},
};

impl Disk {
    /// Copies a folder to one that must not exist, with the folders in it and the files whose names are wanted. Links and special files are
    /// left out. Does not sync the folder above.
    ///
    /// # Errors
    /// Returns the file system's error. A part of the copy may then exist.
    pub fn copy_folder(&self, from: &Path, to: &Path, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<()> {
        fs::create_dir(to)?;
        self.done(Step::FolderCreated(to));
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            if kind.is_dir() {
                self.copy_folder(&entry.path(), &to.join(name), wanted)?;
            } else if kind.is_file() && wanted(&name) {
                self.copy_file(&entry.path(), &to.join(name))?;
            }
        }
        self.sync_folder(to)
    }

    /// Copies a file's bytes and permissions to a file that must not exist, and syncs it.
    fn copy_file(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut source = File::open(from)?;
        let mut file = File::create_new(to)?;
        self.done(Step::FileCreated(to));
        file.set_permissions(source.metadata()?.permissions())?;
        let mut out = BufWriter::with_capacity(PART, Parts { disk: self, path: to, file: &mut file, offset: 0 });
        io::copy(&mut source, &mut out)?;
        out.flush()?;
        drop(out);
        flush(&file)?;
        self.done(Step::FileSynced(to));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn a_folder_is_copied_with_what_is_wanted_of_it() -> TestResult {
        let folder = tempfile::tempdir()?;
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("deep/empty"))?;
        let long = vec![7; 2 * PART + 1];
        Disk::default().replace(&from.join("deep/long"), &long)?;
        fs::write(from.join("unwanted"), "not this")?;
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", from.join("link"))?;
        let copy = || Disk::default().copy_folder(&from, &to, &|name| name != "unwanted");
        copy()?;
        assert_eq!(fs::read(to.join("deep/long"))?, long);
        assert!(to.join("deep/empty").is_dir());
        assert_eq!(fs::read_dir(&to)?.count(), 1, "neither the link nor what is unwanted");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(to.join("deep/long"))?.permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(copy().map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));
        Ok(())
    }
}
