//! Field arithmetic as a graph in which equal parts are one node.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use halo2curves::{bn256::Fr, ff::Field};

use crate::primitive::field;

/// A value that the program computes or is given. A node comes after all nodes that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node(u32);

impl Node {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A value that is known before the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Input {
    /// A word of the calldata, at this byte.
    Calldata(usize),
    /// A challenge, in the order of the transcript.
    Challenge(usize),
}

/// How a node gets its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// A fixed value, big-endian.
    Constant([u8; 32]),
    /// A value that is known before the program starts.
    Input(Input),
    /// `sum a·b + sum c`.
    Sum { products: Vec<(Node, Node)>, addends: Vec<Node> },
    /// `base^5`.
    FifthPower(Node),
    /// `base^(2^times)`.
    Squared { base: Node, times: u16 },
    /// A polynomial's value at a point, by Horner's rule. The coefficient of the highest power is first.
    Polynomial { point: Node, coefficients: Vec<Node> },
    /// `start` times the product of all `a·point + b`.
    LinearProduct { start: Node, point: Node, factors: Vec<(Node, Node)> },
    /// The values `start·ratio^i` for i from 1 to the length. They are reached with [`Operation::Element`].
    Series { start: Node, ratio: Node, length: u16 },
    /// `start·ratio^(index + 1)` of a series.
    Element { series: Node, index: u16 },
    /// The inverse of a value. All inverses are computed together.
    Inverse(Node),
}

/// What a term of a [`Form`] multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Factors {
    None,
    One(Node),
    Two(Node, Node),
}

/// A sum of terms that are not computed yet: coefficients times at most two nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(BTreeMap<Factors, Fr>);

impl Form {
    pub(super) fn constant(value: Fr) -> Self {
        Self::term(Factors::None, value)
    }

    pub(super) fn term(factors: Factors, coefficient: Fr) -> Self {
        Self(if coefficient == Fr::ZERO { BTreeMap::new() } else { [(factors, coefficient)].into() })
    }

    pub(super) fn plus(mut self, other: Self) -> Self {
        for (factors, coefficient) in other.0 {
            let sum = self.0.remove(&factors).unwrap_or(Fr::ZERO) + coefficient;
            if sum != Fr::ZERO {
                self.0.insert(factors, sum);
            }
        }
        self
    }

    pub(super) fn times(self, factor: Fr) -> Self {
        if factor == Fr::ZERO {
            return Self::default();
        }
        Self(self.0.into_iter().map(|(factors, coefficient)| (factors, coefficient * factor)).collect())
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(other.times(-Fr::ONE))
    }

    /// The terms with their coefficients.
    pub(super) fn terms(&self) -> impl Iterator<Item = (Factors, Fr)> + '_ {
        self.0.iter().map(|(factors, coefficient)| (*factors, *coefficient))
    }

    pub(super) fn as_constant(&self) -> Option<Fr> {
        match self.0.iter().next() {
            None => Some(Fr::ZERO),
            Some((Factors::None, value)) if self.0.len() == 1 => Some(*value),
            Some(_) => None,
        }
    }
}

impl From<Node> for Form {
    fn from(node: Node) -> Self {
        Self::term(Factors::One(node), Fr::ONE)
    }
}

/// All nodes of a program.
#[derive(Debug, Default)]
pub(super) struct Graph {
    operations: Vec<Operation>,
    known: HashMap<Operation, Node>,
}

impl Graph {
    pub(super) fn operation(&self, node: Node) -> &Operation {
        &self.operations[node.index()]
    }

    /// Returns the node with this operation, and adds it to the graph if it is new.
    pub(super) fn add(&mut self, operation: Operation) -> Node {
        if let Some(node) = self.known.get(&operation) {
            return *node;
        }
        let node = Node(u32::try_from(self.operations.len()).unwrap_or(u32::MAX));
        self.operations.push(operation.clone());
        self.known.insert(operation, node);
        node
    }

    pub(super) fn constant(&mut self, value: Fr) -> Node {
        self.add(Operation::Constant(field::to_bytes(&value)))
    }

    pub(super) fn input(&mut self, input: Input) -> Node {
        self.add(Operation::Input(input))
    }

