//! The gates in a form that shares work.
//!
//! Every expression becomes a linear combination of *nodes*, and equal nodes are one. Constant factors are pulled out of
//! products. So `2·(x·x)` and `-x·x` are multiples of the same node.

use std::collections::BTreeMap;

use halo2_proofs::plonk::Expression;
use halo2curves::ff::Field;

use crate::primitive::field::Fr;

/// The kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Fixed,
    Advice,
    Instance,
}

/// A column's cell, relative to the current row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) kind: Kind,
    pub(super) column: usize,
    pub(super) rotation: i32,
}

/// The place of a node in the [`Graph`].
pub(super) type NodeId = usize;

/// A value that is computed once per row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Cell(Cell),
    Product(NodeId, NodeId),
    /// A linear combination that is a factor of a product.
    Sum(Linear),
}

/// `constant + sum factor · node`, no factor being 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Linear {
    pub(super) terms: BTreeMap<NodeId, Fr>,
    pub(super) constant: Fr,
}

impl Linear {
    fn constant(constant: Fr) -> Self {
        Self { terms: BTreeMap::new(), constant }
    }

    fn node(node: NodeId) -> Self {
        Self { terms: BTreeMap::from([(node, Fr::ONE)]), constant: Fr::ZERO }
    }

    fn plus(mut self, other: Self) -> Self {
        self.constant += other.constant;
        for (node, factor) in other.terms {
            let sum = self.terms.entry(node).or_insert(Fr::ZERO);
            *sum += factor;
            if *sum == Fr::ZERO {
                self.terms.remove(&node);
            }
        }
        self
    }

    fn times(mut self, factor: Fr) -> Self {
        if factor == Fr::ZERO {
            return Self::default();
        }
        self.constant *= factor;
        self.terms.values_mut().for_each(|term| *term *= factor);
        self
    }
}

/// All nodes. A node's operands are before it.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// Whether the node reads fixed columns only.
    fixed: Vec<bool>,
    places: BTreeMap<Node, NodeId>,
}

/// An expression that cannot be evaluated: it uses a selector that was not replaced by a column, or a challenge.
#[derive(Debug)]
pub(super) struct NotACell;

impl Graph {
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    fn intern(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.places.get(&node) {
            return *id;
        }
        let fixed = match &node {
            Node::Cell(cell) => cell.kind == Kind::Fixed,
            Node::Product(left, right) => self.fixed[*left] && self.fixed[*right],
            Node::Sum(linear) => linear.terms.keys().all(|id| self.fixed[*id]),
        };
        self.nodes.push(node.clone());
        self.fixed.push(fixed);
        self.places.insert(node, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub(super) fn linear(&mut self, expression: &Expression<Fr>) -> Result<Linear, NotACell> {
        let mut cell = |kind, column, rotation: halo2_proofs::poly::Rotation| {
            Linear::node(self.intern(Node::Cell(Cell { kind, column, rotation: rotation.0 })))
        };
        Ok(match expression {
            Expression::Constant(constant) => Linear::constant(*constant),
            Expression::Selector(_) | Expression::Challenge(_) => return Err(NotACell),
            Expression::Fixed(query) => cell(Kind::Fixed, query.column_index(), query.rotation()),
            Expression::Advice(query) => cell(Kind::Advice, query.column_index(), query.rotation()),
            Expression::Instance(query) => cell(Kind::Instance, query.column_index(), query.rotation()),
            Expression::Negated(inner) => self.linear(inner)?.times(-Fr::ONE),
            Expression::Scaled(inner, factor) => self.linear(inner)?.times(*factor),
            Expression::Sum(left, right) => {
                let left = self.linear(left)?;
                left.plus(self.linear(right)?)
            }
            Expression::Product(left, right) => {
                let (left, right) = (self.linear(left)?, self.linear(right)?);
                self.product(left, right)
            }
        })
    }

    fn product(&mut self, left: Linear, right: Linear) -> Linear {
        if left.terms.is_empty() {
            return right.times(left.constant);
        }
        if right.terms.is_empty() {
            return left.times(right.constant);
        }
        let (left_factor, left) = self.factor(left);
        let (right_factor, right) = self.factor(right);
        let product = self.intern(Node::Product(left.min(right), left.max(right)));
        Linear::node(product).times(left_factor * right_factor)
    }

    /// A linear combination as a multiple of one node.
    fn factor(&mut self, linear: Linear) -> (Fr, NodeId) {
        match linear.terms.iter().next() {
            Some((node, factor)) if linear.terms.len() == 1 && linear.constant == Fr::ZERO => (*factor, *node),
            _ => (Fr::ONE, self.intern(Node::Sum(linear))),
        }
    }

    /// A node as the product of a part that reads fixed columns only, and of the rest. `None` is 1.
    pub(super) fn split(&mut self, id: NodeId) -> (Option<NodeId>, Option<NodeId>) {
        if self.fixed[id] {
            return (Some(id), None);
        }
        let Node::Product(left, right) = self.nodes[id] else { return (None, Some(id)) };
        let ((left_fixed, left), (right_fixed, right)) = (self.split(left), self.split(right));
        (self.joined(left_fixed, right_fixed), self.joined(left, right))
    }

    fn joined(&mut self, left: Option<NodeId>, right: Option<NodeId>) -> Option<NodeId> {
        match (left, right) {
            (Some(left), Some(right)) => Some(self.intern(Node::Product(left.min(right), left.max(right)))),
            (one, other) => one.or(other),
        }
    }
}
