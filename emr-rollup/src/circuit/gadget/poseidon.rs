//! Poseidon: two permutations side by side, 28 rows each.
//!
//! ```text
//! row    a0 a1 a2   a3 a4 a5   a6 a7   a8 a9
//! 0      previous   previous   messages: (a6, a7) to lane A, (a8, a9) to lane B     Absorb
//!        output     output     or (sibling, direction) of either lane               Climb
//! 1      S-box      S-box      range words                                          Full
//! ..     inputs     inputs                                                          Entry, Partial, Exit, Full
//! 27                                                                                Full
//! 28     output     output     (row 0 of the next permutation)
//! ```
//!
//! Both lanes have the same tag, and both continue their sponges or both start new ones. A direction is constrained to
//! be a bit. Siblings and messages can be any field element.

use halo2_proofs::plonk::Expression;

use super::schedule::SCHEDULE;
use crate::{
    circuit::config::{Cells, Selector, linear},
    primitive::{
        field::Fr,
        poseidon::{PARAMETERS, WIDTH},
    },
};

/// The first column of each lane.
pub(in crate::circuit) const LANES: [usize; 2] = [0, 3];
/// Columns of each lane's two messages, or of its sibling and direction.
pub(in crate::circuit) const INPUTS: [[usize; 2]; 2] = [[6, 7], [8, 9]];

const NAMES: [[&str; WIDTH]; 2] =
    [["lane A, word 0", "lane A, word 1", "lane A, word 2"], ["lane B, word 0", "lane B, word 1", "lane B, word 2"]];

fn fifth_power(x: &Expression<Fr>) -> Expression<Fr> {
    let square = x.clone() * x.clone();
    square.clone() * square * x.clone()
}

/// The constraints of both lanes.
pub(in crate::circuit) fn constraints(cells: &Cells) -> Vec<(&'static str, Expression<Fr>)> {
    let [full, entry, partial, exit, absorb, climb] =
        [Selector::Full, Selector::Entry, Selector::Partial, Selector::Exit, Selector::Absorb, Selector::Climb]
            .map(|selector| cells.selector(selector));
    let any = full.clone() + entry.clone() + partial.clone() + exit.clone() + absorb.clone() + climb.clone();
    let schedule = &*SCHEDULE;
    let mut constraints = vec![];
    for lane in 0..2 {
        let first = LANES[lane];
        let (x, y) = (&cells.x[first..first + WIDTH], &cells.y[first..first + WIDTH]);
        let s: Vec<_> = x.iter().map(fifth_power).collect();
        let t: Vec<_> = y[..2].iter().map(fifth_power).collect();
        let mixed: Vec<_> = PARAMETERS.mds.iter().map(|row| linear(s.iter().zip(row.iter().copied()))).collect();
        let entered = [
            mixed[0].clone(),
            linear([&t[0], &mixed[1], &mixed[2]].into_iter().zip(schedule.second)),
            linear([&t[0], &t[1], &mixed[1], &mixed[2]].into_iter().zip(schedule.third)),
        ];
        let packed = [
            linear([&x[1], &x[2], &s[0], &s[1], &s[2]].into_iter().zip(schedule.partial)),
            linear([&x[2], &y[0], &s[1], &s[2], &t[0]].into_iter().zip(schedule.partial)),
            linear([&y[0], &y[1], &s[2], &t[0], &t[1]].into_iter().zip(schedule.partial)),
        ];
        let left = schedule.exit.map(|row| linear([&x[1], &x[2], &s[0], &s[1], &s[2]].into_iter().zip(row)));
        let [first_input, second_input] = INPUTS[lane].map(|column| cells.x[column].clone());
        let swapped = second_input.clone() * (first_input.clone() - x[0].clone());
        let children = [None, Some(x[0].clone() + swapped.clone()), Some(first_input.clone() - swapped)];
        let messages = [None, Some(first_input), Some(second_input)];
        for word in 0..WIDTH {
            let resumed = cells.constants[3].clone() * x[word].clone();
            let absorbed = match &messages[word] {
                Some(message) => resumed + message.clone(),
                None => resumed,
            };
            let mut sum = any.clone() * (cells.constants[word].clone() - y[word].clone())
                + full.clone() * mixed[word].clone()
                + entry.clone() * entered[word].clone()
                + partial.clone() * packed[word].clone()
                + exit.clone() * left[word].clone()
                + absorb.clone() * absorbed;
            if let Some(child) = &children[word] {
                sum = sum + climb.clone() * child.clone();
            }
            constraints.push((NAMES[lane][word], sum));
        }
    }
    for (lane, name) in ["direction of lane A", "direction of lane B"].into_iter().enumerate() {
        let bit = cells.x[INPUTS[lane][1]].clone();
        constraints.push((name, climb.clone() * (bit.clone() * bit.clone() - bit)));
    }
    constraints
}
