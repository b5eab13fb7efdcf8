//! Backups: the file, the words and the shares.

use std::collections::BTreeSet;
use std::error::Error;

use emr_core::Role;
use emr_crypto::backup::{
    BackupError, BackupKey, KeyShare, Scheme, SealedBackup, ShareError, SharesError, WordsError, id_of,
};
use emr_crypto::{Identity, IdentityFile, KeyProfile, RsaBits, RsaSecret, ScryptCost};
use proptest::prelude::*;
use secrecy::SecretString;

use crate::fixtures::rsa::DOCTOR;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

fn identity() -> Identity {
    Identity::with_rsa(Role::Doctor, DOCTOR.clone(), KeyProfile::Hybrid).with_next_rollup_key()
}

fn made() -> SealedBackup {
    BackupKey::generate().seal(&identity())
}

/// The whole identity, as an identity file holds it. No field is forgotten.
fn same(a: &Identity, b: &Identity) -> TestResult<bool> {
    let keys = |identity: &Identity| (*identity.rollup_seed(), *identity.ethereum_secret(), identity.commitment_salt());
    let next = |identity: &Identity| identity.rotated().map(|next| *next.rollup_seed());
    Ok(keys(a) == keys(b) && next(a) == next(b) && *a.rsa().to_der() == *b.rsa().to_der() && a.role() == b.role())
}

#[test]
fn words_on_paper_open_the_file() -> TestResult {
    let identity = identity();
    let backup = BackupKey::generate().seal(&identity);
    let words = backup.key().to_words();
    assert_eq!(words.split(' ').count(), 24);
    let read = BackupKey::from_words(&words)?;
    assert!(same(&read.open(backup.file())?, &identity)?);
    // As people type them.
    let typed = format!("  {}\n", words.to_uppercase().replace(' ', "\n "));
    assert!(same(&BackupKey::from_words(&typed)?.open(backup.file())?, &identity)?);
    assert_eq!(id_of(backup.file())?, read.id());
    assert!(!format!("{backup:?}").contains(words.split(' ').next().ok_or("a word")?));
    Ok(())
}

/// The lists and the checksum are those of BIP-39: its test vectors for 256 bits, from `trezor/python-mnemonic`, `vectors.json`. The key is the
/// entropy, so the vector's words must give the entropy's words again.
#[test]
fn words_are_those_of_bip_39() -> TestResult {
    let zeros = [&["abandon"; 23][..], &["art"]].concat().join(" ");
    let ones = [&["zoo"; 23][..], &["vote"]].concat().join(" ");
    let vector = "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space point \
                  ten exist slush involve unfold";
    for words in [zeros.as_str(), ones.as_str(), vector] {
        assert_eq!(*BackupKey::from_words(words)?.to_words(), words);
    }
    Ok(())
}

#[test]
fn wrong_words_are_named_by_their_position() -> TestResult {
    let words = made().key().to_words();
    let all: Vec<&str> = words.split(' ').collect();
    let refused = |all: &[&str]| BackupKey::from_words(&all.join(" ")).err();
    for at in [0, 11, 23] {
        let mut typed = all.clone();
        typed[at] = "abandonn";
        assert_eq!(refused(&typed), Some(WordsError::Unknown(at + 1)));
        assert!(!WordsError::Unknown(at + 1).to_string().contains("abandonn"));
    }
    for count in [0, 1, 12, 23] {
        assert_eq!(refused(&all[..count]), Some(WordsError::Count(count)));
    }
    assert_eq!(refused(&[&all[..], &["abandon"]].concat()), Some(WordsError::Count(25)));
    // The checksum has 8 bits: of many wrong words, at most some are not noticed here. Those give another backup's key.
    let mut unnoticed = 0;
    for word in ["abandon", "ability", "able", "about", "above", "absent", "absorb", "zoo"] {
        for at in 0..24 {
            let mut typed = all.clone();
            if std::mem::replace(&mut typed[at], word) != word {
                match BackupKey::from_words(&typed.join(" ")) {
                    Err(error) => assert_eq!(error, WordsError::Checksum),
                    Ok(other) => {
                        unnoticed += 1;
                        assert!(matches!(other.open(made().file()), Err(BackupError::OtherBackup { .. })));
                    }
                }
            }
        }
    }
    assert!(unnoticed < 10, "{unnoticed} of 192");
    Ok(())
}

