//! From a Consent to the terms of a grant.

use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use super::codes::{self, CATEGORIES, POLICY_RULES, ROLES, SCOPE};
use super::elements::Elements;
use super::error::ConsentError;
use crate::class::ClassMask;
use crate::fhir::coding::{ACCOUNT, Account};
use crate::fhir::flatten;
use crate::fhir::line_resource::PatientId;
use crate::fhir::validate;
use crate::quantity::UnixTime;
use crate::standing::Rights;

/// Whose Consent it must be, and when.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The patient who grants.
    pub patient: &'a Account,
    /// The id of the Patient resource of which the patient says that it is theirs.
    pub fhir_patient: Option<&'a PatientId>,
    /// The time now.
    pub now: UnixTime,
}

/// What a Consent permits, as the terms of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentTerms {
    /// The reader. The caller compares it with the reader's card.
    pub reader: Account,
    /// READ, WRITE or both.
    pub rights: Rights,
    /// The classes.
    pub classes: ClassMask,
    /// The last second.
    pub until: UnixTime,
    /// Where the grant says a little more than the Consent, one sentence each. Show them to the patient.
    pub wider: Vec<String>,
}

/// Reads a Consent. Accepts it only if a grant can say all that it says.
///
/// # Errors
/// [`ConsentError`] if the document is not a Consent of R4, or with every element that a grant cannot express.
pub fn read(document: &[u8], context: &Context<'_>) -> Result<ConsentTerms, ConsentError> {
    let fields = flatten::fields(document)?;
    let resource_type = fields.keys().next().and_then(|key| key.segments().next()).unwrap_or_default();
    if resource_type != "Consent" {
        return Err(ConsentError::OtherType(resource_type.to_owned()));
    }
    if let Some(problem) = validate(document)?.first.into_iter().next() {
        return Err(ConsentError::NotR4(problem));
    }
    let mut reader = Reader { elements: Elements::of(fields), context, wider: Vec::new() };
    reader.head();
    let (rights, classes, until) = (reader.rights(), reader.classes(), reader.period());
    let actor = reader.actor();
    let Reader { elements, wider, .. } = reader;
    let refusals = elements.refusals();
    match (actor, until) {
        (Some(reader), Some(until)) if refusals.is_empty() => {
            Ok(ConsentTerms { reader, rights, classes, until, wider })
        }
        _ => Err(ConsentError::Refused(refusals)),
    }
}

struct Reader<'a> {
    elements: Elements,
    context: &'a Context<'a>,
    wider: Vec<String>,
}

