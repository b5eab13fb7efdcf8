//! `emr-patient link` and `links`: sharing records by a SMART Health Link, and what became of the links.

use std::{fmt, io::Write, path::PathBuf};

use clap::{Args, Subcommand};
use emr_api::{LinkOutcome, LinkState, LinkView};
use emr_client::{
    client::Client,
    flow::link::{LinkTerms, MadeLink},
};
use emr_core::{RecordSlot, UnixTime};
use emr_durable::Disk;
use qrcode::{EcLevel, QrCode, render};
use secrecy::ExposeSecret;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::{
    failure::{Exit, Failure, OrExit},
    options::{RecordName, parse_until},
    report::{Answer, Progress, print, written},
};

/// Where data and prose of a link differ from everything else that this program shows.
const WORD_OF_THE_NODE: &str =
    "who opened a link is what the hospital's node says, and what the openers said; no proof covers it";

/// The command line of `link`.
#[derive(Clone, Debug, Args)]
pub struct Link {
    /// The records: PATIENT/SLOT, one or more
    #[arg(required_unless_present = "end")]
    records: Vec<RecordName>,
    /// The end: a date (2027-01-31, to its end in UTC) or a time (2027-01-31T12:00:00Z), within 366 days
    #[arg(long, value_name = "DATE", value_parser = parse_until, required_unless_present = "end")]
    expires: Option<UnixTime>,
    /// Ask openers for a passcode of six digits, which is shown once; five wrong ones close the link
    #[arg(long)]
    passcode: bool,
    /// Say in the link that it is for long-term use
    #[arg(long)]
    long_term: bool,
    /// Make a link of one record that simple viewers can open; without passcode
    #[arg(long, conflicts_with = "passcode")]
    direct: bool,
    /// What it is, in at most 80 characters; the people with the link see it, the hospital does not
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Also write the QR code to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// End the link with this number, like `links end`
    #[arg(
        long,
        value_name = "NUMBER",
        conflicts_with_all = ["records", "expires", "passcode", "long_term", "direct", "label", "svg"]
    )]
    end: Option<u32>,
}

/// The command line of `links`.
#[derive(Clone, Debug, Args)]
pub struct Links {
    #[command(subcommand)]
    command: Option<LinksCommand>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum LinksCommand {
    /// Show one link with all openings that the hospital keeps
    Show {
        /// The link's number
        number: u32,
    },
    /// End a link at once; what was opened before stays with those who opened it
    End {
        /// The link's number
        number: u32,
    },
}

/// A text that holds a secret.
struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[derive(Serialize)]
struct Made {
    number: u32,
    documents: usize,
    expires: String,
    link: Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    passcode: Option<Secret>,
    #[serde(skip)]
    qr: Zeroizing<String>,
}

impl Answer for Made {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { number, documents, expires, link, passcode, qr } = self;
        writeln!(out, "link {number}: opens {documents} documents until {expires}, for anyone who has it")?;
        writeln!(out, "{}", &*link.0)?;
        if let Some(Secret(passcode)) = passcode {
            writeln!(out, "passcode {}: tell it by another way than the link", &**passcode)?;
        }
        writeln!(out, "{}", &**qr)?;
        writeln!(out, "it is shown only now: `links` shows who opened it, `links end {number}` ends it")
    }
}

