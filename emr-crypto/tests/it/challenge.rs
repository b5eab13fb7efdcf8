use emr_core::{Origin, UnixTime};
use emr_crypto::{Challenge, ChallengeError};
use proptest::prelude::*;

use crate::fixtures::{DOCTOR, PATIENT, account};

fn time(seconds: u64) -> UnixTime {
    UnixTime::new(seconds).unwrap()
}

fn origin(text: &str) -> Origin {
    text.parse().unwrap()
}

fn challenge() -> Challenge {
    Challenge::new([1; 32], account(2), account(7), time(1000), &origin("https://hospital.example"))
}

#[test]
fn an_answer_counts_until_it_expires() {
    let challenge = challenge();
    let answer = challenge.sign(&DOCTOR);
    assert_eq!(challenge.verify(&DOCTOR.public(), &answer, time(1000)), Ok(()));
    assert_eq!(challenge.verify(&DOCTOR.public(), &answer, time(1001)), Err(ChallengeError::Expired));
    assert!(matches!(challenge.verify(&PATIENT.public(), &answer, time(1000)), Err(ChallengeError::Signature(_))));
}

/// An answer is worth nothing on another chain, at another node, at another address, for another account, to another nonce or
/// deadline.
#[test]
fn an_answer_fits_one_challenge() {
    let challenge = challenge();
    let answer = challenge.sign(&DOCTOR);
    let changes: [fn(&mut Challenge); 6] = [
        |c| c.domain = [2; 32],
        |c| c.verifier = account(3),
        |c| c.account = account(8),
        |c| c.nonce[0] ^= 1,
        |c| c.expires = time(2000),
        |c| c.origin = origin("https://hostile.example").digest(),
    ];
    for change in changes {
        let mut other = challenge.clone();
        change(&mut other);
        assert!(matches!(other.verify(&DOCTOR.public(), &answer, time(1000)), Err(ChallengeError::Signature(_))));
    }
    assert_ne!(challenge.nonce, self::challenge().nonce);
}

#[test]
fn bytes_are_as_documented() {
    let mut challenge = challenge();
    challenge.nonce = [3; 32];
    challenge.origin = [4; 32];
    let expected = [&[1; 32][..], &[0, 0, 0, 2, 0, 0, 0, 7], &[3; 32], &[0, 0, 0, 0, 0, 0, 3, 0xe8], &[4; 32]].concat();
    assert_eq!(challenge.to_bytes()[..], expected);
    assert_eq!(Challenge::from_bytes(&expected), Ok(challenge));
    assert_eq!(Challenge::from_bytes(&expected[1..]), Err(ChallengeError::Malformed));
}

proptest! {
    #[test]
    fn reading_and_writing_agree(bytes in proptest::array::uniform32(any::<u8>()), rest in proptest::collection::vec(any::<u8>(), 80)) {
        let bytes = [&bytes[..], &rest].concat();
        if let Ok(challenge) = Challenge::from_bytes(&bytes) {
            prop_assert_eq!(&challenge.to_bytes()[..], &bytes[..]);
        }
    }
}
