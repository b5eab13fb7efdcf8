use emr_core::{Origin, UnixTime};
use emr_crypto::{LoginMessage, LoginMessageError};
use proptest::prelude::*;

use crate::fixtures::{DOCTOR, PATIENT, account};

fn origin(text: &str) -> Origin {
    text.parse().unwrap()
}

fn time(seconds: u64) -> UnixTime {
    UnixTime::new(seconds).unwrap()
}

fn message() -> LoginMessage {
    LoginMessage::new([1; 32], account(2), account(7), time(1000), &origin("https://hospital.example"))
}

#[test]
fn a_signature_counts_until_it_expires() {
    let message = message();
    let signature = message.sign(DOCTOR.rsa());
    assert_eq!(message.verify(&DOCTOR.rsa().public(), &signature, time(1000)), Ok(()));
    assert_eq!(message.verify(&DOCTOR.rsa().public(), &signature, time(1001)), Err(LoginMessageError::Expired));
    assert!(matches!(
        message.verify(&PATIENT.rsa().public(), &signature, time(1000)),
        Err(LoginMessageError::Signature(_))
    ));
}

/// A signature is worth nothing on another chain, at another node, at another address, for another account, to another
/// nonce or deadline.
#[test]
fn a_signature_fits_one_message() {
    let message = message();
    let signature = message.sign(DOCTOR.rsa());
    let changes: [fn(&mut LoginMessage); 6] = [
        |c| c.domain = [2; 32],
        |c| c.verifier = account(3),
        |c| c.account = account(8),
        |c| c.nonce[0] ^= 1,
        |c| c.expires = time(2000),
        |c| c.origin = origin("https://hostile.example").digest(),
    ];
    for change in changes {
        let mut other = message.clone();
        change(&mut other);
        assert!(matches!(
            other.verify(&DOCTOR.rsa().public(), &signature, time(1000)),
            Err(LoginMessageError::Signature(_))
        ));
    }
    assert_ne!(message.nonce, self::message().nonce);
}

#[test]
fn bytes_are_as_documented() {
    let mut message = message();
    message.nonce = [3; 32];
    message.origin = [4; 32];
    let expected = [&[1; 32][..], &[0, 0, 0, 2, 0, 0, 0, 7], &[3; 32], &[0, 0, 0, 0, 0, 0, 3, 0xe8], &[4; 32]].concat();
    assert_eq!(message.to_bytes()[..], expected);
    assert_eq!(LoginMessage::from_bytes(&expected), Ok(message));
    assert_eq!(LoginMessage::from_bytes(&expected[1..]), Err(LoginMessageError::Malformed));
}

proptest! {
    #[test]
    fn reading_and_writing_agree(bytes in proptest::array::uniform32(any::<u8>()), rest in proptest::collection::vec(any::<u8>(), 80)) {
        let bytes = [&bytes[..], &rest].concat();
        if let Ok(message) = LoginMessage::from_bytes(&bytes) {
            prop_assert_eq!(&message.to_bytes()[..], &bytes[..]);
        }
    }
}
