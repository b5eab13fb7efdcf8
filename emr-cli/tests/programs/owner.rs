//! A patient who lost their keys gets the account back with the help of guardians, without a hospital.

use serde_json::Value;

use crate::world::*;

const ETHER: &str = "0xde0b6b3a7640000";

/// `patient` has an account and ether; `doctor` and `friend` have ether. `named` are the options that name the rollup.
pub(crate) fn guardians_give_the_account_to_a_new_identity(world: &World, named: &[&str]) -> TestResult {
    let as_ =
        |program: &str, who: &str, arguments: &[&str]| world.run_in(None, program, who, &[named, arguments].concat());
    let patient = |arguments: &[&str]| as_("emr-patient", "patient", arguments);
    let anew = |arguments: &[&str]| as_("emr-patient", "anew", arguments);
    let json = |text: String| -> TestResult<Value> { Ok(serde_json::from_str(&text)?) };

    let shown = json(patient(&["--json", "owner", "show"])?.done()?)?;
    let account = shown["account"].to_string();
    assert!(patient(&["owner", "show"])?.done()?.contains("who loses its keys loses it"));
    let of = |program: &str, who: &str| -> TestResult<String> {
        let nothing = as_(program, who, &["withdraw-credit"])?.failed(4)?;
        Ok(nothing.split_whitespace().find(|word| word.starts_with("0x")).ok_or("an address")?.to_owned())
    };
    let friend = of("emr-doctor", "friend")?;
    let many = patient(&["owner", "guardians", "doctor.json", &friend, "--needed", "3"])?.failed(2)?;
    assert!(many.contains("from 1 to 2 must agree"), "{many}");
    let named_them = patient(&["owner", "guardians", "doctor.json", &friend, "--needed", "2"])?.done()?;
    assert!(named_them.contains("2 of 2 guardians"), "{named_them}");
    assert!(patient(&["owner", "show"])?.done()?.contains("2 of these guardians can recover it"));

    anew(&["init", "--rsa-bits", "2048"])?.done()?;
    anew(&["owner", "request", "999", "-o", "request.json"])?.failed(4)?;
    let asked = anew(&["owner", "request", &account, "-o", "request.json"])?.done()?;
    let me = asked.split_whitespace().find(|word| word.starts_with("0x")).ok_or("an address")?;
    let me = me.trim_end_matches(',').to_owned();
    let approve = ["owner", "approve", "request.json", "--account", &account, "--person"];
    let other = as_("emr-doctor", "doctor", &[&approve[..], &[&friend, "-o", "one.approval"]].concat())?.failed(6)?;
    assert!(other.contains("do not agree"), "{other}");
    as_("emr-doctor", "doctor", &[&approve[..], &[&me, "-o", "one.approval"]].concat())?.done()?;
    let few = as_("emr-doctor", "friend", &["owner", "recover", "request.json", "one.approval"])?.failed(4)?;
    assert!(few.contains("2 guardians must agree"), "{few}");
    as_("emr-doctor", "friend", &[&approve[..], &[&me, "-o", "two.approval"]].concat())?.done()?;
    let recover = ["owner", "recover", "request.json", "one.approval", "two.approval"];
    let began = as_("emr-doctor", "friend", &recover)?.done()?;
    assert!(began.starts_with("the recovery began"), "{began}");
    assert!(patient(&["owner", "show"])?.done()?.contains(&format!("RECOVERY: it goes to {me}")));
    as_("emr-doctor", "friend", &["owner", "finish", &account])?.failed(4)?;
    world.ask_chain("evm_increaseTime", [7 * 24 * 3600 + 60])?;
    world.ask_chain("evm_mine", ())?;
    let finished = as_("emr-doctor", "friend", &["owner", "finish", &account])?.done()?;
    assert!(finished.contains("`rotate --present`"), "{finished}");

    // The old identity has no account any more. The new one gives it its own keys.
    patient(&["owner", "cancel"])?.failed(2)?;
    world.ask_chain("anvil_setBalance", (&me, ETHER))?;
    let shown = json(anew(&["--json", "owner", "show"])?.done()?)?;
    assert!(shown["owner"].as_str().is_some_and(|owner| owner.eq_ignore_ascii_case(&me)), "{shown}");
    assert_eq!(shown["account"].to_string(), account);
    let rotated = json(anew(&["--json", "rotate", "--present"])?.done()?)?;
    assert_eq!(rotated["change"], "rotation");
    Ok(())
}
