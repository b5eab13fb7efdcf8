//! Why a file is not a profile.

use super::profile::Profile;

/// Why a file is not a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file has more than [`Profile::MAX_BYTES`] bytes.
    #[error("the profile has {0} bytes, the limit is {max}: split it into several profiles", max = Profile::MAX_BYTES)]
    TooLarge(usize),
    /// The file is not JSON, or has a member that a profile does not have.
    #[error("not a profile: {0}; docs/profiles.md describes the file")]
    Malformed(String),
    /// The file has more than [`Profile::MAX_PARTS`] rules, contexts, conditions and fields.
    #[error(
        "the profile has {0} rules, contexts, conditions and fields, the limit is {max}: split it into several profiles",
        max = Profile::MAX_PARTS
    )]
    TooMany(usize),
    /// A part of the profile contradicts itself, or names a unit that UCUM does not have.
    #[error("{at} {message}")]
    Invalid {
        /// Where it is in the file: `rules[2].fields[0]`.
        at: String,
        /// What is wrong, and what to do.
        message: String,
    },
}
