//! A login message, which a client sends to a node.

use emr_crypto::LoginMessage;

pub(crate) fn check(data: &[u8]) -> bool {
    match LoginMessage::from_bytes(data) {
        Ok(message) => {
            assert_eq!(message.to_bytes(), data, "one byte form");
            true
        }
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    let mut bytes = vec![0; LoginMessage::BYTES];
    // The verifier's account and the account that logs in are at least 1.
    (bytes[35], bytes[39]) = (1, 2);
    Ok(vec![bytes])
}
