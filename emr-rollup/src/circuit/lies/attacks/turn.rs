//! Turns that are no turns, and that lead from a forged leaf to honest nodes.
//!
//! The gate interpolates the four children between the turns 0 to 3. For a forged leaf and a free turn, the four honest
//! children give four equations for three siblings and the turn. Without the siblings, one polynomial in the turn is left.
//! Its roots are found by Cantor and Zassenhaus's method.

use halo2curves::ff::{Field, PrimeField as _};

use crate::primitive::field::Fr;

/// Coefficients, lowest first. The last one is not 0.
#[derive(Clone, Debug, PartialEq)]
struct Polynomial(Vec<Fr>);

impl Polynomial {
    fn new(mut coefficients: Vec<Fr>) -> Self {
        while coefficients.last() == Some(&Fr::ZERO) {
            coefficients.pop();
        }
        Self(coefficients)
    }

    fn constant(value: Fr) -> Self {
        Self::new(vec![value])
    }

    fn plus(&self, other: &Self, factor: Fr) -> Self {
        let coefficient = |of: &Self, i: usize| of.0.get(i).copied().unwrap_or(Fr::ZERO);
        let length = self.0.len().max(other.0.len());
        Self::new((0..length).map(|i| coefficient(self, i) + coefficient(other, i) * factor).collect())
    }

    fn times(&self, other: &Self) -> Self {
        let mut product = vec![Fr::ZERO; self.0.len() + other.0.len()];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate() {
                product[i + j] += *a * b;
            }
        }
        Self::new(product)
    }

    fn modulo(&self, divisor: &Self) -> Self {
        let mut rest = self.clone();
        let (degree, leading) = (divisor.0.len(), divisor.0.last().expect("not 0").invert().expect("not 0"));
        while rest.0.len() >= degree {
            let factor = *rest.0.last().expect("not 0") * leading;
            let shifted = Self::new([vec![Fr::ZERO; rest.0.len() - degree], divisor.0.clone()].concat());
            rest = rest.plus(&shifted, -factor);
        }
        rest
    }

    fn gcd(self, other: Self) -> Self {
        if other.0.is_empty() { self } else { other.clone().gcd(self.modulo(&other)) }
    }

    /// `self^exponent` modulo a polynomial, for an exponent of 256 bits, lowest byte first.
    fn power(&self, exponent: &[u8], modulus: &Self) -> Self {
        let bits = exponent.iter().rev().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1));
        bits.fold(Self::constant(Fr::ONE), |power, bit| {
            let square = power.times(&power).modulo(modulus);
            if bit { square.times(self).modulo(modulus) } else { square }
        })
    }

    /// A root other than these values.
    fn root_besides(self, besides: &[Fr]) -> Option<Fr> {
        // p - 1, and half of it.
        let order = (-Fr::ONE).to_repr();
        let half = (-Fr::ONE * Fr::from(2).invert().expect("not 0")).to_repr();
        let x = Self::new(vec![Fr::ZERO, Fr::ONE]);
        let mut linear = x.power(order.as_ref(), &self).plus(&Self::constant(Fr::ONE), -Fr::ONE).gcd(self);
        for value in besides {
            let factor = Self::new(vec![-*value, Fr::ONE]);
            if linear.modulo(&factor).0.is_empty() {
                linear = linear.divided(&factor);
            }
        }
        for shift in 1.. {
            match &linear.0[..] {
                [] | [_] => return None,
                [constant, slope] => return Some(-*constant * slope.invert().expect("not 0")),
                _ => {}
            }
            let shifted = Self::new(vec![Fr::from(shift), Fr::ONE]);
            let part = shifted.power(half.as_ref(), &linear).plus(&Self::constant(Fr::ONE), -Fr::ONE);
            let part = linear.clone().gcd(part);
            if part.0.len() > 1 {
                linear = part;
            }
        }
        None
    }

    /// The quotient by a polynomial that divides this one.
    fn divided(&self, divisor: &Self) -> Self {
        let (mut rest, mut quotient) = (self.clone(), Self(Vec::new()));
        let leading = divisor.0.last().expect("not 0").invert().expect("not 0");
        while rest.0.len() >= divisor.0.len() {
            let factor = *rest.0.last().expect("not 0") * leading;
            let term = Self::new([vec![Fr::ZERO; rest.0.len() - divisor.0.len()], vec![factor]].concat());
            rest = rest.plus(&divisor.times(&term), -Fr::ONE);
            quotient = quotient.plus(&term, Fr::ONE);
        }
        quotient
    }

    fn at(&self, x: Fr) -> Fr {
        self.0.iter().rev().fold(Fr::ZERO, |sum, coefficient| sum * x + coefficient)
    }
}

/// 1 at one turn, 0 at the three others.
fn at_turn(turn: u64) -> Polynomial {
    (0..4).filter(|other| *other != turn).fold(Polynomial::constant(Fr::ONE), |product, other| {
        let scale = (Fr::from(turn) - Fr::from(other)).invert().expect("not 0");
        product.times(&Polynomial::new(vec![-Fr::from(other) * scale, scale]))
    })
}

/// Siblings and a turn with which the gate computes these four children from a forged leaf. The turn is not 0, 1, 2 or 3.
pub(super) fn bent_step(children: [Fr; 4], forged: Fr) -> Option<([Fr; 3], Fr)> {
    let [l0, l1, l2, l3] = [0, 1, 2, 3].map(at_turn);
    let one = Polynomial::constant(Fr::ONE);
    let [c0, c1, c2, c3] = children.map(Polynomial::constant);
    let leaf = Polynomial::constant(forged);
    // child 0 = l0·leaf + (1 - l0)·s0, child 3 = l3·leaf + (1 - l3)·s2,
    // child 1 = l0·s0 + l1·leaf + (l2 + l3)·s1, child 2 = (l0 + l1)·s1 + l2·leaf + l3·s2.
    let (d0, d1, d2) = (one.plus(&l0, -Fr::ONE), l2.plus(&l3, Fr::ONE), one.plus(&l3, -Fr::ONE));
    let n0 = c0.plus(&l0.times(&leaf), -Fr::ONE);
    let n2 = c3.plus(&l3.times(&leaf), -Fr::ONE);
    let n1 = c1.times(&d0).plus(&l0.times(&n0), -Fr::ONE).plus(&l1.times(&leaf).times(&d0), -Fr::ONE);
    let polynomial = l0.plus(&l1, Fr::ONE).times(&n1).times(&d2);
    let polynomial = polynomial.plus(&l2.times(&leaf).plus(&c2, -Fr::ONE).times(&d0).times(&d1).times(&d2), Fr::ONE);
    let polynomial = polynomial.plus(&l3.times(&n2).times(&d0).times(&d1), Fr::ONE);
    // Values at which the siblings have no solution.
    let poles: Vec<_> = (0..4).map(Fr::from).collect();
    let turn = polynomial.root_besides(&poles)?;
    let [d0, d1, d2]: [Option<Fr>; 3] = [d0, d1, d2].map(|divisor| divisor.at(turn).invert().into());
    let (d0, d1, d2) = (d0?, d1?, d2?);
    Some(([n0.at(turn) * d0, n1.at(turn) * d0 * d1, n2.at(turn) * d2], turn))
}
