//! Straight-line code for the sum of all gates, weighted by the powers of y.
//!
//! The constraints are sorted into *groups* by their factor in fixed columns, their selector. In a group, the sum over the
//! constraints is expanded into one linear combination of nodes. So an S-box that three constraints use with different
//! factors costs one multiplication there, not three, because its factors times the powers of y are added up before
//! the first row. Nodes with the same weight (up to the sign) are added before they are multiplied.
//!
//! The code runs over blocks of [`BLOCK`] rows. A step reads and writes whole blocks, so the cost of interpreting it is
//! spread over all rows of the block, and all registers stay in the cache.

use std::{borrow::Cow, collections::BTreeMap};

use halo2_proofs::plonk::ConstraintSystem;
use halo2curves::ff::Field;

use super::expression::{Cell, Graph, Kind, Linear, Node, NodeId, NotACell};
use crate::primitive::field::Fr;

/// Rows per block. A register takes 1 KiB.
pub(super) const BLOCK: usize = 32;

/// What a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operand {
    /// The cell with this place in `cells`.
    Cell(usize),
    Register(usize),
}

#[derive(Clone, Copy, Debug)]
enum Factor {
    One,
    MinusOne,
    Two,
    Constant(Fr),
    /// The weight with this place in `weights`.
    Weight(usize),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Product { to: usize, left: Operand, right: Operand },
    SetConstant { to: usize, value: Fr },
    SetWeight { to: usize, weight: usize },
    Add { to: usize, factor: Factor, from: Operand },
}

/// `sum factor · y-power`, by the number of the constraint.
type Weight = Vec<(usize, Fr)>;

/// The code.
#[derive(Debug)]
pub(super) struct Program {
    cells: Vec<Cell>,
    steps: Vec<Step>,
    weights: Vec<Weight>,
    registers: usize,
    result: usize,
    constraints: usize,
}

/// The columns' values on a coset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    pub(super) fixed: &'a [Vec<Fr>],
    pub(super) advice: &'a [Vec<Fr>],
    pub(super) instance: &'a [Vec<Fr>],
}

impl Columns<'_> {
    pub(super) fn of(&self, kind: Kind, column: usize) -> &[Fr] {
        match kind {
            Kind::Fixed => &self.fixed[column],
            Kind::Advice => &self.advice[column],
            Kind::Instance => &self.instance[column],
        }
    }
}

/// `length` values of a column from a row on, which is taken modulo the column's length.
pub(super) fn rows(column: &[Fr], start: i64, length: usize) -> Cow<'_, [Fr]> {
    let start = start.rem_euclid(column.len() as i64) as usize;
    match column.get(start..start + length) {
        Some(rows) => Cow::Borrowed(rows),
        None => Cow::Owned(column[start..].iter().chain(column.iter().cycle()).take(length).copied().collect()),
    }
}

impl Program {
    /// Translates all gates.
    pub(super) fn new(system: &ConstraintSystem<Fr>) -> Result<Self, NotACell> {
        let mut graph = Graph::default();
        let mut groups: BTreeMap<Option<NodeId>, Group> = BTreeMap::new();
        let mut constraints = 0;
        for polynomial in system.gates().iter().flat_map(|gate| gate.polynomials()) {
            let sum = graph.linear(polynomial)?;
            groups.entry(None).or_default().add_constant(constraints, sum.constant);
            for (node, factor) in sum.terms {
                let (selector, rest) = graph.split(node);
                let group = groups.entry(selector).or_default();
                match rest.map(|rest| (rest, graph.node(rest))) {
                    None => group.add_constant(constraints, factor),
                    Some((_, Node::Sum(linear))) => group.add(constraints, factor, linear),
                    Some((rest, _)) => group.add_node(constraints, factor, rest),
                }
            }
            constraints += 1;
        }
        Ok(Compiler::new(&graph, &groups).compile(constraints))
    }

    /// The number of constraints.
    pub(super) fn constraints(&self) -> usize {
        self.constraints
    }

    /// The fixed columns that the gates read.
    pub(super) fn reads_fixed(&self, column: usize) -> bool {
        self.cells.iter().any(|cell| cell.kind == Kind::Fixed && cell.column == column)
    }

    /// The number of multiplications per row.
    #[cfg(test)]
    pub(super) fn multiplications(&self) -> usize {
        let multiplies = |step: &&Step| {
            matches!(step, Step::Product { .. } | Step::Add { factor: Factor::Constant(_) | Factor::Weight(_), .. })
        };
        self.steps.iter().filter(multiplies).count()
    }

    /// The weights for these factors of the constraints.
    pub(super) fn weights(&self, powers: &[Fr]) -> Vec<Fr> {
        let weigh = |weight: &Weight| weight.iter().map(|(constraint, factor)| powers[*constraint] * factor).sum();
        self.weights.iter().map(weigh).collect()
    }

