//! From a graph to a program: instructions of a few kinds.

use std::collections::BTreeMap;

use super::graph::{Graph, Input, Node, Operation};

/// A kind of instruction. The number is the one in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `a·b + c`.
    MultiplyAdd = 0,
    /// `a·b + c·d + e·f + g`.
    Products = 1,
    /// `a·b`.
    Multiply = 2,
    /// The value at the first operand of the polynomial with the other operands as coefficients, the highest power
    /// first.
    Polynomial = 3,
    /// `a^5`.
    FifthPower = 4,
    /// `a·b^i` for i from 1 to 4n; the third operand is the number n.
    Series = 5,
    /// `a·(c_1·b + d_1)·...·(c_7·b + d_7)`.
    LinearProduct = 6,
    /// `a^(2^n)`; the second operand is the number n.
    Squared = 7,
    /// Inverts in place 3n + 1 words from the address that is the first operand; the second operand is the number n.
    Invert = 8,
}

impl Kind {
    /// How many instructions a word holds.
    pub(super) fn per_word(self) -> usize {
        match self {
            Self::MultiplyAdd | Self::FifthPower => 5,
            Self::Products => 2,
            Self::Multiply => 8,
            Self::Polynomial | Self::Series | Self::Squared | Self::LinearProduct | Self::Invert => 1,
        }
    }

    /// The gas of a word, approximately.
    pub(super) fn gas(self) -> usize {
        match self {
            Self::MultiplyAdd => 514,
            Self::Products => 482,
            Self::Multiply => 537,
            Self::Polynomial => 757,
            Self::FifthPower => 443,
            Self::LinearProduct => 644,
            // Loops, whose number of rounds does not depend on the order.
            Self::Series | Self::Squared | Self::Invert => 100,
        }
    }

    /// How many operands an instruction has.
    pub(super) fn operands(self) -> usize {
        match self {
            Self::MultiplyAdd | Self::Series => 3,
            Self::Products => 7,
            Self::Polynomial => 1 + COEFFICIENTS,
            Self::LinearProduct => 2 + 2 * FACTORS,
            Self::FifthPower => 1,
            Self::Squared | Self::Multiply | Self::Invert => 2,
        }
    }
}

/// The coefficients of one [`Kind::Polynomial`].
const COEFFICIENTS: usize = 15;
/// For so few coefficients, [`Kind::MultiplyAdd`] costs less than a [`Kind::Polynomial`].
const FEW: usize = 5;
/// The factors of one [`Kind::LinearProduct`].
const FACTORS: usize = 7;

/// Where an instruction finds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A word of the key.
    Constant(usize),
    Input(Input),
    /// A result of an instruction.
    Result {
        instruction: usize,
        index: usize,
    },
    /// The inverse of a denominator.
    Inverse(usize),
    /// A number that is no address.
    Number(u16),
}

/// One instruction. Its results follow each other.
#[derive(Debug)]
pub(super) struct Instruction {
    pub(super) kind: Kind,
    pub(super) operands: Vec<Operand>,
    pub(super) results: usize,
}

/// The instructions of a graph. Each comes after those that it depends on, except for the inverses.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) constants: Vec<[u8; 32]>,
    pub(super) instructions: Vec<Instruction>,
    /// The instructions whose results are inverted, all at once.
    pub(super) denominators: Vec<usize>,
    /// Where the wanted values are.
    pub(super) wanted: Vec<Operand>,
}

/// The first two constants of every program.
pub(super) const ZERO: Operand = Operand::Constant(0);
pub(super) const ONE: Operand = Operand::Constant(1);

impl Program {
    /// The program that computes these nodes.
    pub(super) fn new(graph: &Graph, wanted: &[Node]) -> Self {
        let mut one = [0; 32];
        one[31] = 1;
        let program = Self {
            constants: vec![[0; 32], one],
            instructions: Vec::new(),
            denominators: Vec::new(),
            wanted: Vec::new(),
        };
        let mut lowering = Lowering { graph, program, places: BTreeMap::new() };
        let wanted = wanted.iter().map(|node| lowering.place(*node)).collect();
        while lowering.program.denominators.len() % 3 != 1 {
            lowering.denominator(vec![ONE, ONE, ZERO]);
        }
        Self { wanted, ..lowering.program }
    }
}

struct Lowering<'a> {
    graph: &'a Graph,
    program: Program,
    places: BTreeMap<Node, Operand>,
}

