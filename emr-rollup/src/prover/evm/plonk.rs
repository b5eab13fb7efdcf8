//! The equations of PLONK: where a proof's parts are in the calldata, and what the constraints say about its
//! evaluations.

use std::{cell::RefCell, collections::BTreeSet};

use halo2_proofs::{
    plonk::{Any, ConstraintSystem, Expression, VerifyingKey},
    poly::Rotation,
};
use halo2curves::{
    bn256::{Fr, G1Affine},
    ff::{Field, PrimeField},
};

use super::{
    graph::{Form, Graph, Input, Node, Operation},
    regroup::{Constraint, regroup},
};

/// A polynomial that the prover committed to, or that the key contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polynomial {
    Advice(usize),
    Product(usize),
    Fixed(usize),
    Permutation(usize),
    Quotient,
    Blinding,
}

/// A polynomial, a rotation of the challenge x, and the polynomial's value there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    pub(super) polynomial: Polynomial,
    pub(super) rotation: i32,
    pub(super) value: Node,
}

/// The numbers that decide where a proof's parts are: points of 64 bytes (advice, permutation products, blinding,
/// quotient), evaluations of 32 bytes, then the two points of the opening. The instances come before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) instances: usize,
    pub(super) advice: usize,
    pub(super) products: usize,
    pub(super) quotients: usize,
    pub(super) evaluations: usize,
}

pub(super) const WORD: usize = 32;
pub(super) const POINT: usize = 64;

impl Shape {
    /// The shape of a key's proofs.
    ///
    /// # Panics
    /// Panics if the circuit has lookups, asks for challenges itself, or does not have exactly one instance column. No
    /// circuit of this crate does that.
    pub(super) fn of(key: &VerifyingKey<G1Affine>, instances: usize) -> Self {
        let cs = key.cs();
        assert!(
            cs.lookups().is_empty() && cs.num_challenges() == 0,
            "the equations of lookups and challenges are not built"
        );
        assert_eq!(cs.num_instance_columns(), 1, "the instances are one column");
        let columns = cs.permutation().get_columns().len();
        let products = columns.div_ceil(chunk(cs));
        Self {
            instances,
            advice: cs.num_advice_columns(),
            products,
            quotients: cs.degree() - 1,
            evaluations: cs.advice_queries().len() + cs.fixed_queries().len() + 1 + columns + 3 * products - 1,
        }
    }

    pub(super) fn instances_end(&self) -> usize {
        WORD * self.instances
    }

    /// The commitment of a polynomial that the prover chose. The quotient has several; this is its first.
    pub(super) fn commitment(&self, polynomial: Polynomial) -> Option<usize> {
        let index = match polynomial {
            Polynomial::Advice(column) => column,
            Polynomial::Product(i) => self.advice + i,
            Polynomial::Blinding => self.advice + self.products,
            Polynomial::Quotient => self.advice + self.products + 1,
            Polynomial::Fixed(_) | Polynomial::Permutation(_) => return None,
        };
        Some(self.instances_end() + POINT * index)
    }

    pub(super) fn evaluations_start(&self) -> usize {
        self.instances_end() + POINT * (self.advice + self.products + 1 + self.quotients)
    }

    pub(super) fn evaluations_end(&self) -> usize {
        self.evaluations_start() + WORD * self.evaluations
    }

    /// The bytes of instances and proof.
    pub(super) fn calldata(&self) -> usize {
        self.evaluations_end() + 2 * POINT
    }

    /// The bytes that each round of the transcript hashes, and the number of challenges after it. The last point is not
    /// hashed.
    pub(super) fn rounds(&self) -> [(usize, usize); 6] {
        [
            (self.instances_end() + POINT * self.advice, 1),
            (0, 2),
            (POINT * (self.products + 1), 1),
            (POINT * self.quotients, 1),
            (WORD * self.evaluations, 2),
            (POINT, 1),
        ]
    }
}

