//! Names of trusted setups. The setups are in `prover`.

use serde::{Deserialize, Serialize};

/// The name of a setup's secret: Keccak-256 of tau in G2, compressed. 32 bytes; `0x` and 64 hex digits when displayed.
/// It does not depend on the number of powers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetupId(pub [u8; 32]);

impl std::fmt::Display for SetupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl std::fmt::Debug for SetupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The text is not the name of a setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a setup is named by 0x and 64 hex digits; `emr-hospital setup` prints the name")]
pub struct NotASetup;

impl std::str::FromStr for SetupId {
    type Err = NotASetup;

    fn from_str(text: &str) -> Result<Self, NotASetup> {
        let mut id = [0; 32];
        let digits = text.strip_prefix("0x").ok_or(NotASetup)?;
        hex::decode_to_slice(digits, &mut id).map_err(|_| NotASetup)?;
        Ok(Self(id))
    }
}

/// Which setup to use. In JSON, `insecure-development` or the name of an imported setup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SetupChoice {
    /// The development setup. **Anyone can forge proofs under it.**
    #[default]
    InsecureDevelopment,
    /// The setup of a ceremony, which was imported into the folder of the keys.
    Imported(SetupId),
}

const INSECURE_DEVELOPMENT: &str = "insecure-development";

impl std::fmt::Display for SetupChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InsecureDevelopment => f.write_str(INSECURE_DEVELOPMENT),
            Self::Imported(id) => id.fmt(f),
        }
    }
}

impl From<SetupChoice> for String {
    fn from(choice: SetupChoice) -> Self {
        choice.to_string()
    }
}

impl TryFrom<String> for SetupChoice {
    type Error = NotASetup;

    fn try_from(text: String) -> Result<Self, NotASetup> {
        if text == INSECURE_DEVELOPMENT { Ok(Self::InsecureDevelopment) } else { text.parse().map(Self::Imported) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let id = SetupId([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in
            ["", "0x", "abab", &"ab".repeat(32), &format!("0x{}", "ab".repeat(31)), &format!("0x{}", "ab".repeat(33))]
        {
            assert_eq!(text.parse::<SetupId>(), Err(NotASetup), "{text:?}");
        }
        for choice in [SetupChoice::InsecureDevelopment, SetupChoice::Imported(id)] {
            assert_eq!(SetupChoice::try_from(String::from(choice)), Ok(choice));
        }
        assert!(SetupChoice::try_from("development".to_owned()).is_err());
    }
}
