//! The identity file from `init` to `restore`: passphrases, words, guardians' shares, encrypted keys of OpenSSL, and what needs no passphrase.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
};

use emr_crypto::{Identity, IdentityFile};
use secrecy::SecretString;
use serde_json::Value;

use crate::world::*;

const OTHER: &str = "another passphrase";
/// Keys that OpenSSL wrote; the encrypted ones have the passphrase "secret".
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../emr-crypto/tests/fixtures");

fn opened(world: &World, data: &str, passphrase: &str) -> TestResult<Identity> {
    Ok(IdentityFile::open(&world.at(data).join("identity"), &SecretString::from(passphrase))?)
}

/// Whether two identities have the same keys.
fn same(a: &Identity, b: &Identity) -> bool {
    let keys = |identity: &Identity| (*identity.rollup_seed(), *identity.ethereum_secret(), identity.commitment_salt());
    keys(a) == keys(b) && *a.rsa().to_der() == *b.rsa().to_der() && a.role() == b.role()
}

/// Runs a command with a file as stdin.
fn with_stdin(world: &World, program: &str, data: &str, arguments: &[&str], stdin: &Path) -> TestResult<Said> {
    let output = world.prepare(None, program, data, arguments)?.stdin(File::open(stdin)?).output()?;
    let text = |bytes| String::from_utf8(bytes);
    Ok(Said { exit: output.status.code(), stdout: text(output.stdout)?, stderr: text(output.stderr)? })
}

/// Runs a command with closed stdin, and with no passphrase anywhere.
fn without_passphrase(world: &World, program: &str, data: &str, arguments: &[&str]) -> TestResult<Said> {
    let mut command = world.prepare(None, program, data, arguments)?;
    let output = command.env_remove("EMR_PASSPHRASE_FILE").stdin(Stdio::null()).output()?;
    let text = |bytes| String::from_utf8(bytes);
    Ok(Said { exit: output.status.code(), stdout: text(output.stdout)?, stderr: text(output.stderr)? })
}

fn json(said: Said) -> TestResult<Value> {
    Ok(serde_json::from_str(&said.done()?)?)
}

fn new_patient(world: &World) -> TestResult<Identity> {
    let said = world.patient(&["init", "--rsa-bits", "2048"])?;
    assert!(said.stderr.contains("nobody can reset the passphrase") && said.stderr.lines().count() == 1, "{said:?}");
    assert!(said.stdout.starts_with("new patient in "), "{said:?}");
    opened(world, "patient", "correct horse")
}

#[test]
fn a_passphrase_is_changed() -> TestResult {
    let world = World::new()?;
    let identity = new_patient(&world)?;
    fs::write(world.at("other"), format!("{OTHER}\n"))?;
    fs::write(world.at("empty"), "\n")?;
    let before = fs::read(world.at("patient/identity"))?;
    let change = |file| ["identity", "passphrase", "--new-passphrase-file", file];
    assert!(world.patient(&change("empty"))?.failed(8)?.contains("the passphrase is empty"));
    assert!(world.patient(&["identity", "passphrase"])?.failed(8)?.contains("--new-passphrase-file"));
    let wrong = [&["--passphrase-file", "other"], &change("other")[..]].concat();
    assert!(world.patient(&wrong)?.failed(8)?.contains("wrong passphrase"));
    assert_eq!(fs::read(world.at("patient/identity"))?, before, "nothing was written");

    assert!(world.patient(&change("other"))?.done()?.contains("has the new passphrase"));
    assert!(same(&opened(&world, "patient", OTHER)?, &identity));
    assert!(opened(&world, "patient", "correct horse").is_err());
    let left = fs::read_dir(world.at("patient"))?.collect::<Result<Vec<_>, _>>()?;
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("tmp")), "{left:?}");
    Ok(())
}

