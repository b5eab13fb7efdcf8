//! Poseidon: two permutations side by side, 21 rows each.
//!
//! ```text
//! row    a0                a1..a3            a4         a5                a6..a8     a9          a10
//! 0      input 1 or node   inputs 2 to 4     turn       input 1 or node   inputs     turn              Absorb
//!                          or siblings                                                                 Climb
//! 1      S-box inputs of lane A                         S-box inputs of lane B                   words Full
//! ..                                                                                                   Entry, Partial, Exit, Full
//! 20                                                                                                   Last
//! 21     output of lane A  (free)                       output of lane B  (free)
//! ```
//!
//! Row 21 can be row 0 of the next permutation: the output is the node below the next siblings, or the first input of the
//! next permutation of a hash. Both lanes have the same tag. A turn says which child of its parent the node is, and is
//! constrained to be below 4. Siblings and inputs can be any field element.

use halo2_proofs::plonk::Expression;
use halo2curves::ff::Field as _;

use crate::{
    circuit::config::{Cells, Selector, constant, linear},
    primitive::{
        field::Fr,
        poseidon::{
            PARAMETERS, RATE, WIDTH,
            schedule::{SCHEDULE, Window},
        },
    },
};

/// The first column of each lane.
pub(in crate::circuit) const LANES: [usize; 2] = [0, WIDTH];
/// The word of a lane that holds the turn.
pub(in crate::circuit) const TURN: usize = RATE;

const NAMES: [[&str; WIDTH]; 2] = [
    ["lane A, word 0", "lane A, word 1", "lane A, word 2", "lane A, word 3", "lane A, word 4"],
    ["lane B, word 0", "lane B, word 1", "lane B, word 2", "lane B, word 3", "lane B, word 4"],
];

fn fifth_power(x: &Expression<Fr>) -> Expression<Fr> {
    let square = x.clone() * x.clone();
    square.clone() * square * x.clone()
}

fn sum<'a>(left: (&'a [Expression<Fr>], &[Fr]), right: (&'a [Expression<Fr>], &[Fr])) -> Expression<Fr> {
    let terms = |(words, factors): (&'a [Expression<Fr>], &[Fr])| -> Vec<_> {
        words.iter().zip(factors.iter().copied()).filter(|(_, factor)| *factor != Fr::ZERO).collect()
    };
    linear(terms(left).into_iter().chain(terms(right)))
}

/// The children of the node's parent: the node at its turn, and the siblings around it.
fn children(x: &[Expression<Fr>]) -> [Expression<Fr>; RATE] {
    let (node, siblings, turn) = (&x[0], &x[1..RATE], &x[TURN]);
    // 1 at one turn, 0 at the others.
    let at: [_; RATE] = std::array::from_fn(|i| {
        let others = (0..RATE).filter(|other| *other != i).map(|other| other as u64);
        let factors = others.clone().map(|other| turn.clone() - constant(Fr::from(other)));
        let scale: Fr = others.map(|other| Fr::from(i as u64) - Fr::from(other)).product();
        // The numbers 0 to 3 are different, so the product is not 0.
        let scale = constant(scale.invert().unwrap_or(Fr::ZERO));
        factors.fold(scale, |product, factor| product * factor)
    });
    std::array::from_fn(|i| {
        (0..RATE)
            .map(|turn| {
                let child = match i.cmp(&turn) {
                    std::cmp::Ordering::Less => &siblings[i],
                    std::cmp::Ordering::Equal => node,
                    std::cmp::Ordering::Greater => &siblings[i - 1],
                };
                at[turn].clone() * child.clone()
            })
            .reduce(|sum, term| sum + term)
            .unwrap_or(constant(Fr::ZERO))
    })
}

/// The constraints of both lanes.
pub(in crate::circuit) fn constraints(cells: &Cells) -> Vec<(&'static str, Expression<Fr>)> {
    use Selector::{Absorb, Climb, Entry, Exit, Full, Last, Partial};
    let [full, entry, partial, exit, last, absorb, climb] =
        [Full, Entry, Partial, Exit, Last, Absorb, Climb].map(|selector| cells.selector(selector));
    let whole = [&full, &entry, &partial, &exit, &absorb, &climb].into_iter().cloned().reduce(|sum, term| sum + term);
    let whole = whole.unwrap_or(constant(Fr::ZERO));
    let schedule = &*SCHEDULE;
    let mut constraints = vec![];
    for lane in 0..2 {
        let first = LANES[lane];
        let (x, y) = (&cells.x[first..first + WIDTH], &cells.y[first..first + WIDTH]);
        let (s, t): (Vec<_>, Vec<_>) =
            (x.iter().map(fifth_power).collect(), y[..RATE].iter().map(fifth_power).collect());
        let mixed: Vec<_> = PARAMETERS.mds.iter().map(|row| linear(s.iter().zip(row.iter().copied()))).collect();
        let (inputs, powers) = ([x, y].concat(), [&s[..], &t[..]].concat());
        let window = |window: &Window, first: usize| {
            sum((&inputs[first + 1..], &window.inputs), (&powers[first..], &window.powers))
        };
        let children = children(x);
        for word in 0..WIDTH {
            let entered = match word.checked_sub(1) {
                None => mixed[0].clone(),
                Some(i) => {
                    let factors = &schedule.entry[i];
                    sum((&t, &factors.powers), (&mixed[1..], &factors.mixed))
                }
            };
            let any = if word == 0 { whole.clone() + last.clone() } else { whole.clone() };
            let mut next = any * (cells.constants[word].clone() - y[word].clone())
                + full.clone() * mixed[word].clone()
                + entry.clone() * entered
                + partial.clone() * window(&schedule.partial, word)
                + exit.clone() * window(&schedule.exit[word], 0);
            next = match word.checked_sub(1) {
                None => next + last.clone() * mixed[word].clone(),
                Some(i) => next + absorb.clone() * x[i].clone() + climb.clone() * children[i].clone(),
            };
            constraints.push((NAMES[lane][word], next));
        }
    }
    for (lane, name) in ["turn of lane A", "turn of lane B"].into_iter().enumerate() {
        let turn = &cells.x[LANES[lane] + TURN];
        let range = (0..RATE as u64).map(|value| turn.clone() - constant(Fr::from(value)));
        constraints.push((name, range.fold(climb.clone(), |product, factor| product * factor)));
    }
    constraints
}
