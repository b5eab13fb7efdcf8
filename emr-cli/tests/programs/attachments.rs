//! A large file beside a record: the upload is killed and goes on, and neither direction needs much memory.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use serde_json::Value;

use crate::world::*;

/// The file's size in MiB: more than four times what the programs may use. `cargo xtask soak attachment` sets another one.
fn file_mebibytes() -> u64 {
    std::env::var("EMR_SOAK_MEBIBYTES").ok().and_then(|size| size.parse().ok()).unwrap_or(300)
}

/// What a program may use while it sends or fetches, in MiB. Opening the identity takes 128 MiB before that, which is given back.
const MEMORY: u64 = 64;

/// The journal of the only upload: its file of this kind.
fn journal(world: &World, kind: &str) -> Option<PathBuf> {
    let files = fs::read_dir(world.at("doctor/uploads")).ok()?;
    files.filter_map(|file| Some(file.ok()?.path())).find(|path| path.extension().is_some_and(|found| found == kind))
}

/// How many entries of this size the journal's file has.
fn entries(world: &World, kind: &str, size: u64) -> u64 {
    journal(world, kind).and_then(|path| fs::metadata(path).ok()).map_or(0, |data| data.len() / size)
}

/// Starts a command of the doctor or the patient whose output nobody reads.
fn start(world: &World, program: &str, data: &str, arguments: &[&str]) -> TestResult<Running> {
    let mut command = world.prepare(None, program, data, arguments)?;
    Ok(Running(command.stdout(Stdio::null()).stderr(File::create(world.at("said"))?).spawn()?))
}

/// Waits for something that the program does.
fn until(world: &World, running: &mut Running, reached: impl Fn() -> bool) -> TestResult {
    let started = Instant::now();
    while !reached() {
        if running.0.try_wait()?.is_some() || started.elapsed() > COMMAND {
            return Err(format!("it did not come so far: {}", fs::read_to_string(world.at("said"))?).into());
        }
        std::thread::sleep(POLL / 10);
    }
    Ok(())
}

/// Sets the program's peak of memory to what it uses now.
fn forget_peak(running: &Running) -> TestResult {
    Ok(fs::write(format!("/proc/{}/clear_refs", running.0.id()), "5")?)
}

/// The program's peak of memory until it ends, in MiB. It must end well.
fn peak_to_the_end(running: &mut Running) -> TestResult<u64> {
    let mut peak = 0;
    while running.0.try_wait()?.is_none() {
        // The process may end meanwhile.
        peak = running.peak_mebibytes().unwrap_or(peak);
        std::thread::sleep(POLL / 10);
    }
    assert_eq!(running.wait(COMMAND)?, Some(0));
    assert!(peak > 0, "it ended before it was looked at");
    Ok(peak)
}

fn is_same(one: &Path, other: &Path) -> TestResult<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut left)?;
        other.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
    }
}

