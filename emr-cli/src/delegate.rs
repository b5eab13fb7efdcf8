//! Delegates: `emr-patient delegate`, `emr-doctor grant` and `emr-doctor revoke`.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use emr_client::{
    client::Client,
    flow::delegate::RevokedFor,
    flow::grant::{Granted, History},
    verify::card::Card,
};
use emr_core::{AccountIndex, Class, Rights, UnixTime};
use serde::Serialize;

use crate::{
    account, cards,
    failure::{Exit, Failure, OrExit},
    light::Access,
    options::{parse_classes, parse_rights, parse_until},
    records,
    report::{Answer, print, warn_of_age, written},
};

/// How long a delegate is named if the patient says no end: a year, in seconds.
const A_YEAR: u64 = 365 * 24 * 3600;

/// What a delegate can and cannot do, as the help says it.
const DELEGATE_HELP: &str = "\
A delegate can, for these classes and until this time:
  - read your records
  - grant others to read, to write, or both, but not beyond these classes and this time
  - revoke such grants, also those that you gave
A delegate cannot:
  - name other delegates, or end another delegate's grant
  - grant to themselves or to their own hospital
  - change the keys of your records: when a delegate revokes, the rights end at once, and
    your own program makes new keys when it next runs
You can revoke the delegate at any time (`revoke CARD`). What the delegate granted stays until you
revoke it: `grants` and `audit` show who gave it. Your own operations go before a delegate's.";

/// The arguments of `emr-patient delegate`.
#[derive(Debug, Args)]
#[command(after_long_help = DELEGATE_HELP)]
pub struct Delegate {
    /// Card of the doctor
    card: PathBuf,
    /// Classes of records, separated by commas, or `all`
    #[arg(long, value_name = "CLASSES")]
    class: String,
    /// The end: a date (2027-01-31, to its end in UTC) or a time (2027-01-31T12:00:00Z) [default: in a year]
    #[arg(long, value_name = "DATE", value_parser = parse_until)]
    until: Option<UnixTime>,
    /// The delegate reads, and lets others read, only records that are written from now on. Older keys that they already have stay with them
    #[arg(long)]
    from_now: bool,
    /// Wait until a batch has settled it
    #[arg(long)]
    wait: bool,
}

/// The arguments of `emr-doctor grant`.
#[derive(Debug, Args)]
pub struct GrantFor {
    /// Card of the doctor or hospital who gets access
    card: PathBuf,
    /// The patient for whom you act: their card, or their account number if you gave their card before
    #[arg(long = "for", value_name = "PATIENT")]
    patient: String,
    /// Classes of records, separated by commas
    #[arg(long, value_name = "CLASSES")]
    class: String,
    /// The rights: read, write, or read,write
    #[arg(long, value_parser = parse_rights)]
    rights: Rights,
    /// The end: a date (2027-01-31, to its end in UTC) or a time (2027-01-31T12:00:00Z)
    #[arg(long, value_name = "DATE", value_parser = parse_until)]
    until: UnixTime,
    /// Wait until a batch has settled it
    #[arg(long)]
    wait: bool,
}

/// The arguments of `emr-doctor revoke`.
#[derive(Debug, Args)]
pub struct RevokeFor {
    /// Card of the doctor or hospital whose access ends
    card: PathBuf,
    /// The patient for whom you act: their card, or their account number if you gave their card before
    #[arg(long = "for", value_name = "PATIENT")]
    patient: String,
    /// Only these classes, separated by commas
    #[arg(long, value_name = "CLASSES", default_value = "all")]
    class: String,
    /// Wait until a batch has settled it
    #[arg(long)]
    wait: bool,
}

/// Arguments with the card that they name.
#[derive(Debug)]
pub struct Named<A> {
    arguments: A,
    card: Card,
}

impl Delegate {
    /// Reads the card before anything else is opened.
    ///
    /// # Errors
    /// Fails if the file is not a card, or a class does not exist.
    pub fn read(self) -> Result<Named<Self>, Failure> {
        parse_classes(&self.class)?;
        Ok(Named { card: account::read_card(&self.card)?, arguments: self })
    }
}

impl GrantFor {
    /// Reads the card before anything else is opened.
    ///
    /// # Errors
    /// Fails if the file is not a card, or a class does not exist.
    pub fn read(self) -> Result<Named<Self>, Failure> {
        parse_classes(&self.class)?;
        Ok(Named { card: account::read_card(&self.card)?, arguments: self })
    }
}

impl RevokeFor {
    /// Reads the card before anything else is opened.
    ///
    /// # Errors
    /// Fails if the file is not a card, or a class does not exist.
    pub fn read(self) -> Result<Named<Self>, Failure> {
        parse_classes(&self.class)?;
        Ok(Named { card: account::read_card(&self.card)?, arguments: self })
    }
}