    /// Registers for [`run`](Self::run).
    pub(super) fn registers(&self) -> Vec<Vec<Fr>> {
        vec![vec![Fr::ZERO; BLOCK]; self.registers]
    }

    /// Computes the weighted sum of all gates for the rows from `start` on, at most [`BLOCK`] of them.
    pub(super) fn run(
        &self,
        columns: Columns<'_>,
        weights: &[Fr],
        registers: &mut [Vec<Fr>],
        start: usize,
        sums: &mut [Fr],
    ) {
        let length = sums.len();
        let cells: Vec<_> = self
            .cells
            .iter()
            .map(|cell| rows(columns.of(cell.kind, cell.column), start as i64 + i64::from(cell.rotation), length))
            .collect();
        for step in &self.steps {
            let to = match step {
                Step::Product { to, .. }
                | Step::SetConstant { to, .. }
                | Step::SetWeight { to, .. }
                | Step::Add { to, .. } => *to,
            };
            // Taken out, because the other registers are read meanwhile. No step reads the register that it writes.
            let mut target = std::mem::take(&mut registers[to]);
            let read = |operand| match operand {
                Operand::Cell(cell) => &cells[cell][..],
                Operand::Register(register) => &registers[register][..length],
            };
            let out = &mut target[..length];
            match *step {
                Step::Product { left, right, .. } if left == right => {
                    out.iter_mut().zip(read(left)).for_each(|(out, value)| *out = value.square());
                }
                Step::Product { left, right, .. } => {
                    let operands = read(left).iter().zip(read(right));
                    out.iter_mut().zip(operands).for_each(|(out, (left, right))| *out = left * right);
                }
                Step::SetConstant { value, .. } => out.fill(value),
                Step::SetWeight { weight, .. } => out.fill(weights[weight]),
                Step::Add { factor, from, .. } => add(out, factor, read(from), weights),
            }
            registers[to] = target;
        }
        sums.copy_from_slice(&registers[self.result][..length]);
    }
}

fn add(out: &mut [Fr], factor: Factor, from: &[Fr], weights: &[Fr]) {
    let pairs = out.iter_mut().zip(from);
    match factor {
        Factor::One => pairs.for_each(|(out, value)| *out += value),
        Factor::MinusOne => pairs.for_each(|(out, value)| *out -= value),
        Factor::Two => pairs.for_each(|(out, value)| *out += value.double()),
        Factor::Constant(factor) => pairs.for_each(|(out, value)| *out += value * factor),
        Factor::Weight(weight) => pairs.for_each(|(out, value)| *out += value * weights[weight]),
    }
}

/// The constraints with one selector: a linear combination of nodes, with weights for factors.
#[derive(Debug, Default)]
struct Group {
    terms: BTreeMap<NodeId, Weight>,
    constant: Weight,
}

impl Group {
    fn add_constant(&mut self, constraint: usize, factor: Fr) {
        if factor != Fr::ZERO {
            self.constant.push((constraint, factor));
        }
    }

    fn add_node(&mut self, constraint: usize, factor: Fr, node: NodeId) {
        let weight = self.terms.entry(node).or_default();
        match weight.last_mut() {
            Some((last, sum)) if *last == constraint => *sum += factor,
            _ => weight.push((constraint, factor)),
        }
    }

    fn add(&mut self, constraint: usize, factor: Fr, linear: &Linear) {
        self.add_constant(constraint, factor * linear.constant);
        for (node, of_node) in &linear.terms {
            self.add_node(constraint, factor * of_node, *node);
        }
    }

    fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.constant.is_empty()
    }

    /// The nodes by weight. Nodes with opposite weights are together, with their signs.
    fn by_weight(&self) -> Vec<(Weight, Vec<(NodeId, bool)>)> {
        let mut sorted: BTreeMap<Weight, Vec<(NodeId, bool)>> = BTreeMap::new();
        for (node, weight) in &self.terms {
            let opposite: Weight = weight.iter().map(|(constraint, factor)| (*constraint, -*factor)).collect();
            let negative = !sorted.contains_key(weight) && sorted.contains_key(&opposite);
            let key = if negative { opposite } else { weight.clone() };
            sorted.entry(key).or_default().push((*node, negative));
        }
        sorted.into_iter().collect()
    }
}

/// Writes the code, and gives registers to the values that are still needed.
struct Compiler<'a> {
    graph: &'a Graph,
    groups: Vec<(Option<NodeId>, &'a Group)>,
    /// How often a node is still read.
    uses: BTreeMap<NodeId, usize>,
    computed: BTreeMap<NodeId, usize>,
    free: Vec<usize>,
    cells: Vec<Cell>,
    steps: Vec<Step>,
    weights: Vec<Weight>,
    registers: usize,
}

