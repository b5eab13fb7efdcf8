//! JSON-RPC over several nodes.
//!
//! | request | answer |
//! |---|---|
//! | `eth_call`, `eth_getCode`, `eth_chainId` | the one that enough nodes give |
//! | `eth_sendRawTransaction` | goes to all nodes; the first that takes it |
//! | everything else | the first node that has an answer, beginning with those that agreed last |

use std::{
    collections::BTreeMap,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    rpc::json_rpc::{RequestPacket, ResponsePacket, ResponsePayload},
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::Service;

use super::{EthereumNodes, Member};
use crate::header::{Answers, Said};

/// Requests whose answer is the same on all honest nodes.
const SAME_EVERYWHERE: [&str; 3] = ["eth_call", "eth_getCode", "eth_chainId"];
/// The request that is of use only if it reaches a node that passes it on.
const TO_ALL: &str = "eth_sendRawTransaction";
/// How long honest nodes can answer differently: some have the newest block earlier than others.
const SPREADING: Duration = Duration::from_secs(15);
/// The pause before they are asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// No answer of several nodes can be used.
#[derive(Debug, thiserror::Error)]
enum AnyOfError {
    #[error(
        "{agree} of the Ethereum nodes must give the same answer to {method}, and they do not ({answers}): try again, or name other nodes with --rpc"
    )]
    Differ { agree: usize, method: String, answers: Answers },
    #[error("no Ethereum node answers {method} ({answers}): check the addresses and that the nodes run")]
    None { method: String, answers: Answers },
}

impl From<AnyOfError> for TransportError {
    fn from(error: AnyOfError) -> Self {
        TransportErrorKind::custom(error)
    }
}

/// The transport to several nodes.
#[derive(Clone, Debug)]
pub(super) struct AnyOf {
    nodes: EthereumNodes,
}

/// What a node answered, and what is compared with other nodes' answers.
struct Compared {
    answer: ResponsePacket,
    meaning: String,
}

impl AnyOf {
    pub(super) const fn new(nodes: EthereumNodes) -> Self {
        Self { nodes }
    }

    async fn send(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let method = packet.as_single().map(|request| request.method().to_owned()).unwrap_or_default();
        if SAME_EVERYWHERE.contains(&&*method) {
            return self.same(&packet, &method).await;
        }
        if method == TO_ALL {
            return self.to_all(&packet, &method).await;
        }
        self.in_order(&packet, &method).await
    }

    /// The answer that enough nodes give.
    async fn same(&self, packet: &RequestPacket, method: &str) -> Result<ResponsePacket, TransportError> {
        let agree = self.nodes.agree();
        let until = Instant::now() + SPREADING;
        loop {
            let (mut counts, mut answered) = (BTreeMap::new(), 0);
            let mut said = BTreeMap::new();
            let mut asked = self.ask_all(packet);
            while let Some(joined) = asked.join_next().await {
                let Ok((node, answer)) = joined else { continue };
                match answer.map(compared) {
                    Ok(Compared { answer, meaning }) => {
                        answered += 1;
                        let count = counts.entry(meaning.clone()).or_insert(0);
                        *count += 1;
                        if *count >= agree {
                            return Ok(answer);
                        }
                        said.insert(node, shortened(meaning));
                    }
                    Err(error) => drop(said.insert(node, error.to_string())),
                }
            }
            if answered >= agree && Instant::now() + PAUSE < until {
                sleep(PAUSE).await;
                continue;
            }
            let (method, answers) = (method.to_owned(), self.answers(said));
            return Err(AnyOfError::Differ { agree, method, answers }.into());
        }
    }

    /// The first success of all nodes, or else the refusal of the node that is preferred.
    async fn to_all(&self, packet: &RequestPacket, method: &str) -> Result<ResponsePacket, TransportError> {
        let (mut refusals, mut said) = (BTreeMap::new(), BTreeMap::new());
        let mut asked = self.ask_all(packet);
        while let Some(joined) = asked.join_next().await {
            let Ok((node, answer)) = joined else { continue };
            match answer {
                Ok(answer) if answer.is_success() => {
                    // The other nodes get it too, without anybody waiting for them.
                    asked.detach_all();
                    return Ok(answer);
                }
                Ok(answer) => drop(refusals.insert(node, answer)),
                Err(error) => drop(said.insert(node, error.to_string())),
            }
        }
        let refusal = self.nodes.order().into_iter().find_map(|node| refusals.remove(&node));
        refusal.ok_or_else(|| AnyOfError::None { method: method.to_owned(), answers: self.answers(said) }.into())
    }

    /// The answer of the first node that has one. A node that refuses or knows nothing may only be behind, so the next one
    /// is asked.
    async fn in_order(&self, packet: &RequestPacket, method: &str) -> Result<ResponsePacket, TransportError> {
        let (mut without, mut said) = (None, BTreeMap::new());
        for node in self.nodes.order() {
            match ask(&self.nodes.members()[node], packet.clone()).await {
                Ok(answer) if answer.is_success() && !is_null(&answer) => return Ok(answer),
                Ok(answer) => drop(without.get_or_insert(answer)),
                Err(error) => {
                    self.nodes.put_last(node);
                    said.insert(node, error.to_string());
                }
            }
        }
        without.ok_or_else(|| AnyOfError::None { method: method.to_owned(), answers: self.answers(said) }.into())
    }

    fn ask_all(&self, packet: &RequestPacket) -> JoinSet<(usize, Result<ResponsePacket, TransportError>)> {
        let mut asked = JoinSet::new();
        for (node, member) in self.nodes.members().iter().cloned().enumerate() {
            let packet = packet.clone();
            asked.spawn(async move { (node, ask(&member, packet).await) });
        }
        asked
    }

    fn answers(&self, mut said: BTreeMap<usize, String>) -> Answers {
        let members = self.nodes.members().iter().enumerate();
        let said =
            members.filter_map(|(node, member)| Some((member.name().to_owned(), Said::Nothing(said.remove(&node)?))));
        Answers(said.collect())
    }
}

impl Service<RequestPacket> for AnyOf {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().send(packet))
    }
}

async fn ask(member: &Member, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
    let mut transport = member.transport();
    let asked = member.in_time(async move {
        poll_fn(|context| transport.poll_ready(context)).await?;
        transport.call(packet).await
    });
    asked.await.map_err(TransportErrorKind::custom)?
}

/// What an answer means. Nodes word the same error differently, so of an error only its data count, which are the
/// contract's.
fn compared(answer: ResponsePacket) -> Compared {
    let meaning = answer.responses().iter().map(|response| match &response.payload {
        ResponsePayload::Success(value) => value.get().trim().to_ascii_lowercase(),
        ResponsePayload::Failure(error) => {
            format!("error {}", error.data.as_ref().map_or("", |data| data.get()).to_ascii_lowercase())
        }
    });
    Compared { meaning: meaning.collect(), answer }
}

fn is_null(answer: &ResponsePacket) -> bool {
    answer
        .responses()
        .iter()
        .all(|response| matches!(&response.payload, ResponsePayload::Success(value) if value.get().trim() == "null"))
}

/// The beginning of a long answer, such as a contract's code.
fn shortened(answer: String) -> String {
    const SHOWN: usize = 80;
    if answer.chars().count() <= SHOWN {
        return answer;
    }
    answer.chars().take(SHOWN).chain("...".chars()).collect()
}
