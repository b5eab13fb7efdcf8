//! Records as a JWE file: `export --jwe` of doctors and patients, and who can open the file (`docs/jwe.md`).

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use emr_client::{client::Client, verify::light::VerifiedLeaves};
use emr_core::{AccountIndex, Reason, Role, fhir};
use emr_crypto::{MAX_JWE_CONTENT_BYTES, RsaPublic, seal_general};
use emr_durable::Disk;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    account::read_card,
    cards,
    export::{self, Readable, Refused},
    failure::{Exit, Failure, OrExit, one_line},
    input,
    options::{RecordName, parse_purpose},
    report::{Answer, print},
};

/// The media type of several records: FHIR Bulk Data.
pub(crate) const NDJSON: &str = "application/fhir+ndjson";

/// Arguments of a doctor's `export`.
#[derive(Debug, Args)]
#[command(after_help = WHAT_IT_IS)]
pub(crate) struct Export {
    /// The records of one patient: PATIENT/SLOT, one or more
    #[arg(required = true)]
    records: Vec<RecordName>,
    /// Write a JWE, the only form that there is
    #[arg(long, required = true)]
    jwe: bool,
    #[command(flatten)]
    recipients: Recipients,
    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The reason, if access has to be requested first
    #[arg(long, default_value = "treatment", value_parser = parse_purpose)]
    purpose: Reason,
    /// The patient's card, the first time
    #[arg(long, value_name = "CARD")]
    patient: Option<PathBuf>,
}

/// Arguments of a patient's `export`.
#[derive(Debug, Args)]
#[command(after_help = WHAT_IT_IS)]
pub(crate) struct PatientExport {
    /// With --jwe: the records, PATIENT/SLOT [default: all that are settled]
    #[arg(requires = "jwe")]
    records: Vec<RecordName>,
    /// Write all records as FHIR Bulk Data to this folder; it is made if it does not exist
    #[arg(long, value_name = "DIR", required_unless_present = "jwe", conflicts_with = "jwe")]
    ndjson: Option<PathBuf>,
    /// With --ndjson: replace files of an earlier export
    #[arg(long, conflicts_with = "jwe")]
    overwrite: bool,
    /// Write a JWE: one encrypted file that standard software opens
    #[arg(long, requires = "output")]
    jwe: bool,
    #[command(flatten)]
    recipients: Recipients,
    /// With --jwe: where to write it
    #[arg(short, long, value_name = "FILE", requires = "jwe")]
    output: Option<PathBuf>,
}

/// Who can open a JWE.
#[derive(Debug, Args)]
struct Recipients {
    /// With --jwe: who can open it: the card of a doctor or hospital, or a public RSA key (PEM); may be given several times [default: you alone]
    #[arg(long, value_name = "CARD|PEM", requires = "jwe")]
    to: Vec<PathBuf>,
}

const WHAT_IT_IS: &str = "A JWE holds a copy of the records, for the keys that you name and no others. It is closed with RSA alone: a quantum computer opens \
    it one day. Grants, revocations and the audit chain do not reach it, and you cannot take it back. docs/jwe.md says how others open it.";

/// A key that can open the file.
#[derive(Debug, Serialize)]
struct Recipient {
    /// The account of a card that was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountIndex>,
    /// The file of a key that nobody checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    bits: usize,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    fingerprint: String,
    #[serde(skip)]
    key: RsaPublic,
}

impl Recipient {
    fn new(account: Option<AccountIndex>, file: Option<&Path>, key: RsaPublic) -> Self {
        let file = file.map(|file| file.display().to_string());
        Self { account, file, bits: key.bits().get(), fingerprint: hex::encode(key.fingerprint()), key }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, file, bits, fingerprint, .. } = self;
        match (account, file) {
            (Some(account), _) => write!(f, "account {account}, RSA-{bits}"),
            (None, Some(file)) => write!(f, "the key in {file}, RSA-{bits}, SHA-256 {fingerprint}"),
            (None, None) => write!(f, "you alone, RSA-{bits}"),
        }
    }
}

impl Recipients {
    /// The keys: those of cards that agree with the state, and those in files that the user names.
    ///
    /// # Errors
    /// Fails if a file is neither, if a card is not confirmed, or if it is a patient's.
    async fn read(&self, client: &Client) -> Result<Vec<Recipient>, Failure> {
        if self.to.is_empty() {
            return Ok(vec![Recipient::new(None, None, client.keys().encryption_key().rsa().clone())]);
        }
        let mut recipients: Vec<Recipient> = Vec::new();
        for file in &self.to {
            let recipient = recipient(client, file).await?;
            // Somebody who is named twice is one.
            if recipients.iter().all(|other| other.key != recipient.key) {
                recipients.push(recipient);
            }
        }
        Ok(recipients)
    }
}

