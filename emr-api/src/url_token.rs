//! 256 random bits in an address: who has the address may use it.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;

/// 256 random bits, written as 43 characters of base64url (RFC 4648, 5) without padding. Each value has one text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UrlToken([u8; 32]);

/// The text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not 43 characters of base64url")]
pub struct NotAUrlToken;

impl UrlToken {
    /// The length of the text.
    pub const CHARACTERS: usize = 43;

    /// A new random token.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for UrlToken {
    type Err = NotAUrlToken;

    fn from_str(text: &str) -> Result<Self, NotAUrlToken> {
        if text.len() != Self::CHARACTERS {
            return Err(NotAUrlToken);
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| NotAUrlToken)?;
        Ok(Self(bytes.try_into().map_err(|_| NotAUrlToken)?))
    }
}

/// The text, which lets its reader use the address.
impl fmt::Display for UrlToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for UrlToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_one_text() -> Result<(), NotAUrlToken> {
        let token = UrlToken::random();
        let text = token.to_string();
        assert_eq!((text.len(), text.parse::<UrlToken>()?), (43, token));
        assert!(!format!("{token:?}").contains(&text));
        let zero = "A".repeat(43);
        assert_eq!(zero.parse::<UrlToken>()?.as_bytes(), &[0; 32]);
        // The last character of these has bits that no byte uses.
        for wrong in ["", &zero[..42], &format!("{zero}A"), &format!("{}B", &zero[..42]), &format!("{}=", &zero[..42])]
        {
            assert_eq!(wrong.parse::<UrlToken>(), Err(NotAUrlToken), "{wrong}");
        }
        assert_eq!(format!("{}+", &zero[..42]).parse::<UrlToken>(), Err(NotAUrlToken));
        Ok(())
    }
}
