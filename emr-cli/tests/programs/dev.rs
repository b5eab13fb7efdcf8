//! The everyday case: `emr-hospital dev` runs in one process, and each command of doctor, patient and hospital in
//! another. `dev` is killed twice. The proofs are real.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::world::*;

/// All participants register, the patient grants, and the doctor writes a record. Nothing is settled yet.
fn set_up(world: &World) -> TestResult {
    let Said { exit, stdout, .. } = world.doctor(&["init", "--rsa-bits", "2048"])?;
    assert_eq!(exit, Some(0));
    assert!(stdout.starts_with("new doctor in ") && stdout.contains("its Ethereum account is 0x"), "{stdout}");
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    world.keep_card("emr-doctor", "doctor", "doctor-0.json")?;
    world.keep_card("emr-hospital", "hospital", "hospital.json")?;

    // Without the hospital's consent, no doctor can join it.
    let uninvited = world.doctor(&["register", "--org", "hospital.json"])?.failed(4)?;
    assert!(uninvited.contains("--invite CODE") && uninvited.contains("--own-ether"), "{uninvited}");
    let by_hospital = world.hospital(&["invite"])?.done()?;
    let invited = ["register", "--org", "hospital.json", "--invite", by_hospital.trim()];
    let alone = world.doctor(&invited)?.failed(4)?;
    assert!(alone.contains("endorse"), "{alone}");
    assert!(world.hospital(&["endorse", "doctor-0.json"])?.done()?.contains("may register"));
    assert!(world.doctor(&invited)?.done()?.starts_with("doctor 2: "));
    // The registered keys must be those of the card.
    let mut forged: Value = serde_json::from_slice(&fs::read(world.at("doctor-0.json"))?)?;
    let other: Value = serde_json::from_slice(&fs::read(world.at("hospital.json"))?)?;
    forged["rsa"] = other["rsa"].clone();
    fs::write(world.at("forged.json"), forged.to_string())?;
    let refused = world.hospital(&["registrar", "admit", "forged.json"])?.failed(6)?;
    assert!(refused.contains("its encryption key differs"), "{refused}");
    let admitted = world.hospital(&["registrar", "admit", "doctor-0.json"])?.done()?;
    assert!(admitted.starts_with("doctor 2 of hospital 1 is admitted, with the keys of this card"), "{admitted}");
    world.hospital(&["registrar", "admit", "doctor-0.json"])?.failed(4)?;
    world.keep_card("emr-doctor", "doctor", "doctor.json")?;

    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    // Uses an invitation of the doctor, which is worth the same as the hospital's.
    let used = world.joining("emr-patient", "patient", &["register", "--invite", by_hospital.trim()])?.failed(4)?;
    assert!(used.contains("used by somebody else"), "{used}");
    let by_doctor: Value = serde_json::from_str(&world.doctor(&["--json", "invite", "--expires", "1"])?.done()?)?;
    assert_eq!(by_doctor["inviter"], 2, "{by_doctor}");
    let by_doctor = by_doctor["invitations"][0].as_str().ok_or("a code")?;
    let registered = world.joining("emr-patient", "patient", &["register", "--invite", by_doctor])?.done()?;
    assert!(registered.starts_with("patient 3: queued"), "{registered}");
    let listed = world.hospital(&["inviter", "list"])?.done()?;
    assert_eq!(listed.matches("used today: 1").count(), 2, "{listed}");
    world.hospital(&["inviter", "end", "doctor.json"])?.done()?;
    world.hospital(&["inviter", "resume", "2"])?.done()?;
    world.keep_card("emr-patient", "patient", "patient.json")?;

    // Nobody can write for the patient before a grant.
    let upload = ["upload", BUNDLE, "--patient", "patient.json", "--class", "encounter"];
    world.doctor(&upload)?.failed(4)?;
    let terms = ["--class", "encounter,laboratory", "--rights", "read,write", "--until", "2100-01-31"];
    let granted = world.patient(&[&["grant", "doctor.json"][..], &terms].concat())?.done()?;
    assert!(granted.contains("account 2 may read and write encounter, laboratory until 2100-01-31T23:59:59Z"));
    let doctors = ["grant", "patient.json", "--class", "all", "--rights", "read", "--until", "2100-01-31"];
    world.patient(&doctors)?.failed(3)?;
    world
        .patient(&["grant", "doctor-0.json", "--class", "all", "--rights", "read", "--until", "2100-01-31"])?
        .failed(3)?;

    let uploaded = world.doctor(&upload)?.done()?;
    assert!(uploaded.starts_with("record 3/0 version 1 (encounter), bafy"), "{uploaded}");
    // Repeating the command, as after a crash, gives the same operation.
    assert_eq!(world.doctor(&upload)?.done()?, uploaded);
    world.doctor(&["upload", BUNDLE, "--patient", "patient.json", "--class", "imaging"])?.failed(4)?;
    world.doctor(&["upload", BUNDLE, "--patient", "doctor.json", "--class", "encounter"])?.failed(3)?;
    // From here on the patient's card is known.
    world.doctor(&["get", "3/0", "--output", "early.json"])?.failed(5)?;
    world.doctor(&["get", "3/9"])?.failed(4)?;
    world.doctor(&["get", "8/0"])?.failed(3)?;
    world.patient(&["get", "4/0"])?.failed(4)?;
    Ok(())
}

