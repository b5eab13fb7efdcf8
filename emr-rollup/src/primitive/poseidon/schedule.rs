//! Poseidon's partial rounds, five at a time: a row of the circuit, and a step of the permutation.
//!
//! Let the cells `x_r` be the S-box inputs of the partial rounds. The four linear words of the state can be eliminated
//! over five rounds. Then `x_{r+5}` is a linear combination of `x_{r+1}` to `x_{r+4}` and `x_r^5` to `x_{r+4}^5`, plus a
//! constant. The coefficients do not depend on r. A permutation is then 21 rows of 5 cells: 4 full rounds, 12 rows of
//! partial rounds, 4 full rounds and the output.

use std::sync::LazyLock;

use halo2curves::ff::Field;

use super::{FULL_ROUNDS, PARAMETERS, PARTIAL_ROUNDS, RATE, WIDTH, mix, pow5};
use crate::primitive::field::Fr;

const HALF: usize = FULL_ROUNDS / 2;
/// Rows of partial rounds.
const PARTIAL_ROWS: usize = PARTIAL_ROUNDS / WIDTH;
const _: () = assert!(PARTIAL_ROUNDS.is_multiple_of(WIDTH));

/// Rows of a permutation: the inputs of 20 rows of S-boxes, and the output.
pub(crate) const ROWS: usize = FULL_ROUNDS + PARTIAL_ROWS + 1;

/// How the next row follows from a row of S-box inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One full round.
    Full,
    /// The last full round before the partial rounds, and the first five partial rounds.
    Entry,
    /// Five partial rounds.
    Partial,
    /// The last five partial rounds, up to the next full round.
    Exit,
    /// The last full round. The next row holds the output in its first word, and its other words are free.
    Last,
}

/// The symbols of an affine form: four S-box inputs, five fifth powers and four linear words.
const INPUT: usize = 0;
const POWER: usize = INPUT + RATE;
const LINEAR: usize = POWER + WIDTH;
const SYMBOLS: usize = LINEAR + RATE;

/// An affine form: the coefficients of the symbols, and a constant.
#[derive(Clone, Copy, PartialEq)]
struct Affine {
    factors: [Fr; SYMBOLS],
    constant: Fr,
}

impl Affine {
    const ZERO: Self = Self { factors: [Fr::ZERO; SYMBOLS], constant: Fr::ZERO };

    fn symbol(i: usize) -> Self {
        let mut form = Self::ZERO;
        form.factors[i] = Fr::ONE;
        form
    }

    fn plus(mut self, other: Self) -> Self {
        self.factors.iter_mut().zip(other.factors).for_each(|(a, b)| *a += b);
        self.constant += other.constant;
        self
    }

    fn offset(mut self, constant: Fr) -> Self {
        self.constant += constant;
        self
    }

    fn times(mut self, factor: Fr) -> Self {
        self.factors.iter_mut().for_each(|a| *a *= factor);
        self.constant *= factor;
        self
    }

    /// This form with another one in place of a symbol.
    fn with(mut self, symbol: usize, value: Self) -> Self {
        let factor = std::mem::take(&mut self.factors[symbol]);
        self.plus(value.times(factor))
    }

    fn mixed(words: [Self; WIDTH]) -> [Self; WIDTH] {
        PARAMETERS
            .mds
            .map(|row| words.iter().zip(row).fold(Self::ZERO, |sum, (word, factor)| sum.plus(word.times(factor))))
    }

    fn factors<const N: usize>(&self, first: usize) -> [Fr; N] {
        std::array::from_fn(|i| self.factors[first + i])
    }
}

/// A combination of four S-box inputs and five fifth powers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Of `x_{r+1}` to `x_{r+4}`.
    pub(crate) inputs: [Fr; RATE],
    /// Of `x_r^5` to `x_{r+4}^5`.
    pub(crate) powers: [Fr; WIDTH],
}

/// A combination in the first row of partial rounds. The first word of this row is a word of the mixed state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryWord {
    /// Of the fifth powers of the words before this one. The others are 0.
    pub(crate) powers: [Fr; RATE],
    /// Of words 1 to 4 of the mixed state.
    pub(crate) mixed: [Fr; RATE],
}

/// The coefficients of the packed rounds.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Of words 1 to 4 of the first row of partial rounds.
    pub(crate) entry: [EntryWord; RATE],
    /// Of `x_{r+5}`.
    pub(crate) partial: Window,
    /// Of each word after the partial rounds.
    pub(crate) exit: [Window; WIDTH],
    /// How row i + 1 follows from row i, and the constants added to its cells.
    pub(crate) steps: [(Step, [Fr; WIDTH]); ROWS - 1],
}

