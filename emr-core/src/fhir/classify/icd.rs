//! ICD-10 and its national forms, ICD-9-CM, and ICPC-2: classifications whose codes carry their chapter.

use crate::class::Class;
use Class::{Genetics, MentalHealth, ReproductiveHealth, SubstanceUse};

/// ICD-10 prefixes. The longest prefix of a code decides. An empty class takes codes out of a wider prefix.
const ICD_10: &[(&str, Option<Class>)] = &[
    // Alcohol, drugs and tobacco: disorders, organs that they damage, poisoning, levels in blood, counselling.
    ("F1", Some(SubstanceUse)),
    ("E24.4", Some(SubstanceUse)),
    ("G31.2", Some(SubstanceUse)),
    ("G62.1", Some(SubstanceUse)),
    ("G72.1", Some(SubstanceUse)),
    ("I42.6", Some(SubstanceUse)),
    ("K29.2", Some(SubstanceUse)),
    ("K70", Some(SubstanceUse)),
    ("K85.2", Some(SubstanceUse)),
    ("K86.0", Some(SubstanceUse)),
    ("O99.31", Some(SubstanceUse)),
    ("O99.32", Some(SubstanceUse)),
    ("O99.33", Some(SubstanceUse)),
    ("R78.0", Some(SubstanceUse)),
    ("R78.1", Some(SubstanceUse)),
    ("R78.2", Some(SubstanceUse)),
    ("R78.3", Some(SubstanceUse)),
    ("R78.4", Some(SubstanceUse)),
    ("T40", Some(SubstanceUse)),
    ("T51", Some(SubstanceUse)),
    ("X42", Some(SubstanceUse)),
    ("X45", Some(SubstanceUse)),
    ("X62", Some(SubstanceUse)),
    ("X65", Some(SubstanceUse)),
    ("Y90", Some(SubstanceUse)),
    ("Y91", Some(SubstanceUse)),
    ("Z71.4", Some(SubstanceUse)),
    ("Z71.5", Some(SubstanceUse)),
    ("Z71.6", Some(SubstanceUse)),
    ("Z72.0", Some(SubstanceUse)),
    ("Z72.1", Some(SubstanceUse)),
    ("Z72.2", Some(SubstanceUse)),
    ("Z81.1", Some(SubstanceUse)),
    ("Z81.2", Some(SubstanceUse)),
    ("Z81.3", Some(SubstanceUse)),
    ("Z81.4", Some(SubstanceUse)),
    ("Z86.4", Some(SubstanceUse)),
    ("Z87.891", Some(SubstanceUse)),
    // Mental and behavioural disorders, dementia, emotional state, self-harm, violence.
    ("F", Some(MentalHealth)),
    ("G30", Some(MentalHealth)),
    ("R45", Some(MentalHealth)),
    ("T14.91", Some(MentalHealth)),
    ("T43", Some(MentalHealth)),
    ("T74", Some(MentalHealth)),
    ("T76", Some(MentalHealth)),
    ("X6", Some(MentalHealth)),
    ("X7", Some(MentalHealth)),
    ("X80", Some(MentalHealth)),
    ("X81", Some(MentalHealth)),
    ("X82", Some(MentalHealth)),
    ("X83", Some(MentalHealth)),
    ("X84", Some(MentalHealth)),
    ("Y07", Some(MentalHealth)),
    ("Z13.3", Some(MentalHealth)),
    ("Z69", Some(MentalHealth)),
    ("Z81", Some(MentalHealth)),
    ("Z86.5", Some(MentalHealth)),
    ("Z91.4", Some(MentalHealth)),
    ("Z91.5", Some(MentalHealth)),
    // Pregnancy and birth, contraception, fertility, HIV, sexually transmitted infections.
    ("O", Some(ReproductiveHealth)),
    ("Z3", Some(ReproductiveHealth)),
    ("Z64.0", Some(ReproductiveHealth)),
    ("A5", Some(ReproductiveHealth)),
    ("A60", Some(ReproductiveHealth)),
    ("A61", Some(ReproductiveHealth)),
    ("A62", Some(ReproductiveHealth)),
    ("A63", Some(ReproductiveHealth)),
    ("A64", Some(ReproductiveHealth)),
    ("B20", Some(ReproductiveHealth)),
    ("B21", Some(ReproductiveHealth)),
    ("B22", Some(ReproductiveHealth)),
    ("B23", Some(ReproductiveHealth)),
    ("B24", Some(ReproductiveHealth)),
    ("N46", Some(ReproductiveHealth)),
    ("N96", Some(ReproductiveHealth)),
    ("N97", Some(ReproductiveHealth)),
    ("Z11.3", Some(ReproductiveHealth)),
    ("Z11.4", Some(ReproductiveHealth)),
    ("Z20.2", Some(ReproductiveHealth)),
    ("Z20.6", Some(ReproductiveHealth)),
    ("Z21", Some(ReproductiveHealth)),
    ("Z72.5", Some(ReproductiveHealth)),
    // Chromosomes, genes, family history.
    ("Q9", Some(Genetics)),
    ("Z13.7", Some(Genetics)),
    ("Z14", Some(Genetics)),
    ("Z15", Some(Genetics)),
    ("Z31.5", Some(Genetics)),
    ("Z80", Some(Genetics)),
    ("Z82", Some(Genetics)),
    ("Z83", Some(Genetics)),
    ("Z84", Some(Genetics)),
    // Yaws, pinta and other treponematoses that are not venereal; relapsing fevers are A68.
    ("A65", None),
    ("A66", None),
    ("A67", None),
];