/// The challenges, in the order of [`Shape::rounds`]. The first, theta, is for lookups only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Challenges {
    pub(super) beta: Node,
    pub(super) gamma: Node,
    /// Separates the constraints.
    pub(super) y: Node,
    /// The point of all evaluations.
    pub(super) x: Node,
    /// Separates the polynomials of an opening.
    pub(super) mu: Node,
    /// Separates the openings.
    pub(super) nu: Node,
    /// The point of the last opening.
    pub(super) z: Node,
}

impl Challenges {
    pub(super) fn of(graph: &mut Graph) -> Self {
        let mut challenge = |index| graph.input(Input::Challenge(index));
        Self {
            beta: challenge(1),
            gamma: challenge(2),
            y: challenge(3),
            x: challenge(4),
            mu: challenge(5),
            nu: challenge(6),
            z: challenge(7),
        }
    }

    pub(super) const COUNT: usize = 8;
}

/// How many columns one permutation product covers.
fn chunk(cs: &ConstraintSystem<Fr>) -> usize {
    cs.degree() - 2
}

/// The subgroup of the rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Domain {
    k: u16,
    root: Fr,
}

impl Domain {
    pub(super) fn new(key: &VerifyingKey<G1Affine>) -> Self {
        let k = key.get_domain().k();
        Self { k: k as u16, root: key.get_domain().get_omega() }
    }

    pub(super) fn rotate(&self, rotation: i32) -> Fr {
        let power = self.root.pow_vartime([u64::from(rotation.unsigned_abs())]);
        if rotation < 0 { power.invert().unwrap_or(Fr::ZERO) } else { power }
    }
}

/// What the constraints give.
pub(super) struct Equations {
    /// All queries. The value of the quotient is still to be multiplied by `vanishing_inverse`.
    pub(super) queries: Vec<Query>,
    pub(super) x_to_n: Node,
    /// `1 / (x^n - 1)`.
    pub(super) vanishing_inverse: Node,
}

/// Values that the constraints are about.
struct Evaluations {
    advice: Vec<Node>,
    fixed: Vec<Node>,
    blinding: Node,
    permutation: Vec<Node>,
    /// Of each permutation product: at x, at the next row, and at the last usable row, which the last product lacks.
    products: Vec<(Node, Node, Option<Node>)>,
}

impl Evaluations {
    fn read(graph: &mut Graph, cs: &ConstraintSystem<Fr>, shape: &Shape) -> Self {
        let mut words = (shape.evaluations_start()..).step_by(WORD);
        let mut next = || graph.input(Input::Calldata(words.next().unwrap_or(0)));
        let advice = cs.advice_queries().iter().map(|_| next()).collect();
        let fixed = cs.fixed_queries().iter().map(|_| next()).collect();
        let blinding = next();
        let permutation = cs.permutation().get_columns().iter().map(|_| next()).collect();
        let last = shape.products - 1;
        let products = (0..shape.products).map(|i| (next(), next(), (i < last).then(&mut next))).collect();
        Self { advice, fixed, blinding, permutation, products }
    }

    fn advice(&self, cs: &ConstraintSystem<Fr>, column: usize, rotation: Rotation) -> Node {
        let place = cs.advice_queries().iter().position(|(other, at)| other.index() == column && *at == rotation);
        self.advice[place.unwrap_or(usize::MAX)]
    }

    fn fixed(&self, cs: &ConstraintSystem<Fr>, column: usize, rotation: Rotation) -> Node {
        let place = cs.fixed_queries().iter().position(|(other, at)| other.index() == column && *at == rotation);
        self.fixed[place.unwrap_or(usize::MAX)]
    }
}

/// Lagrange polynomials at x.
struct Lagrange {
    first: Node,
    last: Node,
    /// 1 minus those of the last usable row and of the rows after it.
    active: Node,
    instance: Node,
    /// `1 / (x^n - 1)`.
    vanishing_inverse: Node,
}