/// Another deployment and another chain are refused, and nothing changes.
fn elsewhere(world: &World) -> TestResult {
    let other = World::new()?;
    let running = other.dev("hospital", "3600")?;
    let addresses = other.addresses();
    let arguments: Vec<&str> = addresses.iter().map(String::as_str).chain(["whoami"]).collect();
    let refused = world.doctor(&arguments)?.failed(2)?;
    assert!(refused.contains("give the address of the right node"), "{refused}");
    world.doctor(&["list", "--patient", "patient.json"])?.done()?;

    // A new participant, whose Ethereum node is on chain 1.
    other.run_in(None, "emr-doctor", "newcomer", &["init", "--rsa-bits", "2048"])?.done()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let rpc = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        listener.incoming().map_while(Result::ok).for_each(|stream| drop(says_it_is_on_mainnet(stream)))
    });
    let arguments = ["--node", &addresses[1], "--rpc", &rpc, "whoami"];
    let refused = other.run_in(None, "emr-doctor", "newcomer", &arguments)?.failed(2)?;
    assert!(refused.contains("chain 1"), "{refused}");
    other.joining("emr-doctor", "newcomer", &["whoami"])?.done()?;
    running.kill()
}

/// Answers one JSON-RPC request with `0x1`.
fn says_it_is_on_mainnet(stream: TcpStream) -> TestResult {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    for line in reader.by_ref().lines() {
        let line = line?.to_ascii_lowercase();
        match line.strip_prefix("content-length:") {
            Some(number) => length = number.trim().parse()?,
            None if line.is_empty() => break,
            None => {}
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let request: Value = serde_json::from_slice(&body)?;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":"0x1"}}"#, request["id"]);
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    )?;
    Ok(())
}

/// A command asks several Ethereum nodes, one of which is not there, and remembers them.
fn several_ethereum_nodes(world: &World) -> TestResult {
    let [_, _, _, rpc] = world.addresses();
    // Two names of the one Ethereum node of this world, and an address where nobody listens.
    let (again, nobody) = (rpc.replace("127.0.0.1", "localhost"), "http://127.0.0.1:1/");
    let named = ["--rpc", nobody, "--rpc", &rpc, "--rpc", &again, "whoami"];
    world.doctor(&named)?.done()?;
    let remembered =
        || -> TestResult<Value> { Ok(serde_json::from_slice(&fs::read(world.at("doctor").join("profile.json"))?)?) };
    let profile = remembered()?;
    assert_eq!(profile["rpc"], serde_json::json!([nobody, format!("{rpc}/"), format!("{again}/")]));
    world.doctor(&["list", "--patient", "patient.json"])?.done()?;
    world.doctor(&["sync"])?.done()?;

    // All three must agree, and one of them is not there. Nothing is remembered of that.
    let refused = world.doctor(&["--agree", "3", "list", "--patient", "patient.json"])?.failed(5)?;
    assert!(refused.contains(nobody.trim_end_matches('/')) && refused.contains("eth_chainId"), "{refused}");
    assert_eq!(remembered()?, profile);
    world.joining("emr-doctor", "doctor", &["whoami"])?.done()?;
    assert_eq!(remembered()?["rpc"], serde_json::json!([format!("{rpc}/")]));
    Ok(())
}

/// An upload is refused if the disk is full, and nothing changes.
fn full_disk(world: &World) -> TestResult {
    let outbox = || -> TestResult<usize> { Ok(fs::read_dir(world.at("doctor/outbox"))?.count()) };
    let (list, waiting) = (world.doctor(&["list", "--patient", "patient.json"])?.done()?, outbox()?);
    fs::write(world.at("other.json"), r#"{"resourceType":"Patient","gender":"female"}"#)?;
    let upload = ["upload", "other.json", "--patient", "patient.json", "--class", "encounter"];
    let refused = world.run_in(Some("ulimit -f 1"), "emr-doctor", "doctor", &upload)?.failed(7)?;
    assert!(refused.contains("no space left") && refused.contains("nothing was lost"), "{refused}");
    assert_eq!(world.doctor(&["list", "--patient", "patient.json"])?.done()?, list);
    assert_eq!(outbox()?, waiting, "something half-written was left in the outbox");
    Ok(())
}

/// Doctor and patient read and check the settled records.
fn read(world: &World) -> TestResult {
    let json = |said: Said| -> TestResult<Value> { Ok(serde_json::from_str(&said.done()?)?) };
    let verified = world.doctor(&["get", "3/0", "--output", "out.json"])?;
    assert!(verified.stderr.contains("requested access to encounter records"), "{verified:?}");
    assert!(verified.done()?.contains("verified: "));
    assert!(fs::read(world.at("out.json"))? == fs::read(BUNDLE)?, "not the same bytes");
    assert_eq!(world.doctor(&["get", "3/0"])?.done()?, fs::read_to_string(BUNDLE)?);
    let checked = json(world.doctor(&["--json", "verify", "3/0"])?)?;
    assert_eq!((&checked["verified"], &checked["version"]), (&true.into(), &1.into()), "{checked}");
    let list = json(world.doctor(&["--json", "list", "--patient", "patient.json"])?)?;
    assert_eq!(list["records"][0]["settled"], true, "{list}");
    let synced = json(world.doctor(&["--json", "sync"])?)?;
    assert_eq!(synced["derived_root"], synced["l1_root"], "{synced}");

    assert!(world.patient(&["grants"])?.done()?.contains("slot 64: account 2 may read and write encounter"));
    assert!(world.patient(&["records"])?.done()?.contains("3/0"));
    assert!(world.patient(&["audit"])?.done()?.contains("put-record"));
    let light = json(world.patient(&["--json", "verify"])?)?;
    assert_eq!(light["light_verified"], true, "{light}");
    assert_eq!(light["audit"]["entries"].as_array().map(Vec::len), Some(2), "{light}");
    assert_eq!(world.patient(&["get", "3/0"])?.done()?, fs::read_to_string(BUNDLE)?);
    Ok(())
}

/// After the revocation, the patient encrypts the doctor's record under the newest keys.
fn rekey(world: &World) -> TestResult {
    let list = world.patient(&["records"])?.done()?;
    assert!(list.contains("custodian") && list.contains("3/0"), "{list}");
    let rekeyed = world.patient(&["rekey", "--class", "encounter", "--wait"])?.done()?;
    assert!(
        rekeyed.starts_with("record 0 (encounter) is encrypted under epoch 2, custodian: account 1\n"),
        "{rekeyed}"
    );
    assert!(
        rekeyed.contains("settled in batch ") && rekeyed.contains("\n1 records rekeyed, 0 needed no change\n"),
        "{rekeyed}"
    );
    let again = world.patient(&["rekey"])?.done()?;
    assert_eq!(again, "0 records rekeyed, 1 needed no change\n");
    let refused = world.patient(&["rekey", "--custodian", "doctor.json"])?.failed(3)?;
    assert!(refused.contains("account 2 is not a hospital"), "{refused}");
    assert_eq!(world.patient(&["get", "3/0"])?.done()?, fs::read_to_string(BUNDLE)?);
    Ok(())
}

/// Stops a program with SIGTERM.
fn stop(mut running: Running) -> TestResult {
    let process = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &process]).status()?.success());
    assert_eq!(running.wait(COMMAND)?, Some(0));
    Ok(())
}