/// Ranges of ICD-9-CM, three digits. Earlier rows win.
const ICD_9: &[(u16, u16, Class)] = &[
    (291, 292, SubstanceUse),
    (303, 305, SubstanceUse),
    (290, 319, MentalHealth),
    (331, 331, MentalHealth),
    (42, 42, ReproductiveHealth),
    (90, 99, ReproductiveHealth),
    (606, 606, ReproductiveHealth),
    (628, 628, ReproductiveHealth),
    (630, 679, ReproductiveHealth),
    (758, 758, Genetics),
];

/// The sensitive class of a code of a classification, if `system` names one. A code without a system counts as ICD-10.
pub(super) fn sensitive(system: &str, code: &str) -> Option<Class> {
    let system = system.to_ascii_lowercase();
    let is = |names: &[&str]| names.iter().any(|name| system.contains(name));
    if is(&["icd-10-pcs", "icd10pcs"]) || system.ends_with("2.16.840.1.113883.6.4") {
        return None;
    }
    if is(&["icd-9", "icd9"]) || system.ends_with("2.16.840.1.113883.6.103") {
        return icd_9(code);
    }
    if is(&["icpc"]) || system.ends_with("2.16.840.1.113883.6.139") {
        return icpc(code);
    }
    let oids = ["2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90", "1.2.276.0.76.5.409"];
    if system.is_empty() || is(&["icd-10", "icd10"]) || oids.iter().any(|oid| system.ends_with(oid)) {
        return icd_10(code);
    }
    None
}

/// Undotted codes (`F321`) are read as dotted ones.
fn icd_10(code: &str) -> Option<Class> {
    let mut characters = code.chars();
    let shape = characters.next()?.is_ascii_alphabetic() && characters.next()?.is_ascii_digit();
    if !shape || code.len() < 3 || !code.is_ascii() || code.len() > 12 {
        return None;
    }
    let mut dotted = code.to_ascii_uppercase();
    if !dotted.contains('.') && dotted.len() > 3 {
        dotted.insert(3, '.');
    }
    let rows = ICD_10.iter().filter(|(prefix, _)| dotted.starts_with(prefix));
    rows.max_by_key(|(prefix, _)| prefix.len()).and_then(|(_, class)| *class)
}

fn icd_9(code: &str) -> Option<Class> {
    if let Some(rest) = code.strip_prefix(['V', 'v']) {
        return match rest.get(..2)?.parse::<u8>().ok()? {
            8 | 22..=28 => Some(ReproductiveHealth),
            11 => Some(MentalHealth),
            83 | 84 | 16..=19 => Some(Genetics),
            _ => None,
        };
    }
    if let Some(rest) = code.strip_prefix(['E', 'e']) {
        return matches!(rest.get(..3)?.parse::<u16>().ok()?, 950..=959).then_some(MentalHealth);
    }
    let number: u16 = code.get(..3)?.parse().ok()?;
    ICD_9.iter().find(|(from, to, _)| (*from..=*to).contains(&number)).map(|(_, _, class)| *class)
}

/// ICPC-2: the letter is the chapter.
fn icpc(code: &str) -> Option<Class> {
    let number = || code.get(1..3)?.parse::<u8>().ok();
    match code.chars().next()?.to_ascii_uppercase() {
        'P' => Some(if matches!(number(), Some(15..=19)) { SubstanceUse } else { MentalHealth }),
        'W' => Some(ReproductiveHealth),
        'B' if number() == Some(90) => Some(ReproductiveHealth),
        'X' | 'Y' if matches!(number(), Some(70..=74 | 90..=92)) => Some(ReproductiveHealth),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";

    #[test]
    fn chapters_and_their_exceptions() {
        for (system, code, class) in [
            (ICD, "F10.20", Some(SubstanceUse)),
            (ICD, "F32.1", Some(MentalHealth)),
            (ICD, "F321", Some(MentalHealth)),
            (ICD, "f32.1", Some(MentalHealth)),
            ("", "F90.0", Some(MentalHealth)),
            ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "F33.2", Some(MentalHealth)),
            ("urn:oid:2.16.840.1.113883.6.90", "R45.851", Some(MentalHealth)),
            (ICD, "O09.90", Some(ReproductiveHealth)),
            (ICD, "O99.310", Some(SubstanceUse)),
            (ICD, "Z34.90", Some(ReproductiveHealth)),
            (ICD, "Z3A.20", Some(ReproductiveHealth)),
            (ICD, "Z15.01", Some(Genetics)),
            (ICD, "Q90.9", Some(Genetics)),
            (ICD, "Z87.891", Some(SubstanceUse)),
            (ICD, "Z87.898", None),
            (ICD, "E11.9", None),
            (ICD, "A66.0", None),
            (ICD, "I10", None),
            ("http://hl7.org/fhir/sid/icd-10-pcs", "F00ZG4Z", None),
            ("http://hl7.org/fhir/sid/icd-9-cm", "296.20", Some(MentalHealth)),
            ("http://hl7.org/fhir/sid/icd-9-cm", "303.90", Some(SubstanceUse)),
            ("http://hl7.org/fhir/sid/icd-9-cm", "V22.1", Some(ReproductiveHealth)),
            ("http://hl7.org/fhir/sid/icd-9-cm", "250.00", None),
            ("http://hl7.org/fhir/sid/icpc-2", "P76", Some(MentalHealth)),
            ("http://hl7.org/fhir/sid/icpc-2", "P15", Some(SubstanceUse)),
            ("http://hl7.org/fhir/sid/icpc-2", "T90", None),
            ("http://example.org/local", "F32.1", None),
            (ICD, "F", None),
            (ICD, "F\u{e9}1", None),
            ("http://hl7.org/fhir/sid/icd-9-cm", "2\u{e9}", None),
        ] {
            assert_eq!(sensitive(system, code), class, "{system} {code}");
        }
    }
}
