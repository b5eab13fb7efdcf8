//! Words in displays and texts that name a sensitive matter, in English and, for the most frequent ones, in Spanish.
//!
//! A text is read as words: runs of letters and digits, in lower case. A stem stands for all words that start with it. A
//! stem with a space at its end stands for that word alone.

use super::stem::{GENETICS, HARMLESS, MENTAL_HEALTH, PAIRS, REPRODUCTIVE_HEALTH, SUBSTANCE_USE};
use crate::class::Class;
use Class::{Genetics, MentalHealth, ReproductiveHealth, SubstanceUse};

/// The most bytes of one text that are read. A longer text is no display.
const MAX_BYTES: usize = 20_000;

/// The sensitive classes that a text names, each with the first word that names it.
pub(super) fn sensitive(text: &str) -> Vec<(Class, String)> {
    let mut found: Vec<(Class, String)> = Vec::new();
    let mut note = |class: Class, word: &str| {
        if found.iter().all(|(known, _)| *known != class) {
            found.push((class, word.trim_end().to_owned()));
        }
    };
    // The last four words, newest last. Each ends with a space.
    let mut last: [String; 4] = Default::default();
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    // One more empty word, so that the last word of the text gets its turn.
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).chain([""]);
    for next in words {
        let next = format!("{} ", next.to_lowercase());
        let [_, _, before, word] = &last;
        let harmless =
            |first: &str, second: &str| HARMLESS.iter().any(|(a, b)| first.starts_with(a) && second.starts_with(b));
        if word.len() > 1 && !harmless(before, word) && !harmless(word, &next) {
            for (stems, class) in [
                (SUBSTANCE_USE, SubstanceUse),
                (MENTAL_HEALTH, MentalHealth),
                (REPRODUCTIVE_HEALTH, ReproductiveHealth),
                (GENETICS, Genetics),
            ] {
                if starts_with_one_of(word, stems) {
                    note(class, word);
                }
            }
            for (first, second, class) in PAIRS {
                let named = word.starts_with(second) && last[..3].iter().any(|earlier| earlier.starts_with(first));
                if named {
                    note(*class, &format!("{first} .. {word}"));
                }
            }
        }
        last.rotate_left(1);
        last[3] = next;
    }
    found
}

/// Whether a word starts with one of the sorted stems. No stem starts with another, so only the last stem that is not
/// greater than the word can be its start.
fn starts_with_one_of(word: &str, stems: &[&str]) -> bool {
    let at = stems.partition_point(|stem| *stem <= word);
    at.checked_sub(1).and_then(|at| stems.get(at)).is_some_and(|stem| word.starts_with(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_sorted_and_none_starts_with_another() {
        for stems in [SUBSTANCE_USE, MENTAL_HEALTH, REPRODUCTIVE_HEALTH, GENETICS] {
            for pair in stems.windows(2) {
                assert!(pair[0] < pair[1] && !pair[1].starts_with(pair[0]), "{pair:?}");
            }
            assert!(stems.iter().all(|stem| !stem.trim_end().contains(' ') && *stem == stem.to_lowercase()));
        }
    }

    /// A short stem is the start of many words: one that makes its neighbour harmless must be a whole word.
    #[test]
    fn what_makes_a_word_harmless_is_a_whole_word() {
        for (first, second) in HARMLESS {
            assert!(first.ends_with(' '), "{first}");
            assert!(second.ends_with(' ') || second.len() >= 4, "{second}");
            assert!(sensitive(&format!("{first}{second}")).is_empty(), "{first}{second}");
        }
    }

    #[test]
    fn words_and_pairs() {
        let classes = |text: &str| sensitive(text).into_iter().map(|(class, _)| class).collect::<Vec<_>>();
        for (text, class) in [
            ("Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]", MentalHealth),
            ("MAJOR DEPRESSIVE DISORDER", MentalHealth),
            ("Child attention deficit disorder", MentalHealth),
            ("Attempted suicide - cut/stab (event)", MentalHealth),
            ("Stress (finding)", MentalHealth),
            ("FLUoxetine 20 MG Oral Capsule", MentalHealth),
            ("Total score [AUDIT-C] alcohol", SubstanceUse),
            ("Misuses drugs (finding)", SubstanceUse),
            ("Drugs of abuse 5 panel - Urine", SubstanceUse),
            ("Unhealthy alcohol drinking behavior", SubstanceUse),
            ("Dependencia del tabaco", SubstanceUse),
            ("Levora 0.15/30 28 Day Pack", ReproductiveHealth),
            ("Embarazo", ReproductiveHealth),
            ("Human immunodeficiency virus infection", ReproductiveHealth),
            ("Induction of labor", ReproductiveHealth),
            ("BRCA1 gene mutation", Genetics),
            ("Stable depression", MentalHealth),
            ("Strong depressive symptoms", MentalHealth),
            ("Status: depressed", MentalHealth),
            ("student depression", MentalHealth),
            ("Drinks alcohol freely", SubstanceUse),
            ("Alcoholic, prepares to stop", SubstanceUse),
        ] {
            assert!(classes(text).contains(&class), "{text}: {:?}", sensitive(text));
        }
        for text in [
            "",
            "Not in labor force (finding)",
            "Hemoglobin [Mass/volume] in Blood",
            "Alcohol disinfectant (substance)",
            "Isopropyl alcohol 70%",
            "Abuse-Deterrent 12 HR Oxycodone",
            "Cardiovascular stress testing (procedure)",
            "Depressed fracture of skull",
            "ST depression (finding)",
            "Alcohol prep pads",
            "Neurosurgery",
            "General examination; generic drug; congenital",
            "Encounter for check up (procedure)",
            "Drug Implant",
            "Insulin-dependent diabetes mellitus",
        ] {
            assert_eq!(sensitive(text), [], "{text}");
        }
        // The second word may be up to three words later, and may be the last.
        assert_eq!(classes("induction of early labor"), [ReproductiveHealth]);
        assert_eq!(classes("induction of one two labor"), []);
    }
}
