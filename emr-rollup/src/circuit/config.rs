//! Columns, selectors and gates.
//!
//! Every gate reads the current and the next row only. `x` is a cell of the current row, `y` of the next one.
//!
//! | column | Poseidon | Baby Jubjub step | generic |
//! |---|---|---|---|
//! | a0 | lane A, word 0 | acc.x | first: l |
//! | a1 | lane A, word 1 | T.x | first: r |
//! | a2 | lane A, word 2 | T.y | first: out |
//! | a3 | lane A, word 3 | acc.y | first: addend |
//! | a4 | lane A, word 4 | 2acc.x | first: u |
//! | a5 | lane B, word 0 | 2acc.y | first: v |
//! | a6 | lane B, word 1 | s so far | second: l |
//! | a7 | lane B, word 2 | c so far | second: r |
//! | a8 | lane B, word 3 | Q.x | second: out |
//! | a9 | lane B, word 4 | Q.y | second: u |
//! | a10 | word of a range check | P.x·P.y | second: v |
//! | kc0..kc3 | round constants | | first: factors of l, r; constant; factor of l·r |
//! | kc4 | round constant | | second: factor of l |
//!
//! All advice columns and the instance column take part in the permutation argument. At degree 9, two grand products cover
//! these twelve columns. The selectors share three fixed columns. Each selector is one value of its column, so its degree
//! is the number of selectors in that column. Range checks use the rows of Poseidon, where a10 is free.

use halo2_proofs::{
    plonk::{Advice, Column, ConstraintSystem, Expression, Fixed, Instance, VirtualCells},
    poly::Rotation,
};
use halo2curves::ff::Field;

use super::gadget::{jubjub, poseidon};
use crate::primitive::field::Fr;

/// Advice columns.
pub(super) const ADVICE: usize = 11;
/// Columns of constants.
pub(super) const CONSTANTS: usize = 5;
/// Columns of selectors.
pub(super) const SELECTORS: usize = 3;
/// The highest degree of a constraint. The extended domain of the quotient is the same for degrees 6 to 9, so 9 costs
/// no more than 6.
pub(super) const DEGREE: usize = 9;
/// The column of the words that are range checked.
pub(super) const RANGE_COLUMN: usize = 10;

/// What constrains a row. A row can have several selectors if they are in different selector columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    /// The next row is one full round later.
    Full,
    /// The next row holds the first five partial rounds.
    Entry,
    /// The next row is five partial rounds later.
    Partial,
    /// The next row is the first full round after the partial ones.
    Exit,
    /// Word 0 of the next row is the output.
    Last,
    /// One bit of a double-base multiplication.
    Ladder,
    /// The table of a double-base multiplication.
    Table,
    /// The next row starts a permutation over four inputs.
    Absorb,
    /// The next row starts a permutation over a node and its siblings.
    Climb,
    /// Two equations: `out = kc0·l + kc1·r + kc2 + kc3·l·r + addend - u·v`, and `out = kc4·l + l·r - u·v`.
    Generic,
    /// The word of the next row is a quarter of this row's, rounded down.
    Range,
}

impl Selector {
    const COLUMNS: [&'static [Self]; SELECTORS] = [
        &[Self::Full, Self::Entry, Self::Partial, Self::Exit],
        &[Self::Ladder, Self::Table, Self::Range],
        &[Self::Absorb, Self::Climb, Self::Generic, Self::Last],
    ];

    /// The selector column, and the selector's value in it.
    pub(super) fn place(self) -> (usize, u64) {
        let find = |column: &&[Self]| column.iter().position(|other| *other == self);
        let column = Self::COLUMNS.iter().position(|column| find(column).is_some()).unwrap_or(0);
        (column, find(&Self::COLUMNS[column]).map_or(0, |i| i as u64 + 1))
    }
}

/// The columns.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) advice: [Column<Advice>; ADVICE],
    pub(super) constants: [Column<Fixed>; CONSTANTS],
    pub(super) selectors: [Column<Fixed>; SELECTORS],
    pub(super) instance: Column<Instance>,
}

