//! redb databases on a [`Disk`].

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};

use crate::{Disk, Step, Watch, disk::parent};

/// Opens a redb file, or creates it. When this returns, the file's name is durable: redb syncs the file, and this
/// function syncs the folder that holds it.
///
/// A new file gets its name only after redb has initialised it. Otherwise a crash could leave a file that redb refuses
/// as damaged.
///
/// # Errors
/// Returns [`DatabaseError::DatabaseAlreadyOpen`] if another process has the file open, and otherwise the error of redb
/// or the file system.
pub fn open_database(disk: &Disk, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    if !path.try_exists()? {
        let unfinished = disk.unfinished_file(parent(path))?;
        drop(open(disk, &builder, &unfinished)?);
        match disk.name(unfinished, path) {
            // Another process was faster. Its file is just as good.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    let database = open(disk, &builder, path)?;
    disk.sync_folder(parent(path))?;
    Ok(database)
}

fn open(disk: &Disk, builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    match disk.watch() {
        None => builder.create(path),
        Some(watch) => builder.create_with_backend(Reported::open(path, Arc::clone(watch))?),
    }
}

/// A file that reports its writes and syncs. It is not locked, because a test has only one process.
#[derive(Debug)]
struct Reported {
    file: FileBackend,
    path: PathBuf,
    watch: Arc<dyn Watch>,
}

impl Reported {
    fn open(path: &Path, watch: Arc<dyn Watch>) -> Result<Self, DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file: FileBackend::new(file)?, path: path.to_owned(), watch })
    }
}

impl StorageBackend for Reported {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.watch.done(Step::Resized { path: &self.path, length });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.watch.done(Step::FileSynced(&self.path));
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)?;
        self.watch.done(Step::Written { path: &self.path, offset, bytes });
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
