//! `owner`: who owns the account on L1. Guardians are named before the keys are lost; a new identity takes the account over with their help, or from
//! the old one.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use alloy::primitives::Address;
use clap::Subcommand;
use emr_chain::{AccountGuardians, Approval, SignedTakeover};
use emr_client::{
    L1Client,
    flow::ownership::{Ownership, ownership},
    verify::card::CardError,
};
use emr_core::{AccountIndex, Role};
use emr_durable::Disk;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    account::read_card,
    failure::{Exit, Failure},
    input, on_l1,
    options::Options,
    participant,
    report::{Answer, Done, Progress, print, written},
};

/// Commands about the owner of an account.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Owner {
    /// Show who owns an account, who can recover it, and whether a recovery waits
    Show {
        /// The account [default: this identity's]
        account: Option<AccountIndex>,
    },
    /// Name those who can give your account to a new identity of yours if you lose this one; without any, nobody can
    Guardians {
        /// Their cards, or the addresses of their Ethereum accounts
        guardians: Vec<String>,
        /// How many of them must agree
        #[arg(long, value_name = "N", default_value = "0", required_unless_present = "none")]
        needed: u8,
        /// Have no guardians any more
        #[arg(long, conflicts_with_all = ["guardians", "needed"])]
        none: bool,
    },
    /// With a new identity, ask to take an account over. Tell its guardians, or its old identity, your Ethereum address in person
    Request {
        /// The account
        account: AccountIndex,
        /// The new file for the request
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// As a guardian, agree that the person who asks gets the account
    Approve {
        /// Their request
        request: PathBuf,
        /// The number of their account, as they told it in person
        #[arg(long, value_name = "ACCOUNT")]
        account: AccountIndex,
        /// Their new Ethereum address, as they told it in person
        #[arg(long, value_name = "ADDRESS")]
        person: Address,
        /// The new file for your agreement
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Begin the recovery to which enough guardians agreed; anyone can
    Recover {
        /// The request
        request: PathBuf,
        /// The agreements of guardians
        #[arg(required = true)]
        approvals: Vec<PathBuf>,
    },
    /// Finish a recovery when its seven days are over; anyone can
    Finish {
        /// The account
        account: AccountIndex,
    },
    /// Cancel the recovery of your account: you have this identity, or somebody else wants the account
    Cancel,
    /// Give your account to your new identity, at once and for ever
    HandOver {
        /// Its request
        request: PathBuf,
        /// Its Ethereum address
        #[arg(long, value_name = "ADDRESS")]
        person: Address,
    },
}

#[derive(Debug, Serialize)]
struct Shown {
    account: AccountIndex,
    owner: Address,
    registrant: Address,
    guardians: Vec<Address>,
    guardians_needed: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_to: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_from: Option<String>,
}

impl Shown {
    fn of(ownership: Ownership) -> Self {
        let Ownership { account, owner, registrant, guardians, recovery } = ownership;
        Self {
            account,
            owner,
            registrant,
            guardians: guardians.accounts,
            guardians_needed: guardians.needed,
            recovery_to: recovery.map(|(to, _)| to),
            recovery_from: recovery.map(|(_, from)| written(from)),
        }
    }
}

impl Answer for Shown {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "account {} belongs to {}", self.account, self.owner)?;
        if self.registrant != self.owner {
            writeln!(out, "it was registered by {}", self.registrant)?;
        }
        if self.guardians.is_empty() {
            writeln!(out, "it has no guardians: who loses its keys loses it")?;
        } else {
            writeln!(out, "{} of these guardians can recover it:", self.guardians_needed)?;
            self.guardians.iter().try_for_each(|guardian| writeln!(out, "  {guardian}"))?;
        }
        if let (Some(to), Some(from)) = (&self.recovery_to, &self.recovery_from) {
            writeln!(out, "RECOVERY: it goes to {to} from {from} on, unless its owner cancels (`owner cancel`)")?;
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Made<'a> {
    file: &'a Path,
    account: AccountIndex,
    new_owner: Address,
    valid_until: String,
    #[serde(skip)]
    next: &'static str,
}

impl Answer for Made<'_> {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { account, new_owner, valid_until, .. } = self;
        writeln!(out, "{}: account {account} to {new_owner}, valid until {valid_until}", self.file.display())?;
        writeln!(out, "{}", self.next)
    }
}

fn read<T: DeserializeOwned>(what: &'static str, file: &Path) -> Result<T, Failure> {
    let text = input::read_text(what, file)?;
    serde_json::from_str(&text).map_err(|_| {
        let message = format!("{} is not {what}: `owner request` and `owner approve` make such files", file.display());
        Failure::new(Exit::Input, message)
    })
}

fn keep(value: &impl Serialize, file: &Path) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    Disk::default().create(file, &text).map_err(|error| {
        Failure::new(Exit::Storage, format!("cannot make {}: {error}; name a new file", file.display()))
    })
}

/// The Ethereum account of a guardian, from a card or an address.
async fn guardian(client: &L1Client, who: &str) -> Result<Address, Failure> {
    if let Ok(address) = who.parse() {
        return Ok(address);
    }
    let card = read_card(Path::new(who))?;
    card.check_instance(client.rollup().instance())?;
    if let Some(account) = card.account
        && client.rollup().account(account).await?.is_none_or(|found| found.owner != card.ethereum)
    {
        return Err(CardError::Forged { account, field: "Ethereum address" }.into());
    }
    Ok(card.ethereum)
}

