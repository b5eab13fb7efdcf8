//! Cards. A forged card is refused, even if the node supports it.

use alloy::primitives::Address;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use emr_chain::RollupInstance;
use emr_client::{
    verify::card::{Card, CardError, Evidence},
    verify::membership::MembershipError,
};
use emr_core::{AccountStatus, Role};
use emr_rollup::primitive::field::Fr;
use proptest::prelude::*;

use crate::fixtures::*;

fn check(card: &Card, who: usize) -> Result<(), CardError> {
    let state = LIVED.state();
    card.check(&instance(), &LIVED.account_view(who), Evidence::Settled(&state)).map(|_| ())
}

fn forged(change: impl FnOnce(&mut Card)) -> CardError {
    let mut card = LIVED.card(DOCTOR);
    change(&mut card);
    check(&card, DOCTOR).expect_err("accepted")
}

const fn differs(field: &'static str) -> CardError {
    // Account 2 is the doctor's.
    match emr_core::AccountIndex::new(2) {
        Ok(account) => CardError::Forged { account, field },
        Err(_) => CardError::NotRegistered,
    }
}

#[test]
fn cards_survive_json_and_check() -> TestResult {
    for who in [HOSPITAL, DOCTOR, PATIENT, OTHER] {
        let card = Card::from_json(LIVED.card(who).to_json().as_bytes())?;
        assert_eq!(card, LIVED.card(who));
        let state = LIVED.state();
        let checked = card.check(&instance(), &LIVED.account_view(who), Evidence::Settled(&state))?;
        assert_eq!((checked.account(), checked.role()), (account(who), LIVED.identities[who].role()));
        assert_eq!(checked.encryption_key().is_none(), who == PATIENT);
        assert!(checked.is_settled());
    }
    let doctor = LIVED.card(DOCTOR);
    let state = LIVED.state();
    let checked = doctor.check(&instance(), &LIVED.account_view(DOCTOR), Evidence::Settled(&state))?;
    assert_eq!(checked.org(), Some(account(HOSPITAL)));
    Ok(())
}

#[test]
fn a_patients_card_does_not_show_an_rsa_key() {
    let json = LIVED.card(PATIENT).to_json();
    assert!(!json.contains("rsa") && !json.contains("xwing"));
    assert!(!json.contains(&BASE64.encode(LIVED.identities[PATIENT].rsa().public().modulus())));
}

/// The attack that cards prevent: an account that the victim knows, with the attacker's keys.
#[test]
fn nobody_elses_keys_pass() {
    let other = LIVED.card(OTHER);
    assert_eq!(forged(|c| c.rsa = other.rsa.clone()), differs("encryption key"));
    assert_eq!(forged(|c| c.xwing = other.xwing.clone()), differs("encryption key"));
    // Without the second key, grants would be closed with RSA alone.
    assert_eq!(forged(|c| c.xwing = None), differs("encryption key"));
    assert_eq!(forged(|c| (c.key_x, c.key_y) = (other.key_x, other.key_y)), differs("rollup key"));
    assert_eq!(forged(|c| c.role = Role::Hospital), differs("role"));
    assert_eq!(forged(|c| c.account = None), CardError::NotRegistered);
    let elsewhere = |error| matches!(error, CardError::OtherInstance { .. });
    assert!(elsewhere(forged(|c| c.chain_id = 1)));
    assert!(elsewhere(forged(|c| c.contract = Address::ZERO)));
    assert!(matches!(forged(|c| c.rsa = None), CardError::Malformed(_)));
    assert!(matches!(forged(|c| c.key_x += Fr::one()), CardError::Malformed(_)));
}

/// A node answers what the forger wants, but cannot prove it.
#[test]
fn a_node_cannot_back_a_forged_card() {
    let mut card = LIVED.card(OTHER);
    card.account = Some(account(DOCTOR));
    let (state, mut view) = (LIVED.state(), LIVED.account_view(DOCTOR));
    view.identity = LIVED.account_view(OTHER).identity;
    let not_there = CardError::Membership(MembershipError::NotThere { leaf: "identity" });
    assert_eq!(card.check(&instance(), &view, Evidence::Settled(&state)), Err(not_there.clone()));
    // With the path of the forger's own leaf.
    view.proof = LIVED.account_view(OTHER).proof;
    assert_eq!(card.check(&instance(), &view, Evidence::Settled(&state)), Err(not_there));
    // With the forger's own answer.
    let view = LIVED.account_view(OTHER);
    assert_eq!(card.check(&instance(), &view, Evidence::Settled(&state)), Err(differs("account")));
    // Without any proof.
    let mut view = LIVED.account_view(DOCTOR);
    view.proof = None;
    assert_eq!(
        LIVED.card(DOCTOR).check(&instance(), &view, Evidence::Settled(&state)),
        Err(CardError::Unknown(account(DOCTOR)))
    );
    // If the summary in the answer differs from the leaf, the leaf counts.
    let mut view = LIVED.account_view(DOCTOR);
    view.role = Role::Patient;
    assert!(LIVED.card(DOCTOR).check(&instance(), &view, Evidence::Settled(&state)).is_ok());
}

