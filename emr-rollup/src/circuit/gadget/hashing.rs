//! Sponges and Merkle paths. They are queued, paired by shape, and laid out in two lanes.

use halo2curves::ff::Field;

use super::{
    poseidon::{INPUTS, LANES},
    schedule::{ROWS, SCHEDULE, Step, trace},
};
use crate::{
    circuit::{
        builder::{Builder, Queue, Wire},
        config::Selector,
        origin::Origin,
        scope::Scope,
    },
    primitive::{
        field::Fr,
        poseidon::{PARAMETERS, Tag, WIDTH},
    },
};

/// The rows of a permutation.
type Trace = [[Fr; WIDTH]; ROWS];

/// A chain of permutations in one lane.
#[derive(Debug)]
struct Chain {
    /// The leaf of a path. `None` for a sponge.
    start: Option<Wire>,
    /// Each permutation: its two inputs, its rows, and its output.
    blocks: Vec<([Wire; 2], Trace, Wire)>,
    origin: Origin,
}

/// The shape of a chain. Two chains of one shape can share rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// A path of this many levels.
    Path(usize),
    /// A sponge of this many permutations, under a tag.
    Sponge(usize, u8),
}

/// Chains that are not laid out yet.
#[derive(Debug, Default)]
pub(in crate::circuit) struct HashQueue {
    chains: Queue<Shape, Chain>,
}

impl Scope<'_> {
    /// `H_tag(inputs)`.
    pub(in crate::circuit) fn hash(&mut self, tag: Tag, inputs: &[Wire]) -> Wire {
        let mut state = [tag.capacity(), Fr::ZERO, Fr::ZERO];
        let mut blocks = Vec::with_capacity(inputs.len().div_ceil(2));
        let mut output = self.zero();
        for pair in inputs.chunks(2) {
            let pair = [pair[0], pair.get(1).copied().unwrap_or(self.zero())];
            state[1] += self.value(pair[0]);
            state[2] += self.value(pair[1]);
            let rows = trace(state);
            state = rows[ROWS - 1];
            output = self.builder.witness(state[0]);
            blocks.push((pair, rows, output));
        }
        let chain = Chain { start: None, blocks, origin: self.origin() };
        self.builder.hashes.chains.entry(Shape::Sponge(inputs.len().div_ceil(2), tag as u8)).or_default().push(chain);
        output
    }

    /// The nodes above a leaf, lowest first. The last is the root. The gate constrains `bits` to be bits.
    ///
    /// Two paths over the same siblings and bits are the same path.
    pub(super) fn queue_climb(&mut self, leaf: Wire, siblings: &[Wire], bits: &[Wire]) -> Vec<Wire> {
        let mut node = self.value(leaf);
        let mut blocks = Vec::with_capacity(siblings.len());
        for (sibling, bit) in siblings.iter().zip(bits) {
            let (other, direction) = (self.value(*sibling), self.value(*bit));
            let swap = direction * (other - node);
            let rows = trace([Tag::Node.capacity(), node + swap, other - swap]);
            node = rows[ROWS - 1][0];
            blocks.push(([*sibling, *bit], rows, self.builder.witness(node)));
        }
        let nodes = blocks.iter().map(|(_, _, output)| *output).collect();
        let chain = Chain { start: Some(leaf), blocks, origin: self.assertion() };
        self.builder.hashes.chains.entry(Shape::Path(siblings.len())).or_default().push(chain);
        nodes
    }
}

impl HashQueue {
    /// Lays out every chain, two of one shape side by side.
    pub(in crate::circuit) fn lay_out(builder: &mut Builder) {
        // The last output row. Its message cells are still free.
        let mut open = None;
        for (shape, chains) in std::mem::take(&mut builder.hashes.chains) {
            for pair in chains.chunks(2) {
                let first = match (shape, open) {
                    (Shape::Sponge(..), Some(row)) => row,
                    _ => builder.table.append(1),
                };
                open = Some(lay_out_pair(builder, shape, pair, first));
            }
        }
    }
}

fn lay_out_pair(builder: &mut Builder, shape: Shape, pair: &[Chain], first: u32) -> u32 {
    let length = match shape {
        Shape::Path(length) | Shape::Sponge(length, _) => length,
    };
    let mut idle = [Fr::ZERO; WIDTH];
    let mut row = first;
    for (lane, chain) in pair.iter().enumerate() {
        if let Some(leaf) = chain.start {
            builder.place(leaf, row, LANES[lane], chain.origin);
        }
    }
    for i in 0..length {
        let mut constants = [Fr::ZERO; 4];
        constants[..WIDTH].copy_from_slice(&PARAMETERS.round_constants[0]);
        match shape {
            Shape::Path(_) => {
                builder.table.select(row, Selector::Climb);
                idle = [Fr::ZERO, idle[0], Fr::ZERO];
            }
            Shape::Sponge(_, tag) => {
                builder.table.select(row, Selector::Absorb);
                if i == 0 {
                    let tag = Fr::from(u64::from(tag));
                    constants[0] += tag;
                    idle = [tag, Fr::ZERO, Fr::ZERO];
                } else {
                    constants[3] = Fr::ONE;
                }
            }
        }
        builder.table.row(row).constants = constants;
        let next = builder.table.append(ROWS);
        let idle_trace = trace(idle);
        for lane in 0..2 {
            let rows = match pair.get(lane) {
                Some(chain) => {
                    let (inputs, rows, output) = &chain.blocks[i];
                    for (wire, column) in inputs.iter().zip(INPUTS[lane]) {
                        builder.place(*wire, row, column, chain.origin);
                    }
                    builder.place(*output, next + ROWS as u32 - 1, LANES[lane], chain.origin);
                    let words = 0b111 << LANES[lane];
                    let inputs = INPUTS[lane].iter().fold(words, |mask, column| mask | 1 << column);
                    builder.table.explain(row, row + 1, inputs, chain.origin);
                    builder.table.explain(next, next + ROWS as u32, words, chain.origin);
                    rows
                }
                None => &idle_trace,
            };
            for (offset, cells) in rows.iter().enumerate() {
                for (word, value) in cells.iter().enumerate() {
                    builder.table.write(next + offset as u32, LANES[lane] + word, *value);
                }
            }
        }
        idle = idle_trace[ROWS - 1];
        for (offset, (step, constants)) in SCHEDULE.steps.iter().enumerate() {
            let target = next + offset as u32;
            let selector = match step {
                Step::Full => Selector::Full,
                Step::Entry => Selector::Entry,
                Step::Partial => Selector::Partial,
                Step::Exit => Selector::Exit,
            };
            builder.table.select(target, selector);
            builder.table.row(target).constants[..WIDTH].copy_from_slice(constants);
        }
        builder.ranges.offer(next);
        row = next + ROWS as u32 - 1;
    }
    row
}
