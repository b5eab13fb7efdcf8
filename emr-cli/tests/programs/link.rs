//! A patient shares a record by a link, a viewer that others wrote opens it, and the node is killed between two guesses of
//! its passcode.

use std::fs;

use emr_testkit::part::ShlViewer;
use serde_json::{Value, json};

use crate::world::*;

#[test]
fn a_link_opens_a_record_until_its_patient_ends_it() -> TestResult {
    let Some(viewer) = ShlViewer::find_or_skip()? else { return Ok(()) };
    let world = World::new()?;
    let running = world.dev("hospital", "3600")?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    world.joining("emr-patient", "patient", &["register", "--invite", invitation.trim()])?.done()?;
    world.patient(&["put", BUNDLE, "--class", "summary"])?.done()?;
    assert!(world.patient(&["links"])?.done()?.contains("you have no links"));

    let link = |more: &[&str]| world.patient(&[&["--json", "link", "2/0", "--expires"][..], more].concat());
    let past = world.patient(&["link", "2/0", "--expires", "2020-01-01"])?.failed(3)?;
    assert!(past.contains("within 366 days"), "{past}");
    assert!(world.patient(&["link", "3/0", "--expires", "2100-01-01"])?.failed(4)?.contains("not yours"));
    let tomorrow = time::OffsetDateTime::now_utc() + time::Duration::days(1);
    let tomorrow = tomorrow.date().to_string();
    let made = link(&[&tomorrow, "--passcode", "--label", "For my visit", "--svg", "link.svg"])?;
    assert!(made.stderr.contains("not settled yet") && made.stderr.contains("link.svg"), "{made:?}");
    let made: Value = serde_json::from_str(&made.done()?)?;
    let (uri, passcode) = (made["link"].as_str().ok_or("a link")?, made["passcode"].as_str().ok_or("a passcode")?);
    assert!(fs::read_to_string(world.at("link.svg"))?.contains("<svg"));
    let wrong: String = passcode.chars().map(|digit| if digit == '9' { '0' } else { '9' }).collect();

    let refused = json!({ "error": "SHLInvalidPasscodeError" });
    assert_eq!(viewer.open(uri, "front desk", Some(&wrong), None)?, refused);
    // The count and the link survive `kill -9`.
    running.kill()?;
    let running = world.dev("hospital", "3600")?;
    for _ in 0..3 {
        assert_eq!(viewer.open(uri, "front desk", Some(&wrong), None)?, refused);
    }
    let opened = viewer.open(uri, "Dr. Ada", Some(passcode), Some(0))?;
    let document: Value = serde_json::from_slice(&fs::read(BUNDLE)?)?;
    assert_eq!(opened["resources"], json!([document]));
    let listed = world.patient(&["links"])?;
    assert!(listed.stderr.contains("no proof covers it"), "{listed:?}");
    let listed = listed.done()?;
    assert!(listed.contains("opened 1 times, passcode (wrong ones left: 1)"), "{listed}");
    assert!(listed.contains("opened, by someone who says: \"Dr. Ada\""), "{listed}");
    assert_eq!(listed.matches("wrong passcode, by someone who says: \"front desk\"").count(), 4, "{listed}");

    let shown = world.patient(&["links", "show", "1"])?.done()?;
    assert_eq!(shown.lines().count(), 6, "{shown}");
    world.patient(&["links", "show", "2"])?.failed(4)?;
    assert!(world.patient(&["links", "end", "1"])?.done()?.contains("serves it no more"));
    assert_eq!(viewer.open(uri, "Dr. Ada", Some(passcode), None)?, json!({ "error": "SHLManifestNotFoundError" }));
    assert!(world.patient(&["links"])?.done()?.contains("link 1: ended by you"));

    // The hospital sees how large and how used it is, not what is in it or who opened it.
    let all = world.hospital(&["links", "list"])?.done()?;
    assert!(all.contains("patient 2 link 1: ended by the patient, was until"), "{all}");
    assert!(!all.contains("Ada") && !all.contains("visit"), "{all}");

    // For people: the link, the passcode, and a picture of the link.
    let printed = world.patient(&["link", "2/0", "--expires", &tomorrow, "--direct"])?.done()?;
    let uri = printed.lines().find(|line| line.starts_with("shlink:/")).ok_or("a link")?;
    assert!(printed.contains('█') && !printed.contains("passcode"), "{printed}");
    assert_eq!(viewer.open(uri, "Dr. Ada", None, None)?["resources"], json!([document]));
    world.hospital(&["links", "end", "2", "3"])?.failed(4)?;
    let ended = world.hospital(&["links", "end", "2", "2"])?.done()?;
    assert_eq!(ended, "link 2 of patient 2 ended: this node serves it no more\n");
    assert!(viewer.open(uri, "Dr. Ada", None, None)?["error"].is_string());
    assert!(world.patient(&["links"])?.done()?.contains("link 2: ended by the hospital"));
    // The patient ends a link with the same word with which it was made.
    world.patient(&["link", "2/0", "--expires", &tomorrow])?.done()?;
    assert!(world.patient(&["link", "--end", "3"])?.done()?.contains("link 3 ended"));
    assert!(world.patient(&["links"])?.done()?.contains("link 3: ended by you"));
    running.kill()
}