impl Lagrange {
    /// `L_i = (x^n - 1) / n / (x·w^-i - 1)`, where w is the generator of the rows.
    fn of(graph: &mut Graph, domain: &Domain, x: Node, x_to_n: Node, instances: usize, unusable: i32) -> Self {
        let vanishing = graph.node(Form::from(x_to_n).minus(Form::constant(Fr::ONE)));
        let vanishing_inverse = graph.add(Operation::Inverse(vanishing));
        let n_inverse = Fr::from(1 << domain.k).invert().unwrap_or(Fr::ZERO);
        let common = graph.node(Form::from(vanishing).times(n_inverse));
        let mut inverse = |row: i32| {
            let distance = Form::from(x).times(domain.rotate(-row)).minus(Form::constant(Fr::ONE));
            let distance = graph.node(distance);
            graph.add(Operation::Inverse(distance))
        };
        let rows: Vec<_> = (0..instances as i32).map(&mut inverse).collect();
        let ends: Vec<_> = (-unusable..0).map(&mut inverse).collect();
        let times_common = |graph: &mut Graph, form: Form| {
            let node = graph.product(common.into(), form);
            graph.node(node)
        };
        let first = times_common(graph, rows[0].into());
        let last = times_common(graph, ends[0].into());
        let sum = ends.iter().fold(Form::default(), |sum, end| sum.plus((*end).into()));
        let inactive = graph.product(common.into(), sum);
        let active = graph.node(Form::constant(Fr::ONE).minus(inactive));
        let mut instance = Form::default();
        for (i, row) in rows.into_iter().enumerate() {
            let value = graph.input(Input::Calldata(WORD * i));
            instance = instance.plus(graph.product(value.into(), row.into()));
        }
        let instance = times_common(graph, instance);
        Self { first, last, active, instance, vanishing_inverse }
    }
}

/// The equations of a key.
pub(super) fn equations(
    graph: &mut Graph,
    key: &VerifyingKey<G1Affine>,
    shape: &Shape,
    domain: &Domain,
    challenges: &Challenges,
) -> Equations {
    let cs = key.cs();
    let unusable = cs.blinding_factors() as i32 + 1;
    let evaluations = Evaluations::read(graph, cs, shape);
    let x_to_n = graph.add(Operation::Squared { base: challenges.x, times: domain.k });
    let lagrange = Lagrange::of(graph, domain, challenges.x, x_to_n, shape.instances, unusable);
    let constraints = gates(graph, cs, &evaluations);
    let mut constraints = regroup(graph, challenges.y, constraints);
    constraints.extend(permutation(graph, cs, &evaluations, &lagrange, challenges));
    let coefficients = constraints.into_iter().map(|constraint| graph.node(constraint)).collect();
    let numerator = graph.add(Operation::Polynomial { point: challenges.y, coefficients });
    let queries = queries(cs, &evaluations, numerator, unusable);
    Equations { queries, x_to_n, vanishing_inverse: lagrange.vanishing_inverse }
}

/// The constraints of all gates.
fn gates(graph: &mut Graph, cs: &ConstraintSystem<Fr>, evaluations: &Evaluations) -> Vec<Constraint> {
    let fixed: BTreeSet<_> = evaluations.fixed.iter().copied().collect();
    let graph = RefCell::new(graph);
    let convert = |expression: &Expression<Fr>| {
        expression.evaluate(
            &|value| Form::constant(value).into(),
            &|_| unreachable!("selectors are columns in a key"),
            &|query| Form::from(evaluations.fixed(cs, query.column_index(), query.rotation())).into(),
            &|query| Form::from(evaluations.advice(cs, query.column_index(), query.rotation())).into(),
            &|_| unreachable!("no gate reads an instance"),
            &|_| unreachable!("the circuit has no challenges"),
            &|a: Constraint| a.times(-Fr::ONE),
            &|a: Constraint, b| a.plus(b),
            &|a: Constraint, b| a.product(&mut graph.borrow_mut(), &fixed, b),
            &|a: Constraint, factor| a.times(factor),
        )
    };
    cs.gates().iter().flat_map(|gate| gate.polynomials()).map(convert).collect()
}