#[test]
fn the_everyday_case_survives_kills() -> TestResult {
    let world = World::new()?;
    assert!(Path::new(BUNDLE).exists());

    // Nothing is sealed for now.
    let running = world.dev("hospital", "3600")?;
    set_up(&world)?;
    let before = world.status()?;
    assert_eq!((&before["queued"], &before["pending"], &before["batches"]), (&3.into(), &2.into(), &0.into()));
    running.kill()?;
    let gone = world.doctor(&["list", "--patient", "patient.json"])?.failed(5)?;
    assert!(gone.contains("cannot be reached"), "{gone}");

    // Seals at once the operations that the first run acknowledged. Is killed while it proves.
    let running = world.dev("hospital", "1")?;
    world.wait_until("proving", |status| {
        status["activity"].as_str().is_some_and(|activity| activity.starts_with("proving"))
    })?;
    running.kill()?;

    let running = world.dev("hospital", "15")?;
    elsewhere(&world)?;
    full_disk(&world)?;
    let settled = world.wait_until("settled", |status| status["pending"] == 0 && status["queued"] == 0)?;
    assert_eq!(settled["contract"], before["contract"]);
    read(&world)?;
    several_ethereum_nodes(&world)?;

    let revoked = world.patient(&["revoke", "doctor.json", "--wait"])?.done()?;
    assert!(revoked.starts_with("access of account 2 revoked; classes with new keys: 2\n"), "{revoked}");
    assert!(revoked.contains("settled in batch "), "{revoked}");
    let refused = world.doctor(&["get", "3/0", "--output", "late.json"])?.failed(4)?;
    assert!(refused.contains("revoked"), "{refused}");
    assert!(!world.at("late.json").exists() && !world.at("early.json").exists());
    world.doctor(&["verify", "3/0"])?.failed(4)?;
    let upload = ["upload", BUNDLE, "--patient", "patient.json", "--class", "encounter"];
    world.doctor(&upload)?.failed(4)?;
    world.patient(&["revoke", "doctor.json"])?.failed(4)?;
    assert!(world.patient(&["grants"])?.done()?.contains("grants: 0"));
    rekey(&world)?;
    let audit = world.patient(&["audit"])?.done()?;
    assert!(audit.contains("request-access") && audit.contains("revoke") && audit.contains("rekey"), "{audit}");
    world.doctor(&["sync"])?.done()?;
    stop(running)
}