#[test]
fn an_account_in_the_queue_is_compared_with_its_entry() -> TestResult {
    let mut view = LIVED.account_view(DOCTOR);
    (view.proof, view.settled) = (None, false);
    let card = LIVED.card(DOCTOR);
    let entry = LIVED.registration(DOCTOR);
    let checked = card.check(&instance(), &view, Evidence::Queued(&entry))?;
    assert!(!checked.is_settled());

    let other = LIVED.registration(OTHER);
    let unknown = Err(CardError::Unknown(account(DOCTOR)));
    assert_eq!(card.check(&instance(), &view, Evidence::Queued(&other)), unknown);
    let mut renumbered = other;
    renumbered.account = account(DOCTOR);
    let forged = card.check(&instance(), &view, Evidence::Queued(&renumbered));
    assert_eq!(forged, Err(differs("rollup key")));
    Ok(())
}

#[test]
fn a_suspended_account_is_refused() {
    let mut world = LIVED.clone();
    // A tree after a SetStatus, which circuit version 1 does not have.
    let mut view = world.account_view(DOCTOR);
    view.identity.status = Fr::from(u64::from(AccountStatus::Suspended.code()));
    let mut tree = emr_rollup::state::tree::SparseMerkleTree::new(24);
    tree.set(2, view.identity.hash());
    let proof = view.proof.as_mut().expect("settled");
    (proof.identity_root, proof.path) = (tree.root(), tree.path(2));
    let root = emr_rollup::state::state_root(tree.root(), proof.medical_root);
    world.batches += 1;
    let state = emr_client::verify::settled_state::SettledState::established(root, world.batches, time(NOW));
    let inactive = CardError::Inactive { account: account(DOCTOR), status: AccountStatus::Suspended };
    assert_eq!(LIVED.card(DOCTOR).check(&instance(), &view, Evidence::Settled(&state)), Err(inactive));
}

#[test]
fn what_is_not_a_card_is_refused() {
    let good = LIVED.card(DOCTOR).to_json();
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        good.replace("\"doctor\"", "\"king\""),
        good.replace("\"account\": 2", "\"account\": 0"),
        good.replace("\"account\": 2", "\"account\": 16777216"),
        good.replace("\"chain_id\"", "\"chain\""),
        good.replace("\"rsa\": \"", "\"rsa\": \"!"),
        good.replace("\"xwing\": \"", "\"xwing\": \"!"),
        good.replace("\"rsa\"", "\"xrsa\""),
        format!("{good}{}", " ".repeat(8192)),
        "[".repeat(4000),
    ] {
        let refused = Card::from_json(bad.as_bytes());
        assert!(matches!(refused, Err(CardError::Malformed(_))), "{bad}");
    }
    let elsewhere = RollupInstance { chain_id: 5, ..instance() };
    let state = LIVED.state();
    let refused = LIVED.card(DOCTOR).check(&elsewhere, &LIVED.account_view(DOCTOR), Evidence::Settled(&state));
    assert!(matches!(refused, Err(CardError::OtherInstance { here_chain: 5, .. })));
}

proptest! {
    /// A card is a file from somebody else. Its error is one line without control characters, whatever the file says.
    #[test]
    fn any_bytes_are_refused_with_one_line(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        name in "\\PC{0,20}|[\u{0}-\u{1f}\u{202e}\"\\\\]{0,8}",
    ) {
        let whole = LIVED.card(DOCTOR).to_json().into_bytes();
        let mut changed = whole.clone();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        let renamed = String::from_utf8_lossy(&whole).replacen("role", &serde_json::to_string(&name)?.replace('"', ""), 1);
        for file in [&changed[..], &whole[..cut.index(whole.len())], renamed.as_bytes()] {
            match Card::from_json(file) {
                Ok(card) => prop_assert_eq!(Card::from_json(card.to_json().as_bytes())?, card),
                Err(error) => {
                    let line = error.to_string();
                    prop_assert!(line.chars().count() <= 300 && !line.chars().any(char::is_control), "{:?}", line);
                }
            }
        }
    }
}
