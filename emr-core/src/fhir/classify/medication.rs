//! Medication that tells what it is for: ATC groups, and RxNorm concepts. What neither table has is found by the names of
//! its ingredients (`word`).

use crate::class::Class;
use Class::{MentalHealth, ReproductiveHealth, SubstanceUse};

/// ATC prefixes. The longest prefix of a code decides. Midazolam and dexmedetomidine are taken out, because they are given
/// for anaesthesia.
const ATC: &[(&str, Option<Class>)] = &[
    ("N07B", Some(SubstanceUse)),
    ("V03AB15", Some(SubstanceUse)),
    ("N05", Some(MentalHealth)),
    ("N05CD08", None),
    ("N05CM18", None),
    ("N06", Some(MentalHealth)),
    ("G02A", Some(ReproductiveHealth)),
    ("G02B", Some(ReproductiveHealth)),
    ("G03A", Some(ReproductiveHealth)),
    ("G03D", Some(ReproductiveHealth)),
    ("G03G", Some(ReproductiveHealth)),
    ("G03XB", Some(ReproductiveHealth)),
    ("J05AE", Some(ReproductiveHealth)),
    ("J05AG", Some(ReproductiveHealth)),
    ("J05AJ", Some(ReproductiveHealth)),
    ("J05AR", Some(ReproductiveHealth)),
];

/// Ingredients, and the products that Synthea's modules prescribe.
const RXNORM_SUBSTANCE_USE: &[&str] = &[
    // Buprenorphine, methadone, naltrexone, naloxone, disulfiram, acamprosate, varenicline, nicotine.
    "1819", "6813", "7243", "7242", "3554", "82819", "591622", "7407", "351266", "864706", "1483744", "1191222",
    "198031",
];
const RXNORM_MENTAL_HEALTH: &[&str] = &[
    // Antidepressants, lithium.
    "4493", "36437", "32937", "2556", "321988", "39786", "72625", "42347", "15996", "10737", "704", "7531", "6448",
    "310385", "312938", "349332", "197890", // Antipsychotics.
    "51272", "61381", "35636", "89013", "5093", "2626", "115698", "312743", // Anxiolytics and hypnotics.
    "3322", "6470", "596", "2598", "1827", "39993", "866083", // Attention deficit.
    "6901", "725", "38400", "700810", "1091392", "608139", // Dementia.
    "135447", "6719", "4637", "183379", "997223", "1100184", "1599803", "310436", "313185", "996740",
];
const RXNORM_REPRODUCTIVE_HEALTH: &[&str] = &[
    // Contraceptives.
    "1000126", "1359133", "1366343", "1367439", "1534809", "1605257", "1856546", "235389", "389221", "748856", "748879",
    "748962", "749762", "749785", "749882", "751905", "757594", "807283", "831533", "978950",
    // Antiretrovirals.
    "1147334", "1306292", "1359269", "1433873", "1721613", "1747691", "199663", "1999667", "200082", "2003249",
    "2122519", "284988", "310988", "313110", "313760", "317150", "349477", "349491", "402109", "403875", "403978",
    "476556", "597730", "643066", "664741", "744842", "859863",
];

/// The sensitive class of a medication, if `system` is ATC or RxNorm.
pub(super) fn sensitive(system: &str, code: &str) -> Option<Class> {
    match system {
        "http://www.whocc.no/atc" | "urn:oid:2.16.840.1.113883.6.73" | "http://fhir.de/CodeSystem/bfarm/atc" => {
            let code = code.to_ascii_uppercase();
            let rows = ATC.iter().filter(|(prefix, _)| code.starts_with(prefix));
            rows.max_by_key(|(prefix, _)| prefix.len()).and_then(|(_, class)| *class)
        }
        "http://www.nlm.nih.gov/research/umls/rxnorm" | "urn:oid:2.16.840.1.113883.6.88" => {
            let lists = [
                (RXNORM_SUBSTANCE_USE, SubstanceUse),
                (RXNORM_MENTAL_HEALTH, MentalHealth),
                (RXNORM_REPRODUCTIVE_HEALTH, ReproductiveHealth),
            ];
            lists.into_iter().find(|(list, _)| list.contains(&code)).map(|(_, class)| class)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_ingredients() {
        let atc = "http://www.whocc.no/atc";
        for (system, code, class) in [
            (atc, "N06AB06", Some(MentalHealth)),
            (atc, "N05AX12", Some(MentalHealth)),
            (atc, "N05CD08", None),
            (atc, "N07BC02", Some(SubstanceUse)),
            (atc, "N07CA01", None),
            (atc, "G03AA07", Some(ReproductiveHealth)),
            (atc, "C10AA01", None),
            ("http://www.nlm.nih.gov/research/umls/rxnorm", "608139", Some(MentalHealth)),
            ("http://www.nlm.nih.gov/research/umls/rxnorm", "864706", Some(SubstanceUse)),
            ("http://www.nlm.nih.gov/research/umls/rxnorm", "313782", None),
            ("http://hl7.org/fhir/sid/cvx", "725", None),
        ] {
            assert_eq!(sensitive(system, code), class, "{system} {code}");
        }
    }
}
