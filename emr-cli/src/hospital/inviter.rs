//! `inviter`: lists who invites at this hospital's expense, and ends or resumes a doctor's invitations.

use std::{io::Write, path::Path};

use alloy::primitives::Address;
use emr_api::{
    InviterView,
    form::{AddressText, As},
};
use emr_client::{client::Client, flow::admission::account_of_card};
use emr_core::{AccountIndex, Role};
use serde::Serialize;

use crate::{
    account::read_card,
    failure::{Exit, Failure, OrExit},
    options::Options,
    participant,
    report::{Answer, print, written},
};

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Inviters(Vec<InviterView>);

impl Answer for Inviters {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.0.is_empty() {
            return writeln!(out, "no invitation was used today, and no doctor's invitations are ended");
        }
        self.0.iter().try_for_each(|InviterView { address, today, ended }| {
            let ended = ended.map_or(String::new(), |since| format!("; ended {}", written(since)));
            writeln!(out, "{address}  used today: {today}{ended}")
        })
    }
}

/// `inviter list`.
///
/// # Errors
/// Fails if the node refuses.
pub async fn list(options: &Options) -> Result<(), Failure> {
    let client = participant::open(options, Role::Hospital).await?;
    let inviters = client.node().inviters().await?;
    print(&Inviters(inviters), options.json)
}

#[derive(Debug, Serialize)]
struct Set {
    #[serde(with = "As::<AddressText>")]
    address: Address,
    counts: bool,
}

impl Answer for Set {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let count = if self.counts {
            "are accepted again"
        } else {
            "are no longer accepted, except from people who began to use one"
        };
        writeln!(out, "invitations of {} {count}", self.address)
    }
}

/// `inviter end` and `inviter resume`: `who` is an account number or a card file.
///
/// # Errors
/// Fails if there is no such account, or if the node refuses.
pub async fn set(options: &Options, who: &str, counts: bool) -> Result<(), Failure> {
    let card = if who.parse::<u64>().is_ok() { None } else { Some(read_card(Path::new(who))?) };
    let client = participant::open(options, Role::Hospital).await?;
    let account = match card {
        Some(card) => account_of_card(client.rollup(), &card).await?,
        None => who.parse().or_exit(Exit::Input)?,
    };
    let address = registrant(&client, account).await?;
    client.node().set_inviter(address, counts).await?;
    print(&Set { address, counts }, options.json)
}

async fn registrant(client: &Client, account: AccountIndex) -> Result<Address, Failure> {
    let found = client.rollup().registrant_of(account).await.or_exit(Exit::Unavailable)?;
    found.ok_or_else(|| Failure::new(Exit::Input, format!("there is no account {account}: check the number")))
}
