//! `s·B + c·Q` on Baby Jubjub by Shamir's trick. Each row takes one bit of both scalars, most significant first.
//!
//! ```text
//! row       a0     a1    a2    a3     a4      a5      a6      a7      a8   a9   a10
//! 0..254    acc.x  T.x   T.y   acc.y  2acc.x  2acc.y  s >> j  c >> j  Q.x  Q.y  P.x·P.y    Ladder
//! 254       sum.x  T.x   T.y   sum.y                  s       c       Q.x  Q.y             Table
//! ```
//!
//! P is the point that the row adds. The product of its coordinates has a cell, so that the degree of the addition is low.
//!
//! Row 0 starts with acc = (0, 1) and with 0 for both scalars (copies of constants). The ladder carries T and Q down to
//! the last row. There `T = B + Q` is checked, and that Q is on the curve. The addition law is complete on this curve
//! (a is a square, d is not). So for points on the curve no denominator is 0, and each row determines the next. Every
//! bit is constrained. The caller must check that the 254-bit integers are below the group order or below p.

use crypto_bigint::U256;
use halo2_proofs::plonk::Expression;
use halo2curves::ff::{BatchInvert, Field};

use super::constrained::Ranged;
use crate::{
    circuit::{
        builder::Wire,
        config::{ADVICE, Cells, Selector, constant},
        scope::Scope,
        table::ALL,
    },
    primitive::{
        field::{Fr, to_bytes},
        jubjub::{A, D, Point},
    },
};

/// Bits of each scalar.
pub(in crate::circuit) const BITS: usize = 254;

/// Columns of the accumulator.
pub(in crate::circuit) const ACC: [usize; 2] = [0, 3];
/// Columns of `B + Q`.
pub(in crate::circuit) const TABLE: [usize; 2] = [1, 2];
/// Columns of the doubled accumulator.
pub(in crate::circuit) const DOUBLE: [usize; 2] = [4, 5];
/// Columns of the scalars' leading bits.
pub(in crate::circuit) const SCALARS: [usize; 2] = [6, 7];
/// Columns of Q.
pub(in crate::circuit) const BASE: [usize; 2] = [8, 9];
/// The column of the product of the added point's coordinates.
pub(in crate::circuit) const PRODUCT: usize = 10;

/// The constraints of ladder and table.
pub(in crate::circuit) fn constraints(cells: &Cells) -> Vec<(&'static str, Expression<Fr>)> {
    let pick = |from: &[Expression<Fr>; ADVICE], [x, y]: [usize; 2]| [from[x].clone(), from[y].clone()];
    let [acc_x, acc_y] = pick(&cells.x, ACC);
    let [next_x, next_y] = pick(&cells.y, ACC);
    let [table_x, table_y] = pick(&cells.x, TABLE);
    let [double_x, double_y] = pick(&cells.x, DOUBLE);
    let [q_x, q_y] = pick(&cells.x, BASE);
    let (b_x, b_y) = (Point::BASE.x(), Point::BASE.y());
    let (one, two) = (constant(Fr::ONE), constant(Fr::from(2)));

    let bit = |column: usize| cells.y[column].clone() - cells.x[column].clone() * Fr::from(2);
    let (s, c) = (bit(SCALARS[0]), bit(SCALARS[1]));
    let both = s.clone() * c.clone();
    let (only_s, only_c) = (s.clone() - both.clone(), c.clone() - both.clone());
    let neither = one.clone() - s.clone() - only_c.clone();
    // The point that is added, which is (0, 1), B, Q or T, and the product of its coordinates.
    let x = only_s.clone() * b_x + only_c.clone() * q_x.clone() + both.clone() * table_x.clone();
    let y = neither + only_s.clone() * b_y + only_c.clone() * q_y.clone() + both.clone() * table_y.clone();
    let xy = only_s * (b_x * b_y) + only_c * (q_x.clone() * q_y.clone()) + both * (table_x.clone() * table_y.clone());

    let ladder = cells.selector(Selector::Ladder);
    let (ax2, y2) = (acc_x.clone() * acc_x.clone() * A, acc_y.clone() * acc_y.clone());
    let sum = ax2.clone() + y2.clone();
    let product = cells.x[PRODUCT].clone();
    let w = double_x.clone() * double_y.clone() * product.clone() * D;
    let carried = |column: usize| cells.x[column].clone() - cells.y[column].clone();
    let steps = [
        ("bit of s", s.clone() * s.clone() - s),
        ("bit of c", c.clone() * c.clone() - c),
        ("product of the added point's coordinates", xy - product),
        ("double, x", double_x.clone() * sum.clone() - acc_x * acc_y * Fr::from(2)),
        ("double, y", double_y.clone() * (two - sum) - y2 + ax2),
        ("add, x", next_x * (one.clone() + w.clone()) - double_x.clone() * y.clone() - double_y.clone() * x.clone()),
        ("add, y", next_y * (one.clone() - w) - double_y * y + double_x * x * A),
        ("Q.x is carried", carried(BASE[0])),
        ("Q.y is carried", carried(BASE[1])),
        ("T.x is carried", carried(TABLE[0])),
        ("T.y is carried", carried(TABLE[1])),
    ];

    let table = cells.selector(Selector::Table);
    let q_xy = q_x.clone() * q_y.clone();
    let w = q_xy.clone() * (D * b_x * b_y);
    let checks = [
        (
            "Q is on the curve",
            q_x.clone() * q_x.clone() * A + q_y.clone() * q_y.clone() - one.clone() - q_xy.clone() * q_xy * D,
        ),
        ("T = B + Q, x", table_x * (one.clone() + w.clone()) - q_x.clone() * b_y - q_y.clone() * b_x),
        ("T = B + Q, y", table_y * (one - w) - q_y * b_y + q_x * (A * b_x)),
    ];
    let steps = steps.into_iter().map(|(name, value)| (name, ladder.clone() * value));
    let checks = checks.into_iter().map(|(name, value)| (name, table.clone() * value));
    steps.chain(checks).collect()
}

