//! LOINC codes that decide a class. A LOINC code carries no meaning in its digits, so these are lists, and no list is complete.

use crate::class::Class;

/// Names of LOINC in `Coding.system`.
pub(super) const SYSTEMS: [&str; 3] = ["http://loinc.org", "https://loinc.org", "urn:oid:2.16.840.1.113883.6.1"];

/// Depression (PHQ-2, PHQ-9, its form for teens), anxiety (GAD-7), violence (HARK), cognition (MMSE, MoCA), the mental
/// parts of PROMIS and VR-12/36, stress, and notes of psychiatry.
const MENTAL_HEALTH: &[&str] = &[
    "44249-1", "44250-9", "44251-7", "44252-5", "44253-3", "44254-1", "44255-8", "44258-2", "44259-0", "44260-8",
    "44261-6", "55757-9", "55758-7", "69722-7", "89204-2", "89206-7", "68509-9", "69689-8", "69725-0", "69733-4",
    "69734-2", "69735-9", "69736-7", "69737-5", "70274-6", "71354-5", "72106-8", "72107-6", "72172-0", "76499-3",
    "76500-8", "76501-6", "76502-4", "76503-2", "76504-0", "93026-3", "93038-8", "28245-9", "71966-6", "71968-2",
    "71970-8", "71973-2", "71974-0", "72009-4", "72010-2", "75443-2", "84215-3", "87626-8", "28627-0", "34788-0",
    "8693-4", "10190-7",
];

/// Alcohol (AUDIT, AUDIT-C, drinks a day), other drugs (DAST-10), tobacco, and tests for alcohol and drugs of abuse.
const SUBSTANCE_USE: &[&str] = &[
    "72109-2", "75624-7", "75626-2", "68518-0", "68519-8", "68520-6", "74013-4", "11331-6", "11343-1", "11367-0",
    "39240-7", "72166-2", "64218-1", "8663-7", "88029-2", "82666-9", "82667-7", "65750-2", "5640-8", "5643-2",
    "3397-7", "3879-4", "3349-8", "3427-2", "3390-2",
];

/// Pregnancy (status, history, tests, dates), HIV and other sexually transmitted infections, sexual orientation, gender
/// identity.
const REPRODUCTIVE_HEALTH: &[&str] = &[
    "82810-3", "11449-6", "10162-6", "2106-3", "2118-8", "21198-7", "11996-6", "11640-0", "11612-9", "11613-7",
    "11614-5", "11636-8", "11637-6", "11639-2", "11778-8", "11779-6", "11780-4", "8665-2", "7917-8", "7918-6",
    "56888-1", "29893-5", "30361-0", "80203-3", "25835-0", "20447-9", "24467-3", "75622-1", "55277-8", "21613-7",
    "24111-7", "20507-0", "22461-8", "76690-7", "76691-5",
];

/// Genetic reports, panels and their parts; family history.
const GENETICS: &[&str] = &[
    "51969-4", "81247-9", "69548-6", "48018-6", "48004-6", "48005-3", "53037-8", "51963-7", "55232-3", "55233-1",
    "51968-6", "81252-9", "81290-9", "51958-7", "53034-5", "48002-0", "48019-4", "50398-7", "84413-4", "69547-8",
    "69551-0", "47998-0", "62374-4", "10157-6",
];

/// The vital signs of FHIR R4 (profile vitalsigns), and those of US Core.
const VITAL_SIGNS: &[&str] = &[
    "85353-1", "85354-9", "55284-4", "8480-6", "8462-4", "8478-0", "8867-4", "9279-1", "8310-5", "8331-1", "8302-2",
    "29463-7", "3141-9", "39156-5", "59576-9", "77606-2", "2708-6", "59408-5", "9843-4", "8287-5", "8289-1", "35094-2",
];

/// The codes of DSM-5's criteria that Synthea made up, `99999-0` to `99999-11`.
const SYNTHEA_OPIOID_CRITERIA: &str = "99999-";

/// The sensitive class of a code.
pub(super) fn sensitive(code: &str) -> Option<Class> {
    let lists = [
        (SUBSTANCE_USE, Class::SubstanceUse),
        (MENTAL_HEALTH, Class::MentalHealth),
        (REPRODUCTIVE_HEALTH, Class::ReproductiveHealth),
        (GENETICS, Class::Genetics),
    ];
    if code.starts_with(SYNTHEA_OPIOID_CRITERIA) {
        return Some(Class::SubstanceUse);
    }
    lists.into_iter().find(|(list, _)| list.contains(&code)).map(|(_, class)| class)
}

/// Whether a code is a vital sign.
pub(super) fn is_vital_sign(code: &str) -> bool {
    VITAL_SIGNS.contains(&code)
}
