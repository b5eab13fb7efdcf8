//! Permits for walks: a walk reads all blocks of a record, which may be gigabytes.

use std::time::Duration;

use emr_core::AccountIndex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    http::limits::{KeyLock, KeyLocks, Permit, Permits},
    request_error::RequestError,
};

/// How many walks run at once.
const AT_ONCE: usize = 4;
/// How many walks of one signer wait or run.
const IN_LINE: usize = 8;
/// How long a request waits for its permit.
const PATIENCE: Duration = Duration::from_secs(120);
/// When to try again after that time, or if too many requests are in line.
const LATER: Duration = Duration::from_secs(5);

/// Decides which requests may walk. Only one walk of a signer runs at a time, so that no signer takes all permits.
/// The number of waiting requests of a signer and their waiting time are limited.
#[derive(Debug)]
pub(crate) struct Walks {
    at_once: Semaphore,
    in_line: Permits<AccountIndex>,
    signers: KeyLocks<AccountIndex>,
    patience: Duration,
}

/// The permit for a walk, until it is dropped.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    _signer: KeyLock,
    _permit: SemaphorePermit<'a>,
    _in_line: Permit<AccountIndex>,
}

impl Walks {
    pub(crate) fn new() -> Self {
        Self {
            at_once: Semaphore::new(AT_ONCE),
            in_line: Permits::new(IN_LINE),
            signers: KeyLocks::default(),
            patience: PATIENCE,
        }
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// `too-many` if the signer has too many requests in line. `unavailable` if the permit does not come in time, or the
    /// node is stopping.
    pub(crate) async fn permit(&self, signer: AccountIndex) -> Result<Walk<'_>, RequestError> {
        let in_line = self.in_line.take(signer).ok_or_else(|| {
            RequestError::too_many(
                "this account has many records in line to be checked: hand in the next one later",
                LATER,
            )
        })?;
        let permit = async {
            let signer = self.signers.lock(signer).await;
            let permit = self.at_once.acquire().await.map_err(|_| RequestError::unavailable("the node is stopping"))?;
            Ok(Walk { _signer: signer, _permit: permit, _in_line: in_line })
        };
        let late =
            |_| RequestError::busy("many records are in line to be checked: hand this one in again later", LATER);
        tokio::time::timeout(self.patience, permit).await.map_err(late)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::request_error::RequestErrorKind;

    /// One account submits records that take long. It fills only its own line. A record of another account is read at
    /// once.
    #[tokio::test]
    async fn a_line_is_bounded_and_the_signers_own() -> Result<(), Box<dyn std::error::Error>> {
        let walks = Arc::new(Walks { patience: Duration::from_millis(500), ..Walks::new() });
        let (hostile, honest) = (AccountIndex::new(1)?, AccountIndex::new(2)?);
        let reading = walks.permit(hostile).await?;
        let mut waiting = Vec::new();
        for _ in 0..5000 {
            let walks = Arc::clone(&walks);
            waiting
                .push(tokio::spawn(async move { walks.permit(hostile).await.map(drop).map_err(|error| error.kind) }));
        }
        tokio::task::yield_now().await;
        drop(walks.permit(honest).await?);
        let mut kinds = [0, 0];
        for task in waiting {
            match task.await? {
                Err(RequestErrorKind::TooMany) => kinds[0] += 1,
                // The first walk takes longer than the others wait.
                Err(RequestErrorKind::Unavailable) => kinds[1] += 1,
                other => return Err(format!("{other:?}").into()),
            }
        }
        assert_eq!(kinds, [5000 - (IN_LINE - 1), IN_LINE - 1]);
        drop(reading);
        assert!(walks.permit(hostile).await.is_ok());
        Ok(())
    }
}
