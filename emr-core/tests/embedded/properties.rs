//! Any documents, any cuts, any bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use emr_core::fhir::{import, read};
use emr_core::{Cut, Value};
use proptest::prelude::*;

use super::forged::forged;
use super::{FILES, comes_back, exported, stored};

/// JSON in which files are frequent, also nested ones, and look-alikes.
fn element() -> impl Strategy<Value = String> {
    let file =
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|content| format!("\"{}\"", STANDARD.encode(content)));
    let leaf = prop_oneof![
        4 => file,
        1 => "[A-Za-z0-9+/]{0,9}={0,2}".prop_map(|text| format!("\"{text}\"")),
        1 => any::<String>().prop_map(|text| serde_json::Value::String(text).to_string()),
        1 => Just("\"Binary\"".to_owned()),
        1 => Just("7.50".to_owned()),
        1 => Just("null".to_owned()),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let name = prop_oneof![4 => Just("data".to_owned()), 4 => Just("contentType".to_owned()), 1 => Just("resourceType".to_owned()), 2 => "[a-c]"];
        let object = prop::collection::vec((name, inner.clone()), 1..6).prop_map(|members| {
            // In the order of the list, each name once.
            let mut names = std::collections::BTreeSet::new();
            let members = members.iter().filter(|(name, _)| names.insert(name.clone()));
            let members: Vec<_> = members.map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{{} }}", members.join(" ,"))
        });
        let array = prop::collection::vec(inner.prop_filter("an array", |item| !item.starts_with('[')), 1..5)
            .prop_map(|items| format!("[{}]", items.join(", ")));
        prop_oneof![3 => object, 1 => array]
    })
}

proptest! {
    #[test]
    fn any_document_with_files_comes_back(value in element(), other in element()) {
        let document = format!("{{\"a\":{value},\"resourceType\":\"Binary\",\"data\":{other}}}");
        let record = comes_back(document.as_bytes()).map_err(|error| TestCaseError::fail(format!("{document}: {error}")))?;
        // A file is taken out exactly where the text is the canonical base64 of something.
        let inline = import(document.as_bytes())?;
        prop_assert!(inline.fields().keys().eq(record.fields().keys()));
        for (key, value) in record.fields() {
            match (value, inline.get(key)) {
                (Value::Attachment(file), Some(Value::Text(text))) => {
                    prop_assert_eq!(key.segments().last(), Some("data"));
                    let content = STANDARD.decode(text)?;
                    prop_assert_eq!(&STANDARD.encode(&content), text);
                    prop_assert_eq!(content.len() as u64, file.size);
                }
                (value, inline) => prop_assert_eq!(Some(value), inline),
            }
        }
    }

    /// Whatever cuts an author signs: what is exported is exactly what the fields say.
    #[test]
    fn any_cuts_are_refused_or_give_the_fields(mut cuts in prop::collection::vec(0..1200_u64, 0..9)) {
        let (record, contents) = stored(read(FILES.as_bytes())?)?;
        cuts.sort_unstable();
        cuts.dedup();
        let honest = record.original().map(|original| original.cuts.clone()).unwrap_or_default();
        let mut forged_cuts: Vec<Cut> = honest.iter().copied().take(cuts.len()).chain(cuts.iter().map(|at| Cut::new(*at))).collect();
        forged_cuts.sort_unstable();
        forged_cuts.dedup();
        if let Ok(forged) = forged(&record, |original| original.cuts = forged_cuts.clone()) {
            prop_assert_eq!(exported(&forged, &contents).is_ok(), forged_cuts == honest);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let document = [b"{\"resourceType\":\"Binary\",\"contentType\":\"a/b\",\"data\":\"", bytes.as_slice(), b"\"}"].concat();
        match read(&document) {
            Ok(draft) => {
                let (record, contents) = stored(draft)?;
                prop_assert_eq!(exported(&record, &contents)?, document);
            }
            Err(error) => prop_assert_eq!(Err(error), import(&document)),
        }
    }
}
