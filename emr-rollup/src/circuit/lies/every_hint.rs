//! Changes every hint of a used L1 or L2 slot and of the frame. Any other value is refused, unless the operation does
//! not read the hint.
//!
//! `cargo xtask soak hints` tries all values. Otherwise each hint of each story gets one of them, and another one in the next story.

use std::env;

use halo2curves::ff::{Field, PrimeField as _};

use super::{
    attacks::{DOCTOR_PUT, SET_STATUS},
    *,
};
use crate::{
    layout::SCOPE,
    operation::Kind,
    state::tree::{ARITY, levels},
    statement::{EntryFields, GrantFields, IdentityFields, RecordFields},
};

/// Hints that one sum binds, with their weights, most significant first. If one hint
/// changes, another hint of the same sum can compensate.
pub(super) fn sums(story: &Story) -> Vec<Vec<(Hint, Fr)>> {
    let place = |widths: &[u32], i: usize| Fr::from(2).pow_vartime([u64::from(widths[i + 1..].iter().sum::<u32>())]);
    let weighted = |of: fn(&'static str, u32) -> Hint, name, first: u32, weights: Vec<Fr>| {
        weights.into_iter().zip(first..).map(|(weight, i)| (of(name, i), weight)).collect::<Vec<_>>()
    };
    let packing =
        |of, name, widths: &[u32]| weighted(of, name, 0, (0..widths.len()).map(|i| place(widths, i)).collect());
    let powers =
        |count: u32, base: u64| (0..count).map(|i| Fr::from(base).pow_vartime([u64::from(i)])).collect::<Vec<_>>();
    if story.case.0.operations.is_empty() {
        return vec![
            weighted(entry, "account turn", 0, powers(levels(SINGLE.account_depth) as u32, 4)),
            weighted(entry, "grant turn", 0, powers(levels(SINGLE.grant_depth) as u32, 4)),
            weighted(entry, "used", 0, Kind::L1.map(|kind| Fr::from(u64::from(kind.code()))).to_vec()),
            weighted(entry, "used", 0, Kind::L1.map(|_| Fr::ONE).to_vec()),
            packing(entry, "entry", EntryFields::WIDTHS),
            packing(entry, "account", IdentityFields::WIDTHS),
        ];
    }
    let mut sums = vec![
        packing(operation, "signer", IdentityFields::WIDTHS),
        packing(operation, "patient", IdentityFields::WIDTHS),
        weighted(operation, "right", 0, [1, 2, 4, 8, 16].map(Fr::from).to_vec()),
        weighted(operation, "purpose", 0, [64, 16, 1].map(Fr::from).to_vec()),
        weighted(operation, "kind flag", 0, Kind::L2.map(|kind| Fr::from(u64::from(kind.code()))).to_vec()),
        weighted(operation, "kind flag", 0, Kind::L2.map(|_| Fr::ONE).to_vec()),
    ];
    for name in ["authority", "old grant", "new grant"] {
        sums.push(packing(operation, name, GrantFields::WIDTHS));
    }
    for name in ["old record", "new record"] {
        sums.push(packing(operation, name, RecordFields::WIDTHS));
    }
    for (name, depth) in [
        ("signer turn", SINGLE.account_depth),
        ("patient turn", SINGLE.account_depth),
        ("authority turn", SINGLE.grant_depth),
        ("target turn", SINGLE.record_depth),
    ] {
        sums.push(weighted(operation, name, 0, powers(levels(depth) as u32, 4)));
    }
    sums.push(weighted(operation, "delegate class", 0, powers(SCOPE, 2)));
    for word in 0..4 {
        sums.push(weighted(operation, "word", 2 * word, vec![Fr::ONE, Fr::from_u128(1 << 64)]));
    }
    for cover in 0..2 {
        sums.push(weighted(operation, "class bit", 4 * cover, powers(4, 2)));
        let bits = (0..4).map(|i| (i, story.record.value(operation("class bit", 4 * cover + i))));
        let power =
            bits.fold(Fr::ONE, |power, (i, bit)| if bit == Fr::ONE { power * Fr::from(1 << (1 << i)) } else { power });
        sums.push(weighted(operation, "scope", 3 * cover, vec![Fr::ONE, power, power.double()]));
    }
    sums
}

/// The changes of each pair of neighbours.
const CHANGES: usize = 4;

/// Pairs of changes of neighbours that do not change the sum.
pub(super) fn compensated(story: &Story) -> Vec<[(Hint, Lie); 2]> {
    let mut lies = Vec::new();
    for sum in sums(story) {
        for (i, (hint, weight)) in sum.iter().enumerate() {
            if let Some((other, other_weight)) = sum.get(i + 1) {
                let ratio = *weight * other_weight.invert().unwrap_or(Fr::ZERO);
                let inverse = *other_weight * weight.invert().unwrap_or(Fr::ZERO);
                let changes: [_; CHANGES] =
                    [(Fr::ONE, -ratio), (-Fr::ONE, ratio), (-inverse, Fr::ONE), (inverse, -Fr::ONE)];
                for (change, makes_up) in changes {
                    lies.push([(*hint, Lie::More(change)), (*other, Lie::More(makes_up))]);
                }
            }
        }
    }
    lies
}