/// What L1 holds of the account that is named, or of this folder's. Needs no keys. `None` if the folder knows no account: then the identity tells.
async fn show(options: &Options, role: Role, account: Option<AccountIndex>) -> Result<Option<Shown>, Failure> {
    let profile = participant::profile(options, role)?;
    let known = profile.settings().ok().and_then(|known| known.account);
    let Some(account) = account.or(known) else { return Ok(None) };
    let rollup = on_l1::read_only(options, &profile).await?;
    Ok(Some(Shown::of(ownership(&rollup, account).await?)))
}

/// Runs a command about the owner of an account. Needs L1 only.
///
/// # Errors
/// Fails if L1 cannot be asked, if a file cannot be read or written, or if the contract refuses.
pub(crate) async fn run(options: &Options, role: Role, command: Owner) -> Result<(), Failure> {
    if let Owner::Show { account } = &command
        && let Some(shown) = show(options, role, *account).await?
    {
        return print(&shown, options.json);
    }
    let client = on_l1::open(options, role).await?;
    let json = options.json;
    let progress = Progress::start("asking L1");
    match command {
        Owner::Show { account } => {
            let account = account.map_or_else(|| own(&client), Ok)?;
            let shown = client.ownership(account).await?;
            drop(progress);
            print(&Shown::of(shown), json)
        }
        Owner::Guardians { guardians, needed, none } => {
            let mut accounts = Vec::new();
            for who in &guardians {
                accounts.push(guardian(&client, who).await?);
            }
            let most = accounts.len();
            if !none && (needed == 0 || usize::from(needed) > most) {
                let message = format!("of {most} guardians, from 1 to {most} must agree: say how many with --needed");
                return Err(Failure::new(Exit::Usage, message));
            }
            let (account, names) = (own(&client)?, accounts.clone());
            let receipt = client.set_guardians(AccountGuardians { accounts, needed }).await?;
            drop(progress);
            let done = if none {
                "the account has no guardians: who loses its keys loses it".to_owned()
            } else {
                let names: Vec<_> = names.iter().map(Address::to_string).collect();
                format!(
                    "{needed} of {most} guardians ({}) together can give account {account} to a new identity of yours; you have seven days to cancel \
                     that. They cannot read anything. Write down who they are, and the number of the account",
                    names.join(", ")
                )
            };
            print(&Done::new(done, &receipt), json)
        }
        Owner::Request { account, output } => {
            let signed = client.request_takeover(account).await?;
            drop(progress);
            keep(&signed, &output)?;
            let next = "give it to the guardians, or to the old identity, and tell them this address in person";
            print(&made(&signed, &output, next), json)
        }
        Owner::Approve { request, account, person, output } => {
            let signed: SignedTakeover = read("a request", &request)?;
            let approval = client.approve_takeover(&signed, (account, person)).await?;
            drop(progress);
            keep(&approval, &output)?;
            print(&made(&signed, &output, "give it back to the person who asks"), json)
        }
        Owner::Recover { request, approvals } => {
            let signed: SignedTakeover = read("a request", &request)?;
            let approvals: Vec<Approval> =
                approvals.iter().map(|file| read("an agreement", file)).collect::<Result<_, _>>()?;
            let (receipt, ripe_at) = client.begin_recovery(&signed, &approvals).await?;
            drop(progress);
            let account = signed.takeover.account;
            let done = format!(
                "the recovery began: `owner finish {account}` completes it from {} on, unless the owner cancels",
                written(ripe_at)
            );
            print(&Done::new(done, &receipt), json)
        }
        Owner::Finish { account } => {
            let receipt = client.finish_recovery(account).await?;
            drop(progress);
            print(&Done::new(format!("account {account} has its new owner; {PRESENT}"), &receipt), json)
        }
        Owner::Cancel => {
            let (receipt, guardians) = client.cancel_recovery().await?;
            drop(progress);
            // Who was the only guardian, and became the owner, does not expect that.
            let done = if guardians.needed == 0 {
                "the recovery is cancelled. The account has no guardians now: who loses its keys loses it. Name others with `owner guardians`"
            } else {
                "the recovery is cancelled"
            };
            print(&Done::new(done, &receipt), json)
        }
        Owner::HandOver { request, person } => {
            let signed: SignedTakeover = read("a request", &request)?;
            let receipt = client.hand_over(&signed, person).await?;
            drop(progress);
            print(&Done::new(format!("the account belongs to {person} now; {PRESENT}"), &receipt), json)
        }
    }
}

/// What a new owner does next.
const PRESENT: &str = "with the new identity, `rotate --present` gives it that identity's keys";

fn own(client: &L1Client) -> Result<AccountIndex, Failure> {
    client.account().ok_or_else(|| Failure::new(Exit::Usage, "this identity has no account: name one"))
}

fn made<'a>(signed: &SignedTakeover, file: &'a Path, next: &'static str) -> Made<'a> {
    let takeover = &signed.takeover;
    let valid_until = written(takeover.deadline);
    Made { file, account: takeover.account, new_owner: takeover.new_owner, valid_until, next }
}