/// The result of a ladder.
pub(in crate::circuit) struct Ladder {
    /// `s·B + c·Q`.
    pub(in crate::circuit) sum: [Wire; 2],
    /// The leading [`HIGH_BITS`] bits of s and of c.
    pub(in crate::circuit) high: [Ranged<{ HIGH_BITS as u32 }>; 2],
}

/// The number of leading bits that a ladder returns.
pub(in crate::circuit) const HIGH_BITS: usize = 127;

impl Scope<'_> {
    /// Computes `s·B + c·Q`, and constrains Q to be on the curve.
    ///
    /// The rows spell 254-bit integers that are congruent to s and c modulo p. They *are* s and c only if the caller
    /// checks that they are below p.
    pub(in crate::circuit) fn ladder(&mut self, q: [Wire; 2], s: Wire, c: Wire) -> Ladder {
        let part = self.origin().part;
        let spelled = [("S spelled", s), ("challenge spelled", c)].map(|(name, wire)| {
            let multiple = self.builder.propose(part, name, Fr::ZERO);
            spell(&self.value(wire), multiple)
        });
        self.ladder_of(q, [s, c], spelled)
    }

    /// The same as [`ladder`](Self::ladder), with given integers that the rows spell. A prover may choose them.
    pub(in crate::circuit) fn ladder_of(&mut self, q: [Wire; 2], [s, c]: [Wire; 2], scalars: [[u8; 32]; 2]) -> Ladder {
        let (zero, one) = (self.zero(), self.constant(Fr::ONE));
        let first = self.builder.table.append(BITS + 1);
        let last = first + BITS as u32;
        let origin = self.assertion();
        self.builder.table.explain(first, last + 1, ALL, origin);

        let base = q.map(|wire| self.value(wire));
        let points = Points::of(base, scalars);
        let table = &mut self.builder.table;
        for (offset, (acc, double)) in points.rows.iter().enumerate() {
            let row = first + offset as u32;
            table.select(row, if offset < BITS { Selector::Ladder } else { Selector::Table });
            for axis in 0..2 {
                table.write(row, ACC[axis], acc[axis]);
                if offset < BITS {
                    table.write(row, DOUBLE[axis], double[axis]);
                    table.write(row, PRODUCT, points.products[offset]);
                }
                table.write(row, TABLE[axis], points.table[axis]);
                table.write(row, BASE[axis], base[axis]);
                table.write(row, SCALARS[axis], leading(&scalars[axis], offset));
            }
        }
        for axis in 0..2 {
            self.place([zero, one][axis], first, ACC[axis]);
            self.place(zero, first, SCALARS[axis]);
            self.place(q[axis], first, BASE[axis]);
            self.place([s, c][axis], last, SCALARS[axis]);
        }
        let high = [0, 1].map(|axis| {
            let wire = self.builder.witness(leading(&scalars[axis], HIGH_BITS));
            self.place(wire, first + HIGH_BITS as u32, SCALARS[axis]);
            // HIGH_BITS rows of the ladder spell it, one bit each.
            Ranged::constrained(wire)
        });
        let sum = [0, 1].map(|axis| {
            let wire = self.builder.witness(points.rows[BITS].0[axis]);
            self.place(wire, last, ACC[axis]);
            wire
        });
        Ladder { sum, high }
    }
}