impl Reader<'_> {
    /// Checks that every coding of a concept is one of these, and that there is one.
    fn require(&mut self, path: &str, known: &[(&str, &str)], reason: &str) {
        let codings = self.elements.concept(path);
        if codings.is_empty() {
            self.elements.refuse(path, reason);
        }
        for (path, coding) in codings {
            if !coding.is_some_and(|(system, code)| known.contains(&(system.as_str(), code.as_str()))) {
                self.elements.refuse(&path, reason);
            }
        }
    }

    /// What is not in the provision.
    fn head(&mut self) {
        if self.elements.text("Consent.status").as_deref() != Some("active") {
            self.elements.refuse("Consent.status", "only an active Consent is granted");
        }
        self.require("Consent.scope", &[SCOPE], "only the scope patient-privacy is granted");
        for path in self.elements.items("Consent.category") {
            self.require(&path, &CATEGORIES, "this category can change what the Consent says");
        }
        if self.elements.has("Consent.policyRule") {
            self.require("Consent.policyRule", &POLICY_RULES, "use OPTIN, or urn:emr:policy deny-unless-granted");
        }
        if !self.is_patient("Consent.patient") {
            let reason = "it does not say that it is yours: name your account (urn:emr:account), or the id of your Patient resource with --fhir-patient";
            self.elements.refuse("Consent.patient", reason);
        }
        for path in self.elements.items("Consent.performer") {
            if !self.is_patient(&path) {
                self.elements.refuse(&path, "somebody else agreed, and a grant is yours: name yourself, or nobody");
            }
        }
        if self.elements.text("Consent.provision.type").as_deref() != Some("permit") {
            self.elements.refuse("Consent.provision.type", "a grant only permits: write permit");
        }
    }

    /// Takes a reference to an account. `None` if it has no identifier of ours, or a wrong one.
    fn account(&mut self, path: &str, types: &[&str]) -> Option<Account> {
        let resource_type = self.elements.text(&format!("{path}.type"));
        if resource_type.is_some_and(|name| !types.contains(&name.as_str())) {
            self.elements.refuse(&format!("{path}.type"), format!("it can be: {}", types.join(", ")));
        }
        self.elements.text(&format!("{path}.display"));
        let system = self.elements.text(&format!("{path}.identifier.system"))?;
        let value = self.elements.text(&format!("{path}.identifier.value"))?;
        (system == ACCOUNT).then(|| value.parse().ok()).flatten()
    }

    /// Takes a reference, and tells whether it is the patient who grants: everything that it says must hold.
    fn is_patient(&mut self, path: &str) -> bool {
        let has_identifier = self.elements.has(&format!("{path}.identifier"));
        let account = self.account(path, &["Patient"]);
        let reference = self.elements.text(&format!("{path}.reference"));
        let is_named = |reference: &str| {
            let id = reference.strip_prefix("Patient/");
            id.is_some() && id == self.context.fhir_patient.map(PatientId::as_str)
        };
        match (has_identifier, reference) {
            (false, None) => false,
            (false, Some(reference)) => is_named(&reference),
            (true, None) => account.as_ref() == Some(self.context.patient),
            (true, Some(reference)) => account.as_ref() == Some(self.context.patient) && is_named(&reference),
        }
    }

    fn rights(&mut self) -> Rights {
        let mut rights = Rights::NONE;
        let actions = self.elements.items("Consent.provision.action");
        if actions.is_empty() {
            let reason = "it is missing, so every action would be permitted: say access or correct";
            self.elements.refuse("Consent.provision.action", reason);
        }
        for path in actions {
            let codings = self.elements.concept(&path);
            let meant: Vec<_> = codings
                .iter()
                .map(|(_, coding)| coding.as_ref().and_then(|(system, code)| codes::action(system, code)))
                .collect();
            // Several codings of one concept are translations of the same action.
            match meant.first() {
                Some(Some(right)) if meant.iter().all(|other| *other == Some(*right)) => rights = rights | *right,
                _ => self
                    .elements
                    .refuse(&path, "a grant only lets somebody read (access, collect, use) or write (correct)"),
            }
        }
        rights
    }

    fn classes(&mut self) -> ClassMask {
        let by_class = self.elements.items("Consent.provision.class");
        let by_code = self.elements.items("Consent.provision.code");
        let by_class_given = !by_class.is_empty();
        let mut classes = Vec::new();
        match (by_class.is_empty(), by_code.is_empty()) {
            (true, true) => {
                let reason = "it is missing, so everything would be permitted: list the classes (urn:emr:class)";
                self.elements.refuse("Consent.provision.class", reason);
            }
            (false, false) => {
                let reason = "together with provision.class it would mean what is in both: use only one of them";
                self.elements.refuse("Consent.provision.code", reason);
                self.elements.ignore("Consent.provision.code");
            }
            _ => {}
        }
        for path in by_class {
            let coding = self.elements.coding(&path);
            classes.extend(self.class(&path, coding));
        }
        if !by_class_given {
            for path in by_code {
                let codings = self.elements.concept(&path);
                let meant: Vec<_> =
                    codings.into_iter().filter_map(|(path, coding)| self.class(&path, coding)).collect();
                match meant.first() {
                    Some(class) if meant.iter().all(|other| other == class) => classes.push(*class),
                    Some(_) => self.elements.refuse(&path, "its codings are several classes: give each its own code"),
                    None if !self.elements.is_refused(&path) => self.elements.refuse(&path, "it has no coding"),
                    None => {}
                }
            }
        }
        classes.into_iter().collect()
    }

    fn class(&mut self, path: &str, coding: Option<(String, String)>) -> Option<crate::class::Class> {
        let found = coding.as_ref().and_then(|(system, code)| codes::class(system, code));
        let Some((class, is_wider)) = found else {
            let reason = "it is not one class of records: use urn:emr:class (for Observation and DiagnosticReport choose laboratory, vital-signs, imaging or another)";
            self.elements.refuse(path, reason);
            return None;
        };
        if is_wider && let Some((_, code)) = coding {
            self.wider.push(format!("{code} is granted as the class {class}, with everything that is in it"));
        }
        Some(class)
    }

    fn period(&mut self) -> Option<UnixTime> {
        if let Some(start) = self.elements.text("Consent.provision.period.start") {
            let advice = "write a full date, or a date with time and zone";
            match first_second(&start) {
                None => self.elements.refuse("Consent.provision.period.start", advice),
                Some(start) if start > i128::from(self.context.now.get()) => {
                    self.elements
                        .refuse("Consent.provision.period.start", "a grant begins at once: grant it on that day");
                }
                Some(_) => {}
            }
        }
        let path = "Consent.provision.period.end";
        let Some(end) = self.elements.text(path) else {
            self.elements.refuse(path, "it is missing, and a grant must end: write a date");
            return None;
        };
        let until = last_second(&end);
        match until {
            None => self.elements.refuse(path, "write a full date up to 9999-12-31, or a date with time and zone"),
            Some(until) if until <= self.context.now => {
                self.elements.refuse(path, "it is in the past: choose a later time")
            }
            Some(_) => {}
        }
        until
    }

    fn actor(&mut self) -> Option<Account> {
        let path = "Consent.provision.actor";
        let actors = self.elements.items(path);
        let [actor] = &actors[..] else {
            self.elements.refuse(path, "a grant has exactly one reader: make one Consent for each");
            return None;
        };
        self.require(&format!("{actor}.role"), &ROLES, "the reader's role is IRCP or PRCP");
        let reference = format!("{actor}.reference");
        let account = self.account(&reference, &["Practitioner", "PractitionerRole", "Organization"]);
        let literal = format!("{reference}.reference");
        if self.elements.text(&literal).is_some() {
            self.elements
                .refuse(&literal, "a reference to a server names no account: give only the identifier urn:emr:account");
        }
        if account.is_none() {
            let reason = "name the reader's account: system urn:emr:account, value eip155:CHAIN:CONTRACT/INDEX/OWNER";
            self.elements.refuse(&format!("{reference}.identifier"), reason);
        }
        account
    }
}

/// The last second that a date or dateTime includes. A date is one in UTC, as for `--until`.
fn last_second(text: &str) -> Option<UnixTime> {
    let last = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => time.unix_timestamp(),
        Err(_) => midnight(text)? + 86_399,
    };
    u64::try_from(last).ok().and_then(|seconds| UnixTime::new(seconds).ok())
}

/// The first second of a date or dateTime, with a fraction rounded up. A date is one in UTC.
fn first_second(text: &str) -> Option<i128> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => Some((time.unix_timestamp_nanos() + 999_999_999).div_euclid(1_000_000_000)),
        Err(_) => Some(i128::from(midnight(text)?)),
    }
}

fn midnight(text: &str) -> Option<i64> {
    let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    Some(date.midnight().assume_utc().unix_timestamp())
}
