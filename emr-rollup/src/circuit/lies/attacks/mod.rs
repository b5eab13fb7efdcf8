//! Designed attacks. A prover would gain something by each of them, and exactly one assertion refuses it.

use halo2curves::ff::Field as _;

use super::*;
use crate::{
    circuit::demand::{Covered, Field, Leaf, RightBit, Scalar},
    operation::{Kind, MAX_EMERGENCY, MAX_VALIDITY},
    testing::scenario::{DOCTOR, HOSPITAL, PATIENT, STRANGER, TIME},
};

mod delegates;
mod entries;
mod grant;
mod leaves;
mod parties;
mod turn;

/// Positions of operations in the honest history.
const REGISTER: usize = 3;
pub(super) const SET: usize = 4;
pub(super) const DOCTOR_PUT: usize = 6;
const SECOND_PUT: usize = 8;
const PATIENT_PUT: usize = 7;
const TOMBSTONE: usize = 9;
pub(super) const REQUEST: usize = 10;
const REVOKE: usize = 11;
const REKEY: usize = 12;
const BREAK_GLASS: usize = 13;
pub(super) const MANAGED_SET: usize = 15;
const MANAGED_REVOKE: usize = 16;
pub(super) const SET_STATUS: usize = 17;
const ROTATE_KEY: usize = 18;
const FORCED_REVOKE: usize = 19;
const FORCED_REVOKE_ALL: usize = 20;
const NOT_A_PATIENT: usize = 23;

/// An attack: its name, the operation it starts from, its lies, and the demand that refuses it.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) story: usize,
    pub(super) lies: Vec<(Hint, Lie)>,
    pub(super) refused_by: Demand,
}

fn number(value: u64) -> Lie {
    Lie::Is(Fr::from(value))
}

fn is(name: &'static str, index: u32, value: u64) -> (Hint, Lie) {
    (operation(name, index), number(value))
}

/// `value`, or `p - |value|` if it is negative.
fn signed(value: i64) -> Lie {
    let size = Fr::from(value.unsigned_abs());
    Lie::Is(if value < 0 { -size } else { size })
}

fn public(index: u32, value: Fr) -> (Hint, Lie) {
    (Hint { part: Part::Frame, name: "public", index }, Lie::Is(value))
}

/// The attacks on single operations of the honest history.
pub(super) fn attacks(stories: &[Story]) -> Vec<Attack> {
    [grant::attacks(), parties::attacks(stories), leaves::attacks(), delegates::attacks(), entries::attacks(stories)]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn each_attack_is_refused_by_the_assertion_against_it() {
    let stories = stories();
    let mut wrong = Vec::new();
    for Attack { name, story, lies, refused_by } in attacks(&stories) {
        let trial = stories[story].tell_in_its_world(&lies);
        let found: Vec<_> = trial.assertions().into_iter().collect();
        if found != [refused_by.into()] {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
