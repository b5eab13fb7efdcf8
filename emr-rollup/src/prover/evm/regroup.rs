//! Gates whose constraints say the same about different columns cost less if the columns are combined first.
//!
//! The verifier needs only `sum y^(n-1-j)·C_j`. If a selector S appears in two constraints as `S·(c·u + ..)` and, some
//! constraints later, as `S·(c·v + ..)`, with the same coefficients wherever u and v appear, then `m = u·y^shift + v`
//! takes the place of both. Circuits with several lanes (Poseidon here) have all their linear layers in this form.

use std::collections::{BTreeMap, BTreeSet};

use halo2curves::{bn256::Fr, ff::Field};

use super::graph::{Factors, Form, Graph, Node};

/// A constraint: a form, and nodes times forms.
#[derive(Clone, Debug, Default)]
pub(super) struct Constraint {
    plain: Form,
    selected: BTreeMap<Node, Form>,
}

impl From<Form> for Constraint {
    fn from(plain: Form) -> Self {
        Self { plain, selected: BTreeMap::new() }
    }
}

impl Constraint {
    pub(super) fn plus(mut self, other: Self) -> Self {
        self.plain = self.plain.plus(other.plain);
        for (selector, form) in other.selected {
            self.select(selector, form);
        }
        self
    }

    pub(super) fn times(self, factor: Fr) -> Self {
        let selected = self.selected.into_iter().map(|(selector, form)| (selector, form.times(factor)));
        Self { plain: self.plain.times(factor), selected: selected.collect() }
    }

    /// A product. A selector is a factor that depends on fixed columns only.
    pub(super) fn product(self, graph: &mut Graph, fixed: &BTreeSet<Node>, other: Self) -> Self {
        let (left, right) = (self.form(graph), other.form(graph));
        if left.as_constant().or(right.as_constant()).is_some() {
            return graph.product(left, right).into();
        }
        let [left_node, right_node] = [&left, &right].map(|form| graph.node(form.clone()));
        match [left_node, right_node].map(|node| graph.depends_only_on(node, fixed)) {
            [true, false] => Self { plain: Form::default(), selected: [(left_node, right)].into() },
            [false, true] => Self { plain: Form::default(), selected: [(right_node, left)].into() },
            _ => graph.product(left, right).into(),
        }
    }

    fn select(&mut self, selector: Node, form: Form) {
        let sum = self.selected.remove(&selector).unwrap_or_default().plus(form);
        self.selected.insert(selector, sum);
    }

    pub(super) fn form(self, graph: &mut Graph) -> Form {
        self.selected
            .into_iter()
            .fold(self.plain, |sum, (selector, form)| sum.plus(graph.product(selector.into(), form)))
    }
}

/// The places of an atom: how many constraints before its last one, and the coefficient there.
type Pattern = Vec<(usize, Fr)>;

/// Combines atoms of the same pattern. The result has the same sum of powers of y.
pub(super) fn regroup(graph: &mut Graph, y: Node, mut constraints: Vec<Constraint>) -> Vec<Form> {
    let selectors: BTreeSet<_> =
        constraints.iter().flat_map(|constraint| constraint.selected.keys().copied()).collect();
    for selector in selectors {
        let mut places: BTreeMap<Factors, Pattern> = BTreeMap::new();
        for (j, constraint) in constraints.iter_mut().enumerate() {
            let form = constraint.selected.remove(&selector).unwrap_or_default();
            for (factors, coefficient) in form.terms() {
                places.entry(factors).or_default().push((j, coefficient));
            }
        }
        for (pattern, atoms) in classes(places) {
            let last = atoms.iter().map(|(_, last)| *last).max().unwrap_or(0);
            let combined = atoms.iter().fold(Form::default(), |sum, (factors, place)| {
                let atom = graph.node(Form::term(*factors, Fr::ONE));
                let power = power(graph, y, last - place);
                sum.plus(graph.product(atom.into(), power))
            });
            let combined = if atoms.len() == 1 { combined } else { graph.node(combined).into() };
            for (before, coefficient) in pattern {
                constraints[last - before].select(selector, combined.clone().times(coefficient));
            }
        }
    }
    constraints.into_iter().map(|constraint| constraint.form(graph)).collect()
}

/// The atoms of each pattern, with the constraint in which each is last. Constants, and few atoms with one place and no
/// factor, stay alone: to combine them gains nothing.
fn classes(places: BTreeMap<Factors, Pattern>) -> Vec<(Pattern, Vec<(Factors, usize)>)> {
    let mut classes: Vec<(Pattern, Vec<(Factors, usize)>)> = Vec::new();
    for (factors, places) in places {
        let last = places.last().map_or(0, |(j, _)| *j);
        let pattern: Pattern = places.into_iter().map(|(j, coefficient)| (last - j, coefficient)).collect();
        let alone = factors == Factors::None;
        match classes.iter_mut().find(|(other, _)| !alone && *other == pattern) {
            Some((_, atoms)) => atoms.push((factors, last)),
            None => classes.push((pattern, vec![(factors, last)])),
        }
    }
    classes.into_iter().flat_map(split).collect()
}

/// How many atoms with one place and no factor are worth combining.
const MANY: usize = 5;

fn split((pattern, atoms): (Pattern, Vec<(Factors, usize)>)) -> Vec<(Pattern, Vec<(Factors, usize)>)> {
    let simple = matches!(pattern[..], [(0, one)] if one == Fr::ONE || one == -Fr::ONE);
    let single = atoms.iter().all(|(factors, _)| matches!(factors, Factors::One(_)));
    if simple && !(single && atoms.len() >= MANY) {
        return atoms.into_iter().map(|atom| (pattern.clone(), vec![atom])).collect();
    }
    vec![(pattern, atoms)]
}

/// `y^exponent`.
fn power(graph: &mut Graph, y: Node, exponent: usize) -> Form {
    (0..exponent).fold(Form::constant(Fr::ONE), |power, _| {
        let next = graph.product(power, y.into());
        graph.node(next).into()
    })
}