    /// The values `start·ratio^i` for i from 0 to `length`: one more than the length.
    pub(super) fn series(&mut self, start: Node, ratio: Node, length: u16) -> Vec<Node> {
        let mut values = vec![start];
        if length > 0 {
            let series = self.add(Operation::Series { start, ratio, length });
            values.extend((0..length).map(|index| self.add(Operation::Element { series, index })));
        }
        values
    }

    /// Whether a node depends on nothing but these nodes and constants.
    pub(super) fn depends_only_on(&self, node: Node, given: &BTreeSet<Node>) -> bool {
        given.contains(&node)
            || match self.operation(node) {
                Operation::Constant(_) => true,
                Operation::Sum { products, addends } => {
                    let mut operands = products.iter().flat_map(|&(a, b)| [a, b]).chain(addends.iter().copied());
                    operands.all(|operand| self.depends_only_on(operand, given))
                }
                Operation::FifthPower(base) => self.depends_only_on(*base, given),
                _ => false,
            }
    }

    /// A product. It becomes a node only if another operation needs it as one.
    pub(super) fn product(&mut self, left: Form, right: Form) -> Form {
        let (left, right) = (self.folded(left), self.folded(right));
        if let Some(factor) = left.as_constant() {
            return right.times(factor);
        }
        if let Some(factor) = right.as_constant() {
            return left.times(factor);
        }
        let (left, left_factor) = self.factor(left);
        let (right, right_factor) = self.factor(right);
        let coefficient = left_factor * right_factor;
        for (fourth, base) in [(left, right), (right, left)] {
            if self.is_fourth_power(fourth, base) {
                return Form::from(self.add(Operation::FifthPower(base))).times(coefficient);
            }
        }
        Form::term(Factors::Two(left.min(right), left.max(right)), coefficient)
    }

    fn is_square(&self, node: Node) -> Option<Node> {
        match self.operation(node) {
            Operation::Sum { products, addends } if addends.is_empty() => match products[..] {
                [(a, b)] if a == b => Some(a),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_fourth_power(&self, node: Node, base: Node) -> bool {
        self.is_square(node).and_then(|square| self.is_square(square)) == Some(base)
    }

    /// A form as a node and a coefficient before it.
    fn factor(&mut self, form: Form) -> (Node, Fr) {
        let single =
            form.0.iter().next().filter(|_| form.0.len() == 1).map(|(factors, coefficient)| (*factors, *coefficient));
        match single {
            Some((factors, coefficient)) => (self.node(Form::term(factors, Fr::ONE)), coefficient),
            None => (self.node(form), Fr::ONE),
        }
    }

    /// The form with nodes that are constants as constants.
    fn folded(&self, form: Form) -> Form {
        form.0.into_iter().fold(Form::default(), |sum, (factors, coefficient)| {
            let term = match factors {
                Factors::One(node) => match self.operation(node) {
                    Operation::Constant(value) => Form::constant(field::reduce(value) * coefficient),
                    _ => Form::term(factors, coefficient),
                },
                _ => Form::term(factors, coefficient),
            };
            sum.plus(term)
        })
    }

    /// The node of a form.
    pub(super) fn node(&mut self, form: Form) -> Node {
        let form = self.folded(form);
        if let Some(value) = form.as_constant() {
            return self.constant(value);
        }
        let (mut products, mut addends) = (Vec::new(), Vec::new());
        for (factors, coefficient) in form.0 {
            let unit = coefficient == Fr::ONE;
            match factors {
                Factors::None => addends.push(self.constant(coefficient)),
                Factors::One(node) if unit => addends.push(node),
                Factors::One(node) => products.push((node, self.constant(coefficient))),
                Factors::Two(left, right) if unit => products.push((left, right)),
                Factors::Two(left, right) => {
                    let product = self.add(Operation::Sum { products: vec![(left, right)], addends: Vec::new() });
                    products.push((product, self.constant(coefficient)));
                }
            }
        }
        match (&products[..], &addends[..]) {
            ([], [node]) => *node,
            _ => self.add(Operation::Sum { products, addends }),
        }
    }
}
