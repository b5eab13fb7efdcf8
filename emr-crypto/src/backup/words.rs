//! The key of a backup as 24 words (BIP-39, English), to be written on paper.

use bip39::{Language, Mnemonic};
use zeroize::{Zeroize, Zeroizing};

use super::BackupKey;

/// How many words a key of 32 bytes has: 256 bits and 8 bits of checksum, 11 bits each.
pub const WORDS: usize = 24;

/// Why words are not the key of a backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    /// Not 24 words.
    #[error(
        "there are {0} words, and a backup has {WORDS}: type all of them, in their order, with spaces between them"
    )]
    Count(usize),
    /// A word that is not in the list. The word itself is not repeated: it may be a secret.
    #[error("word {0} is not in the list of BIP-39: compare it with the paper")]
    Unknown(usize),
    /// All are in the list, but they do not belong together.
    #[error("these words do not belong together: one is wrong, or two changed places; compare them with the paper")]
    Checksum,
}

impl BackupKey {
    /// The key as 24 words of BIP-39's English list, with single spaces between them. They are no wallet: the key is the entropy itself.
    pub fn to_words(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, self.as_bytes()).expect("32 bytes are allowed");
        // Large enough that it never moves: no word has more than 8 letters.
        let mut words = Zeroizing::new(String::with_capacity(WORDS * 9));
        for word in mnemonic.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        words
    }

    /// Reads the words, in small or capital letters, with any spaces or line breaks between them.
    ///
    /// # Errors
    /// Returns [`WordsError`] if they are not 24 words of the list, or do not belong together.
    pub fn from_words(text: &str) -> Result<Self, WordsError> {
        let count = text.split_whitespace().count();
        if count != WORDS {
            return Err(WordsError::Count(count));
        }
        let small = Zeroizing::new(text.to_ascii_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &small).map_err(|error| match error {
            bip39::Error::UnknownWord(at) => WordsError::Unknown(at + 1),
            bip39::Error::BadWordCount(count) => WordsError::Count(count),
            _ => WordsError::Checksum,
        })?;
        let (mut entropy, length) = mnemonic.to_entropy_array();
        let key = entropy.first_chunk().filter(|_| length == 32).map(Self::from_bytes);
        entropy.zeroize();
        key.ok_or(WordsError::Checksum)
    }
}
