//! One Bundle for each class.

use std::collections::BTreeMap;

use emr_core::Class;
use emr_core::fhir::{FhirError, classify, import, split};
use serde_json::Value as Json;

use crate::{Anything, LOINC, SENSITIVE, classes, coded, one};

#[test]
fn parts_hold_each_resource_once_and_byte_for_byte() -> Result<(), Anything> {
    let secret = [7; 32];
    let classification = classify(SENSITIVE)?;
    let parts = split(SENSITIVE, &secret)?;
    let counts: BTreeMap<Class, usize> = parts.iter().map(|part| (part.class, part.resources)).collect();
    assert_eq!(counts, classification.classes());
    assert!(parts.windows(2).all(|pair| pair[0].class < pair[1].class));

    let original: Json = serde_json::from_slice(SENSITIVE)?;
    let entries = original["entry"].as_array().ok_or("no entries")?;
    let whole = std::str::from_utf8(SENSITIVE)?;
    let mut tags = Vec::new();
    for part in &parts {
        import(&part.document)?;
        let json: Json = serde_json::from_slice(&part.document)?;
        let expected =
            entries.iter().zip(&classification.resources).filter(|(_, classified)| classified.class == part.class);
        let expected: Vec<_> = expected.map(|(entry, _)| (&entry["fullUrl"], &entry["resource"])).collect();
        let found = json["entry"].as_array().ok_or("no entries")?;
        let found: Vec<_> = found.iter().map(|entry| (&entry["fullUrl"], &entry["resource"])).collect();
        assert_eq!(found, expected);
        // Every line of a part but the first and last parts of its wrapper is in the original.
        let text = std::str::from_utf8(&part.document)?;
        for entry in text.split("\"resource\":").skip(1) {
            let resource = entry.split(",\n").next().unwrap_or_default();
            let resource = resource.strip_suffix("}]}").or_else(|| resource.strip_suffix('}')).unwrap_or(resource);
            assert!(whole.contains(resource), "{}", &resource[..80]);
        }
        // A part names no class and no number of parts.
        let head = &text[..text.find("\"entry\"").ok_or("no entry")?];
        tags.push(head.to_owned());
        assert!(Class::ALL.iter().all(|class| !head.contains(class.name())), "{head}");
        // Split again, a part stays whole.
        assert_eq!(classify(&part.document)?.resources.len(), part.resources);
    }
    tags.dedup();
    assert_eq!(tags.len(), 1);
    assert!(tags[0].starts_with(
        "{\"resourceType\":\"Bundle\",\"meta\":{\"tag\":[{\"system\":\"urn:ietf:rfc:3986\",\"code\":\"urn:uuid:"
    ));
    // The same secret and document give the same bytes; another secret or document gives another tag.
    assert_eq!(split(SENSITIVE, &secret)?, parts);
    assert_ne!(split(SENSITIVE, &[8; 32])?[0].document, parts[0].document);
    let other = split(&[SENSITIVE, b" "].concat(), &secret)?;
    assert_ne!(other[0].document, parts[0].document);
    Ok(())
}

/// RFC 5869 with Python's hmac: HKDF-Expand(HMAC-SHA256(0 x 32, 07 x 32), "emr/split/v1" || SHA-256(document), 16), with the
/// bits of version 8.
#[test]
fn the_tag_of_parts_is_what_the_document_says() -> Result<(), Anything> {
    let document = br#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient","active":true}}]}"#;
    let parts = split(document, &[7; 32])?;
    let text = String::from_utf8(parts[0].document.clone())?;
    assert!(text.contains("urn:uuid:a1093130-3a7f-85d0-b259-55b611dc1034"), "{text}");
    Ok(())
}

#[test]
fn awkward_bundles_are_split_or_refused() -> Result<(), Anything> {
    let secret = [1; 32];
    // One resource is one part, unchanged.
    let weight = coded("Observation", LOINC, "29463-7");
    let parts = split(weight.as_bytes(), &secret)?;
    assert_eq!((parts.len(), parts[0].class, parts[0].document.as_slice()), (1, Class::VitalSigns, weight.as_bytes()));
    // White space, escapes and numbers stay as written, and a byte order mark is no part of a resource.
    let odd = "\u{feff}{\"entry\" : [ { \"resource\" : { \"resourceType\":\"Patient\" ,\"x\":1.50e0 , \"y\":\"\\u0041\" } ,\"request\":{\"method\":\"POST\",\"url\":\"Patient\"}, \"fullUrl\":\"urn:\\u0061\" } ],\"resourceType\":\"Bundle\",\"type\":\"transaction\"}";
    let parts = split(odd.as_bytes(), &secret)?;
    let text = String::from_utf8(parts[0].document.clone())?;
    assert!(text.ends_with(
        "\"entry\":[{\"fullUrl\":\"urn:\\u0061\",\"resource\":{ \"resourceType\":\"Patient\" ,\"x\":1.50e0 , \"y\":\"\\u0041\" }}]}"
    ), "{text}");
    // Nothing is dropped silently.
    let deletes = r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","active":true}},{"request":{"method":"DELETE","url":"Patient/1"}}]}"#;
    assert_eq!(split(deletes.as_bytes(), &secret), Err(FhirError::NoResource { path: "Bundle.entry[1]".into() }));
    // Nor what changes the meaning of the rest.
    for (bundle, entry, path) in [
        (r#""implicitRules":"urn:rules","#, "", "Bundle.implicitRules"),
        (r#""modifierExtension":[{"url":"urn:not"}],"#, "", "Bundle.modifierExtension"),
        ("", r#""modifierExtension":[{"url":"urn:not"}],"#, "Bundle.entry[1].modifierExtension"),
    ] {
        let patient = r#""resource":{"resourceType":"Patient","active":true}"#;
        let document = format!(r#"{{"resourceType":"Bundle",{bundle}"entry":[{{{patient}}},{{{entry}{patient}}}]}}"#);
        import(document.as_bytes())?;
        let refused = split(document.as_bytes(), &secret);
        assert_eq!(refused, Err(FhirError::ChangesMeaning { path: path.to_owned() }));
    }
    assert_eq!(split(br#"{"resourceType":"Bundle","type":"collection"}"#, &secret)?, []);
    assert!(matches!(split(b"{", &secret), Err(FhirError::NotJson { .. })));
    assert!(matches!(classify(br#"{"resourceType":"Patent"}"#), Err(FhirError::UnknownResource(_))));
    // Elements of the wrong kind.
    for entry in
        ["1", "[1]", "{\"resource\":1}", "[{\"resource\":\"x\"}]", "[{\"resource\":[{\"resourceType\":\"Patient\"}]}]"]
    {
        let document = format!("{{\"resourceType\":\"Bundle\",\"entry\":{entry}}}");
        let _ = (classify(document.as_bytes())?, split(document.as_bytes(), &secret));
    }
    let list = r#"{"resourceType":"Bundle","entry":[{"resource":[{"resourceType":"Condition","code":{"text":"Depression"}}]}]}"#;
    assert_eq!(classes(list)?, [Class::MentalHealth]);
    // A terminal gets no control characters from a document.
    let hostile = one(
        r#"{"resourceType":"Basic","code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10\u001b[2J","code":"F32"}]}}"#,
    )?;
    assert!(hostile.because.iter().all(|because| !because.to_string().contains('\u{1b}')), "{:?}", hostile.because);
    Ok(())
}
