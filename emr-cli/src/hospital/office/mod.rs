//! `office`: who holds the rollup's offices, and what sequencer, hospitals, registrars and guardians do with them. Needs L1 only: a hospital
//! whose node is silent is replaced this way.

mod officers;
mod propose;
mod show;

use std::path::Path;

use alloy::primitives::{Address, B256, U256};
use clap::Subcommand;
use emr_chain::ProposalState;
use emr_client::{ClientError, L1Client, flow::admission::account_of_card};
use emr_core::AccountIndex;
pub use officers::OfficerArguments;
pub(super) use officers::options;
use propose::Proposed;

use super::{HOSPITAL, fees};
use crate::{
    account::read_card,
    failure::{Exit, Failure},
    on_l1,
    options::Options,
    participant,
    report::{Done, Progress, print, written},
};

/// Commands about the rollup's offices.
#[derive(Clone, Debug, Subcommand)]
pub enum Office {
    /// Show who holds the offices, who is elected, the last halt, the bond, and what is proposed
    Show,
    /// As a hospital that was active for 30 days, vote for a hospital as sequencer
    Vote {
        /// The hospital: an account number or a card file; without it, the vote is taken back
        hospital: Option<String>,
    },
    /// Count the votes for a hospital again: which hospitals count changes with time
    Count {
        /// The hospital: an account number or a card file
        hospital: String,
    },
    /// As the sequencer, offer the office, with its bond, to another account
    Offer {
        /// The account; without it, the offer is taken back
        to: Option<Address>,
    },
    /// Take the sequencer's office: offered, or two days after a vote
    Take,
    /// As a guardian, agree to halt settlement for 21 days, for example when proofs can be forged
    Halt,
    /// As a guardian, agree to end a halt
    Resume,
    /// As a guardian, agree to cancel a proposal
    Veto {
        /// The proposal's identifier
        proposal: B256,
    },
    /// As a registrar, propose a change; it waits for 14 days at least
    #[command(subcommand)]
    Propose(propose::Propose),
    /// Withdraw a proposal of your own
    Withdraw {
        /// The proposal's identifier
        proposal: B256,
    },
    /// Execute a proposal that has waited long enough, as anyone may
    Execute {
        /// The proposal's identifier
        proposal: B256,
    },
    /// The sequencer's bond, from which the owners of overdue urgent entries are paid
    #[command(subcommand)]
    Bond(Bond),
}

/// Commands about the bond.
#[derive(Clone, Debug, Subcommand)]
pub enum Bond {
    /// Add to the bond of the sequencer
    Deposit {
        /// The sum in ether
        #[arg(value_parser = parse_sum)]
        ether: U256,
        /// Whose bond [default: the sequencer's]
        #[arg(long, value_name = "ADDRESS")]
        of: Option<Address>,
    },
    /// Withdraw your bond, 30 days after your last term as sequencer
    Withdraw {
        /// The recipient [default: this identity's Ethereum account]
        #[arg(long, value_name = "ADDRESS")]
        to: Option<Address>,
    },
}

/// Parses a sum in ether. Returns wei.
fn parse_sum(text: &str) -> Result<U256, String> {
    fees::wei(text).filter(|sum| !sum.is_zero()).ok_or_else(|| "write a sum in ether like 0.5".to_owned())
}

/// Shows who holds the offices. Needs no keys.
async fn shown(options: &Options) -> Result<(), Failure> {
    let profile = participant::profile(options, HOSPITAL)?;
    let rollup = on_l1::read_only(options, &profile).await?;
    let waiting = Progress::start("asking L1");
    let shown = show::read(&rollup).await;
    drop(waiting);
    print(&shown?, options.json)
}

