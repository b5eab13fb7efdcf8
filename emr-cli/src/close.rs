//! `close`: the end of an account.

use std::path::PathBuf;

use emr_core::Role;

use crate::{
    failure::{Exit, Failure},
    on_l1::{self, Change, Sent},
    options::Options,
    report::{Progress, print},
};

/// The command line of `close`.
#[derive(Clone, Debug, clap::Args)]
pub struct Close {
    /// Confirm: it is for ever, and this Ethereum account cannot register again
    #[arg(long)]
    yes: bool,
    /// Write the signed change to this new file; anyone with ether can send it within a day, with `emr-doctor relay FILE`
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Close {
    /// Closes the account on L1, or signs that into a file.
    ///
    /// # Errors
    /// Fails if it is not confirmed, if there is no account, if the Ethereum node does not answer, if there is no ether, or if the contract
    /// refuses.
    pub async fn run(&self, options: &Options, role: Role) -> Result<(), Failure> {
        if !self.yes {
            let message = match role {
                Role::Patient => {
                    "this ends your account for ever: nobody writes for you any more, and you grant nothing; copy your records first \
                                  (`get`); what others may read ends with their grants (`revoke`). Add --yes to confirm"
                }
                _ => "this ends your account for ever: you read and write nothing more under it. Add --yes to confirm",
            };
            return Err(Failure::new(Exit::Usage, message));
        }
        let client = on_l1::open(options, role).await?;
        if let Some(file) = &self.output {
            return on_l1::write(&client.sign_closing().await?, file, options.json);
        }
        on_l1::say_fee(&client).await?;
        let progress = Progress::start("waiting for the transaction");
        let sent = client.close_account().await.map_err(on_l1::without_ether)?;
        drop(progress);
        print(&Sent::of(Change::Closing, &sent), options.json)
    }
}