/// The schedule of circomlib's parameters.
pub(crate) static SCHEDULE: LazyLock<Schedule> = LazyLock::new(Schedule::derive);

/// The state after a partial round, from the fifth power of its S-box input and the other words before it.
fn round(power: Affine, words: [Affine; RATE], r: usize) -> [Affine; WIDTH] {
    let constants = &PARAMETERS.round_constants[r];
    Affine::mixed(std::array::from_fn(|i| match i.checked_sub(1) {
        None => power,
        Some(word) => words[word].offset(constants[i]),
    }))
}

/// The state after rounds r to r + 4, without the constants of the round after.
fn five_rounds(r: usize) -> [Affine; WIDTH] {
    let mut words: [Affine; RATE] = std::array::from_fn(|i| Affine::symbol(LINEAR + i));
    let mut state = [Affine::ZERO; WIDTH];
    let mut equations = Vec::with_capacity(RATE);
    for i in 0..WIDTH {
        state = round(Affine::symbol(POWER + i), words, r + i);
        let [first, rest @ ..] = state;
        words = rest;
        if i < RATE {
            // It is the next S-box input.
            let input = Affine::symbol(INPUT + i).times(-Fr::ONE);
            equations.push(first.offset(PARAMETERS.round_constants[r + i + 1][0]).plus(input));
        }
    }
    // Four equations for the four linear words, solved one by one.
    for word in LINEAR..SYMBOLS {
        let pivot = equations.iter().position(|equation| equation.factors[word] != Fr::ZERO);
        // The equations are independent. The tests compare every row with the permutation.
        let Some(equation) = pivot.map(|i| equations.swap_remove(i)) else { continue };
        let inverse = equation.factors[word].invert().unwrap_or(Fr::ZERO);
        let mut solved = equation.times(-inverse);
        solved.factors[word] = Fr::ZERO;
        equations.iter_mut().chain(&mut state).for_each(|form| *form = form.with(word, solved));
    }
    state
}

/// The first row of partial rounds, from the mixed state after the full rounds before them.
fn entry() -> [Affine; WIDTH] {
    let mut words: [Affine; RATE] = std::array::from_fn(|i| Affine::symbol(LINEAR + i));
    let mut row = [Affine::ZERO; WIDTH];
    row[0].constant = PARAMETERS.round_constants[HALF][0];
    for (i, word) in row[1..].iter_mut().enumerate() {
        let [first, rest @ ..] = round(Affine::symbol(POWER + i), words, HALF + i);
        *word = first.offset(PARAMETERS.round_constants[HALF + i + 1][0]);
        words = rest;
    }
    row
}

impl From<Affine> for Window {
    fn from(form: Affine) -> Self {
        Self { inputs: form.factors(INPUT), powers: form.factors(POWER) }
    }
}

impl Schedule {
    fn derive() -> Self {
        let constants = &PARAMETERS.round_constants;
        let last = HALF + PARTIAL_ROUNDS;
        let (entry, exit) = (entry(), five_rounds(last - WIDTH));
        let mut steps = [(Step::Full, [Fr::ZERO; WIDTH]); ROWS - 1];
        for (i, step) in steps.iter_mut().enumerate() {
            // The first row after the partial rounds.
            let after = HALF + PARTIAL_ROWS;
            *step = if i + 1 < HALF {
                (Step::Full, constants[i + 1])
            } else if i + 1 == HALF {
                (Step::Entry, entry.map(|word| word.constant))
            } else if i + 1 < after {
                let first = HALF + WIDTH * (i + 1 - HALF);
                let constant = |r: usize| five_rounds(r - WIDTH)[0].constant + constants[r][0];
                (Step::Partial, std::array::from_fn(|word| constant(first + word)))
            } else if i + 1 == after {
                (Step::Exit, std::array::from_fn(|word| exit[word].constant + constants[last][word]))
            } else if i + 2 < ROWS {
                (Step::Full, constants[last + i + 1 - after])
            } else {
                (Step::Last, [Fr::ZERO; WIDTH])
            };
        }
        Self {
            entry: std::array::from_fn(|i| EntryWord {
                powers: entry[i + 1].factors(POWER),
                mixed: entry[i + 1].factors(LINEAR),
            }),
            partial: five_rounds(HALF)[0].into(),
            exit: exit.map(Window::from),
            steps,
        }
    }
}

