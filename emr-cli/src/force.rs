//! `revoke --force`: a revocation that goes to L1, past the hospital.

use std::path::PathBuf;

use emr_chain::Revocation;
use emr_core::{GrantSlot, Role};

use crate::{
    failure::{Exit, Failure},
    on_l1::{self, Change, Sent},
    options::Options,
    report::{Progress, print},
};

/// A patient's command line for a revocation on L1.
#[derive(Clone, Debug, clap::Args)]
pub struct Force {
    /// Revoke on L1, without the hospital: every grant ends, or the one in --slot. Needs ether, or --output
    #[arg(long)]
    pub force: bool,
    /// With --force: only the grant in this slot, as `grants` lists it
    #[arg(long, value_name = "SLOT", requires = "force")]
    slot: Option<GrantSlot>,
    /// With --force: also drop the key directory, so that the next grant begins a new one. For an identity that took the account over and cannot open
    /// the old directory; what is stored stays closed to it
    #[arg(long, requires = "force", conflicts_with = "slot")]
    new_keys: bool,
    /// With --force: write the signed revocation to this new file; anyone with ether can send it within a day, with `emr-doctor relay FILE`
    #[arg(long, short, value_name = "FILE", requires = "force")]
    output: Option<PathBuf>,
}

impl Force {
    /// Sends or writes the revocation.
    ///
    /// # Errors
    /// Fails if the Ethereum node does not answer, if there is no ether, or if the contract refuses.
    pub async fn run(&self, options: &Options) -> Result<(), Failure> {
        let client = on_l1::open(options, Role::Patient).await?;
        let revocation = Revocation { slot: self.slot, directory: self.new_keys.then_some(Revocation::NO_DIRECTORY) };
        if let Some(file) = &self.output {
            return on_l1::write(&client.sign_revocation(revocation).await?, file, options.json);
        }
        on_l1::say_fee(&client).await?;
        let progress = Progress::start("waiting for the transaction");
        let sent = client.force_revoke(&revocation).await.map_err(on_l1::without_ether)?;
        drop(progress);
        print(&Sent::of(Change::Revocation, &sent), options.json)
    }
}

/// What a patient can do if the hospital or its node takes no revocation.
pub fn offer(failure: Failure) -> Failure {
    if failure.exit() != Exit::Unavailable {
        return failure;
    }
    let message = format!("{failure}; `emr-patient revoke --force` revokes on L1, without the hospital");
    failure.saying(message)
}
