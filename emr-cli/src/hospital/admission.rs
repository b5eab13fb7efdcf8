//! Admission: of the hospital itself, of doctors that it endorses, and of accounts that a registrar admits.

use std::{path::Path, time::Duration};

use alloy::providers::DynProvider;
use emr_chain::Rollup;
use emr_client::{
    ClientError, Connections,
    client::Client,
    flow::admission::{self as flow, AdmissionError},
    profile::Profile,
    verify::card::Card,
};
use emr_core::{AccountIndex, Role};
use emr_crypto::Identity;

use super::{HOSPITAL, site::Site};
use crate::{
    failure::{Exit, Failure, OrExit},
    on_l1,
    options::Options,
    report::{Done, print},
};

/// Registers a site's hospital with its own ether, unless it is registered already. Admits it if it is also the
/// registrar.
///
/// # Errors
/// Fails if the node or the contract refuses.
pub async fn enroll(profile: Profile, identity: Identity, site: &Site) -> Result<Client, Failure> {
    // The operator named the chain when they deployed, and made the contract.
    let connections = Connections::new(site.node_here().as_str(), site.rpc.url().as_str(), site.plain)?
        .on_chain(Some(site.deployment.chain_id))
        .at_contract(Some(site.deployment.contract));
    let client = Client::join_through(profile, identity, &connections).await?;
    let account = client.register_on_l1(None).await?;
    let registrars = client.rollup().parameters().await.or_exit(Exit::Unavailable)?.registrars;
    if registrars.contains(&client.ethereum_address()) {
        admit_if_waiting(client.rollup(), &client.card()).await?;
        // Waits for the node. Until it knows the hospital, nobody can be invited or log in.
        let known = client.wait_registered(false, Duration::from_millis(100), Duration::from_secs(60)).await;
        known?;
    } else if client.rollup().pending(account).await.or_exit(Exit::Unavailable)?.is_some() {
        eprintln!(
            "hospital {account} waits for a registrar ({}), who needs the card that `emr-hospital whoami` prints; until then nobody can \
             log in here",
            registrars.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(client)
}

/// As the registrar, admits a card's owner, unless they are admitted already.
///
/// # Errors
/// Fails if the card differs from the registration that waits on L1, or if the contract refuses.
pub async fn admit_if_waiting(registrar: &Rollup<DynProvider>, card: &Card) -> Result<(), Failure> {
    match flow::admit(registrar, card).await {
        Ok(_) | Err(ClientError::Admission(AdmissionError::NotWaiting(_))) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A registrar's decision about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Verdict {
    /// Admit the account
    Admit,
    /// Suspend the account, or hold its registration back
    Suspend,
    /// End the suspension of the account, or no longer hold its registration back
    Reinstate,
}

/// `endorse`: lets the doctor with this card register as a doctor of this hospital, or no longer.
///
/// # Errors
/// Fails if the card is not a doctor's, or if the contract refuses.
pub async fn endorse(options: &Options, card: &Path, withdraw: bool) -> Result<(), Failure> {
    let card = crate::account::read_card(card)?;
    if card.role != Role::Doctor {
        return Err(Failure::new(
            Exit::Input,
            format!("only doctors belong to a hospital; this is a {}'s card", card.role),
        ));
    }
    let client = on_l1::open(options, HOSPITAL).await?;
    card.check_instance(client.rollup().instance())?;
    let doctor = card.ethereum;
    let done = if withdraw {
        let receipt = client.rollup().withdraw_endorsement(doctor).await?;
        Done::new(
            format!(
                "{doctor} can no longer become a doctor of this hospital. This changes nothing for an admitted one"
            ),
            &receipt,
        )
    } else {
        let receipt = client.rollup().endorse(doctor).await?;
        Done::new(format!("{doctor} may register as a doctor of this hospital"), &receipt)
    };
    print(&done, options.json)
}

/// `registrar`: admits, suspends or reinstates an account. `who` is a card file, or an account number to suspend or reinstate.
///
/// # Errors
/// Fails if this identity is no registrar, or if the contract refuses.
pub async fn registrar(options: &Options, verdict: Verdict, who: &str) -> Result<(), Failure> {
    // Read first: a file that is no card needs no Ethereum node.
    let named = Named::read(who)?;
    // L1 is enough: a registrar need not be a participant, nor have a node.
    let client = on_l1::open(options, HOSPITAL).await?;
    let registrar = client.rollup();
    let (done, receipt) = match (verdict, &named) {
        (Verdict::Admit, Named::Number(_)) => {
            let message = "an admission needs the card that the doctor or hospital showed you: its keys are admitted";
            return Err(Failure::new(Exit::Usage, message));
        }
        (Verdict::Admit, Named::Card(card)) => {
            let (admitted, receipt) = flow::admit(registrar, card).await?;
            let of = admitted.org.map_or(String::new(), |org| format!(" of hospital {org}"));
            let (role, account) = (admitted.role, admitted.account);
            (format!("{role} {account}{of} is admitted, with the keys of this card; the next batch takes it"), receipt)
        }
        (Verdict::Suspend, named) => {
            let (account, which) = named.account(registrar).await?;
            let receipt = registrar.suspend(account).await?;
            (format!("{which} is suspended; if it was admitted, from the batch on that takes the entry"), receipt)
        }
        (Verdict::Reinstate, named) => {
            let (account, which) = named.account(registrar).await?;
            let receipt = registrar.reinstate(account).await?;
            (format!("{which} is reinstated; if it was admitted, from the batch on that takes the entry"), receipt)
        }
    };
    print(&Done::new(done, &receipt), options.json)
}

/// How an operator names an account.
#[derive(Debug)]
enum Named {
    Number(AccountIndex),
    Card(Box<Card>),
}

impl Named {
    fn read(who: &str) -> Result<Self, Failure> {
        match who.parse() {
            Ok(account) => Ok(Self::Number(account)),
            Err(_) => Ok(Self::Card(Box::new(crate::account::read_card(Path::new(who))?))),
        }
    }

    /// The account, and what to call it. A card can be of an owner before the present one, and then the operator reads who owns the account now.
    async fn account(&self, rollup: &Rollup<DynProvider>) -> Result<(AccountIndex, String), Failure> {
        let card = match self {
            Self::Number(account) => return Ok((*account, format!("account {account}"))),
            Self::Card(card) => card,
        };
        let account = flow::account_of_card(rollup, card).await?;
        let now = rollup.account(account).await?.map(|found| found.owner).filter(|owner| *owner != card.ethereum);
        let which = now.map_or_else(
            || format!("account {account}"),
            |owner| format!("account {account}, which {owner} owns now and {} owned before,", card.ethereum),
        );
        Ok((account, which))
    }
}
