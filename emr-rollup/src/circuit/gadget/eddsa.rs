//! EdDSA signatures on Baby Jubjub.

use halo2curves::ff::{Field, PrimeField};

use super::{
    constrained::{Bit, Ranged},
    jubjub::{BITS, HIGH_BITS, Ladder},
};
use crate::{
    circuit::{
        builder::Wire,
        demand::{Axis, Demand, Half, Scalar},
        scope::Section,
    },
    primitive::{field::Fr, jubjub::ORDER, poseidon::Tag},
};

/// Bits of each half when integers are compared by halves.
const HALF_BITS: u32 = 128;
/// The bits below the leading ones that a ladder returns. The low halves of both bounds have this number of bits and
/// are not 0.
const LOW_BITS: u32 = (BITS - HIGH_BITS) as u32;

/// A signature's wires: coordinates of R, and S.
#[derive(Clone, Copy, Debug)]
pub(in crate::circuit) struct SignatureWires {
    pub(in crate::circuit) r: [Wire; 2],
    pub(in crate::circuit) s: Wire,
}

impl Section<'_> {
    /// If `active` is 1, constrains `S·B = R + H_8(R, A, message)·A` with S below the order.
    ///
    /// If `active` is 0, the key (0, 1) takes the place of A, and S = 0 with R = (0, 1) satisfies the equation.
    pub(in crate::circuit) fn assert_signature(
        &mut self,
        active: impl Into<Bit>,
        key: [Wire; 2],
        message: Wire,
        signature: SignatureWires,
    ) {
        let active = active.into();
        let SignatureWires { r, s } = signature;
        let challenge = self.under(Demand::ChallengeHash).hash(Tag::Challenge, &[r[0], r[1], key[0], key[1], message]);
        // (-x, y), or (0, 1).
        let mut scope = self.under(Demand::NegatedKey);
        let (zero, one) = (scope.zero(), scope.constant(Fr::ONE));
        let x = scope.difference_if(active, zero, key[0]);
        let y = scope.select(active, key[1], one);
        let ladder = self.under(Demand::Ladder).ladder([x, y], s, challenge);
        self.assert_equation(&ladder, r, [s, challenge]);
    }

    /// Constrains the result of a ladder to be R, and its integers to be canonical.
    fn assert_equation(&mut self, ladder: &Ladder, r: [Wire; 2], [s, challenge]: [Wire; 2]) {
        for (axis, (computed, claimed)) in [Axis::X, Axis::Y].into_iter().zip(ladder.sum.into_iter().zip(r)) {
            self.under(Demand::SignaturePoint(axis)).assert_equal(computed, claimed);
        }
        self.assert_below(
            "inverse for the order's high half",
            (Scalar::S, s),
            ladder.high[0],
            Bound::new(Bound::ORDER),
        );
        self.assert_below(
            "inverse for p's high half",
            (Scalar::Challenge, challenge),
            ladder.high[1],
            Bound::modulus(),
        );
    }

    /// Constrains the 254-bit integer behind a ladder's scalar to be below a bound.
    fn assert_below(
        &mut self,
        inverse: &'static str,
        (name, scalar): (Scalar, Wire),
        high: Ranged<{ HIGH_BITS as u32 }>,
        bound: Bound,
    ) {
        let mut scope = self.under(Demand::Canonical(name, Half::High));
        // Modulo p, low = scalar - 2^127·high is the integer of the last 127 bits, which is below p.
        let low = scope.linear(&[(Fr::ONE, scalar), (-power_of_two(BITS - HIGH_BITS), high.into())], Fr::ZERO);
        let low = Ranged::<{ LOW_BITS }>::constrained(low);
        let room = scope.linear(&[(-Fr::ONE, high.into())], bound.high);
        scope.range::<HALF_BITS>(room);
        let tight = self.under(Demand::CanonicalTight(name)).is_zero(inverse, room);
        let mut scope = self.under(Demand::Canonical(name, Half::Low));
        let last = scope.constant(bound.low - Fr::ONE);
        let last = Ranged::<{ LOW_BITS }>::constrained(last);
        scope.assert_at_least_if::<HALF_BITS, _, _>(tight, last, low);
    }
}

/// A constant, split into its bits from 127 on and its last 127 bits.
struct Bound {
    high: Fr,
    low: Fr,
}

impl Bound {
    const ORDER: [u64; 4] = {
        let words = ORDER.to_words();
        [words[0], words[1], words[2], words[3]]
    };

    fn new(limbs: [u64; 4]) -> Self {
        let wide = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
        let (low, high) = (wide(limbs[0], limbs[1]), wide(limbs[2], limbs[3]));
        Self { high: Fr::from_u128(high << 1 | low >> 127), low: Fr::from_u128(low & (u128::MAX >> 1)) }
    }

