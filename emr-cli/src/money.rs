//! Ether that the contracts hold for somebody: the forfeit of an overdue entry, and what was sent above a fee.

use std::io::Write;

use alloy::primitives::{Address, B256, U256};
use emr_chain::{Claim, L1Receipt, SettlementLayer};
use emr_client::ClientError;
use emr_core::Role;
use serde::Serialize;

use crate::{
    failure::{Exit, Failure},
    on_l1,
    options::Options,
    report::{Answer, Progress, ether, print},
};

/// Arguments of `claim`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ClaimArguments {
    /// The position of the entry in the urgent queue, which the command that made it printed
    index: u64,
    /// The recipient [default: this identity's Ethereum account]
    #[arg(long, value_name = "ADDRESS")]
    to: Option<Address>,
}

/// Arguments of `withdraw-credit`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CreditArguments {
    /// The recipient [default: this identity's Ethereum account]
    #[arg(long, value_name = "ADDRESS")]
    to: Option<Address>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Paid {
    to: Address,
    wei: String,
    tx_hash: B256,
    gas_used: u64,
    #[serde(skip)]
    amount: U256,
}

impl Paid {
    pub(crate) fn new(amount: U256, to: Address, receipt: &L1Receipt) -> Self {
        Self { to, wei: amount.to_string(), tx_hash: receipt.tx_hash, gas_used: receipt.gas_used, amount }
    }
}

impl Answer for Paid {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { to, amount, gas_used, tx_hash, .. } = self;
        writeln!(out, "{} ether are at {to} now ({gas_used} gas, {tx_hash})", ether(*amount))
    }
}

/// `claim`: takes the forfeit of an urgent entry of this identity that was settled late, from the bond of the sequencer that let it become
/// overdue.
///
/// # Errors
/// Fails if the entry was not settled late or is somebody else's, or if nothing is left of the bond.
pub(crate) async fn claim(options: &Options, role: Role, arguments: ClaimArguments) -> Result<(), Failure> {
    let client = on_l1::open(options, role).await?;
    client.require_ether().await?;
    let to = arguments.to.unwrap_or_else(|| client.ethereum_address());
    let waits = client.rollup().head().await.map_err(ClientError::from)?.queues.urgent.head <= arguments.index;
    if waits {
        let message = format!("entry {} of the urgent queue is not settled yet: claim after that", arguments.index);
        return Err(Failure::new(Exit::Refused, message));
    }
    let progress = Progress::start("waiting for the transaction");
    let claimed = client.rollup().claim_forfeit(arguments.index, to).await.map_err(ClientError::from)?;
    drop(progress);
    let Some(Claim { amount, receipt, .. }) = claimed else {
        let message =
            format!("entry {} of the urgent queue was not settled late: nothing is owed for it", arguments.index);
        return Err(Failure::new(Exit::Refused, message));
    };
    print(&Paid::new(amount, to, &receipt), options.json)
}

/// `withdraw-credit`: takes back what this identity sent to the urgent queue above its fee.
///
/// # Errors
/// Fails if there is no credit.
pub(crate) async fn withdraw_credit(options: &Options, role: Role, arguments: CreditArguments) -> Result<(), Failure> {
    let client = on_l1::open(options, role).await?;
    let own = client.ethereum_address();
    let (rollup, to) = (client.rollup(), arguments.to.unwrap_or(own));
    let amount = rollup.credit_of(own).await.map_err(ClientError::from)?;
    if amount.is_zero() {
        return Err(Failure::new(Exit::Refused, format!("{own} has no credit in the contract")));
    }
    let progress = Progress::start("waiting for the transaction");
    let receipt = rollup.withdraw_credit(to).await.map_err(ClientError::from)?;
    drop(progress);
    print(&Paid::new(amount, to, &receipt), options.json)
}
