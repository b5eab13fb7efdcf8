//! The equation of SHPLONK (<https://eprint.iacr.org/2020/081>, as halo2 uses it): many openings become one pairing.
//!
//! `sum_s nu^s · Z_0/Z_s · sum_i mu^i (C_i - r_i·G) - Z_0·W + z·W'` pairs with `[1]_2` as `W'` does with `[s]_2`. A set
//! s holds the polynomials that are opened at the same points; `Z_s` is the product of `z - point`, and `r_i` the value
//! at z of the polynomial through the evaluations.

use halo2curves::{bn256::Fr, ff::Field};

use super::{
    graph::{Form, Graph, Node, Operation},
    plonk::{Challenges, Domain, Equations, POINT, Polynomial, Query, Shape},
};

/// A point that a scalar multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// In the calldata, at this byte.
    Calldata(usize),
    /// A fixed column's commitment.
    Fixed(usize),
    /// A permutation column's commitment.
    Permutation(usize),
    /// The negated generator.
    NegatedGenerator,
}

/// The sum of points: the first as it is, each other one times a scalar.
pub(super) struct PointSum {
    pub(super) first: Point,
    pub(super) terms: Vec<(Point, Node)>,
}

/// Polynomials that are opened at the same rotations of x.
struct Set {
    rotations: Vec<i32>,
    /// Each polynomial, and its values in the order of the rotations.
    polynomials: Vec<(Polynomial, Vec<Node>)>,
}

impl Set {
    /// The sets in the order of their first polynomial's first query.
    fn of(queries: &[Query]) -> Vec<Self> {
        let mut polynomials: Vec<(Polynomial, Vec<(i32, Node)>)> = Vec::new();
        for query in queries {
            let value = (query.rotation, query.value);
            match polynomials.iter_mut().find(|(polynomial, _)| *polynomial == query.polynomial) {
                Some((_, values)) => values.push(value),
                None => polynomials.push((query.polynomial, vec![value])),
            }
        }
        let mut sets: Vec<Self> = Vec::new();
        for (polynomial, mut values) in polynomials {
            values.sort_by_key(|(rotation, _)| *rotation);
            let (rotations, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
            match sets.iter_mut().find(|set| set.rotations == rotations) {
                Some(set) => set.polynomials.push((polynomial, values)),
                None => sets.push(Self { rotations, polynomials: vec![(polynomial, values)] }),
            }
        }
        sets
    }
}

/// Writes the equation's scalars.
struct Opening<'a> {
    graph: &'a mut Graph,
    domain: &'a Domain,
    challenges: &'a Challenges,
}

impl Opening<'_> {
    fn multiply(&mut self, factors: impl IntoIterator<Item = Node>) -> Form {
        let graph = &mut self.graph;
        factors.into_iter().fold(Form::constant(Fr::ONE), |product, factor| graph.product(product, factor.into()))
    }

    /// `z - x·w^rotation`.
    fn distance(&mut self, rotation: i32) -> Node {
        let point = Form::from(self.challenges.x).times(self.domain.rotate(rotation));
        self.graph.node(Form::from(self.challenges.z).minus(point))
    }

    /// `Z_0 / Z_s`, times `nu^s`. The rotations of both sets cancel out.
    fn weight(&mut self, first: &Set, set: &Set, power_of_nu: Node) -> Node {
        let above = first.rotations.iter().filter(|rotation| !set.rotations.contains(rotation));
        let above: Vec<_> = above.map(|rotation| self.distance(*rotation)).collect();
        let below = set.rotations.iter().filter(|rotation| !first.rotations.contains(rotation));
        let below: Vec<_> = below.map(|rotation| self.distance(*rotation)).collect();
        let below: Vec<_> = below.into_iter().map(|node| self.graph.add(Operation::Inverse(node))).collect();
        let weight = self.multiply([power_of_nu].into_iter().chain(above).chain(below));
        self.graph.node(weight)
    }

    /// The sum of `mu^i · r_i` of the first polynomials: one interpolation of the combined evaluations.
    fn value(&mut self, rotations: &[i32], polynomials: &[(Polynomial, Vec<Node>)]) -> Form {
        let mut sum = Form::default();
        for (j, rotation) in rotations.iter().enumerate() {
            // Horner's rule takes the highest power first.
            let coefficients: Vec<_> = polynomials.iter().rev().map(|(_, values)| values[j]).collect();
            let combined = self.graph.add(Operation::Polynomial { point: self.challenges.mu, coefficients });
            let others: Vec<_> = rotations.iter().copied().filter(|other| other != rotation).collect();
            let here = self.domain.rotate(*rotation);
            let constant: Fr = others.iter().map(|other| here - self.domain.rotate(*other)).product();
            let distances: Vec<_> = others.iter().map(|other| self.distance(*other)).collect();
            let mut basis = self.multiply(distances).times(constant.invert().unwrap_or(Fr::ZERO));
            for _ in &others {
                let inverse = self.graph.add(Operation::Inverse(self.challenges.x));
                basis = self.graph.product(basis, inverse.into());
            }
            sum = sum.plus(self.graph.product(basis, combined.into()));
        }
        sum
    }

    /// The sum of `weight · mu^i · r_i`. The quotient is the last value that is known, so it and what comes after it
    /// are not combined, but each multiplied by its polynomial's scalar. They are opened at x only.
    fn weighted(&mut self, set: &Set, weight: Node, scalars: &[Node], equations: &Equations) -> Form {
        let quotient = set.polynomials.iter().position(|(polynomial, _)| *polynomial == Polynomial::Quotient);
        let (first, rest) = set.polynomials.split_at(quotient.unwrap_or(set.polynomials.len()));
        let value = self.value(&set.rotations, first);
        let mut sum = self.graph.product(weight.into(), value);
        for ((polynomial, values), scalar) in rest.iter().zip(&scalars[first.len()..]) {
            let mut scalar = Form::from(*scalar);
            if *polynomial == Polynomial::Quotient {
                scalar = self.graph.product(scalar, equations.vanishing_inverse.into());
            }
            sum = sum.plus(self.graph.product(scalar, values[0].into()));
        }
        sum
    }
}