async fn recipient(client: &Client, file: &Path) -> Result<Recipient, Failure> {
    let bytes = input::read("the card or key", file, input::SMALL)?;
    if let Some(pem) = std::str::from_utf8(&bytes).ok().filter(|text| text.contains("-----BEGIN ")) {
        let key = RsaPublic::from_pem(pem)
            .map_err(|error| Failure::new(Exit::Input, format!("{}: {}", file.display(), one_line(&error))))?;
        eprintln!(
            "nobody checked whose key {} is: compare its SHA-256 by another way: {}",
            file.display(),
            hex::encode(key.fingerprint())
        );
        return Ok(Recipient::new(None, Some(file), key));
    }
    let card = read_card(file)?;
    if card.role == Role::Patient {
        let message = format!(
            "{}: a patient's card shows no RSA key; ask for a public key: openssl rsa -in key.pem -pubout -out public.pem",
            file.display()
        );
        return Err(Failure::new(Exit::Input, message));
    }
    let checked = client.check_card(&card).await?;
    let key = checked.encryption_key();
    let key = key.ok_or_else(|| Failure::new(Exit::Input, "the card shows no RSA key: ask for a newer one"))?;
    Ok(Recipient::new(Some(checked.account()), None, key.rsa().clone()))
}

/// The answer of `export --jwe`.
#[derive(Debug, Serialize)]
struct Exported {
    file: String,
    bytes: usize,
    content_type: &'static str,
    records: Vec<String>,
    recipients: Vec<Recipient>,
    refused: Vec<Refused>,
}

impl Answer for Exported {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { file, bytes, content_type, records, recipients, refused } = self;
        for Refused { record, reason, .. } in refused {
            writeln!(out, "not exported: record {record}: {reason}")?;
        }
        writeln!(out, "{file}: {bytes} bytes, {content_type}, records: {}", records.join(", "))?;
        recipients.iter().try_for_each(|recipient| writeln!(out, "  can be opened by {recipient}"))
    }
}

impl Export {
    /// Exports, and prints the answer.
    ///
    /// # Errors
    /// Fails if the records are not of one patient, or if one cannot be read, is not settled or does not verify.
    pub(crate) async fn run(&self, client: &Client, json: bool) -> Result<(), Failure> {
        let patient = of_one_patient(&self.records)?;
        let recipients = self.recipients.read(client).await?;
        let card = cards::patient(client, Some(patient), self.patient.as_deref()).await?;
        let mut content = Content::default();
        for name in distinct(&self.records) {
            content.add(name, export::document(client, &card, name, Some(self.purpose)).await?.map_err(failed)?)?;
        }
        content.write(&self.output, recipients, Vec::new(), json)
    }
}

impl PatientExport {
    /// Exports, and prints the answer. `leaves` are the patient's records.
    ///
    /// # Errors
    /// Fails if a record that is named is another patient's, cannot be read, is not settled or does not verify; if no record is named, only if none can be
    /// exported. Fails at the end, with the file written, if a record does not verify.
    pub(crate) async fn run(&self, client: &Client, leaves: &VerifiedLeaves, json: bool) -> Result<(), Failure> {
        let Some(output) = &self.output else {
            let ndjson = self.ndjson.clone().ok_or_else(|| Failure::new(Exit::Usage, "give --ndjson DIR or --jwe"))?;
            return export::Export { ndjson, overwrite: self.overwrite }.run(client, leaves, json).await;
        };
        let (own, card) = (client.account().or_exit(Exit::Usage)?, client.card());
        if let Some(name) = self.records.iter().find(|name| name.patient != own) {
            return Err(Failure::new(Exit::Refused, format!("record {name} is not yours; `records` lists yours")));
        }
        let recipients = self.recipients.read(client).await?;
        let (mut content, mut refused) = (Content::default(), Vec::new());
        let all = self.records.is_empty();
        let names = if all { export::live(own, leaves).collect() } else { distinct(&self.records) };
        for name in names {
            match export::document(client, &card, name, None).await? {
                Ok(readable) => content.add(name, readable)?,
                Err(reason) if all => refused.push(reason),
                Err(reason) => return Err(failed(reason)),
            }
        }
        let verified = export::all_verified(&refused);
        content.write(output, recipients, refused, json)?;
        verified
    }
}

/// The failure of a record that was named.
fn failed(Refused { record, reason, unverified }: Refused) -> Failure {
    let exit = if unverified { Exit::Unverified } else { Exit::Refused };
    Failure::new(exit, format!("record {record} is not exported: {reason}"))
}

