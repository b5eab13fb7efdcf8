//! Reads files that a command is given, completely but up to a limit.

use std::{fs::File, io::Read, path::Path};

use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};

/// The largest card, key or passphrase file in bytes. Real ones are many times smaller.
pub const SMALL: u64 = 64 * 1024;

/// Reads a file. Of a file that is too long, at most `limit + 1` bytes are read.
///
/// # Errors
/// Fails with [`Exit::Input`] if the file cannot be read, or has more than `limit` bytes. The message calls the file `what`.
pub fn read(what: &str, file: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(file).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(|error| {
        let file = file.display();
        Failure::new(Exit::Input, format!("cannot read {what} {file}: {error}; check the name"))
    })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        return Ok(bytes);
    }
    let message = format!("{what} {} has more than the {limit} bytes that are read; check the name", file.display());
    Err(Failure::new(Exit::Input, message))
}

/// Reads a small text file.
///
/// # Errors
/// Fails like [`read`], and if the file is not text in UTF-8 of at most [`SMALL`] bytes.
pub fn read_text(what: &str, file: &Path) -> Result<String, Failure> {
    let bytes = read(what, file, SMALL)?;
    String::from_utf8(bytes).map_err(|_| {
        let file = file.display();
        Failure::new(Exit::Input, format!("{what} {file} is not text in UTF-8; check the name"))
    })
}

/// Reads a small text file that holds a secret. The buffer does not grow, so no copy stays in memory. It is erased when
/// dropped.
///
/// # Errors
/// The same as [`read_text`].
pub fn read_secret(what: &str, file: &Path) -> Result<Zeroizing<String>, Failure> {
    let unreadable = |error: std::io::Error| {
        let file = file.display();
        Failure::new(Exit::Input, format!("cannot read {what} {file}: {error}; check the name"))
    };
    let mut bytes = Zeroizing::new(vec![0; SMALL as usize + 1]);
    let mut opened = File::open(file).map_err(unreadable)?;
    let mut length = 0;
    while length < bytes.len() {
        match opened.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let text = std::str::from_utf8(&bytes[..length]).ok().filter(|text| text.len() as u64 <= SMALL);
    text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| {
        let file = file.display();
        Failure::new(Exit::Input, format!("{what} {file} is not text of at most {SMALL} bytes; check the name"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_and_binary_files_are_refused() -> std::io::Result<()> {
        let zeros = read_text("the key", Path::new("/dev/zero")).map_err(|failure| failure.exit());
        assert_eq!(zeros, Err(Exit::Input));
        // A document of a gigabyte is not read to its end: one byte more than the limit is enough to refuse it.
        let refused = read("the Consent", Path::new("/dev/zero"), 1000).map_err(|failure| failure.to_string());
        assert!(refused.is_err_and(|said| said.contains("the Consent /dev/zero has more than the 1000 bytes")));
        let folder = tempfile::tempdir()?;
        let fits = folder.path().join("fits");
        std::fs::write(&fits, [b' '; 1000])?;
        assert_eq!(read("the Consent", &fits, 1000).map(|bytes| bytes.len()).ok(), Some(1000));
        assert!(read("the Consent", &fits, 999).is_err());
        let file = folder.path().join("binary");
        std::fs::write(&file, [0xff, 0xfe])?;
        assert_eq!(read_text("the key", &file).map_err(|failure| failure.exit()), Err(Exit::Input));
        std::fs::write(&file, "text")?;
        assert_eq!(read_text("the key", &file).ok().as_deref(), Some("text"));
        Ok(())
    }
}