#[test]
fn words_restore_the_identity() -> TestResult {
    let world = World::new()?;
    let identity = new_patient(&world)?;
    let shown = json(world.patient(&["--json", "identity", "show"])?)?;
    assert_eq!((&shown["backup"], &shown["scrypt_log_n"]), (&Value::Null, &Value::from(15)), "{shown}");

    let made = json(world.patient(&["--json", "identity", "backup", "--words", "-o", "kept.backup"])?)?;
    let words = made["words"].as_str().ok_or("words")?;
    assert_eq!(words.split(' ').count(), 24);
    let again = world.patient(&["identity", "backup", "--words", "-o", "kept.backup"])?.failed(7)?;
    assert!(again.contains("exists already"), "{again}");
    let shown = json(world.patient(&["--json", "identity", "show"])?)?;
    assert_eq!((&shown["backup"]["id"], &shown["backup"]["opened_by"]), (&made["backup"], &Value::from("24 words")));
    let printed = world.patient(&["identity", "backup", "--words", "-o", "second.backup"])?.done()?;
    assert!(printed.contains(" 24 ") && printed.contains("They are shown only now"), "{printed}");

    fs::write(world.at("paper"), format!("{}\n", words.replace(' ', "\n")))?;
    let restore = ["identity", "restore", "kept.backup", "--words"];
    let restored = |data: &str, arguments: &[&str], paper: &str| {
        with_stdin(&world, "emr-patient", data, arguments, &world.at(paper))
    };
    let tried = restored("patient", &[&restore[..], &["--check"]].concat(), "paper")?.done()?;
    assert!(tried.contains("nothing was written"), "{tried}");
    assert!(restored("patient", &restore, "paper")?.failed(8)?.contains("there is an identity in"));
    let done = restored("new", &restore, "paper")?.done()?;
    assert!(done.starts_with("patient restored in "), "{done}");
    assert!(same(&opened(&world, "new", "correct horse")?, &identity));
    let shown = json(world.run_in(None, "emr-patient", "new", &["--json", "identity", "show"])?)?;
    assert_eq!(shown["backup"]["id"], made["backup"], "the backup still counts");

    // Errors name the position, and never the word.
    let mut typed: Vec<&str> = words.split(' ').collect();
    typed[6] = "tomatoe";
    fs::write(world.at("mistyped"), typed.join(" "))?;
    let unknown = restored("newer", &restore, "mistyped")?.failed(3)?;
    assert!(unknown.contains("word 7 is not in the list") && !unknown.contains("tomatoe"), "{unknown}");
    let others = restored("newer", &["identity", "restore", "second.backup", "--words"], "paper")?.failed(3)?;
    assert!(others.contains("these words or shares belong to backup"), "{others}");
    let doctor = with_stdin(&world, "emr-doctor", "newer", &restore, &world.at("paper"))?.failed(8)?;
    assert!(doctor.contains("this is the backup of a patient, not of a doctor; use emr-patient"), "{doctor}");
    fs::write(world.at("nothing"), "")?;
    assert!(restored("newer", &restore, "nothing")?.failed(3)?.contains("stdin is empty"));
    let other_file = restored("newer", &["identity", "restore", "paper", "--words"], "paper")?.failed(3)?;
    assert!(other_file.contains("not a backup of an identity"), "{other_file}");
    assert!(!world.at("newer").exists(), "a refused restore left a folder");
    Ok(())
}

/// The line of a sheet that holds the share.
fn line_of(sheet: &str) -> TestResult<&str> {
    Ok(sheet.lines().find(|line| line.trim_start().starts_with("emrs hare")).ok_or("no share")?.trim())
}

#[test]
fn guardians_restore_the_identity() -> TestResult {
    let world = World::new()?;
    world.run_in(None, "emr-hospital", "hospital", &["init", "--rsa-bits", "2048"])?.done()?;
    let identity = opened(&world, "hospital", "correct horse")?;
    let made = json(world.hospital(&["--json", "identity", "backup", "--shares", "3-of-5", "-o", "sheets"])?)?;
    let sheets: Vec<String> = (1..=5)
        .map(|number| fs::read_to_string(world.at(&format!("sheets/share-{number}.txt"))))
        .collect::<Result<_, _>>()?;
    assert_eq!(fs::read_dir(world.at("sheets"))?.count(), 6);
    assert!(
        sheets[1].starts_with("Share 2 of 5 of backup ") && sheets[1].contains("Any 3 of the 5 shares"),
        "{}",
        sheets[1]
    );
    #[cfg(unix)]
    for file in ["sheets", "sheets/share-1.txt", "sheets/identity.backup"] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(world.at(file))?.permissions().mode() & 0o077, 0, "{file}");
    }

    let restore = ["identity", "restore", "sheets/identity.backup", "--shares"];
    let with = |data: &str, lines: &[&str]| -> TestResult<Said> {
        fs::write(world.at("typed"), lines.join("\n"))?;
        with_stdin(&world, "emr-hospital", data, &restore, &world.at("typed"))
    };
    let lines: Vec<&str> = sheets.iter().map(|sheet| line_of(sheet)).collect::<TestResult<_>>()?;
    let two = with("new", &[lines[0], lines[4]])?.failed(3)?;
    assert!(two.contains("2 shares were given, and 3 are needed"), "{two}");
    assert!(with("new", &[lines[0], lines[4], lines[0]])?.failed(3)?.contains("share 1 was given twice"));
    let last = lines[4].chars().last().ok_or("a letter")?;
    let mistyped = format!("{}{}", &lines[4][..lines[4].len() - 1], if last == 'q' { 'p' } else { 'q' });
    let wrong = with("new", &[lines[0], "", &mistyped, lines[2]])?.failed(3)?;
    assert!(wrong.contains("line 3: a letter of the share is wrong"), "{wrong}");

    // The shares of another backup of the same keys.
    world.hospital(&["identity", "backup", "--shares", "3-of-5", "-o", "later"])?.done()?;
    let later = fs::read_to_string(world.at("later/share-2.txt"))?;
    let mixed = with("new", &[lines[0], line_of(&later)?, lines[2]])?.failed(3)?;
    let id = made["backup"].as_str().ok_or("an id")?;
    assert!(mixed.contains("line 2: this share belongs to backup ") && mixed.contains(id), "{mixed}");
    assert!(!world.at("new").exists());

    let done = with("new", &[lines[4], &lines[1].to_uppercase(), &lines[2].replace(' ', "")])?;
    assert!(done.done()?.starts_with("hospital restored in "));
    assert!(same(&opened(&world, "new", "correct horse")?, &identity));
    Ok(())
}