impl Named<Delegate> {
    /// Names the delegate.
    ///
    /// # Errors
    /// Fails if the card does not hold, or the node refuses or does not answer.
    pub async fn run(self, client: &Client, json: bool) -> Result<(), Failure> {
        let Delegate { class, until, from_now, wait, .. } = self.arguments;
        let until = until.unwrap_or_else(|| UnixTime::now().saturating_add(A_YEAR));
        let history = if from_now { History::FromNow } else { History::Included };
        let granted = client.delegate(&self.card, parse_classes(&class)?, until, history).await?;
        print(&DelegateAnswer { given: Given::of(client, granted, wait).await? }, json)
    }
}

impl Named<GrantFor> {
    /// Grants for the patient.
    ///
    /// # Errors
    /// Fails if a card does not hold, or the node refuses or does not answer.
    pub async fn run(self, client: &Client, json: bool) -> Result<(), Failure> {
        let GrantFor { patient, class, rights, until, wait, .. } = self.arguments;
        let patient = patient_named(client, &patient).await?;
        let of = patient.registered().or_exit(Exit::Input)?;
        let granted = client.grant_for(&patient, &self.card, rights, parse_classes(&class)?, until).await?;
        print(&GrantForAnswer { patient: of, given: Given::of(client, granted, wait).await? }, json)
    }
}

impl Named<RevokeFor> {
    /// Revokes for the patient.
    ///
    /// # Errors
    /// Fails if a card does not hold, or the node refuses or does not answer.
    pub async fn run(self, client: &Client, json: bool) -> Result<(), Failure> {
        let RevokeFor { patient, class, wait, .. } = self.arguments;
        // Also the check of the patient's card must not stop at an old block.
        let client = &client.for_revoking();
        let patient = patient_named(client, &patient).await?;
        let revoked = client.revoke_for(&patient, &self.card, parse_classes(&class)?).await;
        warn_of_age(client);
        let RevokedFor { patient, grantee, changed, .. } = revoked?;
        let slots = changed.iter().map(|(slot, _)| slot.get()).collect();
        let mut operations = Vec::new();
        for (_, acknowledged) in &changed {
            operations.push(records::promise(client, acknowledged, wait).await?);
        }
        print(&RevokeForAnswer { patient, grantee, slots, operations }, json)
    }
}

/// The card of the patient for whom a delegate acts: a file, or the account of a card that was given before.
async fn patient_named(client: &Client, name: &str) -> Result<Card, Failure> {
    match name.parse::<AccountIndex>() {
        Ok(account) => cards::patient(client, Some(account), None).await,
        Err(_) => cards::patient(client, None, Some(Path::new(name))).await,
    }
}

#[derive(Debug, Serialize)]
struct Given {
    grant: Access,
    /// The grant whose place it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<Access>,
    stays_open: Vec<Class>,
    may_take_effect_until: String,
    #[serde(flatten)]
    promise: records::Promise,
}

impl Given {
    async fn of(client: &Client, granted: Granted, wait: bool) -> Result<Self, Failure> {
        let promise = records::promise(client, &granted.acknowledged, wait).await?;
        let may_take_effect_until = written(granted.may_take_effect_until);
        let stays_open = granted.stays_open.classes().collect();
        let access = |leaf| Access::of(granted.slot.get(), leaf);
        let (grant, replaces) = (access(&granted.grant), granted.replaces.as_ref().map(access));
        Ok(Self { grant, replaces, stays_open, may_take_effect_until, promise })
    }

    /// Writes the grant, and the one whose place it takes.
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.grant.write(out)?;
        if let Some(replaces) = &self.replaces {
            writeln!(out, "  it takes the place of this grant of the patient or of a delegate, which ends:")?;
            replaces.write(out)?;
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct DelegateAnswer {
    #[serde(flatten)]
    given: Given,
}

impl Answer for DelegateAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.given.write(out)?;
        writeln!(out, "  they may grant and revoke for you within this, and `grants` and `audit` show what they did")?;
        if !self.given.stays_open.is_empty() {
            let classes: Vec<_> = self.given.stays_open.iter().map(Class::to_string).collect();
            writeln!(
                out,
                "  they could already read {}: what they could open until now stays open to them, and they can hand it on",
                classes.join(", ")
            )?;
        }
        self.given.promise.write(out)
    }
}

#[derive(Debug, Serialize)]
struct GrantForAnswer {
    patient: AccountIndex,
    #[serde(flatten)]
    given: Given,
}

impl Answer for GrantForAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "granted for patient {}; the patient sees that you did it", self.patient)?;
        self.given.write(out)?;
        self.given.promise.write(out)
    }
}

#[derive(Debug, Serialize)]
struct RevokeForAnswer {
    patient: AccountIndex,
    grantee: AccountIndex,
    slots: Vec<u64>,
    operations: Vec<records::Promise>,
}

impl Answer for RevokeForAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let slots: Vec<_> = self.slots.iter().map(u64::to_string).collect();
        writeln!(
            out,
            "access of account {} to records of patient {} under the grants in slots {} revoked, for the classes that you named",
            self.grantee,
            self.patient,
            slots.join(", ")
        )?;
        writeln!(
            out,
            "they may have other grants, which you cannot end or that wait for a batch: the patient's `grants` shows them. New keys follow when \
             the patient's own program next runs, so ask the patient to run it"
        )?;
        self.operations.iter().try_for_each(|promise| promise.write(out))
    }
}
