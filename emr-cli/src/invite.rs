//! `invite`, which is the same for hospitals and doctors. It signs invitations without a node.

use std::io::Write;

use clap::Args;
use emr_api::invitation::Invitation;
use emr_core::{AccountIndex, Role, UnixTime};
use serde::Serialize;

use crate::{
    failure::{Exit, Failure, one_line},
    options::{Options, parse_until},
    participant,
    report::{Answer, print, written},
};

/// Arguments of `invite`.
#[derive(Args, Clone, Debug)]
pub struct Invite {
    /// How many invitations to print, one per line
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// When they expire: hours from now, like 48, or a date; at most 90 days
    #[arg(long, value_name = "HOURS or DATE", default_value = "168", value_parser = parse_expires)]
    expires: UnixTime,
}

/// Parses hours from now, a date (its last second, UTC) or an RFC 3339 time.
fn parse_expires(text: &str) -> Result<UnixTime, String> {
    match text.strip_suffix('h').unwrap_or(text).parse::<u32>() {
        Ok(hours) => Ok(UnixTime::now().saturating_add(u64::from(hours) * 3600)),
        Err(_) => parse_until(text).map_err(|error| format!("{error}, or hours from now like 48")),
    }
}

/// Parses an invitation. Unlike the argument parser, its error does not repeat the code, which others could use.
///
/// # Errors
/// Fails if the text is mistyped or not an invitation.
pub fn read(code: &str) -> Result<Invitation, Failure> {
    code.parse().map_err(|error| Failure::new(Exit::Input, one_line(&error)))
}

#[derive(Serialize)]
struct Invitations {
    inviter: AccountIndex,
    expires: String,
    invitations: Vec<Invitation>,
}

impl Answer for Invitations {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.invitations.iter().try_for_each(|invitation| writeln!(out, "{invitation}"))
    }
}

/// Signs invitations and prints them.
///
/// # Errors
/// Fails if this identity has no account, or if the time is not allowed.
pub fn invite(options: &Options, role: Role, arguments: &Invite) -> Result<(), Failure> {
    let (profile, identity) = participant::identity(options, role)?;
    let one = |_| Ok::<_, Failure>(profile.invite(&identity, arguments.expires)?);
    let invitations: Vec<_> = (0..arguments.count).map(one).collect::<Result<_, _>>()?;
    let Some(first) = invitations.first() else { return Err(Failure::new(Exit::Usage, "no invitation was requested")) };
    let (inviter, expires) = (first.inviter(), written(first.expires()));
    eprintln!(
        "an invitation registers one person, until {expires}, and the hospital pays: anyone who has the code can use it, once"
    );
    participant::report_refused(&profile, role);
    print(&Invitations { inviter, expires, invitations }, options.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_hours_or_a_date() {
        let hours = |text: &str| parse_expires(text).map(|time| time.get().saturating_sub(UnixTime::now().get()) / 60);
        for (text, minutes) in [("48", 2880), ("48h", 2880), ("1", 60)] {
            assert!(hours(text).is_ok_and(|found| found.abs_diff(minutes) <= 1), "{text}");
        }
        assert_eq!(parse_expires("2027-01-31").map(UnixTime::get), Ok(1_801_439_999));
        for nonsense in ["", "-1", "soon", "h", "1.5", "31.01.2027"] {
            assert!(parse_expires(nonsense).is_err_and(|error| error.contains("hours")), "{nonsense}");
        }
    }
}
