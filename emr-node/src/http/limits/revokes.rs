//! The capacity that only Revokes can use.

use std::{sync::Arc, time::Duration};

use emr_core::AccountIndex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{KeyLock, KeyLocks, Permit, Permits, SOON};
use crate::{
    http::{connections::Peer, pace::Protected},
    request_error::RequestError,
};

/// Revokes that can be processed at the same time.
const AT_ONCE: usize = 64;
/// Revokes of one account that are processed, one after the other, or wait.
const IN_LINE: usize = 4;
/// How long a Revoke waits for its permit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Permits for Revokes. An account uses one at a time, so a Revoke waits for at most one of each other account.
#[derive(Debug)]
pub(super) struct Revokes {
    at_once: Arc<Semaphore>,
    in_line: Permits<AccountIndex>,
    accounts: KeyLocks<AccountIndex>,
}

/// A taken permit. Dropping this gives it back. Meanwhile its connection is not replaced.
#[derive(Debug)]
pub(super) struct RevokePermit {
    _in_line: Permit<AccountIndex>,
    _account: KeyLock,
    _permit: OwnedSemaphorePermit,
    _protected: Option<Protected>,
}

impl Revokes {
    pub(super) fn new() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            in_line: Permits::new(IN_LINE),
            accounts: KeyLocks::default(),
        }
    }

    /// Waits for a permit. A connection that only waits is not protected. Otherwise waiting clients could hold all
    /// connections.
    ///
    /// # Errors
    /// Returns `too-many` if the account has several in line, and `unavailable` if no permit becomes free in time.
    pub(super) async fn permit(
        &self,
        account: AccountIndex,
        peer: Option<&Peer>,
    ) -> Result<RevokePermit, RequestError> {
        let in_line = self.in_line.take(account);
        let in_line = in_line.ok_or_else(|| RequestError::too_many("this account has Revokes at work: wait", SOON))?;
        let permit = async {
            let account = self.accounts.lock(account).await;
            Arc::clone(&self.at_once).acquire_owned().await.ok().map(|permit| (account, permit))
        };
        let permit = tokio::time::timeout(PATIENCE, permit).await.ok().flatten();
        let (account, permit) =
            permit.ok_or_else(|| RequestError::busy("many Revokes are at work: try again", SOON))?;
        Ok(RevokePermit { _in_line: in_line, _account: account, _permit: permit, _protected: peer.map(Peer::protect) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::request_error::RequestErrorKind;

    /// Two hundred accounts submit four Revokes each, again and again. An honest account waits for one of each of them,
    /// not for all.
    #[tokio::test]
    async fn a_revoke_waits_for_one_of_each_other_account() -> Result<(), Box<dyn std::error::Error>> {
        const HOSTILE: u64 = 200;
        let revokes = Arc::new(Revokes::new());
        let served = Arc::new(AtomicUsize::new(0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        let hand_in = |account: AccountIndex, times: usize| {
            let (revokes, served, order) = (Arc::clone(&revokes), Arc::clone(&served), Arc::clone(&order));
            async move {
                for _ in 0..times {
                    if let Ok(permit) = revokes.permit(account, None).await {
                        let before = served.fetch_add(1, Ordering::SeqCst);
                        order.lock().expect("no panic").push((account, before));
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        drop(permit);
                    }
                }
            }
        };
        for account in 2..HOSTILE + 2 {
            for _ in 0..4 {
                tasks.spawn(hand_in(AccountIndex::new(account)?, 5));
            }
        }
        tokio::task::yield_now().await;
        let honest = AccountIndex::new(1)?;
        let refused = revokes.permit(AccountIndex::new(2)?, None).await.map(drop);
        assert!(refused.is_err_and(|error| error.kind == RequestErrorKind::TooMany), "the fifth of an account");
        let before = served.load(Ordering::SeqCst);
        hand_in(honest, 1).await;
        let own =
            order.lock().expect("no panic").iter().find(|(account, _)| *account == honest).map(|(_, before)| *before);
        let waited = own.ok_or("it got no permit")? - before;
        assert!(waited <= HOSTILE as usize, "{waited} went first");
        tasks.abort_all();
        Ok(())
    }
}
