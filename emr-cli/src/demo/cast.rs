//! All participants, connected and registered.

use std::{path::Path, time::Duration};

use emr_client::{client::Client, verify::card::Card};
use emr_core::{AccountIndex, UnixTime};

use super::{
    actors::Actor,
    outcome::{Accounts, Teller},
};
use crate::{
    failure::{Exit, Failure, OrExit},
    hospital::{admission, site::Site},
};

/// How often the node is asked whether it knows a registration.
const SOON: Duration = Duration::from_millis(100);
/// How long to wait for that.
const LIMIT: Duration = Duration::from_secs(120);

/// All participants.
pub(super) struct Cast {
    pub(super) hospital: Client,
    pub(super) doctor_a: Client,
    pub(super) doctor_b: Client,
    pub(super) patient: Client,
    pub(super) accounts: Accounts,
    /// The L1 gas of each registration, in the order of the accounts.
    pub(super) register_gas: [u64; 4],
    pub(super) patient_card: Card,
}

impl Cast {
    /// Connects all participants, registers those who are not registered yet, and admits them as the registrar.
    pub(super) async fn enroll(
        actors: [&Actor; 4],
        passphrase_file: &Path,
        site: &Site,
        tell: &Teller,
    ) -> Result<Self, Failure> {
        let [hospital, doctor_a, doctor_b, patient] = actors;
        let connect = |actor: &Actor| {
            let plain = site.plain;
            let (actor, node, rpc) = (actor.clone(), site.node.url().to_string(), site.rpc.url().to_string());
            async move { actor.connect(passphrase_file, &node, &rpc, plain).await }
        };
        let (profile, identity) = hospital.open(passphrase_file)?;
        let enrolled = admission::enroll(profile, identity, site).await?;
        enrolled.wait_registered(false, SOON, LIMIT).await.or_exit(Exit::Unavailable)?;
        drop(enrolled);
        // Connects again, because only now the node knows its hospital's account.
        let hospital = connect(hospital).await?;
        let organisation = hospital.account().or_exit(Exit::Internal)?;

        let doctor_a = connect(doctor_a).await?;
        if doctor_a.account().is_err() {
            hospital.rollup().endorse(doctor_a.ethereum_address()).await.or_exit(Exit::Refused)?;
        }
        let doctor_a = join(doctor_a, Some(organisation), &hospital).await?;
        let doctor_b = join(connect(doctor_b).await?, None, &hospital).await?;
        let patient = join(connect(patient).await?, None, &hospital).await?;
        let account = |client: &Client| client.account().or_exit(Exit::Internal);
        let accounts = Accounts {
            hospital: organisation,
            doctor_a: account(&doctor_a)?,
            doctor_b: account(&doctor_b)?,
            patient: account(&patient)?,
        };
        let Accounts { hospital: h, doctor_a: a, doctor_b: b, patient: p } = accounts;
        tell.say(format!(
            "accounts: hospital {h}, doctor A {a} (of the hospital, with its consent), doctor B {b} (of none), patient {p}"
        ));
        let mut register_gas = [0; 4];
        for (gas, account) in register_gas.iter_mut().zip([h, a, b, p]) {
            *gas = gas_of_registration(&hospital, account).await?;
        }
        let [h, a, b, p] = register_gas;
        tell.say(format!("registered on L1 through its queue, in this order, with {h}, {a}, {b} and {p} gas"));
        let patient_card = patient.card();
        Ok(Self { hospital, doctor_a, doctor_b, patient, accounts, register_gas, patient_card })
    }
}

/// Registers a participant at the hospital's expense. Waits until they are admitted and the node knows them.
async fn join(client: Client, org: Option<AccountIndex>, registrar: &Client) -> Result<Client, Failure> {
    let expires = UnixTime::now().saturating_add(3600);
    let invitation = registrar.profile().invite(registrar.keys(), expires).or_exit(Exit::Internal)?;
    let registered = client.register(org, Some(&invitation)).await;
    registered?;
    admission::admit_if_waiting(registrar.rollup(), &client.card()).await?;
    client.wait_registered(false, SOON, LIMIT).await?;
    Ok(client)
}

async fn gas_of_registration(client: &Client, account: AccountIndex) -> Result<u64, Failure> {
    let receipt = client.rollup().registration_of(account).await.or_exit(Exit::Unavailable)?;
    let unknown = || Failure::new(Exit::Unavailable, format!("L1 does not show the registration of account {account}"));
    Ok(receipt.ok_or_else(unknown)?.gas_used)
}