#[test]
fn encrypted_keys_of_openssl_are_imported() -> TestResult {
    let world = World::new()?;
    fs::write(world.at("secret"), "secret\n")?;
    let key = |name: &str| format!("{KEYS}/{name}");
    let init = |data: &str, name: &str, more: &[&str]| {
        let file = key(name);
        world.run_in(None, "emr-patient", data, &[&["init", "--rsa-pem", &file][..], more].concat())
    };
    let with = ["--rsa-pem-passphrase-file", "secret"];
    init("plain", "doctor-2048.pem", &[])?.done()?;
    init("encrypted", "encrypted-2048.pem", &with)?.done()?;
    init("scrypt", "encrypted-scrypt-2048.pem", &with)?.done()?;
    let rsa = |data| -> TestResult<Vec<u8>> { Ok(opened(&world, data, "correct horse")?.rsa().to_der().to_vec()) };
    assert!(rsa("plain")? == rsa("encrypted")? && rsa("plain")? == rsa("scrypt")?);

    assert!(init("new", "encrypted-2048.pem", &[])?.failed(8)?.contains("--rsa-pem-passphrase-file"));
    let wrong = init("new", "encrypted-2048.pem", &["--rsa-pem-passphrase-file", "passphrase"])?.failed(8)?;
    assert!(wrong.contains("wrong passphrase of the RSA key"), "{wrong}");
    // Refused before the passphrase is asked for.
    let slow = init("new", "encrypted-slow-2048.pem", &[])?.failed(3)?;
    assert!(slow.contains("far more time or memory"), "{slow}");
    let older = init("new", "encrypted-traditional-2048.pem", &with)?.failed(3)?;
    assert!(older.contains("openssl pkcs8 -topk8"), "{older}");
    let des = init("new", "encrypted-des3-2048.pem", &with)?.failed(3)?;
    assert!(des.contains("-v2 aes-256-cbc"), "{des}");
    assert!(!world.at("new").exists());
    Ok(())
}

