//! Says who sends the next L1 transaction. The submitter sends one at a time.

use tokio::sync::{Mutex, MutexGuard};

/// The lock of the hospital's account. Settlement waits for at most one relayed registration, because
/// registrations first wait for each other.
#[derive(Debug, Default)]
pub(crate) struct L1Lock {
    sending: Mutex<()>,
    relaying: Mutex<()>,
}

/// The right to send a transaction. Dropping this gives it back.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    _sending: MutexGuard<'a, ()>,
    _relaying: Option<MutexGuard<'a, ()>>,
}

impl L1Lock {
    /// Waits until it may settle.
    pub(crate) async fn to_settle(&self) -> Sending<'_> {
        Sending { _sending: self.sending.lock().await, _relaying: None }
    }

    /// Waits until it may relay a registration.
    pub(crate) async fn to_relay(&self) -> Sending<'_> {
        let relaying = self.relaying.lock().await;
        // The lock is fair, and only one relayed registration is ever in this line.
        Sending { _sending: self.sending.lock().await, _relaying: Some(relaying) }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn settlement_waits_for_one_registration_at_most() {
        let lock = Arc::new(L1Lock::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = lock.to_relay().await;
        let relays: Vec<_> = (0..20)
            .map(|_| {
                let (lock, order) = (Arc::clone(&lock), Arc::clone(&order));
                tokio::spawn(async move {
                    let _sending = lock.to_relay().await;
                    order.lock().await.push("relay");
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let settling = {
            let (lock, order) = (Arc::clone(&lock), Arc::clone(&order));
            tokio::spawn(async move {
                let _sending = lock.to_settle().await;
                order.lock().await.push("settle");
            })
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(first);
        for task in relays.into_iter().chain([settling]) {
            task.await.expect("no panic");
        }
        let order = order.lock().await;
        assert!(order.iter().position(|who| *who == "settle").is_some_and(|at| at <= 1), "{order:?}");
    }
}
