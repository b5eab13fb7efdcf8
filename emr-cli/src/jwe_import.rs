//! `import --jwe`: opens a JWE with the doctor's RSA key, and writes the document that it holds.

use std::path::Path;

use emr_client::{client::Client, flow::jwe::OpenJweError, verify::card::Card};
use emr_core::{excerpt, fhir, fhir::gather::Gathered};
use emr_crypto::{GeneralJwe, MAX_JWE_BYTES, OpenedJwe};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::{
    classed::{self, Choice},
    failure::{Exit, Failure, OrExit, one_line},
    input, jwe,
    ndjson::{self, Import},
    records,
    report::{Progress, print},
};

/// What a JWE holds.
pub(crate) enum Held {
    /// One FHIR document.
    Document(Zeroizing<Vec<u8>>),
    /// FHIR resources, one a line.
    Lines(Zeroizing<Vec<u8>>),
}

/// Opens a JWE, and says that nobody signed it.
///
/// # Errors
/// Fails if the file is no such JWE, is not for this participant, or says that it holds something else than FHIR.
pub(crate) async fn open(client: &Client, file: &Path) -> Result<Held, Failure> {
    let name = file.display();
    let jwe = input::read("the JWE", file, MAX_JWE_BYTES as u64)?;
    let progress = Progress::start("decrypting");
    let opened = match GeneralJwe::parse(&jwe) {
        Ok(parsed) => {
            drop(jwe);
            client.open_jwe(parsed).await
        }
        Err(error) => Err(OpenJweError::from(error)),
    };
    drop(progress);
    let OpenedJwe { content_type, plaintext } = opened.map_err(|error| {
        let exit = if matches!(error, OpenJweError::Keys(_)) { Exit::Identity } else { Exit::Input };
        Failure::new(exit, format!("{name}: {}", one_line(&error)))
    })?;
    if let Some(other) = content_type.filter(|content_type| !is_fhir(content_type)) {
        let message =
            format!("{name} says that it holds {}, not FHIR: open it with a program for that", excerpt(&other, 100));
        return Err(Failure::new(Exit::Input, message));
    }
    eprintln!(
        "nobody signed {name}: anyone who has your card can make such a file. Make sure whose it is: you become the author of what is written"
    );
    Ok(if are_lines(&plaintext) { Held::Lines(plaintext) } else { Held::Document(plaintext) })
}

/// Whether a media type is one that this program writes. RFC 7516 (4.1.12) lets `application/` be left out. Anyone can change it, so the type does
/// not decide how the content is read.
fn is_fhir(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let of = |known: &str| essence == known || known.strip_prefix("application/") == Some(&essence);
    of(fhir::MEDIA_TYPE) || of(jwe::NDJSON) || of("application/json")
}

/// Whether the content is several values of JSON on lines, and not one document. The first line of a document on several lines is not complete.
fn are_lines(content: &[u8]) -> bool {
    let mut lines = content.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let first = lines.next().unwrap_or_default();
    lines.next().is_some() && serde_json::from_slice::<IgnoredAny>(first).is_ok()
}

/// Writes a document as one record, or as one for each class, and prints the answer.
///
/// # Errors
/// Fails if the content is not FHIR, if no class is proposed for it, or like every write.
pub(crate) async fn write(
    import: &Import,
    client: &Client,
    card: &Card,
    (file, document): (&Path, &[u8]),
    json: bool,
) -> Result<(), Failure> {
    let of_file = |error: fhir::FhirError| {
        Failure::new(Exit::Input, format!("{} holds no FHIR: {}", file.display(), one_line(&error)))
    };
    // What cannot be a record is refused before anything is sent.
    drop(records::take_apart(document).map_err(of_file)?);
    records::report_problems(file, document);
    let class = match import.class {
        Choice::Stated(_) if import.split => {
            let message = "--split needs --class auto: with a stated class there is nothing to split";
            return Err(Failure::new(Exit::Usage, message));
        }
        Choice::Stated(class) => class,
        Choice::Auto => {
            let classification = fhir::classify(document).or_exit(Exit::Input)?;
            classed::explain(&classification);
            if import.split {
                return classed::write_parts(client, card, document, import.wait, json).await;
            }
            classification.proposal().ok_or_else(|| classed::mixed(&classification))?
        }
    };
    let resources = fhir::resources(document).map_err(of_file)?;
    let resource_type = match &resources[..] {
        [only] => only.resource_type,
        _ => "Bundle",
    };
    let gathered = Gathered {
        class,
        resource_type: resource_type.to_owned(),
        resources: resources.len(),
        bundle: document.to_vec(),
    };
    let progress = Progress::start("writing");
    let written = ndjson::write(client, card, gathered).await;
    drop(progress);
    print(&ndjson::promised(client, written?, import.wait).await?, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_say_what_the_content_is() {
        for lines in ["{}\n{}", "{\"a\":1}\n\n{\"b\":2}\n", "\n{}\r\n{}\r\n"] {
            assert!(are_lines(lines.as_bytes()), "{lines:?}");
        }
        for document in ["", "{}", "{}\n", "\n\n{}\n\n", "{\n}", "{\"a\":[\n1]}\n", "{\n{}\n{}", "nonsense\n{}"] {
            assert!(!are_lines(document.as_bytes()), "{document:?}");
        }
    }

    #[test]
    fn types_of_fhir_are_known() {
        for known in [
            "application/fhir+json",
            "fhir+json",
            "application/fhir+json; fhirVersion=4.0",
            "Application/FHIR+NDJSON",
            "json",
        ] {
            assert!(is_fhir(known), "{known}");
        }
        for other in ["application/dicom", "text/html", "", "application/fhir+xml", "JWT"] {
            assert!(!is_fhir(other), "{other}");
        }
    }
}
