//! What people type from paper: a guardian's share, or words.

use emr_crypto::backup::{BackupKey, KeyShare, Scheme};

/// A vector of BIP-39: a key that opens nothing.
const WORDS: &str = "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space point ten exist \
                     slush involve unfold";

pub(crate) fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let share = KeyShare::from_line(text);
    let words = BackupKey::from_words(text);
    if let Ok(share) = &share {
        let again = KeyShare::from_line(&share.to_groups()).expect("what is printed is read");
        assert_eq!(*again.to_line(), *share.to_line());
        assert!(BackupKey::combine(std::slice::from_ref(share)).is_err(), "one share opens nothing");
    }
    if let Ok(key) = &words {
        let printed = key.to_words();
        assert!(printed.split(' ').eq(text.to_ascii_lowercase().split_whitespace()), "one form");
    }
    share.as_ref().err().iter().for_each(crate::one_line);
    words.as_ref().err().iter().for_each(crate::one_line);
    share.is_ok() || words.is_ok()
}

pub(crate) fn seeds() -> crate::Seeds {
    let key = BackupKey::from_words(WORDS)?;
    let shares = key.split(Scheme::new(2, 3)?);
    let lines = shares.iter().map(|share| share.to_groups().as_bytes().to_vec());
    Ok([WORDS.as_bytes().to_vec()].into_iter().chain(lines).collect())
}
