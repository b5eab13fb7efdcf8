//! Tests of the model: unsynced changes can be lost, and synced changes cannot.

use std::{collections::BTreeSet, convert::Infallible, fs};

use super::*;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The file's possible contents after a crash at the end of the journal, over many seeds. `None` means that it is
/// missing.
fn outcomes(journal: &Journal, file: &str) -> BTreeSet<Option<Vec<u8>>> {
    let ways: Vec<_> = ALL.into_iter().chain((10..500).map(Survivors::Some)).collect();
    let end = journal.steps();
    let mut seen = BTreeSet::new();
    let checked = journal.check(&ways, no_sync, |steps, image| {
        if steps == end {
            seen.insert(fs::read(image.join(file)).ok());
        }
        Ok::<_, Infallible>(())
    });
    checked.expect("the check refuses nothing");
    seen
}

#[test]
fn a_file_is_durable_with_its_bytes_and_its_name() -> TestResult {
    let bytes = vec![7; 1200];
    let torn: BTreeSet<_> =
        [0, 512, 1024, 1200].into_iter().map(|length| Some(bytes[..length].to_vec())).chain([None]).collect();
    let whole = BTreeSet::from([Some(bytes.clone())]);

    let journal = Journal::new()?;
    let path = journal.root().join("file");
    let step = |step: Step<'_>| journal.done(step);
    step(Step::FileCreated(&path));
    step(Step::Written { path: &path, offset: 0, bytes: &bytes });
    assert!(outcomes(&journal, "file") == torn, "cut anywhere between two sectors, or without a name");
    step(Step::FileSynced(&path));
    assert_eq!(outcomes(&journal, "file"), BTreeSet::from([Some(bytes.clone()), None]));
    step(Step::FolderSynced(journal.root()));
    assert_eq!(outcomes(&journal, "file"), whole);

    // The other order of syncs works too, and a later write is again not durable.
    step(Step::Written { path: &path, offset: 0, bytes: b"x" });
    let changed = [b"x".as_slice(), &bytes[1..]].concat();
    assert_eq!(outcomes(&journal, "file"), BTreeSet::from([Some(bytes.clone()), Some(changed)]));
    step(Step::Resized { path: &path, length: 0 });
    assert!(outcomes(&journal, "file").contains(&Some(Vec::new())));
    step(Step::Removed(&path));
    assert!(outcomes(&journal, "file").contains(&Some(bytes)));
    step(Step::FolderSynced(journal.root()));
    assert_eq!(outcomes(&journal, "file"), BTreeSet::from([None]));
    Ok(())
}

#[test]
fn a_rename_is_all_or_nothing() -> TestResult {
    let journal = Journal::new()?;
    let disk = journal.disk();
    let (one, other) = (journal.root().join("one"), journal.root().join("other"));
    disk.create_folder(&one)?;
    disk.create_folder(&other)?;
    disk.replace(&one.join("file"), b"old")?;
    disk.write_new(&other.join("file"), b"new")?;
    disk.sync_folder(journal.root())?;
    disk.sync_folder(&other)?;
    disk.rename(&other.join("file"), &one.join("file"))?;
    let old_and_new = BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]);
    assert_eq!(outcomes(&journal, "one/file"), old_and_new);
    // The file is in one folder or the other, never lost.
    let everywhere = journal.check(&ALL, no_sync, |steps, image| {
        let there = |folder: &str| fs::read(image.join(folder).join("file")).is_ok_and(|bytes| bytes == b"new");
        if steps < journal.steps() || there("one") || there("other") { Ok(()) } else { Err("lost") }
    });
    everywhere?;
    // Syncing the old folder is enough.
    disk.sync_folder(&other)?;
    assert_eq!(outcomes(&journal, "one/file"), BTreeSet::from([Some(b"new".to_vec())]));
    Ok(())
}

#[test]
fn a_folder_takes_everything_in_it_along() -> TestResult {
    let journal = Journal::new()?;
    let disk = journal.disk();
    let folder = journal.root().join("folder");
    disk.create_folder(&folder)?;
    disk.replace(&folder.join("file"), b"bytes")?;
    assert_eq!(outcomes(&journal, "folder/file"), BTreeSet::from([Some(b"bytes".to_vec()), None]));
    disk.create_folder_all(&folder)?;
    assert_eq!(outcomes(&journal, "folder/file"), BTreeSet::from([Some(b"bytes".to_vec())]));
    Ok(())
}

#[test]
fn a_copy_of_a_folder_is_whole_once_its_name_is_synced() -> TestResult {
    let source = tempfile::tempdir()?;
    fs::create_dir(source.path().join("deep"))?;
    fs::write(source.path().join("deep/file"), b"bytes")?;
    let journal = Journal::new()?;
    let disk = journal.disk();
    journal.begin("copy");
    disk.copy_folder(source.path(), &journal.root().join("folder"), &|_| true)?;
    disk.sync_folder(journal.root())?;
    let acknowledged = journal.steps();
    let check = |steps: usize, image: &Path| match fs::read(image.join("folder/deep/file")) {
        Ok(bytes) if bytes == b"bytes" => Ok(()),
        _ if steps < acknowledged => Ok(()),
        other => Err(format!("{other:?}")),
    };
    journal.check(&ALL, no_sync, check)?;
    let needed: [&str; 0] = [];
    assert_eq!(journal.unneeded_syncs(&ALL, check), needed);
    Ok(())
}

#[test]
fn a_sync_that_is_left_out_is_found() -> TestResult {
    let journal = Journal::new()?;
    let disk = journal.disk();
    journal.begin("replace");
    disk.replace(&journal.root().join("file"), b"bytes")?;
    let acknowledged = journal.steps();
    journal.begin("again");
    disk.sync_folder(journal.root())?;
    let check = |steps: usize, image: &Path| match fs::read(image.join("file")) {
        Ok(bytes) if bytes == b"bytes" => Ok(()),
        _ if steps < acknowledged => Ok(()),
        other => Err(format!("{other:?}")),
    };
    journal.check(&ALL, no_sync, check)?;
    let names: Vec<_> = journal.syncs().iter().map(Sync::to_string).collect();
    assert_eq!(names, ["again: folder .", "replace: file *", "replace: folder ."]);
    assert_eq!(journal.unneeded_syncs(&ALL, check), ["again: folder ."]);
    Ok(())
}

/// The next process finds what a killed process wrote, but it is not durable yet.
#[test]
fn a_kill_keeps_what_a_power_cut_takes() -> TestResult {
    let first = Journal::new()?;
    let path = first.root().join("file");
    first.disk().replace(&path, b"bytes")?;
    let all = first.steps();
    let second = first.killed_after(all - 1)?;
    assert_eq!(fs::read(second.root().join("file"))?, b"bytes");
    assert!(outcomes(&second, "file").contains(&None));
    second.disk().sync_folder(second.root())?;
    assert_eq!(outcomes(&second, "file"), BTreeSet::from([Some(b"bytes".to_vec())]));
    Ok(())
}