impl Window {
    /// The combination of S-box inputs from `x_{r+1}` on and fifth powers from `x_r^5` on.
    #[inline]
    fn of(&self, inputs: &[Fr], powers: &[Fr]) -> Fr {
        dot(&self.inputs, inputs) + dot(&self.powers, powers)
    }
}

#[inline]
fn dot(factors: &[Fr], words: &[Fr]) -> Fr {
    factors.iter().zip(words).map(|(factor, word)| factor * word).sum()
}

impl Schedule {
    /// The row after a row of S-box inputs.
    #[inline]
    fn next(&self, row: &[Fr; WIDTH], (step, constants): &(Step, [Fr; WIDTH])) -> [Fr; WIDTH] {
        let powers = row.map(pow5);
        let mut next = *constants;
        match step {
            Step::Full | Step::Last => next.iter_mut().zip(mix(powers)).for_each(|(word, mixed)| *word += mixed),
            Step::Entry => {
                let mixed = mix(powers);
                next[0] += mixed[0];
                let mut before = [Fr::ZERO; RATE];
                for (i, factors) in self.entry.iter().enumerate() {
                    before[i] = pow5(next[i]);
                    next[i + 1] += dot(&factors.powers[..=i], &before) + dot(&factors.mixed, &mixed[1..]);
                }
            }
            Step::Partial => {
                let mut inputs = [Fr::ZERO; 2 * WIDTH];
                let mut all = [Fr::ZERO; 2 * WIDTH];
                inputs[..WIDTH].copy_from_slice(row);
                all[..WIDTH].copy_from_slice(&powers);
                for i in 0..WIDTH {
                    next[i] += self.partial.of(&inputs[i + 1..], &all[i..]);
                    inputs[WIDTH + i] = next[i];
                    all[WIDTH + i] = pow5(next[i]);
                }
            }
            Step::Exit => {
                next.iter_mut().zip(&self.exit).for_each(|(word, exit)| *word += exit.of(&row[1..], &powers));
            }
        }
        next
    }
}

/// The rows of one permutation: S-box inputs, then the output.
#[cfg(any(test, feature = "prover"))]
pub(crate) fn trace(mut state: [Fr; WIDTH]) -> [[Fr; WIDTH]; ROWS] {
    let schedule = &*SCHEDULE;
    state.iter_mut().zip(&PARAMETERS.round_constants[0]).for_each(|(word, constant)| *word += constant);
    let mut rows = [state; ROWS];
    for (i, step) in schedule.steps.iter().enumerate() {
        rows[i + 1] = schedule.next(&rows[i], step);
    }
    rows
}

/// The output of one permutation.
pub(super) fn last(mut state: [Fr; WIDTH]) -> [Fr; WIDTH] {
    let schedule = &*SCHEDULE;
    state.iter_mut().zip(&PARAMETERS.round_constants[0]).for_each(|(word, constant)| *word += constant);
    schedule.steps.iter().fold(state, |row, step| schedule.next(&row, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The permutation as it is defined: round by round.
    fn by_rounds(mut state: [Fr; WIDTH]) -> [Fr; WIDTH] {
        for (round, constants) in PARAMETERS.round_constants.iter().enumerate() {
            state.iter_mut().zip(constants).for_each(|(word, constant)| *word += constant);
            let partial = (HALF..HALF + PARTIAL_ROUNDS).contains(&round);
            let s_boxes = if partial { 1 } else { WIDTH };
            state[..s_boxes].iter_mut().for_each(|word| *word = pow5(*word));
            state = mix(state);
        }
        state
    }

    #[test]
    fn the_coefficients_do_not_depend_on_the_round() {
        for r in HALF..HALF + PARTIAL_ROUNDS - WIDTH {
            let form = five_rounds(r)[0];
            assert_eq!(Window::from(form), SCHEDULE.partial);
            assert_eq!(form.factors::<RATE>(LINEAR), [Fr::ZERO; RATE]);
        }
    }

    #[test]
    fn the_steps_are_the_rounds() {
        let mut state = [9, 1, 2, 5, 8].map(Fr::from);
        for _ in 0..20 {
            let rows = trace(state);
            assert_eq!(rows[ROWS - 1], by_rounds(state));
            assert_eq!(last(state), rows[ROWS - 1]);
            state = rows[ROWS - 1];
        }
    }

    #[test]
    fn a_word_of_the_first_row_reads_the_words_before_it() {
        for (i, word) in SCHEDULE.entry.iter().enumerate() {
            assert_eq!(word.powers.map(|factor| factor != Fr::ZERO), std::array::from_fn(|j| j <= i));
        }
    }
}
