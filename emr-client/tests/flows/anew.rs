//! People who take an account over with new keys, and those who agree.

use alloy::primitives::{Address, B256};
use emr_chain::{Approval, RollupInstance, SignedTakeover, endpoint::Endpoint};
use emr_client::{Client, ClientError, L1Client, flow::ownership::OwnershipError, profile::Profile};
use emr_core::Role;
use emr_crypto::{Identity, ScryptCost};
use emr_testkit::people::{Member, Person};

use crate::scene::*;

/// The delay of a recovery, and an hour: blocks that come at once are a second apart, ahead of the clock.
pub(crate) const DELAY: u64 = 7 * 24 * 3600 + 3600;

/// A person with new keys, on a new device.
pub(crate) struct Anew(pub(crate) Person);

impl Anew {
    pub(crate) fn new(role: Role) -> Self {
        Self(Person::fresh(role, B256::repeat_byte(0x77)))
    }

    pub(crate) fn profile(&self, scene: &Scene) -> TestResult<(Profile, Identity)> {
        let folder = scene.folder.path().join("anew");
        let profile = if folder.exists() {
            Profile::open(&folder)?
        } else {
            Profile::create(&folder, &self.0.identity, &PASSPHRASE.into(), ScryptCost::Development)?
        };
        Ok((profile, self.0.identity.clone()))
    }

    pub(crate) async fn on_l1(&self, scene: &Scene) -> TestResult<L1Client> {
        through(scene, self.profile(scene)?, scene.endpoint()).await
    }

    pub(crate) async fn client(&self, scene: &Scene) -> TestResult<Client> {
        let (profile, identity) = self.profile(scene)?;
        Ok(Client::join_over(profile, identity, scene.node.url().as_str(), &scene.endpoint()).await?)
    }
}

/// Somebody who asks no hospital's node, through this Ethereum node.
pub(crate) async fn through(
    scene: &Scene,
    (profile, identity): (Profile, Identity),
    node: Endpoint,
) -> TestResult<L1Client> {
    let named = RollupInstance { chain_id: 31337, contract: scene.contract };
    Ok(L1Client::over(profile, identity, Some(named), (&[node], None)).await?)
}

/// Somebody who need not have joined a hospital's node. Their data folder must not be in use.
pub(crate) async fn as_guardian(scene: &Scene, person: Member) -> TestResult<L1Client> {
    through(scene, scene.profile(person)?, scene.endpoint()).await
}

/// What goes from one person to another goes through JSON.
pub(crate) fn sent<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> TestResult<T> {
    Ok(serde_json::from_str(&serde_json::to_string(value)?)?)
}

/// A guardian's agreement.
pub(crate) async fn approved(
    scene: &Scene,
    person: Member,
    request: &SignedTakeover,
    owner: Address,
) -> TestResult<Approval> {
    sent(&as_guardian(scene, person).await?.approve_takeover(request, (request.takeover.account, owner)).await?)
}

pub(crate) fn refused(error: ClientError) -> Option<OwnershipError> {
    match error {
        ClientError::Ownership(error) => Some(error),
        _ => None,
    }
}

/// Lets the delay of a recovery pass.
pub(crate) async fn seven_days(scene: &Scene) -> TestResult {
    scene.pass(DELAY).await
}
