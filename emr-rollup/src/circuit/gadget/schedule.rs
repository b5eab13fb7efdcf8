//! Poseidon's partial rounds, three to a row.
//!
//! Let the cells `x_r` be the S-box inputs of the partial rounds. The two linear words of the state can be eliminated
//! over three rounds. Then `x_{r+3}` is a linear combination of `x_{r+1}`, `x_{r+2}`, `x_r^5`, `x_{r+1}^5`,
//! `x_{r+2}^5`, plus a round constant. The coefficients do not depend on r. A permutation is then 28 rows of 3 cells: 4
//! full rounds, 19 rows of partial rounds, 4 full rounds and the output.

use std::sync::LazyLock;

use halo2curves::ff::Field;

use crate::primitive::{
    field::Fr,
    poseidon::{FULL_ROUNDS, PARAMETERS, PARTIAL_ROUNDS, WIDTH, mix, pow5},
};

/// Rows of a permutation: the inputs of 27 rows of S-boxes, and the output.
pub(in crate::circuit) const ROWS: usize = 28;

const HALF: usize = FULL_ROUNDS / 2;
const ROUNDS: usize = FULL_ROUNDS + PARTIAL_ROUNDS;

/// How the next row follows from a row of S-box inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit) enum Step {
    /// One full round.
    Full,
    /// The last full round before the partial rounds, and the first three partial rounds.
    Entry,
    /// Three partial rounds.
    Partial,
    /// The last three partial rounds, up to the next full round.
    Exit,
}

/// An affine form: coefficients of up to eight symbols, and a constant.
#[derive(Clone, Copy, PartialEq)]
struct Affine([Fr; 9]);

impl Affine {
    fn constant(value: Fr) -> Self {
        let mut form = [Fr::ZERO; 9];
        form[8] = value;
        Self(form)
    }

    fn symbol(i: usize) -> Self {
        let mut form = [Fr::ZERO; 9];
        form[i] = Fr::ONE;
        Self(form)
    }

    fn plus(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
        self
    }

    fn times(mut self, factor: Fr) -> Self {
        self.0.iter_mut().for_each(|a| *a *= factor);
        self
    }

    fn without(mut self, symbols: [usize; 2]) -> Self {
        symbols.into_iter().for_each(|i| self.0[i] = Fr::ZERO);
        self
    }

    fn mixed(words: [Self; WIDTH]) -> [Self; WIDTH] {
        PARAMETERS.mds.map(|row| {
            words.iter().zip(row).fold(Self::constant(Fr::ZERO), |sum, (word, factor)| sum.plus(word.times(factor)))
        })
    }
}

/// The coefficients of the packed rounds.
#[derive(Clone, Debug)]
pub(in crate::circuit) struct Schedule {
    /// Of `x_{r+1}, x_{r+2}, x_r^5, x_{r+1}^5, x_{r+2}^5` in `x_{r+3}`.
    pub(in crate::circuit) partial: [Fr; 5],
    /// Of `x_4^5, w_1, w_2` in `x_5`, where w is the mixed state of the last full round before the partial ones.
    pub(in crate::circuit) second: [Fr; 3],
    /// Of `x_4^5, x_5^5, w_1, w_2` in `x_6`.
    pub(in crate::circuit) third: [Fr; 4],
    /// Of `x_59, x_60, x_58^5, x_59^5, x_60^5` in each word after the partial rounds.
    pub(in crate::circuit) exit: [[Fr; 5]; WIDTH],
    /// How row i + 1 follows from row i, and the constants added to its cells.
    pub(in crate::circuit) steps: [(Step, [Fr; WIDTH]); ROWS - 1],
}

/// The schedule of circomlib's parameters.
pub(in crate::circuit) static SCHEDULE: LazyLock<Schedule> = LazyLock::new(Schedule::derive);

impl Schedule {
    /// The state after rounds r, r + 1 and r + 2. The symbols are 0: x_{r+1}, 1: x_{r+2}, 2..=4: the fifth powers.
    fn three_rounds(r: usize) -> [Affine; WIDTH] {
        let constants = &PARAMETERS.round_constants;
        let round = |s_box: usize, w1: Affine, w2: Affine, r: usize| {
            let constant = |i: usize| Affine::constant(constants[r][i]);
            Affine::mixed([Affine::symbol(s_box), w1.plus(constant(1)), w2.plus(constant(2))])
        };
        // Symbols 5 and 6 are the unknown linear words. x_{r+1} and x_{r+2} give two equations for them.
        let first = round(2, Affine::symbol(5), Affine::symbol(6), r);
        let minus = |i: usize| Affine::symbol(i).times(-Fr::ONE);
        let e = first[0].plus(Affine::constant(constants[r + 1][0])).plus(minus(0));
        let second = round(3, first[1], first[2], r + 1);
        let f = second[0].plus(Affine::constant(constants[r + 2][0])).plus(minus(1));
        // The determinant of this matrix is not 0. The tests compare every row with the permutation.
        let inverse = (e.0[5] * f.0[6] - f.0[5] * e.0[6]).invert().unwrap_or(Fr::ZERO);
        let (rest_e, rest_f) = (e.without([5, 6]), f.without([5, 6]));
        let word_1 = rest_f.times(e.0[6]).plus(rest_e.times(-f.0[6])).times(inverse);
        let word_2 = rest_e.times(f.0[5]).plus(rest_f.times(-e.0[5])).times(inverse);
        round(4, second[1], second[2], r + 2)
            .map(|word| word.without([5, 6]).plus(word_1.times(word.0[5])).plus(word_2.times(word.0[6])))
    }