#[test]
fn a_file_opens_with_its_key_only() -> TestResult {
    let (one, other) = (made(), made());
    let refused = other.key().open(one.file());
    let (key, file) = (other.key().id(), one.key().id());
    assert_eq!(refused.err(), Some(BackupError::OtherBackup { key, file }));
    assert_ne!(one.file()[27..], other.file()[27..]);
    // A forger who writes the other id into the header gains nothing.
    let mut forged = one.file().to_vec();
    forged[11..19].copy_from_slice(&other.file()[11..19]);
    assert_eq!(other.key().open(&forged).err(), Some(BackupError::Damaged));
    Ok(())
}

#[test]
fn every_altered_byte_of_a_file_is_an_error() -> TestResult {
    let backup = made();
    let open = |file: &[u8]| backup.key().open(file).err();
    for at in 0..backup.file().len() {
        let mut file = backup.file().to_vec();
        file[at] ^= 1;
        let error = open(&file);
        match at {
            0..10 => assert_eq!(error, Some(BackupError::NotABackup)),
            10 => assert_eq!(error, Some(BackupError::Version(0))),
            11..19 => assert!(matches!(error, Some(BackupError::OtherBackup { .. }))),
            19..23 => assert_eq!(error, Some(BackupError::Length)),
            _ => assert_eq!(error, Some(BackupError::Damaged)),
        }
    }
    for length in 0..backup.file().len() {
        let expected = if length < 10 { BackupError::NotABackup } else { BackupError::Length };
        assert_eq!(open(&backup.file()[..length]), Some(expected), "{length}");
    }
    assert_eq!(open(&[backup.file(), &[0]].concat()), Some(BackupError::Length));
    assert_eq!(open(&[backup.file(), &[0; 1 << 18]].concat()), Some(BackupError::NotABackup));
    // An identity file is another thing, and a backup is none.
    let passphrase = SecretString::from("passphrase");
    let identity_file = IdentityFile::seal(&identity(), &passphrase, ScryptCost::Development)?;
    assert_eq!(open(&identity_file), Some(BackupError::NotABackup));
    assert!(IdentityFile::unseal(backup.file(), &passphrase).is_err());
    Ok(())
}

#[test]
fn schemes() {
    for (text, numbers) in [("2-of-2", (2, 2)), ("3-of-5", (3, 5)), ("16-of-16", (16, 16))] {
        let scheme = text.parse::<Scheme>().map(|scheme| (scheme.needed(), scheme.shares(), scheme.to_string()));
        assert_eq!(scheme, Ok((numbers.0, numbers.1, text.to_owned())));
    }
    // One share that opens everything is no division: it is a second copy of the words.
    for bad in
        ["", "3", "3of5", "1-of-1", "1-of-5", "0-of-5", "6-of-5", "2-of-17", "-1-of-5", "3-of-5-of-7", "3-of-300"]
    {
        assert!(bad.parse::<Scheme>().is_err(), "{bad}");
    }
}

#[test]
fn a_share_is_a_line_that_can_be_typed() -> TestResult {
    let key = BackupKey::generate();
    let shares = key.split(Scheme::new(2, 3)?);
    assert_eq!(shares.iter().map(KeyShare::number).collect::<Vec<_>>(), [1, 2, 3]);
    for share in &shares {
        let (line, groups) = (share.to_line(), share.to_groups());
        assert!(line.starts_with("emrshare1") && line.len() == 86, "{}", line.len());
        for typed in
            [line.as_str(), groups.as_str(), &line.to_uppercase(), &format!(" {}\n", groups.replace(' ', "\t"))]
        {
            let read = KeyShare::from_line(typed)?;
            assert_eq!((read.id(), read.scheme(), read.number()), (key.id(), share.scheme(), share.number()));
            assert_eq!(*read.to_line(), **line);
        }
        assert!(!format!("{share:?}").contains(&line[40..60]));
    }
    Ok(())
}

/// BIP-173: the checksum finds every four wrong letters. Here each letter alone, and neighbours that changed places.
#[test]
fn a_mistyped_share_is_noticed() -> TestResult {
    let line = BackupKey::generate().split(Scheme::new(2, 2)?)[0].to_line();
    for at in 0..line.len() {
        let mut letters = line.as_bytes().to_vec();
        letters[at] = if letters[at] == b'q' { b'p' } else { b'q' };
        let error = KeyShare::from_line(std::str::from_utf8(&letters)?).err();
        match at {
            0..8 => assert_eq!(error, Some(ShareError::NotAShare), "{at}"),
            _ => assert_eq!(error, Some(ShareError::Checksum), "{at}"),
        }
        let mut letters = line.as_bytes().to_vec();
        if at > 8 && at + 1 < letters.len() && letters[at] != letters[at + 1] {
            letters.swap(at, at + 1);
            assert_eq!(KeyShare::from_line(std::str::from_utf8(&letters)?).err(), Some(ShareError::Checksum));
        }
    }
    assert_eq!(KeyShare::from_line(&line[..85]).err(), Some(ShareError::Length { found: 85 }));
    assert_eq!(KeyShare::from_line(&line.repeat(1000)).err(), Some(ShareError::Length { found: 86_000 }));
    for other in ["", "emr1abc", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "é".repeat(86).as_str()] {
        assert_eq!(KeyShare::from_line(other).err(), Some(ShareError::NotAShare), "{other}");
    }
    Ok(())
}

