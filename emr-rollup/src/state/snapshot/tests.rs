use std::error::Error;

use crate::testing::scenario::{
    DOCTOR, PATIENT, SMALL, STRANGER, TIME, account, changes, domain, operations, registrations, time, without_effect,
};

use super::*;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn bytes(ledger: &Ledger) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    ledger.write_to(&mut bytes)?;
    Ok(bytes)
}

fn read(mut bytes: &[u8]) -> io::Result<Ledger> {
    let ledger = Ledger::read_from(domain(), SMALL, &mut bytes)?;
    if bytes.is_empty() { Ok(ledger) } else { Err(invalid("more bytes")) }
}

/// Every state of a history with each kind of operation, from the first one on.
fn history() -> Outcome<Vec<Ledger>> {
    let mut ledger = Ledger::genesis(domain(), SMALL);
    let mut states = vec![ledger.clone()];
    let mut queue = registrations().into_iter().map(Into::into).collect::<Vec<_>>();
    let after = changes(&SMALL).into_iter().chain(without_effect());
    for entry in queue.drain(..) {
        ledger.consume(&entry, time(TIME))?;
        states.push(ledger.clone());
    }
    for operation in operations(&SMALL) {
        ledger.execute(&operation, time(TIME))?;
        states.push(ledger.clone());
    }
    for entry in after {
        ledger.consume(&entry, time(TIME))?;
        states.push(ledger.clone());
    }
    Ok(states)
}

#[test]
fn a_ledger_is_read_back_exactly() -> Outcome {
    for ledger in history()? {
        let written = bytes(&ledger)?;
        let again = read(&written)?;
        assert_eq!(again.trees().root(), ledger.trees().root());
        assert_eq!(format!("{again:?}"), format!("{ledger:?}"));
        assert_eq!(bytes(&again)?, written);
    }
    Ok(())
}

/// What was read goes on like what was written.
#[test]
fn a_ledger_that_was_read_executes_the_same() -> Outcome {
    let states = history()?;
    for (before, operation) in states[registrations().len()..].iter().zip(operations(&SMALL)) {
        let (mut written, mut again) = (before.clone(), read(&bytes(before)?)?);
        let (expected, found) = (written.execute(&operation, time(TIME))?, again.execute(&operation, time(TIME))?);
        assert_eq!((found.d2, found.entry), (expected.d2, expected.entry));
        assert_eq!(again.trees().root(), written.trees().root());
    }
    Ok(())
}

/// The root covers everything but the registration of an account that changed since.
#[test]
fn a_changed_byte_is_refused_or_changes_the_root() -> Outcome {
    let ledger = history()?.pop().ok_or("a state")?;
    let (written, root) = (bytes(&ledger)?, ledger.trees().root());
    let mut unseen = 0;
    for position in 0..written.len() {
        for bit in [0, 7] {
            let mut damaged = written.clone();
            damaged[position] ^= 1 << bit;
            let Ok(read) = read(&damaged) else { continue };
            if read.trees().root() == root {
                unseen += 1;
                let changed = [DOCTOR, STRANGER, PATIENT].map(account);
                let differs = |account| read.trees().registration(account) != ledger.trees().registration(account);
                assert!(changed.into_iter().any(differs), "byte {position}");
            }
        }
    }
    // Three registrations of 32 bytes. Some changes give no field element.
    assert!(unseen <= 3 * 32 * 2, "{unseen}");
    for length in 0..written.len() {
        assert!(read(&written[..length]).is_err(), "{length}");
    }
    Ok(())
}

/// A count that is too large costs no more memory than what follows it.
#[test]
fn a_false_count_takes_no_memory() {
    let mut input: &[u8] = &[0xff; 4];
    assert!(Vec::<[u8; 32]>::read_from(&mut input).is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof));
    let mut twice: &[u8] = &[0, 0, 0, 2, 7, 1, 7, 1];
    assert!(BTreeMap::<u8, u8>::read_from(&mut twice).is_err_and(|error| error.kind() == io::ErrorKind::InvalidData));
}
