//! A running node, with everybody logged in.

use alloy::{eips::BlockNumberOrTag, providers::Provider};
use emr_api::{LoginChallenge, LoginChallengeRequest};
use emr_node::RunningNode;

use emr_testkit::{
    node::{Accounts, World},
    people::{Person, people},
};

use super::{
    Outcome,
    caller::{Answer, Caller},
    until,
};

/// A running node with everybody logged in.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) node: RunningNode,
    pub(crate) accounts: Accounts,
    pub(crate) hospital: Caller,
    pub(crate) doctor: Caller,
    pub(crate) stranger: Caller,
    pub(crate) patient: Caller,
    pub(crate) other: Caller,
}

/// A [`World`] with everybody in it.
pub(crate) trait Populated {
    /// Registers everybody, starts a node, and logs everybody in.
    async fn populated() -> Outcome<Scene>;
}

impl Populated for World {
    async fn populated() -> Outcome<Scene> {
        Scene::set(Self::new().await?).await
    }
}

impl Scene {
    pub(crate) async fn set(world: World) -> Outcome<Self> {
        let accounts = world.register_all().await?;
        let node = world.start().await?;
        Self::log_all_in(world, node, accounts).await
    }

    pub(crate) async fn log_all_in(world: World, node: RunningNode, accounts: Accounts) -> Outcome<Self> {
        let (people, domain) = (people(), world.domain());
        let log_in = |person: &'static Person, account| Caller::log_in(node.url().clone(), domain, person, account);
        Ok(Self {
            hospital: log_in(&people.hospital, accounts.hospital).await?,
            doctor: log_in(&people.doctor, accounts.doctor).await?,
            stranger: log_in(&people.stranger, accounts.stranger).await?,
            patient: log_in(&people.patient, accounts.patient).await?,
            other: log_in(&people.other, accounts.other).await?,
            world,
            node,
            accounts,
        })
    }

    /// Logs everybody in again after the node has seen L1's time.
    pub(crate) async fn log_in_again(self) -> Outcome<Self> {
        let Self { world, node, accounts, patient, .. } = self;
        let provider = world.rollup.provider();
        let newest = provider.get_block_by_number(BlockNumberOrTag::Latest).await?.ok_or("no block")?.header.timestamp;
        let request = LoginChallengeRequest { account: accounts.patient };
        until(|| async {
            let challenge: Answer<LoginChallenge> = patient.post("v1/login/challenge", &request).await;
            // Challenges expire after two minutes of the node's time.
            challenge.is_ok_and(|challenge| challenge.expires.get() >= newest + 120)
        })
        .await?;
        Self::log_all_in(world, node, accounts).await
    }

    /// Stops the node and starts it again on the same folders.
    pub(crate) async fn restart(self) -> Outcome<Self> {
        let Self { world, node, accounts, .. } = self;
        node.shutdown().await;
        let node = world.start().await?;
        Self::log_all_in(world, node, accounts).await
    }
}