/// A line with a right checksum can still hold nonsense.
#[test]
fn a_share_with_impossible_numbers_is_refused() -> TestResult {
    let line = |version: u8, needed: u8, shares: u8, number: u8| -> TestResult<String> {
        let bytes = [&[version][..], &[7; 8], &[needed, shares, number], &[9; 32]].concat();
        let prefix = bech32::Hrp::parse_unchecked("emrshare");
        bech32::encode::<bech32::Bech32m>(prefix, &bytes).map_err(|error| error.to_string().into())
    };
    assert!(KeyShare::from_line(&line(1, 2, 3, 3)?).is_ok());
    assert_eq!(KeyShare::from_line(&line(2, 2, 3, 3)?).err(), Some(ShareError::Version(2)));
    for (needed, shares, number) in [(1, 3, 1), (0, 0, 0), (4, 3, 1), (2, 17, 1), (2, 3, 0), (2, 3, 4), (255, 255, 255)]
    {
        assert_eq!(KeyShare::from_line(&line(1, needed, shares, number)?).err(), Some(ShareError::Numbers));
    }
    Ok(())
}

#[test]
fn shares_of_another_backup_and_repeated_ones_are_refused() -> TestResult {
    let scheme = Scheme::new(2, 3)?;
    let (one, other) = (BackupKey::generate(), BackupKey::generate());
    let (a, b) = (one.split(scheme), other.split(scheme));
    let mixed = BackupKey::combine(&[a[0].clone(), b[1].clone()]).err();
    assert_eq!(mixed, Some(SharesError::Mixed { first: 1, id: one.id(), number: 2, found: other.id() }));
    assert_eq!(BackupKey::combine(&[a[2].clone(), a[2].clone()]).err(), Some(SharesError::Twice(3)));
    assert_eq!(BackupKey::combine(&a[..1]).err(), Some(SharesError::TooFew { found: 1, needed: 2 }));
    assert_eq!(BackupKey::combine(&[]).err(), Some(SharesError::None));
    // Two divisions of the same key do not fit together: the same id, other polynomials.
    let again = one.split(scheme);
    assert_eq!(BackupKey::combine(&[a[0].clone(), again[1].clone()]).err(), Some(SharesError::False(one.id())));
    Ok(())
}

/// A guardian makes a share up. It is never taken for a true one, and with one more share it is named.
#[test]
fn a_false_share_is_found() -> TestResult {
    let key = BackupKey::generate();
    let shares = key.split(Scheme::new(3, 5)?);
    let liar = {
        // The liar takes what they may know, the id and the numbers, and a value from another division.
        let other = key.split(Scheme::new(3, 5)?);
        other[1].clone()
    };
    let three = [shares[0].clone(), liar.clone(), shares[2].clone()];
    assert_eq!(BackupKey::combine(&three).err(), Some(SharesError::False(key.id())));
    let four = [&three[..], &shares[3..4]].concat();
    let found = BackupKey::combine(&four)?;
    assert_eq!((found.key.id(), found.false_shares), (key.id(), vec![2]));
    assert_eq!(BackupKey::combine(&shares)?.false_shares, [0; 0]);
    Ok(())
}

/// The bytes of a share's line.
fn decoded(share: &KeyShare) -> TestResult<Vec<u8>> {
    Ok(bech32::decode(&share.to_line()).map_err(|error| error.to_string())?.1)
}

/// GF(2^8) as the documentation states it, by schoolbook multiplication.
fn product(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b > 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        let overflow = a & 0x80 != 0;
        a <<= 1;
        if overflow {
            a ^= 0x1d;
        }
        b >>= 1;
    }
    product
}

fn inverse(a: u8) -> u8 {
    (0..253).fold(a, |power, _| product(power, a))
}

