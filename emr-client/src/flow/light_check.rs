//! The patient's light check: what the node says of them, compared with what L1 holds.

use std::collections::VecDeque;

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
enum Depth {
    /// To the chain's first entry.
    First,
    /// As far as entries are kept.
    Kept,
}

impl Client {
    /// Every grant and every record of this patient, recomputed and compared with L1. Leaves out the audit chain, which
    /// [`Self::light_check`] adds.
    ///
    /// # Errors
    /// [`ReadError::Light`]; [`ReadError`].
    pub async fn own_leaves(&self) -> Result<VerifiedLeaves, ClientError> {
        let account = self.account()?;
        let expected = Expectation {
            domain: self.domain(),
            account,
            key: self.keys.rollup_key(),
            encryption: self.keys.committed_key().element(),
        };
        let mut patience = Patience::new();
        loop {
            let view = self.node.subtree(account).await?;
            let state = self.settled().await?;
            match light::verify_subtree(&expected, &view, &state) {
                Err(LightError::Membership(MembershipError::OtherState { .. })) if patience.again().await => {}
                other => return Ok(other?),
            }
        }
    }

    /// The patient's whole light check: every grant, every record and the audit chain from its newest entry to its first. Holds
    /// one page of the chain at a time.
    ///
    /// # Errors
    /// [`ReadError::Light`]; [`ReadError`].
    pub async fn light_check(&self) -> Result<Verified, ClientError> {
        Ok(self.light_check_with_audit(0).await?.0)
    }

    /// The same, and the newest `keep` entries of the audit chain, oldest first.
    ///
    /// # Errors
    /// As [`Self::light_check`].
    pub async fn light_check_with_audit(&self, keep: usize) -> Result<(Verified, Vec<AuditEntry>), ClientError> {
        let (walk, kept) = self.audited(keep, Depth::First).await?;
        Ok((walk.finish()?, kept))
    }

    /// The newest `keep` entries of the audit chain, oldest first, proved without the older ones. Fewer if the chain has fewer.
    ///
    /// # Errors
    /// As [`Self::light_check`].
    pub async fn recent_audit(&self, keep: usize) -> Result<(VerifiedLeaves, Vec<AuditEntry>), ClientError> {
        let (walk, kept) = self.audited(keep, Depth::Kept).await?;
        Ok((walk.into_leaves(), kept))
    }

    async fn audited(&self, keep: usize, depth: Depth) -> Result<(AuditWalk, Vec<AuditEntry>), ClientError> {
        let mut patience = Patience::new();
        loop {
            let leaves = self.own_leaves().await?;
            let before = leaves.state().root();
            match self.walk(leaves, keep, depth).await {
                // Only a chain that L1 took back can change under the walk: then the root is another one by now.
                Err(error) if is_other_chain(&error) => {
                    let now = self.settled().await?.root();
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
            if depth == Depth::Kept && kept.len() == keep {
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

/// The node showed another audit chain than the one whose head was proved, or a shorter one.
fn is_other_chain(error: &ClientError) -> bool {
    match error {
        ClientError::Light(LightError::NotAll(_)) => true,
        ClientError::Node(error) => error.is_stale(),
        _ => false,
    }
}
