//! Units of UCUM.

/// The system of UCUM's units in a quantity.
pub const UCUM: &str = "http://unitsofmeasure.org";

/// The longest unit that is read. The longest that LOINC uses has fewer than 40 characters.
const MAX_BYTES: usize = 128;

/// Whether a text is a unit of UCUM, in the case-sensitive form: `mmol/L`, `10*3/uL`, `mm[Hg]`, `{score}`.
pub fn is_unit(code: &str) -> bool {
    code.len() <= MAX_BYTES && octofhir_ucum::validate(code).is_ok()
}

/// Whether two units measure the same kind of quantity, so that one can be converted into the other: `mg/dL` and `g/L`, but not
/// `mg/dL` and `mmol/L`.
pub(super) fn are_commensurable(a: &str, b: &str) -> bool {
    let fit = a.len() <= MAX_BYTES && b.len() <= MAX_BYTES;
    fit && octofhir_ucum::is_comparable(a, b).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Valid and invalid expressions of the UCUM specification and of LOINC's unit lists.
    #[test]
    fn units_are_those_of_ucum() {
        for unit in [
            "mmol/L",
            "mg/dL",
            "%",
            "mm[Hg]",
            "10*3/uL",
            "{score}",
            "kg",
            "Cel",
            "[degF]",
            "m2",
            "mL/min/{1.73_m2}",
            "/min",
            "1",
            "[IU]/L",
            "kg/m2",
            "fL",
            "mmol/mol",
        ] {
            assert!(is_unit(unit), "{unit}");
        }
        for text in
            ["", " ", "mmol/l ", "mgdl", "mmol per L", "MG/DL", "mmHg", "kg//m", "(m", "m)", "{open", "\u{b5}g", "°C"]
        {
            assert!(!is_unit(text), "{text}");
        }
        assert!(!is_unit(&format!("{{{}}}", "x".repeat(MAX_BYTES))));
    }

    #[test]
    fn commensurable_units_measure_the_same() {
        for (a, b, same) in [
            ("mg/dL", "g/L", true),
            ("mmol/L", "umol/mL", true),
            ("mg/dL", "mmol/L", false),
            ("Cel", "[degF]", true),
            ("kg", "[lb_av]", true),
            ("mm[Hg]", "kPa", true),
            ("mm[Hg]", "mm", false),
            ("kg", "nonsense", false),
        ] {
            assert_eq!(are_commensurable(a, b), same, "{a} {b}");
        }
    }

    #[test]
    fn a_hostile_unit_costs_little() {
        let begun = Instant::now();
        for unit in [
            "(".repeat(MAX_BYTES),
            "m/".repeat(MAX_BYTES / 2),
            "10*2147483647.10*2147483647.10*2147483647.10*2147483647".to_owned(),
            "[in_i]2147483647.[lb_av]-2147483648".to_owned(),
            "9".repeat(MAX_BYTES),
            "[pH]999999999/Cel99999999".to_owned(),
            "m".repeat(1 << 20),
        ] {
            let _ = (is_unit(&unit), are_commensurable(&unit, "mmol/L"), are_commensurable("mmol/L", &unit));
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
