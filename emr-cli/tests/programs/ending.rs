//! How programs end: at a second Ctrl-C, and with the exit codes of docs/errors.md.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::world::*;

/// A request that never ends makes a stopping node wait. A second Ctrl-C ends it at once, and the next start finds
/// everything.
#[test]
fn a_second_ctrl_c_ends_the_node_at_once() -> TestResult {
    let world = World::new()?;
    let mut dev = world.dev("hospital", "3600")?;
    let mut slow = TcpStream::connect(("127.0.0.1", world.node))?;
    slow.write_all(
        b"POST /v1/login/challenge HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
    )?;
    std::thread::sleep(Duration::from_millis(500));
    let interrupt = || Command::new("kill").args(["-s", "INT", &dev.0.id().to_string()]).status();
    assert!(interrupt()?.success());
    world.until_it_says("hospital-dev.log", "stopping: waiting for requests")?;
    assert!(dev.0.try_wait()?.is_none(), "it waits for the request");
    let began = Instant::now();
    let interrupt = || Command::new("kill").args(["-s", "INT", &dev.0.id().to_string()]).status();
    assert!(interrupt()?.success());
    assert_eq!(dev.wait(Duration::from_secs(10))?, Some(0));
    let took = began.elapsed();
    let said = fs::read_to_string(world.at("hospital-dev.log"))?;
    assert!(said.contains("ended at once"), "{said}");
    // Without it, the node gives requests three seconds.
    assert!(took < Duration::from_millis(2500), "{took:?}");
    drop(slow);
    let again = world.dev("hospital", "3600")?;
    assert_eq!(world.status()?["pending"], 0);
    assert_eq!(again.end("INT", Duration::from_secs(30))?, Some(0));
    Ok(())
}

/// A server that answers every request with JSON that no node would send.
fn a_node_that_makes_no_sense() -> TestResult<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            // The request fits into one packet.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]",
            );
        }
    });
    Ok(address)
}

/// Each row of the table of kinds in docs/errors.md, except `refused`, which needs a node and is tested in dev.rs.
#[test]
fn exit_codes_are_those_of_the_table() -> TestResult {
    let world = World::new()?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    world.doctor(&["init", "--rsa-bits", "2048"])?.done()?;
    fs::write(world.at("wrong"), "wrong horse\n")?;
    fs::write(world.at("file"), "")?;
    let hostile = a_node_that_makes_no_sense()?;
    let nobody = "http://127.0.0.1:1";
    let rows: [(&str, &[&str], i32, &str, bool); 6] = [
        // usage
        ("emr-patient", &["--node", "http://192.0.2.1:8550", "records"], 2, "address", false),
        // input
        (
            "emr-patient",
            &["grant", "nowhere.json", "--class", "summary", "--rights", "read", "--until", "2100-01-31"],
            3,
            "input",
            false,
        ),
        // unavailable
        ("emr-patient", &["--node", nobody, "--rpc", nobody, "records"], 5, "node-unreachable", true),
        // unverified
        ("emr-patient", &["--node", &hostile, "--rpc", nobody, "records"], 6, "node-answer", false),
        // storage
        ("emr-patient", &["--data-dir", "file/below", "init", "--rsa-bits", "2048"], 7, "storage", false),
        // keys
        ("emr-patient", &["--passphrase-file", "wrong", "records"], 8, "identity", false),
    ];
    for (program, arguments, exit, error, temporary) in rows {
        let data = program.trim_start_matches("emr-");
        let said = world.run_in(None, program, data, &[&["--json"], arguments].concat())?;
        let last = said.stderr.lines().next_back().unwrap_or_default();
        let failure: Value = serde_json::from_str(last).map_err(|_| format!("{arguments:?}: {said:?}"))?;
        assert_eq!((said.exit, &failure["exit"]), (Some(exit), &exit.into()), "{arguments:?}: {said:?}");
        assert_eq!((&failure["error"], &failure["temporary"]), (&error.into(), &temporary.into()), "{failure}");
        assert!(failure["message"].as_str().is_some_and(|message| message.len() > 20), "{failure}");
        assert!(said.stdout.is_empty(), "{said:?}");
    }
    Ok(())
}
