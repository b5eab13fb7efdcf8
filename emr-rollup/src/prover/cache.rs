//! Cache files that are either whole or absent. A SHA-256 trailer shows damage before anything is parsed, because
//! halo2's readers and writers panic on short files and full disks.
//!
//! Nothing is synced. If a power cut damages or removes a file, [`read`] treats it as absent, and it is made again. The
//! cache promises nothing else.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

/// The number of bytes of the trailer.
const TRAILER: usize = 32;

/// The content of a file that [`write`] wrote, or `None` if the file is absent, cut short or altered.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(path).ok()?;
    let length = bytes.len().checked_sub(TRAILER)?;
    let trailer = bytes.split_off(length);
    (Sha256::digest(&bytes).as_slice() == trailer).then_some(bytes)
}

/// Writes the content and its trailer to a temporary file, then renames it.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("partial-{}-{number}", std::process::id()));
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(content)?;
        file.write_all(&Sha256::digest(content))
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
}
