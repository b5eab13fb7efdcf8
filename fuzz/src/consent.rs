//! A Consent, which a patient imports to make a grant of it.

use emr_core::fhir::consent::{ConsentError, Context, GrantConsent, read};
use emr_core::fhir::{Account, Deployment};
use emr_core::{AccountIndex, Class, ClassMask, GrantSlot, OutOfRange, Rights, Role, UnixTime, Version, is_harmless};

const NOW: u64 = 1_700_000_000;

fn account(index: u64) -> Result<Account, OutOfRange> {
    let deployment = Deployment { chain_id: 31337, contract: [7; 20] };
    Ok(Account { deployment, index: AccountIndex::new(index)?, owner: [7; 20] })
}

pub(crate) fn check(data: &[u8]) -> bool {
    let patient = account(3).expect("an index");
    let fhir_patient = "p-1".parse().expect("an id");
    let now = UnixTime::new(NOW).expect("a time");
    match read(data, &Context { patient: &patient, fhir_patient: Some(&fhir_patient), now }) {
        Ok(terms) => {
            assert!(terms.until > now && terms.classes != ClassMask::default(), "{terms:?}");
            assert!(terms.rights != Rights::NONE && (Rights::READ | Rights::WRITE).contains(terms.rights), "{terms:?}");
            assert!(terms.wider.iter().all(|line| line.chars().all(is_harmless)), "{terms:?}");
            true
        }
        Err(error) => {
            if let ConsentError::Refused(refusals) = &error {
                assert!(!refusals.is_empty());
            }
            // It names up to five elements.
            crate::at_most(&error, 3000);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    let grant = GrantConsent {
        patient: account(3)?,
        reader: account(2)?,
        reader_role: Role::Doctor,
        slot: GrantSlot::new(64)?,
        version: Version::new(1)?,
        rights: Rights::READ | Rights::WRITE,
        classes: [Class::Laboratory, Class::Imaging].into_iter().collect(),
        until: UnixTime::new(1_801_439_999)?,
        as_of: UnixTime::new(NOW)?,
    };
    let denied =
        br#"{"resourceType":"Consent","status":"active","provision":{"type":"deny","purpose":[{"code":"TREAT"}]}}"#;
    Ok(vec![grant.to_json()?.into_bytes(), denied.to_vec()])
}
