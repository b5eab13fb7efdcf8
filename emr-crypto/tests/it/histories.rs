//! Random histories of grants, grants from now on, revocations and records. With every key they ever held and every
//! block, each reader opens exactly the records that the history allows.

use emr_core::Class;
use emr_crypto::{EpochKeyring, OpenedRecord, Past, PatientDirectory, RevokeError, SealedRecord};
use proptest::prelude::*;

use crate::fixtures::{Blocks, OTHER_DOCTOR, account, authored, context, fetched, hybrid};

const READERS: usize = 3;
const CLASSES: [Class; 2] = [Class::Laboratory, Class::MentalHealth];

#[derive(Clone, Copy, Debug)]
enum Step {
    Grant {
        reader: usize,
        class: usize,
        past: Past,
    },
    Revoke {
        reader: usize,
        class: usize,
    },
    Write {
        class: usize,
    },
    /// The owner's machine dies. The owner continues from the published directory.
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let past = prop_oneof![Just(Past::Included), Just(Past::Closed)];
    prop_oneof![
        3 => (0..READERS, 0..CLASSES.len(), past).prop_map(|(reader, class, past)| Step::Grant { reader, class, past }),
        2 => (0..READERS, 0..CLASSES.len()).prop_map(|(reader, class)| Step::Revoke { reader, class }),
        3 => (0..CLASSES.len()).prop_map(|class| Step::Write { class }),
        1 => Just(Step::Reload),
    ]
}

/// The records of one class that one reader may open: half-open periods of the time of writing. The model knows no
/// epochs.
#[derive(Clone, Debug, Default)]
struct Allowed {
    closed: Vec<(usize, usize)>,
    since: Option<usize>,
}

impl Allowed {
    fn allows(&self, written: usize) -> bool {
        let open = self.since.is_some_and(|since| since <= written);
        open || self.closed.iter().any(|(from, to)| (*from..*to).contains(&written))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn each_reader_opens_what_the_history_allows(steps in prop::collection::vec(step(), 1..24)) {
        let owner = hybrid(OTHER_DOCTOR.rsa());
        let readers: Vec<_> = (0..READERS).map(|_| hybrid(OTHER_DOCTOR.rsa())).collect();
        let mut directory = PatientDirectory::create(&owner);
        let mut allowed = vec![vec![Allowed::default(); CLASSES.len()]; READERS];
        let mut held: Vec<Vec<EpochKeyring>> = vec![Vec::new(); READERS];
        let mut records: Vec<(usize, usize, SealedRecord)> = Vec::new();

        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Grant { reader, class, past } => {
                    directory.grant(account(reader as u64 + 1), readers[reader].public(), CLASSES[class].into(), past).unwrap();
                    let begins = if past == Past::Included { 0 } else { now };
                    let since = &mut allowed[reader][class].since;
                    *since = Some(since.map_or(begins, |since| since.min(begins)));
                }
                Step::Revoke { reader, class } => {
                    let number = account(reader as u64 + 1);
                    let revoked = directory.revoke(number, CLASSES[class].into());
                    match allowed[reader][class].since.take() {
                        Some(since) => {
                            prop_assert_eq!(revoked, Ok(CLASSES[class].into()));
                            allowed[reader][class].closed.push((since, now));
                        }
                        None => prop_assert_eq!(revoked, Err(RevokeError::NotAReader(number))),
                    }
                }
                Step::Write { class } => {
                    let key = directory.published().current_public(CLASSES[class]);
                    let sealed = SealedRecord::seal(&authored(vec![now as u8]), &context(CLASSES[class]), &key).unwrap();
                    records.push((now, class, sealed));
                }
                Step::Reload => {
                    directory = PatientDirectory::open(fetched(&directory), &owner).unwrap();
                }
            }
            for (reader, held) in readers.iter().zip(&mut held) {
                held.extend(directory.published().open_for(reader));
            }
        }

        let opens = |keys: &EpochKeyring, class: usize, sealed: &SealedRecord| {
            let blocks = Blocks::of(sealed);
            OpenedRecord::open(&sealed.manifest, |cid| blocks.get(cid), keys, &context(CLASSES[class])).is_ok()
        };
        for (written, class, sealed) in &records {
            prop_assert!(opens(&directory.keyring(), *class, sealed), "the owner opens everything");
            for reader in 0..READERS {
                let expected = allowed[reader][*class].allows(*written);
                let actual = held[reader].iter().any(|keys| opens(keys, *class, sealed));
                prop_assert_eq!(actual, expected, "reader {}, {}, written at {}", reader, CLASSES[*class], written);
            }
        }
    }
}
