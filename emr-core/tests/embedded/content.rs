//! Content that is put back: in pieces, of the wrong length, missing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read, Write};

use emr_core::cid::cid_of;
use emr_core::fhir::{ExportError, export_to, read};
use emr_core::{Attachment, Codec, Key, Value};

use super::{Anything, FILES, exported, stored, with_field};

/// What `content_of` and the output do wrong.
#[test]
fn content_that_is_not_what_the_field_says_is_an_error() -> Result<(), Anything> {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (record, contents) = stored(read(FILES.as_bytes())?)?;
    let key: Key = "Bundle.entry.0.resource.content.0.attachment.data".parse()?;
    for wrong in [&b""[..], b"hello worl", b"hello world!", &[7; 1 << 20]] {
        let mut contents = contents.clone();
        contents.insert(cid_of(Codec::Raw, b"hello world"), wrong.to_vec());
        let refused = exported(&record, &contents);
        assert!(matches!(refused, Err(ExportError::Size { key: of, size: 11 }) if of == key));
    }
    let refused = exported(&record, &BTreeMap::new());
    assert!(matches!(refused, Err(ExportError::Content { key: of, .. }) if of == key));
    let refused = export_to(&record, |_, _| Ok::<_, Infallible>(Broken), io::sink());
    assert!(matches!(refused, Err(ExportError::Read { key: of, .. }) if of == key));
    let refused = export_to(&record, |_, _| Ok::<_, Infallible>(&b"hello world"[..]), Broken);
    assert!(matches!(refused, Err(ExportError::Write(_))));
    Ok(())
}

/// Reads a few bytes at a time, with interruptions, as a network does.
#[test]
fn content_may_come_in_small_pieces() -> Result<(), Anything> {
    struct Slow<'a>(&'a [u8], bool);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let len = buffer.len().min(2);
            self.0.read(&mut buffer[..len])
        }
    }
    let (record, contents) = stored(read(FILES.as_bytes())?)?;
    let mut out = Vec::new();
    let slow = |_: &Key, file: &Attachment| Ok::<_, Infallible>(Slow(&contents[&file.link], false));
    export_to(&record, slow, &mut out)?;
    assert_eq!(out, FILES.as_bytes());
    Ok(())
}

#[test]
fn an_attachment_takes_constant_memory() -> Result<(), Anything> {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(bytes.len() < 1 << 20);
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let size = 300_000_000;
    let (record, _) = stored(read(br#"{"resourceType":"Binary","data":"AAAA"}"#)?)?;
    let link = cid_of(Codec::Raw, b"large");
    let file = Attachment { link, media_type: "application/octet-stream".into(), size };
    let record = with_field(&record, "Binary.data", Value::Attachment(file))?;
    let mut count = Count(0);
    export_to(&record, |_, file| Ok::<_, Infallible>(io::repeat(7).take(file.size)), &mut count)?;
    assert_eq!(count.0, size / 3 * 4 + r#"{"resourceType":"Binary","data":""}"#.len() as u64);
    Ok(())
}
