//! The header source that believes several Ethereum nodes if enough of them agree.

use std::{collections::BTreeMap, time::Duration};

use alloy::eips::BlockId;
use async_trait::async_trait;
use tokio::{task::JoinSet, time::timeout};

use super::{Answers, HeaderError, HeaderSource, Newest, Said, agreement};
use crate::{
    nodes::{EthereumNodes, Member},
    proof::{ProofError, VerifiedHeader, fetch_header},
};

/// How long the others are waited for when enough nodes have answered. Without it, the fastest nodes alone would decide
/// how recent the newest block is.
const GRACE: Duration = Duration::from_secs(1);

/// A node's answer, or `None` if it has no such block.
type Answer = Result<Option<VerifiedHeader>, String>;

/// Several Ethereum nodes. A block counts if enough of them give the same hash for its height. All are asked at once,
/// and none is waited for longer than a few seconds.
#[derive(Clone, Debug)]
pub struct Agreement {
    nodes: EthereumNodes,
}

impl Agreement {
    /// The agreement of these nodes.
    pub const fn new(nodes: EthereumNodes) -> Self {
        Self { nodes }
    }

    /// The newest block with this tag on which enough nodes agree; `None` if enough nodes have no such block.
    async fn agreed(&self, tag: BlockId) -> Result<Option<Newest>, HeaderError> {
        let mut heads = BTreeMap::new();
        let mut asked = self.ask(0..self.nodes.members().len(), tag);
        let all = async {
            while let Some((node, head)) = next(&mut asked).await {
                heads.insert(node, head);
            }
        };
        // What has come until then counts also if the time is over.
        let _ = timeout(GRACE, all).await;
        loop {
            let compared = self.compare(&heads).await;
            // A node that is behind must not decide together with one other node, only because the rest are slow.
            let is_enough = match &compared {
                Ok(Some(newest)) => {
                    let reached = heads.values().filter_map(|head| (*head).as_ref().ok().copied().flatten());
                    let reached = reached.map(|head| head.number());
                    agreement::is_level(reached, newest.header.number(), self.nodes.agree())
                }
                Ok(None) => true,
                Err(_) => false,
            };
            if is_enough {
                return compared;
            }
            match next(&mut asked).await {
                Some((node, head)) => heads.insert(node, head),
                None => return compared,
            };
        }
    }

    /// Compares the nodes at every height at which enough of them can agree.
    async fn compare(&self, heads: &BTreeMap<usize, Answer>) -> Result<Option<Newest>, HeaderError> {
        let agree = self.nodes.agree();
        if heads.values().filter(|head| matches!(head, Ok(None))).count() >= agree {
            return Ok(None);
        }
        let known: BTreeMap<usize, VerifiedHeader> =
            heads.iter().filter_map(|(node, head)| Some((*node, (*head).as_ref().ok().copied().flatten()?))).collect();
        let mut last = heads.clone();
        for height in agreement::heights(known.values().map(VerifiedHeader::number).collect(), agree) {
            let (at_height, higher): (BTreeMap<_, _>, BTreeMap<_, _>) = known
                .iter()
                .filter(|(_, head)| head.number() >= height)
                .map(|(node, head)| (*node, *head))
                .partition(|(_, head)| head.number() == height);
            let given = at_height.into_iter().map(|(node, head)| (node, Ok(Some(head)))).collect();
            match self.at_height(height, given, higher.into_keys()).await {
                Ok((header, nodes)) => {
                    self.nodes.prefer(&nodes);
                    return Ok(Some(Newest { header, answers: self.answers(heads) }));
                }
                Err(answers) => last.extend(answers),
            }
        }
        let answers = self.answers(&last);
        Err(if known.len() < agree {
            HeaderError::TooFew { agree, answers }
        } else {
            HeaderError::Disagree { agree, answers }
        })
    }

    /// The block at a height that enough nodes give, and these nodes. Otherwise all answers. `given` are the answers that
    /// are known, and `ask` the nodes that are asked.
    async fn at_height(
        &self,
        height: u64,
        mut given: BTreeMap<usize, Answer>,
        ask: impl Iterator<Item = usize>,
    ) -> Result<(VerifiedHeader, Vec<usize>), BTreeMap<usize, Answer>> {
        let mut asked = self.ask(ask, BlockId::number(height));
        loop {
            let headers = given.iter().filter_map(|(node, answer)| Some((*node, (*answer).as_ref().ok().copied()??)));
            if let Some(same) = agreement::same(&headers.collect(), self.nodes.agree()) {
                return Ok(same);
            }
            match next(&mut asked).await {
                Some((node, answer)) => given.insert(node, answer),
                None => return Err(given),
            };
        }
    }

    /// Asks nodes for a block, all at once.
    fn ask(&self, nodes: impl Iterator<Item = usize>, at: BlockId) -> JoinSet<(usize, Answer)> {
        let mut asked = JoinSet::new();
        for node in nodes {
            let member = self.nodes.members()[node].clone();
            asked.spawn(async move { (node, header(&member, at).await) });
        }
        asked
    }

    /// The answers with the nodes' names. A node without an answer was not waited for.
    fn answers(&self, given: &BTreeMap<usize, Answer>) -> Answers {
        let said = |node| match given.get(&node) {
            Some(Ok(Some(header))) => Said::block(header),
            Some(Ok(None)) => Said::NoBlock,
            Some(Err(reason)) => Said::Nothing(reason.clone()),
            None => Said::Nothing("no answer yet".to_owned()),
        };
        let members = self.nodes.members().iter().enumerate();
        Answers(members.map(|(node, member)| (member.name().to_owned(), said(node))).collect())
    }
}

#[async_trait]
impl HeaderSource for Agreement {
    async fn newest(&self) -> Result<Newest, HeaderError> {
        let unknown = || ProofError::UnknownBlock(BlockId::latest()).into();
        self.agreed(BlockId::latest()).await?.ok_or_else(unknown)
    }

    async fn finalized(&self) -> Result<Option<VerifiedHeader>, HeaderError> {
        Ok(self.agreed(BlockId::finalized()).await?.map(|newest| newest.header))
    }

    async fn at(&self, number: u64) -> Result<VerifiedHeader, HeaderError> {
        let all = 0..self.nodes.members().len();
        let found = self.at_height(number, BTreeMap::new(), all).await;
        found.map(|(header, _)| header).map_err(|given| {
            let (agree, answers) = (self.nodes.agree(), self.answers(&given));
            if given.values().filter(|answer| matches!(answer, Ok(Some(_)))).count() < agree {
                HeaderError::TooFew { agree, answers }
            } else {
                HeaderError::Disagree { agree, answers }
            }
        })
    }
}

/// The next answer; `None` if all have come.
async fn next(asked: &mut JoinSet<(usize, Answer)>) -> Option<(usize, Answer)> {
    loop {
        // If the task of a node panicked, that node gives no answer.
        if let Ok(answer) = asked.join_next().await? {
            return Some(answer);
        }
    }
}

async fn header(member: &Member, at: BlockId) -> Answer {
    match member.in_time(fetch_header(member.provider(), at)).await {
        Ok(Ok(header)) => Ok(Some(header)),
        Ok(Err(ProofError::UnknownBlock(_))) => Ok(None),
        Ok(Err(error)) => Err(error.to_string()),
        Err(late) => Err(late.to_string()),
    }
}