    fn derive() -> Self {
        let constants = &PARAMETERS.round_constants;
        let first_five = |form: &Affine| [form.0[0], form.0[1], form.0[2], form.0[3], form.0[4]];
        let partial = first_five(&Self::three_rounds(HALF)[0]);
        // Entry. Symbols 0: x_4^5, 1: x_5^5, 2: w_1, 3: w_2.
        let word = |form: Affine, r: usize, i: usize| form.plus(Affine::constant(constants[r][i]));
        let after_4 =
            Affine::mixed([Affine::symbol(0), word(Affine::symbol(2), HALF, 1), word(Affine::symbol(3), HALF, 2)]);
        let x_5 = word(after_4[0], HALF + 1, 0);
        let after_5 = Affine::mixed([Affine::symbol(1), word(after_4[1], HALF + 1, 1), word(after_4[2], HALF + 1, 2)]);
        let x_6 = word(after_5[0], HALF + 2, 0);
        // Exit.
        let last = HALF + PARTIAL_ROUNDS;
        let exit = Self::three_rounds(last - 3);
        let mut steps = [(Step::Full, [Fr::ZERO; WIDTH]); ROWS - 1];
        for (i, step) in steps.iter_mut().enumerate() {
            *step = match i {
                0..3 => (Step::Full, constants[i + 1]),
                3 => (Step::Entry, [constants[HALF][0], x_5.0[8], x_6.0[8]]),
                4..22 => {
                    let first = HALF + 3 * (i - 3);
                    let constant = |r: usize| Self::three_rounds(r - 3)[0].0[8] + constants[r][0];
                    (Step::Partial, [first, first + 1, first + 2].map(constant))
                }
                22 => (Step::Exit, [0, 1, 2].map(|word| exit[word].0[8] + constants[last][word])),
                23..26 => (Step::Full, constants[last + i - 22]),
                _ => (Step::Full, [Fr::ZERO; WIDTH]),
            };
        }
        Self {
            partial,
            second: [x_5.0[0], x_5.0[2], x_5.0[3]],
            third: [x_6.0[0], x_6.0[1], x_6.0[2], x_6.0[3]],
            exit: exit.map(|form| first_five(&form)),
            steps,
        }
    }
}

/// The rows of one permutation: S-box inputs, then the output.
pub(in crate::circuit) fn trace(mut state: [Fr; WIDTH]) -> [[Fr; WIDTH]; ROWS] {
    let mut rows = [[Fr::ZERO; WIDTH]; ROWS];
    for round in 0..ROUNDS {
        for (word, constant) in state.iter_mut().zip(&PARAMETERS.round_constants[round]) {
            *word += constant;
        }
        if round < HALF {
            rows[round] = state;
            state = mix(state.map(pow5));
        } else if round < HALF + PARTIAL_ROUNDS {
            rows[HALF + (round - HALF) / 3][(round - HALF) % 3] = state[0];
            state = mix([pow5(state[0]), state[1], state[2]]);
        } else {
            rows[round - 2 * PARTIAL_ROUNDS / 3] = state;
            state = mix(state.map(pow5));
        }
    }
    rows[ROWS - 1] = state;
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::poseidon;

    #[test]
    fn the_coefficients_do_not_depend_on_the_round() {
        for r in HALF..HALF + PARTIAL_ROUNDS - 5 {
            assert_eq!(Schedule::three_rounds(r)[0].0[..5], SCHEDULE.partial);
        }
    }

    #[test]
    fn every_row_follows_from_the_one_before() {
        let mut input = [9, 1, 2].map(Fr::from);
        for _ in 0..20 {
            let rows = trace(input);
            assert_eq!(rows[ROWS - 1], poseidon::permute(input));
            for (i, (step, constants)) in SCHEDULE.steps.iter().enumerate() {
                let (x, y) = (rows[i], rows[i + 1]);
                let dot = |factors: &[Fr], words: &[Fr]| -> Fr {
                    factors.iter().zip(words).map(|(factor, word)| factor * word).sum()
                };
                let (s, t) = (x.map(pow5), y.map(pow5));
                let w = mix(s);
                let expected = match step {
                    Step::Full => w,
                    Step::Entry => [
                        w[0],
                        dot(&SCHEDULE.second, &[t[0], w[1], w[2]]),
                        dot(&SCHEDULE.third, &[t[0], t[1], w[1], w[2]]),
                    ],
                    Step::Partial => [
                        dot(&SCHEDULE.partial, &[x[1], x[2], s[0], s[1], s[2]]),
                        dot(&SCHEDULE.partial, &[x[2], y[0], s[1], s[2], t[0]]),
                        dot(&SCHEDULE.partial, &[y[0], y[1], s[2], t[0], t[1]]),
                    ],
                    Step::Exit => SCHEDULE.exit.map(|row| dot(&row, &[x[1], x[2], s[0], s[1], s[2]])),
                };
                for word in 0..WIDTH {
                    assert_eq!(expected[word] + constants[word], y[word], "row {i}, word {word}");
                }
            }
            input = rows[ROWS - 1];
        }
    }
}
