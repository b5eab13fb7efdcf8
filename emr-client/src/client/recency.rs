//! Whether this client accepts a newest block that is old. Everything refuses it, except what ends somebody's rights: a
//! person must be able to revoke also with an Ethereum node that is behind.

use std::sync::{Arc, Mutex, PoisonError};

use emr_chain::header::{
    Answers,
    age::{HeaderAge, HeaderAgeError},
};
use emr_core::UnixTime;

use super::Client;

/// The rule of a client for the age of the newest block.
#[derive(Clone, Debug)]
pub(crate) struct Recency {
    rule: HeaderAge,
    /// If an old block does not stop this client: what was wrong with the last block.
    overlooked: Option<Arc<Mutex<Option<HeaderAgeError>>>>,
}

impl Recency {
    pub(crate) const fn refusing(rule: HeaderAge) -> Self {
        Self { rule, overlooked: None }
    }

    pub(super) fn check(&self, block_time: u64, answers: &Answers, now: UnixTime) -> Result<(), HeaderAgeError> {
        match (self.rule.check(block_time, answers, now), &self.overlooked) {
            (Err(error), Some(overlooked)) => {
                *overlooked.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Ok(())
            }
            (checked, _) => checked,
        }
    }
}

impl Client {
    /// The same participant, whom an old block does not stop. For what ends rights, and for what was signed before.
    ///
    /// [`Self::revoke`], [`Self::revoke_for`], [`Self::resume`] and [`Self::wait_for`] do this themselves. A program needs it
    /// for what it does before them, for example to check a card, and to read [`Self::overlooked`] if they fail.
    #[must_use]
    pub fn for_revoking(&self) -> Self {
        match self.age.overlooked {
            Some(_) => self.clone(),
            None => Self { age: Recency { overlooked: Some(Arc::default()), ..self.age.clone() }, ..self.clone() },
        }
    }

    /// What was wrong with the age of the newest block, if this did not stop the client: see [`Self::for_revoking`].
    pub fn overlooked(&self) -> Option<HeaderAgeError> {
        self.age.overlooked.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets whether the age of the newest block counts. Without this, it counts on every chain but a development chain.
    #[must_use]
    pub fn with_header_age(self, rule: HeaderAge) -> Self {
        Self { age: Recency { rule, ..self.age }, ..self }
    }
}
