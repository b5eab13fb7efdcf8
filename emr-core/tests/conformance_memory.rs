//! The memory of a check, which does not grow with the profile. In a program of its own, because it measures the whole process.
#![cfg(target_os = "linux")]

use emr_core::conformance::Profile;
use emr_core::{Key, Record, Value};
use serde_json::json;

type Anything = Box<dyn std::error::Error>;

/// The most memory that this process ever had, in KiB.
fn peak() -> Result<u64, Anything> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// 320 different patterns, each of which names all 20,000 objects.
#[test]
fn many_patterns_take_no_more_memory_than_one() -> Result<(), Anything> {
    const OBJECTS: usize = 20_000;
    let field = |n: usize| Ok((Key::new(format!("P.a.b.c.d.e.f.g.h.i.{n}.v"))?, Value::Bool(true)));
    let record = Record::from_fields((0..OBJECTS).map(field).collect::<Result<_, Anything>>()?, None)?;
    let pattern = |n: usize| {
        let segment = |(bit, name): (usize, char)| if n >> bit & 1 == 1 { "*".to_owned() } else { name.to_string() };
        format!("P.{}.*", ('a'..='i').enumerate().map(segment).collect::<Vec<_>>().join("."))
    };
    let rule = |n: usize| json!({ "name": n.to_string(), "each": [pattern(n)], "count": { "min": OBJECTS } });
    let rules: Vec<_> = (0..320).map(rule).collect();
    let profile = Profile::from_json(&serde_json::to_vec(&json!({ "name": "p", "version": "1", "rules": rules }))?)?;
    let before = peak()?;
    let report = profile.check(&record);
    assert!(report.conforms(), "{:?}", report.violations);
    assert!(report.applied.iter().all(|applied| applied.objects == OBJECTS));
    let grown = peak()? - before;
    assert!(grown < 64 << 10, "{grown} KiB");
    Ok(())
}