impl<'a> Compiler<'a> {
    fn new(graph: &'a Graph, groups: &'a BTreeMap<Option<NodeId>, Group>) -> Self {
        let groups = groups.iter().filter(|(_, group)| !group.is_empty()).map(|(selector, group)| (*selector, group));
        let mut compiler = Self {
            graph,
            groups: groups.collect(),
            uses: BTreeMap::new(),
            computed: BTreeMap::new(),
            free: vec![],
            cells: vec![],
            steps: vec![],
            weights: vec![],
            registers: 0,
        };
        let roots: Vec<_> = compiler
            .groups
            .iter()
            .flat_map(|(selector, group)| selector.iter().chain(group.terms.keys()))
            .copied()
            .collect();
        roots.into_iter().for_each(|root| compiler.count(root));
        compiler
    }

    /// Counts one use of a node, and the uses of its operands when it is computed.
    fn count(&mut self, node: NodeId) {
        let uses = self.uses.entry(node).or_insert(0);
        *uses += 1;
        if *uses > 1 {
            return;
        }
        match self.graph.node(node) {
            Node::Cell(_) => {}
            Node::Product(left, right) => [*left, *right].into_iter().for_each(|operand| self.count(operand)),
            Node::Sum(linear) => linear.terms.keys().for_each(|operand| self.count(*operand)),
        }
    }

    fn compile(mut self, constraints: usize) -> Program {
        let result = self.register();
        self.steps.push(Step::SetConstant { to: result, value: Fr::ZERO });
        for (selector, group) in std::mem::take(&mut self.groups) {
            let sum = if selector.is_some() { self.register() } else { result };
            if selector.is_some() || !group.constant.is_empty() {
                self.weights.push(group.constant.clone());
                self.steps.push(Step::SetWeight { to: sum, weight: self.weights.len() - 1 });
            }
            for (weight, nodes) in group.by_weight() {
                self.add_weighted(sum, weight, &nodes);
            }
            if let Some(selector) = selector {
                let operand = self.operand(selector);
                let product = self.register();
                self.steps.push(Step::Product { to: product, left: operand, right: Operand::Register(sum) });
                self.steps.push(Step::Add { to: result, factor: Factor::One, from: Operand::Register(product) });
                self.free.extend([product, sum]);
                self.release(selector);
            }
        }
        let Self { cells, steps, weights, registers, .. } = self;
        Program { cells, steps, weights, registers, result, constraints }
    }

    fn add_weighted(&mut self, sum: usize, weight: Weight, nodes: &[(NodeId, bool)]) {
        let factor = Factor::Weight(self.weights.len());
        self.weights.push(weight);
        if let [(node, false)] = nodes {
            let from = self.operand(*node);
            self.steps.push(Step::Add { to: sum, factor, from });
            self.release(*node);
            return;
        }
        let part = self.register();
        self.steps.push(Step::SetConstant { to: part, value: Fr::ZERO });
        for (node, negative) in nodes {
            let from = self.operand(*node);
            let factor = if *negative { Factor::MinusOne } else { Factor::One };
            self.steps.push(Step::Add { to: part, factor, from });
            self.release(*node);
        }
        self.steps.push(Step::Add { to: sum, factor, from: Operand::Register(part) });
        self.free.push(part);
    }

    fn register(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.registers += 1;
            self.registers - 1
        })
    }

    /// The place of a node's value. It is computed when it is needed for the first time.
    fn operand(&mut self, node: NodeId) -> Operand {
        if let Node::Cell(cell) = self.graph.node(node) {
            let known = self.cells.iter().position(|other| other == cell);
            return Operand::Cell(known.unwrap_or_else(|| {
                self.cells.push(*cell);
                self.cells.len() - 1
            }));
        }
        if let Some(register) = self.computed.get(&node) {
            return Operand::Register(*register);
        }
        let to = match self.graph.node(node) {
            Node::Product(left, right) => {
                let (left_operand, right_operand) = (self.operand(*left), self.operand(*right));
                let to = self.register();
                self.steps.push(Step::Product { to, left: left_operand, right: right_operand });
                self.release(*left);
                self.release(*right);
                to
            }
            Node::Sum(linear) => {
                let to = self.register();
                self.steps.push(Step::SetConstant { to, value: linear.constant });
                for (term, factor) in &linear.terms {
                    let from = self.operand(*term);
                    self.steps.push(Step::Add { to, factor: Factor::of(*factor), from });
                    self.release(*term);
                }
                to
            }
            Node::Cell(_) => unreachable!("handled above"),
        };
        self.computed.insert(node, to);
        Operand::Register(to)
    }

    /// Ends one use of a node. Its register is free after the last one.
    fn release(&mut self, node: NodeId) {
        let uses = self.uses.entry(node).or_insert(1);
        *uses -= 1;
        if *uses == 0
            && let Some(register) = self.computed.remove(&node)
        {
            self.free.push(register);
        }
    }
}

impl Factor {
    fn of(factor: Fr) -> Self {
        if factor == Fr::ONE {
            Self::One
        } else if factor == -Fr::ONE {
            Self::MinusOne
        } else if factor == Fr::from(2) {
            Self::Two
        } else {
            Self::Constant(factor)
        }
    }
}
