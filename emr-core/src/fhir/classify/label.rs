//! Security labels: what the source system says about a resource's sensitivity.

use crate::class::Class;

/// Sensitivity codes of HL7 v3 ActCode (value set InformationSensitivityPolicy). There is no class for infections or
/// violence: what concerns sex is reproductive-health, what concerns violence is mental-health.
const SENSITIVITY: &[(&str, Class)] = &[
    ("ETH", Class::SubstanceUse),
    ("ETHUD", Class::SubstanceUse),
    ("OPIOIDUD", Class::SubstanceUse),
    ("SUD", Class::SubstanceUse),
    ("DRGIS", Class::SubstanceUse),
    ("PSY", Class::MentalHealth),
    ("PSYTHPN", Class::MentalHealth),
    ("BH", Class::MentalHealth),
    ("MH", Class::MentalHealth),
    ("COGN", Class::MentalHealth),
    ("DVD", Class::MentalHealth),
    ("EMOTDIS", Class::MentalHealth),
    ("SDV", Class::MentalHealth),
    ("SV", Class::MentalHealth),
    ("VIO", Class::MentalHealth),
    ("TBOO", Class::MentalHealth),
    ("HIV", Class::ReproductiveHealth),
    ("STD", Class::ReproductiveHealth),
    ("SEX", Class::ReproductiveHealth),
    ("SOGI", Class::ReproductiveHealth),
    ("PREGNANT", Class::ReproductiveHealth),
    ("GDIS", Class::Genetics),
    ("SICKLE", Class::Genetics),
];

/// The class that a sensitivity code names.
pub(super) fn sensitivity(code: &str) -> Option<Class> {
    SENSITIVITY.iter().find(|(label, _)| *label == code).map(|(_, class)| *class)
}

/// Whether `system` is HL7 v3 ActCode.
pub(super) fn is_act_code(system: &str) -> bool {
    system.ends_with("/v3-ActCode") || system.ends_with("/v3/ActCode") || system.ends_with("2.16.840.1.113883.5.4")
}

/// Whether a code of HL7 v3 Confidentiality says that few people may know it: restricted, or very restricted.
pub(super) fn is_restricted(code: &str) -> bool {
    matches!(code, "R" | "V")
}