impl Lowering<'_> {
    fn emit(&mut self, kind: Kind, operands: Vec<Operand>, results: usize) -> Operand {
        self.program.instructions.push(Instruction { kind, operands, results });
        Operand::Result { instruction: self.program.instructions.len() - 1, index: 0 }
    }

    /// Where a node's value is. Adds the instructions that compute it.
    fn place(&mut self, node: Node) -> Operand {
        if let Some(place) = self.places.get(&node) {
            return *place;
        }
        let place = match self.graph.operation(node).clone() {
            Operation::Constant(value) => self.constant(value),
            Operation::Input(input) => Operand::Input(input),
            Operation::Sum { products, addends } => self.sum(&products, &addends),
            Operation::FifthPower(base) => {
                let base = self.place(base);
                self.emit(Kind::FifthPower, vec![base], 1)
            }
            Operation::Squared { base, times } => {
                let base = self.place(base);
                self.emit(Kind::Squared, vec![base, Operand::Number(times)], 1)
            }
            Operation::Polynomial { point, coefficients } => self.polynomial(point, &coefficients),
            Operation::Series { start, ratio, length } => {
                let quads = length.div_ceil(4);
                let operands = vec![self.place(start), self.place(ratio), Operand::Number(quads)];
                self.emit(Kind::Series, operands, usize::from(4 * quads))
            }
            Operation::Element { series, index } => match self.place(series) {
                Operand::Result { instruction, .. } => Operand::Result { instruction, index: usize::from(index) },
                other => other,
            },
            Operation::LinearProduct { start, point, factors } => self.linear_product(start, point, &factors),
            Operation::Inverse(base) => self.inverse(base),
        };
        self.places.insert(node, place);
        place
    }

    fn constant(&mut self, value: [u8; 32]) -> Operand {
        let constants = &mut self.program.constants;
        let known = constants.iter().position(|other| *other == value);
        Operand::Constant(known.unwrap_or_else(|| {
            constants.push(value);
            constants.len() - 1
        }))
    }

    /// The products, with every addend but one times 1, and the first addend.
    fn terms(&mut self, products: &[(Node, Node)], addends: &[Node]) -> (Vec<(Operand, Operand)>, Operand) {
        let mut terms: Vec<_> = products.iter().map(|&(a, b)| (self.place(a), self.place(b))).collect();
        let mut addends = addends.iter().map(|node| self.place(*node)).collect::<Vec<_>>().into_iter();
        let addend = addends.next().unwrap_or(ZERO);
        terms.extend(addends.map(|addend| (addend, ONE)));
        (terms, addend)
    }

    fn sum(&mut self, products: &[(Node, Node)], addends: &[Node]) -> Operand {
        let (terms, mut sum) = self.terms(products, addends);
        let triples = terms.chunks_exact(3);
        let rest = triples.remainder();
        for triple in triples {
            let operands = triple.iter().flat_map(|&(a, b)| [a, b]).chain([sum]).collect();
            sum = self.emit(Kind::Products, operands, 1);
        }
        for &(a, b) in rest {
            sum = match sum {
                ZERO => self.emit(Kind::Multiply, vec![a, b], 1),
                _ => self.emit(Kind::MultiplyAdd, vec![a, b, sum], 1),
            };
        }
        sum
    }

    fn linear_product(&mut self, start: Node, point: Node, factors: &[(Node, Node)]) -> Operand {
        let (mut product, point) = (self.place(start), self.place(point));
        for factors in factors.chunks(FACTORS) {
            let mut operands = vec![product, point];
            operands.extend(factors.iter().flat_map(|&(a, b)| [a, b]).map(|node| self.place(node)));
            while operands.len() < Kind::LinearProduct.operands() {
                operands.extend([ZERO, ONE]);
            }
            product = self.emit(Kind::LinearProduct, operands, 1);
        }
        product
    }

    fn polynomial(&mut self, point: Node, coefficients: &[Node]) -> Operand {
        let point = self.place(point);
        let mut rest: Vec<_> = coefficients.iter().map(|node| self.place(*node)).collect();
        let mut value = rest.remove(0);
        while !rest.is_empty() {
            // The first instruction gets those that do not fill a whole one, after zeros.
            let taken = (rest.len() - 1) % (COEFFICIENTS - 1) + 1;
            if taken <= FEW {
                for coefficient in rest.drain(..taken) {
                    value = self.emit(Kind::MultiplyAdd, vec![value, point, coefficient], 1);
                }
                continue;
            }
            let mut operands = vec![point];
            operands.resize(COEFFICIENTS - taken, ZERO);
            operands.push(value);
            operands.extend(rest.drain(..taken));
            value = self.emit(Kind::Polynomial, operands, 1);
        }
        value
    }

    /// A denominator is computed in its own instruction, because its inverse takes its place.
    fn inverse(&mut self, base: Node) -> Operand {
        let operands = match self.graph.operation(base).clone() {
            Operation::Sum { products, addends } if products.len() <= 1 && products.len() + addends.len() == 2 => {
                let (terms, addend) = self.terms(&products, &addends);
                vec![terms[0].0, terms[0].1, addend]
            }
            _ => vec![self.place(base), ONE, ZERO],
        };
        self.denominator(operands)
    }

    fn denominator(&mut self, operands: Vec<Operand>) -> Operand {
        self.emit(Kind::MultiplyAdd, operands, 1);
        self.program.denominators.push(self.program.instructions.len() - 1);
        Operand::Inverse(self.program.denominators.len() - 1)
    }
}