/// These commands need no secret, so they ask for no passphrase.
#[test]
fn what_needs_no_secret_asks_for_no_passphrase() -> TestResult {
    let world = World::new()?;
    let _dev = world.dev("hospital", "600")?;
    new_patient(&world)?;
    world.run_in(None, "emr-doctor", "doctor", &["init", "--rsa-bits", "2048"])?.done()?;
    let first = world.joining("emr-patient", "patient", &["whoami"])?;
    assert!(first.stderr.contains("no backup of the present keys was made"), "{first:?}");
    let invitation = world.hospital(&["invite"])?.done()?;
    let registered = world.joining("emr-patient", "patient", &["register", "--invite", invitation.trim()])?;
    assert!(registered.stderr.contains("no backup of the present keys was made"), "{registered:?}");
    let card = world.patient(&["whoami"])?.done()?;
    world.hospital(&["whoami"])?.done()?;
    fs::write(world.at("record.json"), r#"{"resourceType":"Patient","gender":"female"}"#)?;

    let silent = |program, data, arguments: &[&str]| -> TestResult<String> {
        let said = without_passphrase(&world, program, data, arguments)?;
        assert_eq!(said.exit, Some(0), "{program} {arguments:?}: {said:?}");
        Ok(said.stdout)
    };
    let shown = silent("emr-patient", "patient", &["whoami"])?;
    assert_eq!(shown, card, "the kept card is the one that the keys give");
    let owner = silent("emr-patient", "patient", &["owner", "show"])?;
    assert!(owner.starts_with("account ") && owner.contains("it has no guardians"), "{owner}");
    assert_eq!(silent("emr-patient", "patient", &["outbox", "list"])?.lines().count(), 1);
    assert!(silent("emr-patient", "patient", &["identity", "show"])?.contains("no backup"));
    assert!(silent("emr-doctor", "doctor", &["identity", "show"])?.contains("not registered"));
    silent("emr-doctor", "doctor", &["outbox", "list"])?;
    silent("emr-doctor", "nobody", &["validate", "record.json"])?;
    silent("emr-hospital", "hospital", &["whoami"])?;
    silent("emr-hospital", "hospital", &["status"])?;
    silent("emr-hospital", "hospital", &["owner", "show"])?;
    assert!(silent("emr-hospital", "hospital", &["office", "show"])?.contains("sequencer"));
    assert!(silent("emr-hospital", "hospital", &["identity", "show"])?.starts_with("hospital 1 in "));

    // What signs, or asks the node in the participant's name, does need it.
    for arguments in [&["records"][..], &["grants"], &["identity", "backup", "--words", "-o", "kept"]] {
        let asked = without_passphrase(&world, "emr-patient", "patient", arguments)?.failed(8)?;
        assert!(asked.contains("no terminal to ask for the passphrase on"), "{asked}");
    }
    // After a backup, nothing reminds of one. A new key makes it old.
    world.patient(&["identity", "backup", "--words", "-o", "kept"])?.done()?;
    let reminded = without_passphrase(&world, "emr-patient", "patient", &["whoami"])?;
    assert!(reminded.exit == Some(0) && reminded.stderr.is_empty(), "{reminded:?}");
    let signed = world.patient(&["rotate", "--output", "rotation"])?;
    assert_eq!(signed.exit, Some(0), "{signed:?}");
    assert!(silent("emr-patient", "patient", &["identity", "show"])?.contains("no backup"));
    assert!(without_passphrase(&world, "emr-patient", "patient", &["whoami"])?.failed(8)?.contains("passphrase"));
    Ok(())
}

/// The kernel's keyring, of this machine. A container may forbid it.
#[cfg(all(feature = "keyring", target_os = "linux"))]
#[test]
fn the_passphrase_is_kept_in_a_keyring() -> TestResult {
    let world = World::new()?;
    new_patient(&world)?;
    fs::write(world.at("other"), format!("{OTHER}\n"))?;
    fs::write(world.at("wrong"), "wrong horse\n")?;
    let from_keyring = |arguments: &[&str]| {
        let arguments = [&["--passphrase-from", "keyring", "identity"], arguments].concat();
        without_passphrase(&world, "emr-patient", "patient", &arguments)
    };
    let backup = |file| ["backup", "--words", "-o", file];
    let empty = from_keyring(&backup("never"))?.failed(8)?;
    let unusable = "the keyring of this system cannot be used";
    // In some containers the kernel lets nobody store a key, or read it from another process. Then each command says what to do instead.
    let stored = world.patient(&["identity", "keyring", "store"])?;
    let first = from_keyring(&backup("probe"))?;
    if let Some(refused) = [stored, first].into_iter().find(|said| said.stderr.contains(unusable)) {
        assert!(refused.failed(8)?.contains("give --passphrase-file instead"));
        assert!(!world.at("never").exists());
        return Ok(());
    }
    without_passphrase(&world, "emr-patient", "patient", &["identity", "keyring", "remove"])?.done()?;
    assert!(empty.contains("`identity keyring store`"));
    let wrong = world.patient(&["--passphrase-file", "wrong", "identity", "keyring", "store"])?.failed(8)?;
    assert!(wrong.contains("wrong passphrase"), "{wrong}");
    from_keyring(&backup("never"))?.failed(8)?;

    world.patient(&["identity", "keyring", "store"])?.done()?;
    from_keyring(&backup("first"))?.done()?;
    // A new passphrase goes there too.
    from_keyring(&["passphrase", "--new-passphrase-file", "other"])?.done()?;
    from_keyring(&backup("second"))?.done()?;
    assert!(opened(&world, "patient", OTHER).is_ok());
    // Each folder has its own.
    let arguments = ["--passphrase-from", "keyring", "identity", "backup", "--words", "-o", "never"];
    world.run_in(None, "emr-doctor", "doctor", &["init", "--rsa-bits", "2048"])?.done()?;
    without_passphrase(&world, "emr-doctor", "doctor", &arguments)?.failed(8)?;

    without_passphrase(&world, "emr-patient", "patient", &["identity", "keyring", "remove"])?.done()?;
    from_keyring(&backup("never"))?.failed(8)?;
    assert!(world.at("first").exists() && world.at("second").exists() && !world.at("never").exists());
    Ok(())
}

#[cfg(not(feature = "keyring"))]
#[test]
fn a_build_without_a_keyring_says_so() -> TestResult {
    let world = World::new()?;
    new_patient(&world)?;
    for arguments in [&["identity", "keyring", "store"][..], &["--passphrase-from", "keyring", "records"]] {
        assert!(world.patient(arguments)?.failed(2)?.contains("--features keyring"));
    }
    Ok(())
}
