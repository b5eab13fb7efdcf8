//! Cache files that are either whole or absent. A file is a header of 12 bytes (`emr-keys` and the format's version), the
//! content, and the SHA-256 of content and header. The hash shows damage before anything is parsed, because halo2's readers and writers
//! panic on short files and full disks. The version shows a file of a program that lays out the content in another way.
//!
//! Nothing is synced. If a power cut damages or removes a file, [`read`] treats it as absent, and it is made again. The
//! cache promises nothing else.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

/// The version of the contents of all files. Raise it with every change of what [`write`] is given, also if a new version
/// of halo2 causes it.
const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"emr-keys";
/// The number of bytes of the header.
const HEADER: usize = MAGIC.len() + 4;
/// The number of bytes of the trailer.
const TRAILER: usize = 32;

fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()..].copy_from_slice(&FORMAT.to_le_bytes());
    header
}

/// The content of a file that [`write`] wrote, or `None` if the file is absent, cut short, altered, or has another
/// format.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    // A file of another format is not read to its end: it can have gibibytes.
    let mut first = [0; HEADER];
    file.read_exact(&mut first).ok()?;
    if first != header() {
        return None;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let trailer = bytes.split_off(bytes.len().checked_sub(TRAILER)?);
    (digest(&bytes) == trailer[..]).then_some(bytes)
}

/// The header comes last here. So a program of before there were headers finds another hash, and does not read the header
/// as content.
fn digest(content: &[u8]) -> [u8; TRAILER] {
    Sha256::new().chain_update(content).chain_update(header()).finalize().into()
}

/// Writes header, content and trailer to a temporary file, then renames it.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("partial-{}-{number}", std::process::id()));
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(&header())?;
        file.write_all(content)?;
        file.write_all(&digest(content))
    });
    #[expect(clippy::disallowed_methods, reason = "not durable, see above")]
    let moved = written.and_then(|()| std::fs::rename(&partial, path));
    if moved.is_err() {
        // It does no harm if the temporary file cannot be removed either.
        drop(std::fs::remove_file(&partial));
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prover::Setup;

    #[test]
    fn damage_is_noticed() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("emr-cache-test-{}", std::process::id()));
        let path = folder.join("file.bin");
        assert_eq!(read(&path), None);
        write(&path, b"content")?;
        assert_eq!(read(&path).as_deref(), Some(&b"content"[..]));
        let whole = std::fs::read(&path)?;
        for damaged in [&whole[..whole.len() - 1], &whole[1..], &[], &[whole.as_slice(), b"x"].concat()] {
            std::fs::write(&path, damaged)?;
            assert_eq!(read(&path), None);
        }
        write(&path, b"")?;
        assert_eq!(read(&path).as_deref(), Some(&b""[..]));
        std::fs::remove_dir_all(&folder)
    }

    /// Only the version differs: the hash is right.
    #[test]
    fn a_file_of_another_format_is_absent_and_is_made_again() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("emr-cache-format-test-{}", std::process::id()));
        let setup = || Setup::insecure_development_cached(&folder, 4);
        setup()?;
        let path = folder.join("insecure-development-setup-4.bin");
        let whole = std::fs::read(&path)?;
        assert_eq!((&whole[..8], &whole[8..HEADER]), (&MAGIC[..], &FORMAT.to_le_bytes()[..]));
        let content = &whole[HEADER..whole.len() - TRAILER];
        // The file of before there were versions, and those of other versions.
        let with_version = |version: u32| [&MAGIC[..], &version.to_le_bytes()].concat();
        for header in [Vec::new(), with_version(FORMAT - 1), with_version(FORMAT + 1)] {
            let hash = Sha256::digest([content, &header].concat());
            std::fs::write(&path, [&header[..], content, &hash[..]].concat())?;
            assert_eq!(read(&path), None, "{header:?}");
            setup()?;
            assert_eq!(std::fs::read(&path)?, whole);
        }
        std::fs::remove_dir_all(&folder)
    }
}