    /// p, computed as the largest element plus 1.
    fn modulus() -> Self {
        let last = (-Fr::ONE).to_repr();
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(last.chunks_exact(8)) {
            *limb = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        limbs[0] += 1;
        Self::new(limbs)
    }
}

fn power_of_two(exponent: usize) -> Fr {
    Fr::from(2).pow_vartime([exponent as u64])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crypto_bigint::U256;

    use super::*;
    use crate::{
        circuit::{builder::Builder, diagnosis::failures_of, origin::Part},
        primitive::{
            field::{reduce, to_bytes},
            jubjub::{Point, Scalar as JubjubScalar},
        },
    };

    /// The demands that are violated if the ladder spells other integers than s and c.
    fn spelled(s: Fr, c: Fr, spelled: [U256; 2]) -> BTreeSet<Demand> {
        let bytes = |integer: &U256| {
            let mut bytes = [0; 32];
            bytes.copy_from_slice(integer.to_be_bytes().as_ref());
            bytes
        };
        // The R of an honest signer. The group does not distinguish reduced scalars from others.
        let scalar =
            |integer: &U256| JubjubScalar::from_element(&reduce(&bytes(&integer.rem(&ORDER.to_nz().expect("not 0")))));
        let key = Point::BASE * &JubjubScalar::from_element(&Fr::from(77));
        let r = Point::BASE * &scalar(&spelled[0]) + -key * &scalar(&spelled[1]);
        let mut builder = Builder::new();
        let q = builder.test_hints([-key.x(), key.y()]);
        let scalars = builder.test_hints([s, c]);
        let r = builder.test_hints([r.x(), r.y()]);
        let ladder = builder.test_scope().ladder_of(q, scalars, spelled.map(|integer| bytes(&integer)));
        builder.section(Part::Frame).assert_equation(&ladder, r, scalars);
        failures_of(&builder.finish()).into_iter().map(|origin| origin.demand).collect()
    }

    fn integer(element: &Fr) -> U256 {
        U256::from_be_slice(&to_bytes(element))
    }

    #[test]
    fn only_canonical_integers_are_accepted() {
        let (s, c) = (Fr::from(1234), Fr::from(98765));
        let modulus = integer(&-Fr::ONE).wrapping_add(&U256::ONE);
        assert_eq!(spelled(s, c, [integer(&s), integer(&c)]), BTreeSet::new());
        let above = [integer(&s), integer(&c).wrapping_add(&modulus)];
        assert_eq!(spelled(s, c, above), BTreeSet::from([Demand::Canonical(Scalar::Challenge, Half::Low)]));
        let above = [integer(&s).wrapping_add(&modulus), integer(&c)];
        assert_eq!(spelled(s, c, above), BTreeSet::from([Demand::Canonical(Scalar::S, Half::High)]));
        let s = reduce(&{
            let mut bytes = [0; 32];
            bytes.copy_from_slice(ORDER.to_be_bytes().as_ref());
            bytes
        });
        for (s, accepted) in [(s - Fr::ONE, true), (s, false), (s + Fr::ONE, false), (-Fr::ONE, false)] {
            assert_eq!(spelled(s, c, [integer(&s), integer(&c)]).is_empty(), accepted);
        }
        // The largest challenge, p - 1.
        assert_eq!(spelled(Fr::ONE, -Fr::ONE, [U256::ONE, integer(&-Fr::ONE)]), BTreeSet::new());
        assert_eq!(
            spelled(Fr::ONE, Fr::ZERO, [U256::ONE, modulus]),
            BTreeSet::from([Demand::Canonical(Scalar::Challenge, Half::Low)])
        );
    }

    /// This must not depend on the challenge, so here the challenge does not contain R.
    #[test]
    fn each_coordinate_of_r_is_compared() {
        for (lie, refused) in [([0, 0], 0), ([1, 0], 1), ([0, 1], 1), ([1, 1], 2)] {
            let mut builder = Builder::new();
            let r = Point::BASE * &JubjubScalar::from_element(&Fr::from(7));
            let q = builder.test_hints([Fr::ZERO, Fr::ONE]);
            let scalars = builder.test_hints([Fr::from(7), Fr::from(5)]);
            let r = builder.test_hints([r.x() + Fr::from(lie[0]), r.y() + Fr::from(lie[1])]);
            // Puts R in a cell, like the inputs of a challenge.
            builder.test_scope().mul(r[0], r[1]);
            let ladder = builder.test_scope().ladder(q, scalars[0], scalars[1]);
            builder.section(Part::Frame).assert_equation(&ladder, r, scalars);
            assert_eq!(failures_of(&builder.finish()).len(), refused);
        }
    }

    /// The addition law proves nothing for points off the curve.
    #[test]
    fn a_key_off_the_curve_is_refused() {
        let mut builder = Builder::new();
        let q = builder.test_hints([Fr::from(3), Fr::from(4)]);
        let scalars = builder.test_hints([Fr::ONE, Fr::ONE]);
        builder.test_scope().ladder(q, scalars[0], scalars[1]);
        assert!(!failures_of(&builder.finish()).is_empty());
    }
}