/// An integer that is congruent to an element: the element itself, or the element plus p if `multiple` is not 0.
fn spell(element: &Fr, multiple: Fr) -> [u8; 32] {
    let integer = U256::from_be_slice(&to_bytes(element));
    let modulus = U256::from_be_slice(&to_bytes(&-Fr::ONE)).wrapping_add(&U256::ONE);
    let mut bytes = [0; 32];
    let integer = if multiple == Fr::ZERO { integer } else { integer.wrapping_add(&modulus) };
    bytes.copy_from_slice(integer.to_be_bytes().as_ref());
    bytes
}

fn bit(scalar: &[u8; 32], place: usize) -> bool {
    scalar[31 - place / 8] >> (place % 8) & 1 == 1
}

/// The leading `bits` bits of a scalar, as an element.
fn leading(scalar: &[u8; 32], bits: usize) -> Fr {
    let mut shifted = [0u8; 32];
    for place in BITS - bits..BITS {
        let target = place - (BITS - bits);
        shifted[31 - target / 8] |= u8::from(bit(scalar, place)) << (target % 8);
    }
    crate::primitive::field::reduce(&shifted)
}

/// Affine coordinates. The point need not be on the curve, because a witness may be false.
type Coordinates = [Fr; 2];

struct Points {
    table: Coordinates,
    /// The accumulator and its double, row by row.
    rows: Vec<(Coordinates, Coordinates)>,
    /// The product of the coordinates of the point that is added in each row.
    products: Vec<Fr>,
}

/// Projective coordinates; addition by "add-2008-bbjlp".
#[derive(Clone, Copy)]
struct Projective([Fr; 3]);

impl Projective {
    fn new([x, y]: Coordinates) -> Self {
        Self([x, y, Fr::ONE])
    }

    fn add(self, other: Self) -> Self {
        let (Self([x, y, z]), Self([u, v, w])) = (self, other);
        let a = z * w;
        let (b, c, d) = (a.square(), x * u, y * v);
        let e = D * c * d;
        let (f, g) = (b - e, b + e);
        Self([a * f * ((x + y) * (u + v) - c - d), a * g * (d - A * c), f * g])
    }

    fn normalize(points: &[Self]) -> Vec<Coordinates> {
        let mut inverses: Vec<Fr> = points.iter().map(|point| point.0[2]).collect();
        inverses.iter_mut().batch_invert();
        points.iter().zip(inverses).map(|(Self([x, y, _]), inverse)| [*x * inverse, *y * inverse]).collect()
    }
}

impl Points {
    fn of(base: Coordinates, [s, c]: [[u8; 32]; 2]) -> Self {
        let q = Projective::new(base);
        let b = Projective::new([Point::BASE.x(), Point::BASE.y()]);
        let table = b.add(q);
        let mut acc = Projective::new([Fr::ZERO, Fr::ONE]);
        let mut points = Vec::with_capacity(2 * BITS + 3);
        for place in (0..BITS).rev() {
            let double = acc.add(acc);
            points.extend([acc, double]);
            acc = match (bit(&s, place), bit(&c, place)) {
                (false, false) => double,
                (true, false) => double.add(b),
                (false, true) => double.add(q),
                (true, true) => double.add(table),
            };
        }
        points.extend([acc, acc, table]);
        let affine = Projective::normalize(&points);
        let rows = (0..=BITS).map(|i| (affine[2 * i], affine[2 * i + 1])).collect();
        let table = affine[2 * BITS + 2];
        let added = |place| match (bit(&s, place), bit(&c, place)) {
            (false, false) => Fr::ZERO,
            (true, false) => Point::BASE.x() * Point::BASE.y(),
            (false, true) => base[0] * base[1],
            (true, true) => table[0] * table[1],
        };
        let products = (0..BITS).rev().map(added).collect();
        Self { table, rows, products }
    }
}