/// Why a hint of a story may hold anything; `None` if it may not.
fn free(story: &Story, hint: Hint) -> Option<&'static str> {
    if hint.name.starts_with("inverse") && story.record.value(hint) == Fr::ZERO {
        return Some("0 has no inverse: nothing is multiplied by this");
    }
    if hint.name == "public" && [1, 2, 6, 8, 9].contains(&hint.index) {
        return Some("in no cell: the public input is compared with what is computed");
    }
    if let Some(witness) = story.case.0.entries.first() {
        let is_patient = witness.identity.role == Fr::ONE;
        let grants_end = is_patient && witness.entry.kind == Fr::from(u64::from(Kind::ForcedRevoke.code()));
        return match hint.name {
            "medical" if !is_patient => Some("the account has no medical leaf"),
            "grant leaf" | "grant sibling" if !grants_end => Some("no grant ends"),
            _ => None,
        };
    }
    let header = &story.case.0.operations.first()?.message.header;
    let is_record = [1, 2, 3].map(Fr::from).contains(&header.kind);
    let is = |kinds: [u64; 2]| kinds.map(Fr::from).contains(&header.kind) && header.signer != header.patient;
    let (written, managed) = (is([1, 2]), is([4, 5]));
    match hint.name {
        "authority" | "authority turn" | "authority sibling" if !written && !managed => Some("no grant is asked for"),
        "managed class" if !managed => Some("no delegate manages a grant"),
        "old grant" | "new grant" if is_record => Some("the target is a record"),
        "old record" | "new record" if !is_record => Some("the target is a grant"),
        "target sibling" if !is_record && hint.index as usize >= (ARITY - 1) * levels(SINGLE.grant_depth) => {
            Some("the grants tree is lower than the records tree")
        }
        _ => None,
    }
}

/// Tries lies about a story, of each hint and of each pair of neighbours: all of them, or with a `turn` one for each. Returns the number of lies,
/// and those that nothing refuses.
fn unnoticed(story: &Story, turn: Option<usize>) -> (usize, Vec<String>) {
    let used = story.used();
    let chosen = |place: usize, count: usize, i: usize| turn.is_none_or(|turn| i == (turn + place) % count);
    let mut lies = Vec::new();
    for (place, (hint, honest)) in story.record.hints.iter().enumerate() {
        if hint.name == "digits" || ![used, Part::Frame].contains(&hint.part) || free(story, *hint).is_some() {
            continue;
        }
        let small = [Fr::ZERO, Fr::ONE, Fr::from(2)];
        let few = if small.contains(honest) { &small[..] } else { &small[..1] };
        let others = few.iter().copied().chain([*honest + Fr::ONE, *honest - Fr::ONE]);
        let others: BTreeSet<Fr> = others.filter(|other| other != honest).collect();
        let count = others.len();
        let others = others.into_iter().enumerate().filter(|(i, _)| chosen(place, count, *i));
        lies.extend(others.map(|(_, other)| vec![(*hint, Lie::Is(other))]));
    }
    let pairs = compensated(story).into_iter().enumerate().filter(|(i, _)| chosen(i / CHANGES, CHANGES, i % CHANGES));
    let pairs = pairs.map(|(_, pair)| pair.to_vec());
    lies.extend(pairs.filter(|pair| !pair.iter().all(|(hint, _)| free(story, *hint).is_some())));
    let free = lies.iter().filter(|lies| story.tell(lies, false).failures.is_empty());
    let free = free
        .map(|lies| format!("{:?}: {lies:?}", story.case.0.operations.first().map(|w| w.message.header.kind)))
        .collect();
    (lies.len(), free)
}

#[test]
fn every_hint_is_bound() {
    let all = env::var_os("EMR_SOAK_MINUTES").is_some();
    let found = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                let cases = scenario::one_by_one(SINGLE).into_iter().enumerate().filter(|(i, _)| i % 2 == half);
                cases.map(|(i, case)| unnoticed(&Story::new(case), (!all).then_some(i))).collect::<Vec<_>>()
            })
        });
        halves.map(|half| half.join().expect("no panic")).concat()
    });
    let free: Vec<_> = found.iter().flat_map(|(_, free)| free).collect();
    println!("{} lies", found.iter().map(|(tried, _)| tried).sum::<usize>());
    assert!(free.is_empty(), "{free:#?}");
}

/// Changes each field of each leaf together with its neighbour. Packing and hash stay the same, so only the range
/// checks can refuse it.
#[test]
fn no_packed_field_overflows_into_its_neighbour() {
    let leaves = ["account", "signer", "patient", "authority", "old grant", "new grant", "old record", "new record"];
    let mut tried = 0;
    for story in [&stories()[DOCTOR_PUT], &stories()[SET_STATUS]] {
        let pairs = compensated(story).into_iter().filter(|[(hint, _), _]| leaves.contains(&hint.name));
        for pair in pairs {
            let assertions = story.tell(&pair, false).assertions();
            let refused = assertions.iter().any(|assertion| matches!(assertion.demand, Demand::LeafField(..)));
            assert!(refused, "{pair:?}: {assertions:?}");
            tried += 1;
        }
    }
    let fields = 3 * IdentityFields::WIDTHS.len() + 3 * GrantFields::WIDTHS.len() + 2 * RecordFields::WIDTHS.len();
    assert_eq!(tried, 4 * (fields - leaves.len()));
}

/// If a running sum of a range check is changed by 1, the digit before it is out of range.
#[test]
fn every_digit_is_bound() {
    const APART: u32 = 13;
    let story = &stories()[DOCTOR_PUT];
    for part in [Part::Frame, Part::Entry(0), Part::Operation(0)] {
        let digits: Vec<_> = story
            .record
            .hints
            .iter()
            .map(|(hint, _)| *hint)
            .filter(|hint| hint.name == "digits" && hint.part == part)
            .collect();
        assert!(!digits.is_empty());
        for first in 0..APART {
            let lies: Vec<_> = digits
                .iter()
                .filter(|hint| hint.index % APART == first)
                .map(|hint| (*hint, Lie::More(Fr::ONE)))
                .collect();
            assert!(story.tell(&lies, false).failures.len() >= lies.len());
        }
    }
}