#[test]
fn a_large_upload_is_killed_and_goes_on() -> TestResult {
    let world = World::new()?;
    let running = world.dev("hospital", "3600")?;
    world.keep_card("emr-hospital", "hospital", "hospital.json")?;
    world.enrol_doctor("doctor", true)?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    world.joining("emr-patient", "patient", &["register", "--invite", invitation.trim()])?.done()?;
    world.keep_card("emr-patient", "patient", "patient.json")?;
    let terms = ["--class", "imaging", "--rights", "read,write", "--until", "2100-01-31"];
    world.patient(&[&["grant", "doctor.json"][..], &terms].concat())?.done()?;
    let mut scan = File::create(world.at("scan.dcm"))?;
    let mut piece = vec![0; 1 << 20];
    for number in 0..file_mebibytes() {
        piece.iter_mut().zip(0_u64..).for_each(|(byte, place)| *byte = (place.wrapping_mul(number + 7) >> 3) as u8);
        scan.write_all(&piece)?;
    }
    drop(scan);
    fs::write(world.at("report.pdf"), "%PDF-1.7")?;

    let upload = ["upload", BUNDLE, "--patient", "patient.json", "--class", "imaging"];
    let upload = [&upload[..], &["--attach", "scan.dcm", "--attach", "report.pdf"]].concat();
    let began = Instant::now();
    let mut killed = start(&world, "emr-doctor", "doctor", &upload)?;
    until(&world, &mut killed, || entries(&world, "chunks", 32) > 100)?;
    forget_peak(&killed)?;
    until(&world, &mut killed, || entries(&world, "stored", 4) > 600)?;
    let peak = killed.peak_mebibytes()?;
    killed.kill()?;
    assert!(peak < MEMORY, "sending took {peak} MiB");
    let first = began.elapsed();
    let sealed = fs::read(journal(&world, "chunks").ok_or("a journal")?)?;

    // The same command goes on. No chunk that the node had acknowledged is sent again: each is noted once.
    let began = Instant::now();
    let mut resumed = start(&world, "emr-doctor", "doctor", &upload)?;
    until(&world, &mut resumed, || entries(&world, "stored", 4) > 620)?;
    forget_peak(&resumed)?;
    let sending = peak_to_the_end(&mut resumed)?;
    assert!(sending < MEMORY, "sending took {sending} MiB");
    eprintln!(
        "{} MiB: sent in {:.1} s and, after the kill, {:.1} s, with at most {} MiB of memory",
        file_mebibytes(),
        first.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        sending.max(peak)
    );
    let uploaded = world.doctor(&upload)?.done()?;
    let record = uploaded.split_whitespace().nth(1).ok_or("a record")?.to_owned();
    let stored = |path: PathBuf| -> TestResult<u64> { Ok(fs::metadata(path)?.len()) };
    let mut large = None;
    for file in fs::read_dir(world.at("doctor/uploads"))? {
        let path = file?.path();
        let is_scan = path.extension().is_some_and(|kind| kind == "chunks") && stored(path.clone())? > 1024;
        if is_scan {
            large = Some(path);
        }
    }
    let large = large.ok_or("the journal of the scan")?;
    let chunks = fs::read(&large)?;
    assert!(chunks.starts_with(&sealed[..sealed.len() / 32 * 32]), "a new key was taken");
    assert_eq!(stored(large.with_extension("stored"))? / 4, chunks.len() as u64 / 32);
    assert_eq!(world.doctor(&upload)?.done()?, uploaded);

    let listed: Value = serde_json::from_str(&world.patient(&["--json", "attachments", &record])?.done()?)?;
    let files = listed["attachments"].as_array().ok_or("a list")?;
    assert_eq!((&files[0]["name"], &files[0]["media_type"]), (&"scan.dcm".into(), &"application/dicom".into()));
    assert_eq!((&files[1]["name"], &files[1]["size"]), (&"report.pdf".into(), &8.into()), "{listed}");
    let shown = world.patient(&["attachments", &record])?.done()?;
    assert!(shown.contains("scan.dcm") && shown.contains("application/pdf"), "{shown}");

    // Fetching needs as little memory, and the file has its name only at the end.
    let get = ["get", &record, "--attachment", "0", "--output", "back/scan.dcm"];
    fs::create_dir(world.at("back"))?;
    let began = Instant::now();
    let mut fetching = start(&world, "emr-patient", "patient", &get)?;
    let unfinished = || {
        let mut files = fs::read_dir(world.at("back")).into_iter().flatten().flatten();
        files.any(|file| file.metadata().is_ok_and(|data| data.len() > 1 << 20))
    };
    until(&world, &mut fetching, unfinished)?;
    assert!(!world.at("back/scan.dcm").exists());
    forget_peak(&fetching)?;
    let peak = peak_to_the_end(&mut fetching)?;
    assert!(peak < MEMORY, "fetching took {peak} MiB");
    eprintln!("fetched in {:.1} s, with at most {peak} MiB of memory", began.elapsed().as_secs_f64());
    assert!(is_same(&world.at("scan.dcm"), &world.at("back/scan.dcm"))?);

    let part = ["get", &record, "--attachment", "0", "--range", "262140-262149", "-o", "part"];
    world.patient(&part)?.done()?;
    assert_eq!(fs::read(world.at("part"))?, {
        let mut bytes = vec![0; 262_150];
        File::open(world.at("scan.dcm"))?.read_exact(&mut bytes)?;
        bytes.split_off(262_140)
    });
    let outside = world.patient(&["get", &record, "--attachment", "1", "--range", "0-8", "-o", "no"])?.failed(3)?;
    assert!(outside.contains("8 bytes"), "{outside}");
    world.patient(&["get", &record, "--attachment", "2", "-o", "no"])?.failed(3)?;
    world
        .doctor(&["upload", BUNDLE, "--patient", "patient.json", "--class", "imaging", "--attach", "none"])?
        .failed(3)?;
    // The document is as it was.
    assert_eq!(world.patient(&["get", &record])?.done()?, fs::read_to_string(BUNDLE)?);

    // The next version has none of them, unless they are kept.
    let edit = ["edit", &record, BUNDLE, "--class", "imaging"];
    let kept = [&edit[..], &["--keep-attachments", "--attach", "report.pdf"]].concat();
    // Nothing is settled, so the doctor may not read yet, and cannot take over what they cannot see.
    let refused = world.doctor(&kept)?;
    assert!(matches!(refused.exit, Some(4 | 5)), "{refused:?}");
    world.doctor(&edit)?.done()?;
    let none = world.patient(&["attachments", &record])?.done()?;
    assert!(none.contains("no attachments"), "{none}");
    running.kill()
}