/// The patient of all records. A file with two patients' records would be taken for one's.
fn of_one_patient(records: &[RecordName]) -> Result<AccountIndex, Failure> {
    let first = records.first().ok_or_else(|| Failure::new(Exit::Usage, "name the records: PATIENT/SLOT"))?.patient;
    match records.iter().find(|name| name.patient != first) {
        None => Ok(first),
        Some(other) => {
            let message = format!("record {other} is another patient's than {}: write one file for each", records[0]);
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// The names, each once, in their order.
fn distinct(records: &[RecordName]) -> Vec<RecordName> {
    let mut names: Vec<RecordName> = Vec::new();
    for name in records {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

/// What is to be exported. Erased when dropped, as far as a growing list can be.
#[derive(Default)]
struct Content {
    documents: Vec<(RecordName, Zeroizing<Vec<u8>>)>,
    bytes: usize,
    beside: usize,
}

impl Content {
    fn add(&mut self, name: RecordName, Readable { document, beside }: Readable) -> Result<(), Failure> {
        self.bytes += document.len();
        self.beside += beside;
        self.documents.push((name, Zeroizing::new(document)));
        if self.bytes > MAX_JWE_CONTENT_BYTES {
            return Err(Failure::new(Exit::Input, emr_crypto::GeneralJweError::ContentTooLarge.to_string()));
        }
        Ok(())
    }

    /// The media type and the bytes: one record's document as it is, or the resources of several, one a line.
    fn plaintext(&self) -> Result<(&'static str, Zeroizing<Vec<u8>>), Failure> {
        if let [(_, document)] = &self.documents[..] {
            return Ok((fhir::MEDIA_TYPE, document.clone()));
        }
        let mut lines = Zeroizing::new(Vec::with_capacity(self.bytes + self.documents.len()));
        for (name, document) in &self.documents {
            let resources = export::split(document)
                .map_err(|error| Failure::new(Exit::Input, format!("record {name}: {}", one_line(&error))))?;
            for (_, line) in resources {
                lines.extend_from_slice(line.as_bytes());
                lines.push(b'\n');
            }
        }
        Ok((NDJSON, lines))
    }

    /// Encrypts, writes, and prints the answer.
    fn write(
        &self,
        output: &Path,
        recipients: Vec<Recipient>,
        refused: Vec<Refused>,
        json: bool,
    ) -> Result<(), Failure> {
        if self.documents.is_empty() {
            let reasons: Vec<String> = refused.iter().map(|it| format!("{}: {}", it.record, it.reason)).collect();
            let message =
                format!("there is no settled record to export ({}); `records` lists them", reasons.join("; "));
            return Err(Failure::new(Exit::Refused, message));
        }
        let (content_type, plaintext) = self.plaintext()?;
        let keys: Vec<RsaPublic> = recipients.iter().map(|recipient| recipient.key.clone()).collect();
        let jwe = seal_general(&keys, content_type, &plaintext).or_exit(Exit::Input)?;
        Disk::default()
            .replace(output, jwe.as_bytes())
            .map_err(|error| Failure::new(Exit::Storage, format!("cannot write {}: {error}", output.display())))?;
        let file = output.display().to_string();
        if self.beside > 0 {
            eprintln!(
                "files beside these records, which are not in {file}: {}; `get --attachment` writes them",
                self.beside
            );
        }
        eprintln!("{file} is closed with RSA alone: who keeps it and has a quantum computer one day opens it");
        eprintln!(
            "it has left the system: grants, revocations and the audit chain do not reach it, and it cannot be taken back"
        );
        let records = self.documents.iter().map(|(name, _)| name.to_string()).collect();
        print(&Exported { file, bytes: jwe.len(), content_type, records, recipients, refused }, json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn readable(text: &str) -> Readable {
        Readable { document: text.as_bytes().to_vec(), beside: 0 }
    }

    #[test]
    fn one_record_is_its_document_and_several_are_lines() -> TestResult {
        let mut content = Content::default();
        let patient = "{\"resourceType\":\"Patient\",\n \"id\":\"a\"}";
        content.add("3/0".parse()?, readable(patient))?;
        assert_eq!(content.plaintext()?, ("application/fhir+json", Zeroizing::new(patient.as_bytes().to_vec())));
        let bundle = "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Observation\"}},\
            {\"resource\":{\"resourceType\":\"Condition\"}}]}";
        content.add("3/1".parse()?, readable(bundle))?;
        let (content_type, lines) = content.plaintext()?;
        assert_eq!(content_type, "application/fhir+ndjson");
        let lines: Vec<&str> = std::str::from_utf8(&lines)?.lines().collect();
        let expected = [
            "{\"resourceType\":\"Patient\",\"id\":\"a\"}",
            "{\"resourceType\":\"Observation\"}",
            "{\"resourceType\":\"Condition\"}",
        ];
        assert_eq!(lines, expected);
        Ok(())
    }

    #[test]
    fn content_has_a_bound_while_it_is_gathered() -> TestResult {
        let mut content = Content::default();
        let half = || Readable { document: vec![b' '; MAX_JWE_CONTENT_BYTES / 2], beside: 1 };
        content.add("3/0".parse()?, half())?;
        content.add("3/1".parse()?, half())?;
        let refused = content.add("3/2".parse()?, readable(" ")).map_err(|failure| failure.exit());
        assert_eq!((refused, content.beside), (Err(Exit::Input), 2));
        Ok(())
    }

    #[test]
    fn records_of_two_patients_are_not_mixed() -> TestResult {
        let names = ["3/0".parse()?, "3/1".parse()?, "3/0".parse()?];
        assert_eq!(of_one_patient(&names)?.get(), 3);
        assert_eq!(distinct(&names), names[..2]);
        let mixed = of_one_patient(&["3/0".parse()?, "4/0".parse()?]).map_err(|failure| failure.exit());
        assert_eq!(mixed, Err(Exit::Usage));
        Ok(())
    }
}
