//! Which files belong to a record, and that the record and its sealed part say the same of them. Pure.
//!
//! The author signs the record's fields, and the fields name each file by its manifest. The keys that open the files are in the sealed part. A
//! writer could list one file and seal another, or one more. So both lists must hold the same manifests, with the same sizes.

use std::collections::BTreeMap;

use emr_core::{Cid, Key, Record, Value, is_harmless};
use emr_crypto::AttachmentKey;

/// A file of a record that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The field that names it.
    pub key: Key,
    /// Its media type, as the author states it. Nobody looked into the file.
    pub media_type: String,
    /// Its name, as the author states it, without folders. It may contain any characters that `clean_name` leaves.
    pub name: Option<String>,
    /// Where it is, its key and its size.
    pub sealed: AttachmentKey,
}

/// The record and its sealed part do not list the same files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record and its sealed part do not list the same attachments: do not rely on it; its author has to write it again"
)]
pub struct OtherAttachments;

/// The files of a record, in the order of [`Record::attachments`]: the number of a file is its place in this list. `sealed` is what the record's
/// sealed part lists.
///
/// # Errors
/// [`OtherAttachments`] if a file is in one list only, has two sizes, or is sealed twice.
pub fn attached(record: &Record, sealed: &[AttachmentKey]) -> Result<Vec<Attached>, OtherAttachments> {
    let keys: BTreeMap<Cid, &AttachmentKey> = sealed.iter().map(|key| (key.manifest, key)).collect();
    let mut unnamed = keys.clone();
    let files = record.attachments().into_iter().map(|(key, file)| {
        unnamed.remove(&file.link);
        let sealed = keys.get(&file.link).filter(|sealed| sealed.length == file.size).ok_or(OtherAttachments)?;
        Ok(Attached {
            key: key.clone(),
            media_type: file.media_type.clone(),
            name: name_of(record, key),
            sealed: AttachmentKey::clone(sealed),
        })
    });
    let files = files.collect::<Result<Vec<_>, _>>()?;
    if unnamed.is_empty() && keys.len() == sealed.len() { Ok(files) } else { Err(OtherAttachments) }
}

/// The name that the author gave to a file beside the document.
fn name_of(record: &Record, key: &Key) -> Option<String> {
    match record.get(&name_key(key)?)? {
        Value::Text(name) if key.is_beside_document() => clean_name(name),
        _ => None,
    }
}

/// The key of the field that holds a file's name; `None` if it would be too long.
pub fn name_key(key: &Key) -> Option<Key> {
    Key::new(format!("{key}.name")).ok()
}

/// The most characters of a file's name.
const LONGEST_NAME: usize = 255;

/// A file's name in a form that is safe to show and to use in any folder: without folders, and without characters that change a screen
/// or that nobody sees. `None` if nothing is left. Writers clean names, and so do readers: the writer may be hostile.
pub fn clean_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let cleaned: String = last.chars().filter(|c| is_harmless(*c)).take(LONGEST_NAME).collect();
    let cleaned = cleaned.trim();
    (!matches!(cleaned, "" | "." | "..")).then(|| cleaned.to_owned())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use emr_core::Attachment;

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn sealed(content: &[u8]) -> Result<AttachmentKey, emr_crypto::SealError<Infallible>> {
        AttachmentKey::seal(content, |_, _| Ok(()))
    }

    fn listing(files: &[(&str, &AttachmentKey)]) -> Result<Record, Box<dyn std::error::Error>> {
        let mut record = Record::new();
        for (key, file) in files {
            let (link, size) = (file.manifest, file.length);
            record.attach(key.parse()?, Attachment { link, size, media_type: "application/pdf".to_owned() })?;
        }
        Ok(record)
    }

    #[test]
    fn both_lists_name_the_same_files() -> TestResult {
        let (scan, report) = (sealed(b"scan")?, sealed(b"report")?);
        let mut record = listing(&[("attachments.1", &report), ("attachments.0", &scan)])?;
        record.insert("attachments.1.name".parse()?, Value::Text("../re\u{202e}port.pdf\u{7}".to_owned()))?;
        let files = attached(&record, &[report.clone(), scan.clone()])?;
        assert_eq!(files.iter().map(|file| &file.sealed).collect::<Vec<_>>(), [&scan, &report]);
        assert_eq!((files[0].name.as_deref(), files[1].name.as_deref()), (None, Some("report.pdf")));
        // The same file may be named twice, and sealed once.
        let twice = listing(&[("attachments.0", &scan), ("Bundle.photo", &scan)])?;
        assert_eq!(attached(&twice, std::slice::from_ref(&scan))?.len(), 2);
        assert_eq!(attached(&Record::new(), &[])?, []);
        Ok(())
    }

    /// What a hostile writer can try: the signed record shows one list, and the sealed part holds another.
    #[test]
    fn other_lists_are_refused() -> TestResult {
        let (scan, report) = (sealed(b"scan")?, sealed(b"report")?);
        let longer = AttachmentKey { length: 5, ..scan.clone() };
        let other_key = AttachmentKey { key: report.key.clone(), ..scan.clone() };
        let one = listing(&[("attachments.0", &scan)])?;
        let both = listing(&[("attachments.0", &scan), ("attachments.1", &report)])?;
        let two_sizes = listing(&[("attachments.0", &scan), ("attachments.1", &longer)])?;
        for (record, sealed, what) in [
            (&one, vec![], "missing"),
            (&one, vec![report.clone()], "another"),
            (&one, vec![scan.clone(), report.clone()], "surplus"),
            (&both, vec![scan.clone()], "one missing"),
            (&both, vec![scan.clone(), scan.clone()], "one twice"),
            (&one, vec![scan.clone(), other_key], "two keys"),
            (&one, vec![longer.clone()], "another size"),
            (&two_sizes, vec![scan.clone()], "two sizes"),
            (&two_sizes, vec![scan.clone(), longer], "two sizes, sealed too"),
            (&Record::new(), vec![scan.clone()], "none named"),
        ] {
            assert_eq!(attached(record, &sealed), Err(OtherAttachments), "{what}");
        }
        Ok(())
    }

    #[test]
    fn names_are_cleaned() {
        for (name, cleaned) in [
            ("scan.dcm", Some("scan.dcm")),
            ("/etc/passwd", Some("passwd")),
            ("..\\..\\boot.ini", Some("boot.ini")),
            ("..", None),
            ("a/", None),
            ("\u{1b}[31mred\n", Some("[31mred")),
            ("  ", None),
            ("Röntgen 3.png", Some("Röntgen 3.png")),
        ] {
            assert_eq!(clean_name(name).as_deref(), cleaned, "{name:?}");
        }
        assert_eq!(clean_name(&"x".repeat(1000)).map(|name| name.len()), Some(255));
    }
}