/// The constraints of the permutation argument (PLONK, section 5; halo2 splits it into products of a few columns).
fn permutation(
    graph: &mut Graph,
    cs: &ConstraintSystem<Fr>,
    evaluations: &Evaluations,
    lagrange: &Lagrange,
    challenges: &Challenges,
) -> Vec<Form> {
    let products = &evaluations.products;
    let mut constraints = Vec::new();
    if let (Some((first, ..)), Some((last, ..))) = (products.first(), products.last()) {
        constraints.push(graph.product(lagrange.first.into(), Form::constant(Fr::ONE).minus((*first).into())));
        let square = graph.product((*last).into(), (*last).into());
        constraints.push(graph.product(lagrange.last.into(), square.minus((*last).into())));
    }
    for (before, after) in products.iter().zip(products.iter().skip(1)) {
        let end = before.2.map(Form::from).unwrap_or_default();
        constraints.push(graph.product(lagrange.first.into(), Form::from(after.0).minus(end)));
    }
    let columns: Vec<Node> = (cs.permutation().get_columns().iter())
        .map(|column| match column.column_type() {
            Any::Advice(_) => evaluations.advice(cs, column.index(), Rotation::cur()),
            Any::Fixed => evaluations.fixed(cs, column.index(), Rotation::cur()),
            Any::Instance => lagrange.instance,
        })
        .collect();
    let beta_x = graph.product(challenges.beta.into(), challenges.x.into());
    let beta_x = graph.node(beta_x);
    let mut delta = Fr::ONE;
    let chunks = columns.chunks(chunk(cs)).zip(evaluations.permutation.chunks(chunk(cs)));
    for ((columns, permutation), (here, next, _)) in chunks.zip(products) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (column, permuted) in columns.iter().zip(permutation) {
            let value = graph.node(Form::from(*column).plus(challenges.gamma.into()));
            left.push((*permuted, value));
            right.push((graph.constant(delta), value));
            delta *= Fr::DELTA;
        }
        let left = graph.add(Operation::LinearProduct { start: *next, point: challenges.beta, factors: left });
        let right = graph.add(Operation::LinearProduct { start: *here, point: beta_x, factors: right });
        let difference = Form::from(left).minus(right.into());
        constraints.push(graph.product(lagrange.active.into(), difference));
    }
    constraints
}

/// All queries in the order in which the prover opens them.
fn queries(cs: &ConstraintSystem<Fr>, evaluations: &Evaluations, numerator: Node, unusable: i32) -> Vec<Query> {
    let query = |polynomial, rotation, value: &Node| Query { polynomial, rotation, value: *value };
    let advice = cs.advice_queries().iter().zip(&evaluations.advice);
    let fixed = cs.fixed_queries().iter().zip(&evaluations.fixed);
    let products = || evaluations.products.iter().enumerate();
    let permutation = evaluations.permutation.iter().enumerate();
    (advice.map(|((column, rotation), value)| query(Polynomial::Advice(column.index()), rotation.0, value)))
        .chain(products().flat_map(|(i, (here, next, _))| {
            [query(Polynomial::Product(i), 0, here), query(Polynomial::Product(i), 1, next)]
        }))
        .chain(
            products().rev().filter_map(|(i, (_, _, last))| {
                last.as_ref().map(|last| query(Polynomial::Product(i), -unusable, last))
            }),
        )
        .chain(fixed.map(|((column, rotation), value)| query(Polynomial::Fixed(column.index()), rotation.0, value)))
        .chain(permutation.map(|(i, value)| query(Polynomial::Permutation(i), 0, value)))
        .chain([query(Polynomial::Quotient, 0, &numerator), query(Polynomial::Blinding, 0, &evaluations.blinding)])
        .collect()
}
