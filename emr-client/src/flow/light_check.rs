//! The patient's light check: the node's data about the patient, compared with what L1 holds.

use std::collections::VecDeque;

use emr_api::encryption;
use emr_core::UnixTime;
use emr_rollup::state::leaf::AuditEntry;

use crate::{
    client::Client,
    error::ClientError,
    patience::Patience,
    verify::audit::{AuditWalk, Verified},
    verify::light::{self, Expectation, LightError, VerifiedLeaves},
    verify::membership::MembershipError,
};

/// How far back a walk through the audit chain goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// To the chain's first entry.
    First,
    /// Only as far as the entries that the caller wants.
    Kept,
    /// Until the entries are older than this.
    Since(UnixTime),
}

impl Client {
    /// Recomputes every grant and every record of this patient and compares them with L1. This does not check the audit
    /// chain; [`Self::light_check`] does.
    ///
    /// # Errors
    /// [`ClientError::Light`] if the node's data do not agree with L1. Other variants if the node or L1 cannot be
    /// asked.
    pub async fn own_leaves(&self) -> Result<VerifiedLeaves, ClientError> {
        let account = self.account()?;
        let expected = Expectation {
            domain: self.domain(),
            account,
            key: self.keys.rollup_key(),
            encryption: encryption::element(&self.keys.committed_key()),
        };
        let mut patience = Patience::new();
        loop {
            let view = self.node.subtree(account).await?;
            let state = self.settled_state().await?;
            match light::verify_subtree(&expected, &view, &state) {
                Err(LightError::Membership(MembershipError::OtherState { .. })) if patience.again().await => {}
                other => return Ok(other?),
            }
        }
    }

    /// The patient's whole light check: every grant, every record and the audit chain from its newest entry to its
    /// first. It holds one page of the chain in memory at a time.
    ///
    /// # Errors
    /// As for [`Self::own_leaves`].
    pub async fn light_check(&self) -> Result<Verified, ClientError> {
        Ok(self.light_check_with_audit(0).await?.0)
    }

    /// Like [`Self::light_check`], and returns the newest `keep` entries of the audit chain, oldest first.
    ///
    /// # Errors
    /// As for [`Self::own_leaves`].
    pub async fn light_check_with_audit(&self, keep: usize) -> Result<(Verified, Vec<AuditEntry>), ClientError> {
        let (walk, kept) = self.audited(keep, Depth::First).await?;
        Ok((walk.finish()?, kept))
    }

    /// The newest `keep` entries of the audit chain, oldest first, proved without the older ones. A shorter chain gives
    /// fewer.
    ///
    /// # Errors
    /// As for [`Self::own_leaves`].
    pub async fn recent_audit(&self, keep: usize) -> Result<(VerifiedLeaves, Vec<AuditEntry>), ClientError> {
        let (walk, kept) = self.audited(keep, Depth::Kept).await?;
        Ok((walk.into_leaves(), kept))
    }

    pub(super) async fn audited(&self, keep: usize, depth: Depth) -> Result<(AuditWalk, Vec<AuditEntry>), ClientError> {
        let mut patience = Patience::new();
        loop {
            let leaves = self.own_leaves().await?;
            let before = leaves.state().root();
            match self.walk(leaves, keep, depth).await {
                // The chain changes during the walk only if L1 took a batch back. Then the root is another one now.
                Err(error) if is_other_chain(&error) => {
                    let now = self.settled_state().await?.root();
                    if now == before || !patience.again().await {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    async fn walk(
        &self,
        leaves: VerifiedLeaves,
        keep: usize,
        depth: Depth,
    ) -> Result<(AuditWalk, Vec<AuditEntry>), ClientError> {
        let account = self.account()?;
        let mut walk = AuditWalk::begin(leaves)?;
        let mut kept = VecDeque::new();
        while let Some(end) = walk.next_end() {
            let is_enough = match depth {
                Depth::First => false,
                Depth::Kept => kept.len() == keep,
                Depth::Since(time) => kept.front().is_some_and(|oldest: &AuditEntry| oldest.time < time),
            };
            if is_enough {
                break;
            }
            let page = self.node.audit(account, end).await?;
            walk = walk.page(&page)?;
            let room = keep - kept.len();
            page.entries.iter().rev().take(room).for_each(|entry| kept.push_front(*entry));
        }
        Ok((walk, kept.into()))
    }
}

/// Whether the node showed another audit chain than the one whose head was proved, or a shorter one.
fn is_other_chain(error: &ClientError) -> bool {
    match error {
        ClientError::Light(LightError::NotAll(_)) => true,
        ClientError::Node(error) => error.is_stale(),
        _ => false,
    }
}
