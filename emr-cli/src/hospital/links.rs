//! `links`: the links by which patients share records, as far as the hospital sees them.

use std::io::Write;

use clap::Subcommand;
use emr_api::{LinkOfPatient, LinkState};
use emr_core::{AccountIndex, Role};
use serde::Serialize;

use crate::{
    failure::Failure,
    options::Options,
    participant,
    report::{Answer, print, written},
};

/// Commands about links.
#[derive(Debug, Subcommand)]
pub(super) enum Links {
    /// List the patients' links: whose, how large, how often opened, until when; never their content
    List,
    /// End a patient's link at once; the patient sees that the hospital did it
    End {
        /// The patient's account
        account: AccountIndex,
        /// The link's number, as `list` shows it
        number: u32,
    },
}

#[derive(Debug, Serialize)]
struct List {
    links: Vec<LinkOfPatient>,
}

impl Answer for List {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.links.is_empty() {
            return writeln!(out, "no patient has a link here");
        }
        for LinkOfPatient { account, number, expires, state, files, bytes, opened, .. } in &self.links {
            let state = match state {
                LinkState::Open => "open until",
                LinkState::Expired => "expired, was until",
                LinkState::Ended => "ended by the patient, was until",
                LinkState::EndedByHospital => "ended by the hospital, was until",
                LinkState::WrongPasscodes => "closed after wrong passcodes, was until",
            };
            let until = written(*expires);
            writeln!(
                out,
                "patient {account} link {number}: {state} {until}, documents {files}, {bytes} bytes, opened {opened} times"
            )?;
        }
        let bytes: u64 = self.links.iter().map(|link| link.bytes).sum();
        writeln!(out, "all together: {} links, {bytes} bytes", self.links.len())
    }
}

#[derive(Debug, Serialize)]
struct Ended {
    account: AccountIndex,
    number: u32,
}

impl Answer for Ended {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { account, number } = self;
        writeln!(out, "link {number} of patient {account} ended: this node serves it no more")
    }
}

/// Runs the command.
///
/// # Errors
/// Fails if there is no such link, or if the node refuses or does not answer.
pub(super) async fn run(options: &Options, command: Links) -> Result<(), Failure> {
    let client = participant::open(options, Role::Hospital).await?;
    match command {
        Links::List => print(&List { links: client.node().hospital_links().await? }, options.json),
        Links::End { account, number } => {
            client.node().end_hospital_link(account, number).await?;
            print(&Ended { account, number }, options.json)
        }
    }
}
