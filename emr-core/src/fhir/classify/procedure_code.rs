//! CPT and HCPCS: numbers of procedures in claims of the USA. Only ranges, without descriptions.

use crate::class::Class;
use Class::{Genetics, MentalHealth, ReproductiveHealth, SubstanceUse};

const CPT: &[(u32, u32, Class)] = &[
    (99406, 99409, SubstanceUse),
    (80305, 80307, SubstanceUse),
    (80320, 80377, SubstanceUse),
    (90785, 90899, MentalHealth),
    (96105, 96146, MentalHealth),
    (97151, 97158, MentalHealth),
    (99483, 99484, MentalHealth),
    (99492, 99494, MentalHealth),
    (11976, 11983, ReproductiveHealth),
    (55250, 55250, ReproductiveHealth),
    (55450, 55450, ReproductiveHealth),
    (57170, 57170, ReproductiveHealth),
    (58300, 58301, ReproductiveHealth),
    (58321, 58323, ReproductiveHealth),
    (58600, 58615, ReproductiveHealth),
    (58970, 58976, ReproductiveHealth),
    (59000, 59899, ReproductiveHealth),
    (76801, 76828, ReproductiveHealth),
    (81025, 81025, ReproductiveHealth),
    (86701, 86703, ReproductiveHealth),
    (87534, 87539, ReproductiveHealth),
    (81105, 81479, Genetics),
    (88230, 88299, Genetics),
    (96040, 96041, Genetics),
];

/// The sensitive class of a code, if `system` is CPT or HCPCS.
pub(super) fn sensitive(system: &str, code: &str) -> Option<Class> {
    let system = system.to_ascii_lowercase();
    let oids = ["2.16.840.1.113883.6.12", "2.16.840.1.113883.6.285", "2.16.840.1.113883.6.14"];
    let known = ["ama-assn.org/go/cpt", "hcpcs"];
    if !known.iter().any(|name| system.contains(name)) && !oids.iter().any(|oid| system.ends_with(oid)) {
        return None;
    }
    if code.len() != 5 || !code.is_ascii() {
        return None;
    }
    // H codes of HCPCS: alcohol and drug services up to H0030 and from H0047 on, mental health services between and after.
    if let Some(number) = code.strip_prefix('H').and_then(|number| number.parse::<u16>().ok()) {
        return Some(if matches!(number, 1..=30 | 47..=50 | 2034..=2036) { SubstanceUse } else { MentalHealth });
    }
    match code {
        "G0442" | "G0443" | "G0396" | "G0397" | "G2011" | "G2067" | "G2068" | "G2069" | "G2070" => {
            return Some(SubstanceUse);
        }
        "G0444" | "G0409" | "G0410" | "G0411" => return Some(MentalHealth),
        _ => {}
    }
    let number: u32 = code.parse().ok()?;
    CPT.iter().find(|(from, to, _)| (*from..=*to).contains(&number)).map(|(_, _, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cpt = "http://www.ama-assn.org/go/cpt";
        assert_eq!(sensitive(cpt, "90837"), Some(MentalHealth));
        assert_eq!(sensitive(cpt, "59400"), Some(ReproductiveHealth));
        assert_eq!(sensitive(cpt, "81211"), Some(Genetics));
        assert_eq!(sensitive(cpt, "99213"), None);
        assert_eq!(sensitive("https://bluebutton.cms.gov/resources/codesystem/hcpcs", "H0001"), Some(SubstanceUse));
        assert_eq!(sensitive("https://bluebutton.cms.gov/resources/codesystem/hcpcs", "H0031"), Some(MentalHealth));
        assert_eq!(sensitive("http://loinc.org", "90837"), None);
    }
}
