//! Classes of records, which are the unit of sharing, and sets of classes.

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;

/// The name of no known class, right or role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} called '{}'; choose one of: {choices}", excerpt(name, 30))]
pub struct UnknownName {
    /// What the name should be: `class`, `right` or `role`.
    pub what: &'static str,
    /// The unknown name.
    pub name: String,
    /// The known names.
    pub choices: String,
}

/// One of the sixteen classes of record. Codes 0 to 15, in this order (`docs/encoding.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Class {
    /// A summary of the patient, or a Bundle of everything.
    Summary,
    /// A visit or a stay.
    Encounter,
    /// Results of a laboratory.
    Laboratory,
    /// Images and their reports.
    Imaging,
    /// Medication that the patient takes or was prescribed.
    Medication,
    /// Allergies and intolerances.
    Allergy,
    /// Vaccinations.
    Immunization,
    /// Procedures performed on the patient.
    Procedure,
    /// Problems and diagnoses.
    Condition,
    /// Vital signs.
    VitalSigns,
    /// Mental health.
    MentalHealth,
    /// Reproductive health.
    ReproductiveHealth,
    /// Use of substances.
    SubstanceUse,
    /// Genetic findings.
    Genetics,
    /// Letters and other documents.
    Document,
    /// Coverage, appointments, bills.
    Administrative,
}

impl Class {
    /// Every class, by code.
    pub const ALL: [Self; 16] = [
        Self::Summary,
        Self::Encounter,
        Self::Laboratory,
        Self::Imaging,
        Self::Medication,
        Self::Allergy,
        Self::Immunization,
        Self::Procedure,
        Self::Condition,
        Self::VitalSigns,
        Self::MentalHealth,
        Self::ReproductiveHealth,
        Self::SubstanceUse,
        Self::Genetics,
        Self::Document,
        Self::Administrative,
    ];

    /// The 4-bit code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether the class holds what people rarely want to share with everybody who treats them: mental-health,
    /// reproductive-health, substance-use, genetics.
    pub const fn is_sensitive(self) -> bool {
        matches!(self, Self::MentalHealth | Self::ReproductiveHealth | Self::SubstanceUse | Self::Genetics)
    }

    /// The class with this code; `None` for 16 and more.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name as command lines and JSON write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Encounter => "encounter",
            Self::Laboratory => "laboratory",
            Self::Imaging => "imaging",
            Self::Medication => "medication",
            Self::Allergy => "allergy",
            Self::Immunization => "immunization",
            Self::Procedure => "procedure",
            Self::Condition => "condition",
            Self::VitalSigns => "vital-signs",
            Self::MentalHealth => "mental-health",
            Self::ReproductiveHealth => "reproductive-health",
            Self::SubstanceUse => "substance-use",
            Self::Genetics => "genetics",
            Self::Document => "document",
            Self::Administrative => "administrative",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Class {
    type Err = UnknownName;
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|class| class.name() == name).ok_or_else(|| UnknownName {
            what: "class",
            name: name.to_owned(),
            choices: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// A set of classes: bit c stands for the class with code c. 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassMask(u16);

impl ClassMask {
    /// Width of the packed field in bits.
    pub const BITS: u32 = 16;
    /// Every class.
    pub const ALL: Self = Self(u16::MAX);

    /// The set with these bits; every value is valid.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether `class` is in the set.
    pub const fn contains(self, class: Class) -> bool {
        self.0 >> class.code() & 1 == 1
    }

    /// The classes of the set, by code.
    pub fn classes(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

impl FromIterator<Class> for ClassMask {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> Self {
        Self(classes.into_iter().fold(0, |bits, class| bits | 1 << class.code()))
    }
}

impl From<Class> for ClassMask {
    fn from(class: Class) -> Self {
        Self(1 << class.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_names_and_json_agree() -> Result<(), Box<dyn std::error::Error>> {
        for (code, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(class.code()), code);
            assert_eq!(Class::from_code(class.code()), Some(class));
            assert_eq!(class.name().parse::<Class>()?, class);
            assert_eq!(serde_json::to_string(&class)?, format!("\"{class}\""));
        }
        assert_eq!(Class::from_code(16), None);
        assert!("Summary".parse::<Class>().is_err());
        Ok(())
    }

    #[test]
    fn masks() {
        let mask: ClassMask = [Class::Laboratory, Class::Administrative].into_iter().collect();
        assert_eq!(mask.bits(), 0x8004);
        assert_eq!(mask.classes().collect::<Vec<_>>(), [Class::Laboratory, Class::Administrative]);
        assert_eq!(ClassMask::ALL.classes().count(), 16);
    }
}