/// The cells that a gate reads.
pub(super) struct Cells {
    pub(super) x: [Expression<Fr>; ADVICE],
    pub(super) y: [Expression<Fr>; ADVICE],
    pub(super) constants: [Expression<Fr>; CONSTANTS],
    selectors: [Expression<Fr>; SELECTORS],
}

impl Cells {
    fn query(config: &Config, meta: &mut VirtualCells<'_, Fr>) -> Self {
        Self {
            x: config.advice.map(|column| meta.query_advice(column, Rotation::cur())),
            y: config.advice.map(|column| meta.query_advice(column, Rotation::next())),
            constants: config.constants.map(|column| meta.query_fixed(column, Rotation::cur())),
            selectors: config.selectors.map(|column| meta.query_fixed(column, Rotation::cur())),
        }
    }

    /// Nonzero exactly on the rows that have this selector.
    pub(super) fn selector(&self, selector: Selector) -> Expression<Fr> {
        let (column, value) = selector.place();
        let q = &self.selectors[column];
        (1..=Selector::COLUMNS[column].len() as u64)
            .filter(|other| *other != value)
            .fold(q.clone(), |product, other| product * (constant(Fr::from(other)) - q.clone()))
    }
}

pub(super) fn constant(value: Fr) -> Expression<Fr> {
    Expression::Constant(value)
}

/// `sum factor · expression`.
pub(super) fn linear<'a>(terms: impl IntoIterator<Item = (&'a Expression<Fr>, Fr)>) -> Expression<Fr> {
    terms
        .into_iter()
        .map(|(expression, factor)| expression.clone() * factor)
        .reduce(|sum, term| sum + term)
        .unwrap_or(Expression::Constant(Fr::ZERO))
}

impl Config {
    /// Declares columns and gates.
    pub(super) fn new(meta: &mut ConstraintSystem<Fr>) -> Self {
        meta.set_minimum_degree(DEGREE);
        let instance = meta.instance_column();
        let constants = [(); CONSTANTS].map(|()| meta.fixed_column());
        let selectors = [(); SELECTORS].map(|()| meta.fixed_column());
        let advice = [(); ADVICE].map(|()| meta.advice_column());
        meta.enable_equality(instance);
        for column in advice {
            meta.enable_equality(column);
        }
        let config = Self { advice, constants, selectors, instance };
        meta.create_gate("Poseidon", |meta| poseidon::constraints(&Cells::query(&config, meta)));
        meta.create_gate("Baby Jubjub", |meta| jubjub::constraints(&Cells::query(&config, meta)));
        meta.create_gate("generic", |meta| generic(&Cells::query(&config, meta)));
        meta.create_gate("range", |meta| range(&Cells::query(&config, meta)));
        config
    }
}

type Named = (&'static str, Expression<Fr>);

/// `a2 = kc0·a0 + kc1·a1 + kc2 + kc3·a0·a1 + a3 - a4·a5` and `a8 = kc4·a6 + a6·a7 - a9·a10`.
fn generic(cells: &Cells) -> Vec<Named> {
    let [l, r, out, addend, u, v, l_2, r_2, out_2, u_2, v_2] = cells.x.clone();
    let [factor_l, factor_r, constant, factor_lr, factor_l_2] = cells.constants.clone();
    let value = factor_l * l.clone() + factor_r * r.clone() + constant + factor_lr * (l * r) + addend - u * v;
    let value_2 = factor_l_2 * l_2.clone() + l_2 * r_2 - u_2 * v_2;
    let selector = cells.selector(Selector::Generic);
    vec![("first", selector.clone() * (value - out)), ("second", selector * (value_2 - out_2))]
}

/// `x - 4y` is a digit below 4. A word is below `4^n` if the cell n rows further down is 0 and all n rows have the
/// selector.
fn range(cells: &Cells) -> Vec<Named> {
    let digit = cells.x[RANGE_COLUMN].clone() - cells.y[RANGE_COLUMN].clone() * Fr::from(4);
    // t(t-1)(t-2)(t-3) = u(u + 2) with u = t(t - 3)
    let u = digit.clone() * (digit - constant(Fr::from(3)));
    vec![("range", cells.selector(Selector::Range) * (u.clone() * (u + constant(Fr::from(2)))))]
}
