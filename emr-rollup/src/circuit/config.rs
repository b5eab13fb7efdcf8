//! Columns, selectors and gates.
//!
//! Every gate reads the current and the next row only. `x` is a cell of the current row, `y` of the next one.
//!
//! | column | Poseidon | Baby Jubjub step | generic | range |
//! |---|---|---|---|---|
//! | a0 = | lane A, word 0 | acc.x | l | |
//! | a1 | lane A, word 1 | T.x | | |
//! | a2 | lane A, word 2 | T.y | | |
//! | a3 = | lane B, word 0 | acc.y | r | |
//! | a4 | lane B, word 1 | 2acc.x | | |
//! | a5 | lane B, word 2 | 2acc.y | | |
//! | a6 = | message or sibling, A | s so far | out | word |
//! | a7 = | message or direction, A | c so far | addend | word |
//! | a8 = | message or sibling, B | Q.x | u | |
//! | a9 = | message or direction, B | Q.y | v | |
//! | kc0..kc2 | round constants | | factors of l, r; constant | |
//! | kc3 | 1: continue the sponge | | factor of l·r | |
//!
//! The columns marked `=` and the instance column take part in the permutation argument. At degree 9, one grand product
//! covers these seven columns. The selectors share three fixed columns. Each selector is one value of its column, so
//! its degree is the number of selectors in that column. Range checks use Poseidon's S-box rows, where a6 and a7 are
//! free.

use halo2_proofs::{
    plonk::{Advice, Column, ConstraintSystem, Expression, Fixed, Instance, VirtualCells},
    poly::Rotation,
};
use halo2curves::ff::Field;

use super::gadget::{jubjub, poseidon};
use crate::primitive::field::Fr;

/// Advice columns.
pub(super) const ADVICE: usize = 10;
/// Columns of constants.
pub(super) const CONSTANTS: usize = 4;
/// Columns of selectors.
pub(super) const SELECTORS: usize = 3;
/// The highest degree of a constraint. The extended domain of the quotient is the same for degrees 6 to 9, so 9 costs
/// no more than 6.
pub(super) const DEGREE: usize = 9;
/// Advice columns of the permutation argument.
pub(super) const EQUALITY: [usize; 6] = [0, 3, 6, 7, 8, 9];
/// Columns of the words that are range checked.
pub(super) const RANGE_COLUMNS: [usize; 2] = [6, 7];

/// What constrains a row. A row can have several selectors if they are in different selector columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    /// The next row is one full round later.
    Full,
    /// The next row holds the first three partial rounds.
    Entry,
    /// The next row is three partial rounds later.
    Partial,
    /// The next row is the first full round after the partial ones.
    Exit,
    /// One bit of a double-base multiplication.
    Ladder,
    /// The table of a double-base multiplication.
    Table,
    /// The next row starts a permutation over two messages.
    Absorb,
    /// The next row starts a permutation over a node and its sibling.
    Climb,
    /// `out = kc0·l + kc1·r + kc2 + kc3·l·r + addend - u·v`.
    Generic,
    /// The words of the next row are a quarter of this row's, rounded down.
    Range,
}

impl Selector {
    const COLUMNS: [&'static [Self]; SELECTORS] = [
        &[Self::Full, Self::Entry, Self::Partial, Self::Exit],
        &[Self::Ladder, Self::Table],
        &[Self::Absorb, Self::Climb, Self::Generic, Self::Range],
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
        for column in EQUALITY {
            meta.enable_equality(advice[column]);
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

/// `a6 = kc0·a0 + kc1·a3 + kc2 + kc3·a0·a3 + a7 - a8·a9`.
fn generic(cells: &Cells) -> Vec<Named> {
    let [l, _, _, r, _, _, out, addend, u, v] = cells.x.clone();
    let [factor_l, factor_r, constant, factor_lr] = cells.constants.clone();
    let value = factor_l * l.clone() + factor_r * r.clone() + constant + factor_lr * (l * r) + addend - u * v;
    vec![("generic", cells.selector(Selector::Generic) * (value - out))]
}

/// `x - 4y` is a digit below 4. A word is below `4^n` if the cell n rows further down is 0 and all n rows have the
/// selector.
fn range(cells: &Cells) -> Vec<Named> {
    let names = ["range of a6", "range of a7"];
    names
        .into_iter()
        .zip(RANGE_COLUMNS)
        .map(|(name, column)| {
            let digit = cells.x[column].clone() - cells.y[column].clone() * Fr::from(4);
            // t(t-1)(t-2)(t-3) = u(u + 2) with u = t(t - 3)
            let u = digit.clone() * (digit - constant(Fr::from(3)));
            (name, cells.selector(Selector::Range) * (u.clone() * (u + constant(Fr::from(2)))))
        })
        .collect()
}