/// The sum of points that must pair with `[1]_2` as the last point of the proof does with `[s]_2`.
pub(super) fn point_sum(
    graph: &mut Graph,
    shape: &Shape,
    domain: &Domain,
    challenges: &Challenges,
    equations: &Equations,
) -> PointSum {
    let sets = Set::of(&equations.queries);
    let mut opening = Opening { graph, domain, challenges };
    let one = opening.graph.constant(Fr::ONE);
    let mut terms = Vec::new();
    let mut values = Form::default();
    let mut power_of_nu = Form::constant(Fr::ONE);
    for set in &sets {
        let power = opening.graph.node(power_of_nu.clone());
        let weight = opening.weight(&sets[0], set, power);
        power_of_nu = opening.graph.product(power.into(), challenges.nu.into());
        let length = set.polynomials.len() as u16 - 1;
        let start = if weight == one { challenges.mu } else { weight };
        // The very first scalar is 1, so that series starts with its second.
        let scalars: Vec<_> = if weight == one {
            [one].into_iter().chain(opening.graph.series(start, challenges.mu, length - 1)).collect()
        } else {
            opening.graph.series(start, challenges.mu, length)
        };
        values = values.plus(opening.weighted(set, weight, &scalars, equations));
        for ((polynomial, _), scalar) in set.polynomials.iter().zip(scalars) {
            terms.extend(commitments(opening.graph, shape, equations, *polynomial, scalar));
        }
    }
    let (first, _) = terms.remove(0);
    let (first_rotation, rotations) = sets[0].rotations.split_first().unwrap_or((&0, &[]));
    let point = Form::from(challenges.x).times(domain.rotate(*first_rotation));
    let negated = opening.graph.node(point.minus(challenges.z.into()));
    let distances: Vec<_> = rotations.iter().map(|rotation| opening.distance(*rotation)).collect();
    let vanishing = opening.multiply([negated].into_iter().chain(distances));
    terms.push((Point::Calldata(shape.evaluations_end()), opening.graph.node(vanishing)));
    terms.push((Point::Calldata(shape.evaluations_end() + POINT), challenges.z));
    terms.push((Point::NegatedGenerator, opening.graph.node(values)));
    PointSum { first, terms }
}

/// A polynomial's commitments with their scalars. The quotient's parts are combined with powers of `x^n`.
fn commitments(
    graph: &mut Graph,
    shape: &Shape,
    equations: &Equations,
    polynomial: Polynomial,
    scalar: Node,
) -> Vec<(Point, Node)> {
    match (polynomial, shape.commitment(polynomial)) {
        (Polynomial::Quotient, Some(first)) => {
            let scalars = graph.series(scalar, equations.x_to_n, shape.quotients as u16 - 1);
            scalars.into_iter().enumerate().map(|(i, scalar)| (Point::Calldata(first + POINT * i), scalar)).collect()
        }
        (_, Some(place)) => vec![(Point::Calldata(place), scalar)],
        (Polynomial::Permutation(column), None) => vec![(Point::Permutation(column), scalar)],
        (Polynomial::Fixed(column), None) => vec![(Point::Fixed(column), scalar)],
        (other, None) => unreachable!("{other:?} has a commitment in the proof"),
    }
}