/// Another program can combine the shares from the documentation alone: Lagrange's formula at 0, here without the crate.
#[test]
fn shares_are_shamirs_as_documented() -> TestResult {
    assert_eq!((product(0x53, inverse(0x53)), product(2, 0x80)), (1, 0x1d));
    let backup = made();
    let shares = backup.key().split(Scheme::new(4, 7)?);
    let point = |share: &KeyShare| -> TestResult<Vec<u8>> {
        let bytes = decoded(share)?;
        assert_eq!(bytes.len(), 44);
        Ok(bytes[11..].to_vec())
    };
    let points: Vec<_> = [6, 1, 3, 4].iter().map(|at| point(&shares[*at])).collect::<TestResult<_>>()?;
    let mut key = [0; 32];
    for (at, byte) in key.iter_mut().enumerate() {
        for one in &points {
            let others = points.iter().filter(|other| other[0] != one[0]);
            let weight = others.fold(1, |weight, other| product(weight, product(other[0], inverse(other[0] ^ one[0]))));
            *byte ^= product(weight, one[at + 1]);
        }
    }
    let words = bip39::Mnemonic::from_entropy_in(bip39::Language::English, &key);
    let words = words.map_err(|error| error.to_string())?;
    assert_eq!(words.words().collect::<Vec<_>>().join(" "), **backup.key().to_words());
    Ok(())
}

/// RUSTSEC-2024-0398: a crate never chose 0 as a coefficient, so a share never had the secret's byte, and many divisions of one secret told it.
#[test]
fn coefficients_can_be_zero() -> TestResult {
    let key = BackupKey::from_words(&[&["abandon"; 23][..], &["art"]].concat().join(" "))?;
    let mut zeros = 0;
    for _ in 0..200 {
        let share = &key.split(Scheme::new(2, 2)?)[0];
        let bytes = decoded(share)?;
        zeros += bytes[12..].iter().filter(|byte| **byte == 0).count();
    }
    // The key is zero, so a share's byte is its coefficient. 6,400 uniform bytes have 25 zeros.
    assert!((5..60).contains(&zeros), "{zeros}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any `needed` shares give the key, and any fewer are refused.
    #[test]
    fn enough_shares_give_the_key(needed in 2_u8..=6, more in 0_u8..=3, order in any::<u64>()) {
        let scheme = Scheme::new(needed, needed + more).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let key = BackupKey::generate();
        let mut shares = key.split(scheme);
        let mut order = order;
        // Any selection in any order.
        for at in (1..shares.len()).rev() {
            let with = usize::try_from(order % (at as u64 + 1)).unwrap_or(0);
            order /= at as u64 + 1;
            shares.swap(at, with);
        }
        let enough = &shares[..usize::from(needed)];
        let combined = BackupKey::combine(enough).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(combined.key.to_words(), key.to_words());
        let too_few = BackupKey::combine(&enough[1..]).err();
        prop_assert_eq!(too_few, Some(SharesError::TooFew { found: usize::from(needed) - 1, needed }));
    }

    #[test]
    fn lines_never_panic(text in "(emrshare1)?[ -~]{0,100}") {
        let _ = KeyShare::from_line(&text);
        let _ = BackupKey::from_words(&text);
        let _ = BackupKey::generate().open(text.as_bytes());
    }
}

/// One share fewer than needed tells nothing: over many divisions of one key, each byte of the remaining shares takes every value.
#[test]
fn one_share_fewer_tells_nothing() -> TestResult {
    let key = BackupKey::generate();
    let mut seen = BTreeSet::new();
    for _ in 0..3000 {
        let shares = key.split(Scheme::new(3, 3)?);
        // What two of three guardians can compute of byte 0 of the key, with the line through their points.
        let one = decoded(&shares[0])?;
        let two = decoded(&shares[1])?;
        let weight = |x: u8, other: u8| product(other, inverse(other ^ x));
        seen.insert(product(weight(1, 2), one[12]) ^ product(weight(2, 1), two[12]));
    }
    // 3,000 draws of 256 values miss none, except once in 500.
    assert!(seen.len() >= 254, "{}", seen.len());
    Ok(())
}

/// Identities of every size fit, and a generated one comes back.
#[test]
fn a_generated_identity_comes_back() -> TestResult {
    let identity = Identity::with_rsa(Role::Patient, RsaSecret::generate(RsaBits::MAX), KeyProfile::Hybrid);
    let backup = BackupKey::generate().seal(&identity);
    assert!(backup.file().len() < emr_crypto::backup::MAX_BACKUP_BYTES / 8);
    assert!(same(&backup.key().open(backup.file())?, &identity)?);
    Ok(())
}
