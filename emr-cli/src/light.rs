//! The output of a patient's checks: who has access, and which operations there were.

use std::io::Write;

use emr_client::verify::{audit::Verified, emergency::OpenEmergency, light::VerifiedLeaves};
use emr_core::{AccountIndex, Class, Purpose, Reason, Rights, UnixTime};
use emr_rollup::state::leaf::{AuditEntry, GrantLeaf, Target};
use serde::Serialize;

use crate::report::{Answer, written};

/// A grant as it is printed.
#[derive(Debug, Serialize)]
pub struct Access {
    slot: u64,
    grantee: Option<AccountIndex>,
    rights: String,
    classes: Vec<Class>,
    until: String,
    uses: u64,
    /// Set if a doctor opened it by break-glass.
    #[serde(skip_serializing_if = "Option::is_none")]
    emergency: Option<EmergencyUse>,
}

/// Why and when a doctor opened an emergency grant.
#[derive(Debug, Serialize)]
struct EmergencyUse {
    reason: Reason,
    opened: String,
}

impl Access {
    /// The grant in a slot.
    pub fn of(slot: u64, grant: &GrantLeaf) -> Self {
        Self {
            slot,
            grantee: grant.grantee,
            rights: grant.rights.to_string(),
            classes: grant.scope.classes().collect(),
            until: written(grant.not_after),
            uses: grant.uses.get(),
            emergency: None,
        }
    }

    /// An emergency grant.
    fn of_emergency(open: &OpenEmergency) -> Self {
        let emergency = EmergencyUse { reason: open.purpose.reason, opened: written(open.opened) };
        Self { emergency: Some(emergency), ..Self::of(open.slot.get(), &open.grant) }
    }

    /// Writes one line.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { slot, grantee, rights, classes, until, uses, emergency } = self;
        let who = grantee.map_or_else(|| "nobody".to_owned(), |account| format!("account {account}"));
        let classes = match classes.len() {
            16 => "all classes".to_owned(),
            _ => classes.iter().map(Class::to_string).collect::<Vec<_>>().join(", "),
        };
        if let Some(EmergencyUse { reason, opened }) = emergency {
            return writeln!(
                out,
                "slot {slot}: EMERGENCY: {who} opened access to {classes} at {opened} ({reason}), without you, until {until}; no keys were released"
            );
        }
        let rights = rights.replace(',', " and ");
        writeln!(out, "slot {slot}: {who} may {rights} {classes} until {until}; accesses: {uses}")
    }
}

/// The grants that are valid now.
#[derive(Debug, Serialize)]
pub struct Grants {
    batch: u64,
    access: Vec<Access>,
}

impl Grants {
    /// Selects the grants that are valid now, and adds the emergency grants.
    pub fn of(leaves: &VerifiedLeaves, emergencies: &[OpenEmergency]) -> Self {
        let given = leaves.access(UnixTime::now()).filter(|view| view.grant.rights != Rights::EMERGENCY);
        let given = given.map(|view| Access::of(view.slot.get(), &view.grant));
        let access = emergencies.iter().map(Access::of_emergency).chain(given).collect();
        Self { batch: leaves.state().batches(), access }
    }
}

impl Answer for Grants {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "after batch {}, grants: {}; no other slot holds one", self.batch, self.access.len())?;
        self.access.iter().try_for_each(|access| access.write(out))
    }
}

#[derive(Debug, Serialize)]
struct Line {
    time: String,
    kind: String,
    signer: AccountIndex,
    /// `None` if the entry is about every grant.
    slot: Option<u64>,
    purpose: Option<Purpose>,
}

/// Entries of the audit chain.
#[derive(Debug, Serialize)]
pub struct Audit {
    batch: u64,
    /// Whether the entries start with the first one.
    #[serde(skip)]
    whole: bool,
    entries: Vec<Line>,
}

impl Audit {
    /// All entries, oldest first.
    pub fn whole(verified: &Verified, entries: &[AuditEntry]) -> Self {
        Self::of(verified.leaves(), entries, true)
    }

    /// The newest entries, oldest first.
    pub fn newest(leaves: &VerifiedLeaves, entries: &[AuditEntry]) -> Self {
        Self::of(leaves, entries, false)
    }

    fn of(leaves: &VerifiedLeaves, entries: &[AuditEntry], whole: bool) -> Self {
        let entries = entries.iter().map(|entry| Line {
            time: written(entry.time),
            kind: entry.kind.to_string(),
            signer: entry.signer,
            slot: entry.target.leaf().map(Target::slot),
            purpose: entry.purpose,
        });
        Self { batch: leaves.state().batches(), whole, entries: entries.collect() }
    }
}

impl Answer for Audit {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let (batch, count) = (self.batch, self.entries.len());
        if self.whole {
            writeln!(out, "after batch {batch}, audit entries: {count}; none is missing")?;
        } else {
            writeln!(out, "after batch {batch}, newest audit entries: {count}; none is missing between or after them")?;
        }
        for Line { time, kind, signer, slot, purpose } in &self.entries {
            let why = purpose.map_or_else(String::new, |purpose| format!(", {} for {}", purpose.class, purpose.reason));
            let place = slot.map_or_else(|| "all grants".to_owned(), |slot| format!("slot {slot}"));
            writeln!(out, "{time}  {kind:<14} by account {signer}, {place}{why}")?;
        }
        Ok(())
    }
}

/// The result of the whole light check.
#[derive(Debug, Serialize)]
pub struct LightAnswer {
    /// Always true, because a failed verification is an error.
    pub light_verified: bool,
    /// The grants that are valid now.
    pub grants: Grants,
    /// The audit chain.
    pub audit: Audit,
}

impl Answer for LightAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "verified: all of your grants, records and audit entries give the state root that L1 holds")?;
        self.grants.write(out)?;
        self.audit.write(out)
    }
}
