//! Synthetic patients: no sensitive resource is in another class, as far as an independent list of words can tell.

use emr_core::Class;
use emr_core::fhir::{Classification, classify};
use serde_json::Value as Json;

use crate::{ATTENTION, Anything, SENSITIVE};

/// Words that tell mental health or substance use, chosen without a look at the tables. Substrings, in lower case.
const TELLING: [&str; 44] = [
    "depress",
    "anxi",
    "suicid",
    "alcohol",
    "drug abuse",
    "drug use",
    "opioid",
    "overdose",
    "dependence",
    "phq",
    "gad-7",
    "audit",
    "dast",
    "psych",
    "mental",
    "addict",
    "abuse",
    "smok",
    "tobacco",
    "nicotine",
    "panic",
    "bipolar",
    "schizo",
    "adhd",
    "attention deficit",
    "inattention",
    "dementia",
    "alzheimer",
    "autis",
    "self-harm",
    "ptsd",
    "traumatic stress",
    "intoxic",
    "detox",
    "heroin",
    "cocaine",
    "cannabis",
    "methadone",
    "naloxone",
    "atomoxetine",
    "fluoxetine",
    "sertraline",
    "partner",
    "violen",
];
/// Words that tell reproductive health or genetics.
const TELLING_TOO: [&str; 17] = [
    "pregnan",
    "contracep",
    "natal",
    "abortion",
    "terminat",
    "miscarr",
    "intrauterine",
    "fetal",
    "fetus",
    "28 day pack",
    "chromosom",
    "genetic",
    "hiv",
    "sterili",
    "tubal",
    "obstet",
    "levonorgestrel",
];
/// What contains such a word and tells nothing.
const HARMLESS: [&str; 5] = ["alcohol-free diet", "experimental", "environmental", "abuse-deterrent", "hispanic"];

fn texts(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::String(text) => found.push(text.to_lowercase()),
        Json::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Json::Object(members) => {
            let kept = members
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "div" | "note" | "data" | "url" | "address"));
            kept.for_each(|(_, value)| texts(value, found));
        }
        _ => {}
    }
}

/// Which resources of other classes tell what only sensitive classes may hold.
fn leaks(document: &[u8], classification: &Classification) -> Result<Vec<String>, Anything> {
    let json: Json = serde_json::from_slice(document)?;
    let entries = json["entry"].as_array().ok_or("no entries")?;
    assert_eq!(entries.len(), classification.resources.len());
    let mut leaks = Vec::new();
    for (entry, classified) in entries.iter().zip(&classification.resources) {
        let mut found = Vec::new();
        texts(&entry["resource"], &mut found);
        for text in found.iter().filter(|text| !HARMLESS.iter().any(|harmless| text.contains(harmless))) {
            let mental = TELLING.iter().any(|word| text.contains(word));
            let other = TELLING_TOO.iter().any(|word| text.contains(word));
            let kept_apart = match classified.class {
                Class::MentalHealth | Class::SubstanceUse => true,
                Class::ReproductiveHealth | Class::Genetics => !mental,
                _ => !mental && !other,
            };
            if !kept_apart {
                leaks.push(format!("{} {} {}: {text}", classified.path, classified.resource_type, classified.class));
            }
        }
    }
    Ok(leaks)
}

/// No resource about mental health or substance use is in another class.
#[test]
fn nothing_sensitive_of_synthea_is_in_another_class() -> Result<(), Anything> {
    for document in [SENSITIVE, ATTENTION] {
        let classification = classify(document)?;
        assert_eq!(leaks(document, &classification)?, Vec::<String>::new());
        assert_eq!(classification.proposal(), None);
        assert_eq!(classification.classes().get(&Class::Summary), Some(&1));
    }
    // Nor the other way: most of a patient's record stays in the ordinary classes.
    let classification = classify(ATTENTION)?;
    let sensitive = classification.resources.iter().filter(|resource| resource.class.is_sensitive()).count();
    assert!(sensitive >= 5 && sensitive < classification.resources.len() / 2, "{:?}", classification.classes());
    let classes = classify(SENSITIVE)?.classes();
    for class in
        [Class::MentalHealth, Class::SubstanceUse, Class::ReproductiveHealth, Class::VitalSigns, Class::Laboratory]
    {
        assert!(classes.get(&class).is_some_and(|count| *count > 3), "{classes:?}");
    }
    Ok(())
}

/// The test above can fail: it finds what a classification that knows nothing leaves in other classes.
#[test]
fn the_check_for_leaks_finds_leaks() -> Result<(), Anything> {
    let mut blind = classify(ATTENTION)?;
    for resource in &mut blind.resources {
        resource.class = Class::Condition;
    }
    assert!(leaks(ATTENTION, &blind)?.len() > 5);
    Ok(())
}