impl Link {
    /// Makes the link and prints it.
    ///
    /// # Errors
    /// Fails if a record is another patient's or does not verify, the terms are not possible, the node refuses, or the file
    /// cannot be written. If only the file cannot be written, the link is printed first.
    pub async fn run(&self, client: &Client, json: bool) -> Result<(), Failure> {
        if let Some(number) = self.end {
            return end(client, number, json).await;
        }
        let expires = self.expires.ok_or_else(|| Failure::new(Exit::Usage, "say until when: --expires DATE"))?;
        let own = client.account().or_exit(Exit::Usage)?;
        if let Some(name) = self.records.iter().find(|name| name.patient != own) {
            return Err(Failure::new(Exit::Refused, format!("record {name} is not yours; `records` lists yours")));
        }
        let mut slots: Vec<RecordSlot> = self.records.iter().map(|name| name.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        let terms = LinkTerms {
            expires,
            passcode: self.passcode,
            long_term: self.long_term,
            direct_file: self.direct,
            label: self.label.clone(),
        };
        let progress = Progress::start("fetching, checking and encrypting");
        let made = client.make_link(&slots, &terms).await;
        drop(progress);
        let MadeLink { number, link, passcode, unsettled } = made?;
        for slot in unsettled {
            let name = RecordName { patient: own, slot };
            eprintln!("record {name} is not settled yet: its signature holds, and the link has it as it is now");
        }
        let uri = link.to_uri();
        // Level M, as the specification recommends.
        let code = QrCode::with_error_correction_level(uri.as_bytes(), EcLevel::M)
            .map_err(|error| Failure::new(Exit::Internal, format!("the QR code was not made: {error}")))?;
        let answer = Made {
            number,
            documents: slots.len(),
            expires: written(expires),
            link: Secret(uri),
            passcode: passcode.map(|passcode| Secret(Zeroizing::new(passcode.expose_secret().to_owned()))),
            // Light on dark: most terminals are dark, and then a scanner sees the margin.
            qr: Zeroizing::new(
                code.render()
                    .dark_color(render::unicode::Dense1x2::Light)
                    .light_color(render::unicode::Dense1x2::Dark)
                    .build(),
            ),
        };
        print(&answer, json)?;
        if let Some(file) = &self.svg {
            let svg = Zeroizing::new(code.render::<render::svg::Color<'_>>().min_dimensions(300, 300).build());
            Disk::default()
                .replace(file, svg.as_bytes())
                .map_err(|error| Failure::new(Exit::Storage, format!("cannot write {}: {error}", file.display())))?;
            eprintln!("{}: anyone who sees this picture can open the link", file.display());
        }
        Ok(())
    }
}

/// A link as it is printed.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown(LinkView);

impl Answer for Shown {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let LinkView { number, created, expires, state, remaining_attempts, files, opened, openings, .. } = &self.0;
        let state = match state {
            LinkState::Open => format!("open until {}", written(*expires)),
            LinkState::Expired => format!("expired {}", written(*expires)),
            LinkState::Ended => "ended by you".to_owned(),
            LinkState::EndedByHospital => "ended by the hospital".to_owned(),
            LinkState::WrongPasscodes => "closed after too many wrong passcodes".to_owned(),
        };
        let passcode =
            remaining_attempts.map_or_else(String::new, |left| format!(", passcode (wrong ones left: {left})"));
        writeln!(
            out,
            "link {number}: {state}, made {}, documents {files}, opened {opened} times{passcode}",
            written(*created)
        )?;
        for opening in openings {
            let what = match opening.outcome {
                LinkOutcome::Opened => "opened",
                LinkOutcome::WrongPasscode => "wrong passcode",
            };
            writeln!(out, "  {} {what}, by someone who says: \"{}\"", written(opening.at), opening.recipient)?;
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct List {
    links: Vec<Shown>,
}

impl Answer for List {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.links.is_empty() {
            return writeln!(out, "you have no links");
        }
        self.links.iter().try_for_each(|link| link.write(out))
    }
}

#[derive(Debug, Serialize)]
struct Ended {
    ended: u32,
}

impl Answer for Ended {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "link {} ended: the hospital's node serves it no more", self.ended)?;
        writeln!(out, "what was opened before stays with those who opened it")
    }
}

async fn end(client: &Client, number: u32, json: bool) -> Result<(), Failure> {
    client.end_link(number).await?;
    print(&Ended { ended: number }, json)
}

impl Links {
    /// Lists, shows or ends links.
    ///
    /// # Errors
    /// Fails if the node refuses or does not answer.
    pub async fn run(&self, client: &Client, json: bool) -> Result<(), Failure> {
        match self.command {
            None => {
                let links = client.links().await?.into_iter().map(Shown).collect();
                print(&List { links }, json)?;
                eprintln!("{WORD_OF_THE_NODE}");
                Ok(())
            }
            Some(LinksCommand::Show { number }) => {
                print(&Shown(client.link(number).await?), json)?;
                eprintln!("{WORD_OF_THE_NODE}");
                Ok(())
            }
            Some(LinksCommand::End { number }) => end(client, number, json).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use emr_api::LinkOpening;

    use super::*;

    fn view() -> LinkView {
        LinkView {
            number: 3,
            created: UnixTime::ZERO,
            expires: UnixTime::ZERO,
            state: LinkState::WrongPasscodes,
            remaining_attempts: Some(0),
            files: 2,
            bytes: 10,
            opened: 1,
            openings: vec![LinkOpening {
                at: UnixTime::ZERO,
                recipient: "Dr. Ada".to_owned(),
                outcome: LinkOutcome::WrongPasscode,
            }],
        }
    }

    #[test]
    fn a_claimed_name_is_shown_as_a_claim() -> Result<(), Box<dyn std::error::Error>> {
        let mut out = Vec::new();
        Shown(view()).write(&mut out)?;
        let text = String::from_utf8(out)?;
        assert!(
            text.contains("closed after too many wrong passcodes") && text.contains("(wrong ones left: 0)"),
            "{text}"
        );
        assert!(text.contains("wrong passcode, by someone who says: \"Dr. Ada\""), "{text}");
        Ok(())
    }

    #[test]
    fn the_passcode_is_in_the_answer_and_in_no_debug_text() -> Result<(), Box<dyn std::error::Error>> {
        let secret = |text: &str| Secret(Zeroizing::new(text.to_owned()));
        let made = Made {
            number: 1,
            documents: 1,
            expires: "x".to_owned(),
            link: secret("shlink:/abc"),
            passcode: Some(secret("012345")),
            qr: Zeroizing::default(),
        };
        let json = serde_json::to_value(&made)?;
        assert_eq!((json["link"].as_str(), json["passcode"].as_str()), (Some("shlink:/abc"), Some("012345")));
        assert!(json.get("qr").is_none());
        assert!(!format!("{:?} {:?}", made.link, made.passcode).contains("012345"));
        let mut out = Vec::new();
        made.write(&mut out)?;
        assert!(String::from_utf8(out)?.contains("passcode 012345: tell it by another way"));
        Ok(())
    }
}