/// Runs a command about the offices.
///
/// # Errors
/// Fails if L1 cannot be asked, or if the contract refuses.
pub async fn run(options: &Options, command: Office) -> Result<(), Failure> {
    if matches!(command, Office::Show) {
        return shown(options).await;
    }
    let client = on_l1::open(options, HOSPITAL).await?;
    client.require_ether().await?;
    let rollup = client.rollup();
    let waiting = Progress::start("asking L1");
    let done = match command {
        Office::Show => return shown(options).await,
        Office::Propose(change) => {
            let proposed = Proposed::new(rollup, change.change(rollup).await?).await;
            drop(waiting);
            return print(&proposed?, options.json);
        }
        Office::Vote { hospital: None } => Done::new("the vote is taken back", &refused(rollup.vote(None).await)?),
        Office::Vote { hospital: Some(hospital) } => {
            let account = account(&client, &hospital).await?;
            let receipt = refused(rollup.vote(Some(account)).await)?;
            Done::new(format!("voted for hospital {account}; {}", standing(&client, account).await?), &receipt)
        }
        Office::Count { hospital } => {
            let account = account(&client, &hospital).await?;
            let receipt = refused(rollup.count_votes(account).await)?;
            Done::new(standing(&client, account).await?, &receipt)
        }
        Office::Offer { to } => {
            let receipt = refused(rollup.offer_office(to).await)?;
            let done = to.map_or("the offer is taken back".to_owned(), |to| {
                format!("the office and its bond are offered to {to}, who takes them with `emr-hospital office take`")
            });
            Done::new(done, &receipt)
        }
        Office::Take => take(&client).await?,
        Office::Halt => {
            let receipt = refused(rollup.agree_to_halt().await)?;
            let halt = refused(rollup.last_halt().await)?;
            let on = halt.filter(|halt| halt.is_on(emr_core::UnixTime::now()));
            let done = on.map_or("agreed; more guardians must agree within three days".to_owned(), |halt| {
                format!("settlement is halted until {}", written(halt.until))
            });
            Done::new(done, &receipt)
        }
        Office::Resume => {
            let receipt = refused(rollup.agree_to_resume().await)?;
            let halt = refused(rollup.last_halt().await)?;
            let on = halt.is_some_and(|halt| halt.is_on(emr_core::UnixTime::now()));
            let done = if on { "agreed; more guardians must agree within three days" } else { "settlement goes on" };
            Done::new(done, &receipt)
        }
        Office::Veto { proposal } => {
            let receipt = refused(rollup.agree_to_veto(proposal).await)?;
            let state = show::proposal(rollup, proposal).await?.state;
            let cancelled = state == ProposalState::Cancelled;
            let done = if cancelled { "cancelled" } else { "agreed; more guardians must agree within three days" };
            Done::new(done, &receipt)
        }
        Office::Withdraw { proposal } => Done::new("withdrawn", &refused(rollup.withdraw_proposal(proposal).await)?),
        Office::Execute { proposal } => {
            let proposal = show::proposal(rollup, proposal).await?;
            let change = proposal.change.ok_or_else(|| {
                let message = "this program did not make that proposal and does not know what it does: execute it with another one";
                Failure::new(Exit::Refused, message)
            })?;
            let receipt = refused(rollup.execute(&change, proposal.salt).await)?;
            Done::new(format!("executed: {change}"), &receipt)
        }
        Office::Bond(Bond::Deposit { ether: sum, of }) => {
            let of = match of {
                Some(of) => of,
                None => refused(rollup.sequencer().await)?,
            };
            let receipt = refused(rollup.deposit_bond(of, sum).await)?;
            Done::new(format!("{} ether are added to the bond of {of}", crate::report::ether(sum)), &receipt)
        }
        Office::Bond(Bond::Withdraw { to }) => {
            let to = to.unwrap_or_else(|| client.ethereum_address());
            Done::new(format!("the bond is at {to} now"), &refused(rollup.withdraw_bond(to).await)?)
        }
    };
    drop(waiting);
    print(&done, options.json)
}

/// Takes the sequencer's office, by whichever way is open.
async fn take(client: &L1Client) -> Result<Done, Failure> {
    let (rollup, own) = (client.rollup(), client.ethereum_address());
    let offices = refused(rollup.offices().await)?;
    if offices.sequencer == own {
        return Err(Failure::new(Exit::Refused, format!("{own} is the sequencer already")));
    }
    let receipt = if offices.offered_to == Some(own) { rollup.accept_office().await } else { rollup.install().await };
    Ok(Done::new(
        format!(
            "{own} is the sequencer now; `emr-hospital adopt` and `serve` go on with the operation log of the one before"
        ),
        &refused(receipt)?,
    ))
}

/// The votes for a hospital.
async fn standing(client: &L1Client, account: AccountIndex) -> Result<String, Failure> {
    let rollup = client.rollup();
    let (votes, offices) = (refused(rollup.votes_for(account).await)?, refused(rollup.offices().await)?);
    let elected = (offices.elected == Some(account)).then_some(offices.elected_from).flatten();
    let voters = offices.voters;
    Ok(elected.map_or_else(
        || format!("it has {votes} of {voters} votes, and needs more than half"),
        |from| format!("it has {votes} of {voters} votes, and can take the office from {} on", written(from)),
    ))
}

/// The account that an operator names, by its number or by a card.
async fn account(client: &L1Client, who: &str) -> Result<AccountIndex, Failure> {
    if let Ok(account) = who.parse() {
        return Ok(account);
    }
    let card = read_card(Path::new(who))?;
    let found = account_of_card(client.rollup(), &card).await?;
    if card.account.is_some_and(|account| account != found) {
        let message = format!(
            "the card is of another account than {found}, which L1 names: ask for a new card, or use another Ethereum node"
        );
        return Err(Failure::new(Exit::Unverified, message));
    }
    Ok(found)
}

fn refused<T>(answer: Result<T, emr_chain::RollupError>) -> Result<T, Failure> {
    Ok(answer.map_err(ClientError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_in_ether() {
        assert_eq!(parse_sum("0.5"), Ok(U256::from(500_000_000_000_000_000_u64)));
        for text in ["", "0", "-1", "1e3", "half", ".", "1.0000000000000000001"] {
            assert!(parse_sum(text).is_err(), "{text}");
        }
    }
}
