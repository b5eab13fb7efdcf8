//! Hashes and Merkle paths. They are queued, paired by shape, and laid out in two lanes.

use halo2curves::ff::Field;

use super::poseidon::LANES;
use crate::{
    circuit::{
        builder::{Builder, Queue, Wire},
        config::Selector,
        origin::Origin,
        scope::Scope,
    },
    primitive::{
        field::{Fr, to_u64},
        poseidon::{
            PARAMETERS, RATE, Tag, WIDTH,
            schedule::{ROWS, SCHEDULE, Step, trace},
        },
    },
    state::tree::ARITY,
};

/// The rows of a permutation.
type Trace = [[Fr; WIDTH]; ROWS];

/// The wires beside a node of a path: three siblings, and the turn.
pub(super) type Level = ([Wire; ARITY - 1], Wire);

/// A permutation in a lane.
#[derive(Debug)]
struct Block {
    /// The wires of its first row, but for the output of the permutation before, with their words.
    inputs: Vec<(usize, Wire)>,
    rows: Trace,
    output: Wire,
}

/// A chain of permutations in one lane.
#[derive(Debug)]
struct Chain {
    blocks: Vec<Block>,
    origin: Origin,
}

/// The shape of a chain. Two chains of one shape can share rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// A path of this many levels.
    Path(usize),
    /// A hash of this many permutations, under a tag.
    Hash(usize, u8),
}

/// Chains that are not laid out yet.
#[derive(Debug, Default)]
pub(in crate::circuit) struct HashQueue {
    chains: Queue<Shape, Chain>,
}

impl Scope<'_> {
    /// `H_tag(inputs)`.
    pub(in crate::circuit) fn hash(&mut self, tag: Tag, inputs: &[Wire]) -> Wire {
        let mut blocks = Vec::new();
        let (first, rest) = inputs.split_at(inputs.len().min(RATE));
        let mut output = self.block(&mut blocks, tag, first.to_vec(), 0);
        for more in rest.chunks(RATE - 1) {
            output = self.block(&mut blocks, tag, [&[output], more].concat(), 1);
        }
        let chain = Chain { blocks, origin: self.origin() };
        let shape = Shape::Hash(chain.blocks.len(), tag as u8);
        self.builder.hashes.chains.entry(shape).or_default().push(chain);
        output
    }

    /// A permutation over up to four inputs. The first `given` of them are in their cells already.
    fn block(&mut self, blocks: &mut Vec<Block>, tag: Tag, mut inputs: Vec<Wire>, given: usize) -> Wire {
        inputs.resize(RATE, self.zero());
        let mut state = [tag.capacity(); WIDTH];
        state[1..].copy_from_slice(&inputs.iter().map(|input| self.value(*input)).collect::<Vec<_>>());
        let rows = trace(state);
        let output = self.builder.witness(rows[ROWS - 1][0]);
        blocks.push(Block { inputs: inputs.into_iter().enumerate().skip(given).collect(), rows, output });
        output
    }

    /// The nodes above a leaf, lowest first. The last is the root. The gate constrains the turns to be below 4.
    ///
    /// Two paths over the same siblings and turns are the same path.
    pub(super) fn queue_climb(&mut self, leaf: Wire, levels: &[Level]) -> Vec<Wire> {
        let mut node = self.value(leaf);
        let mut blocks = Vec::with_capacity(levels.len());
        for (siblings, turn) in levels {
            let mut inputs: Vec<_> = siblings.iter().copied().chain([*turn]).zip(1..).map(|(w, i)| (i, w)).collect();
            if blocks.is_empty() {
                inputs.insert(0, (0, leaf));
            }
            let rows = trace(parent(node, siblings.map(|sibling| self.value(sibling)), self.value(*turn)));
            node = rows[ROWS - 1][0];
            blocks.push(Block { inputs, rows, output: self.builder.witness(node) });
        }
        let nodes = blocks.iter().map(|block| block.output).collect();
        let chain = Chain { blocks, origin: self.assertion() };
        self.builder.hashes.chains.entry(Shape::Path(levels.len())).or_default().push(chain);
        nodes
    }
}

/// The state that the gate makes of a node, its siblings and its turn. A turn that is no turn gives some state.
fn parent(node: Fr, siblings: [Fr; ARITY - 1], turn: Fr) -> [Fr; WIDTH] {
    let children = |turn: usize| {
        let mut children = [siblings[0], siblings[0], siblings[1], siblings[2]];
        children[..turn].copy_from_slice(&siblings[..turn]);
        children[turn] = node;
        children[turn + 1..].copy_from_slice(&siblings[turn..]);
        children
    };
    let [a, b, c, d] = match to_u64(&turn) {
        Some(turn @ 0..4) => children(turn as usize),
        _ => interpolated(turn, children),
    };
    [Tag::Node.capacity(), a, b, c, d]
}

/// The children at a turn that is not below 4, as the gate's polynomials give them.
fn interpolated(turn: Fr, children: impl Fn(usize) -> [Fr; ARITY]) -> [Fr; ARITY] {
    let mut sum = [Fr::ZERO; ARITY];
    for i in 0..ARITY {
        let others = (0..ARITY).filter(|other| *other != i).map(|other| Fr::from(other as u64));
        let scale: Fr = others.clone().map(|other| Fr::from(i as u64) - other).product();
        let weight: Fr = others.map(|other| turn - other).product::<Fr>() * scale.invert().unwrap_or(Fr::ZERO);
        sum.iter_mut().zip(children(i)).for_each(|(sum, child)| *sum += weight * child);
    }
    sum
}

impl HashQueue {
    /// Lays out every chain, two of one shape side by side.
    pub(in crate::circuit) fn lay_out(builder: &mut Builder) {
        let first = builder.table.rows.len() as u32;
        for (shape, chains) in std::mem::take(&mut builder.hashes.chains) {
            for pair in chains.chunks(2) {
                lay_out_pair(builder, shape, pair);
            }
        }
        builder.ranges.offer(first..builder.table.rows.len() as u32);
    }
}

fn lay_out_pair(builder: &mut Builder, shape: Shape, pair: &[Chain]) {
    let (length, selector, tag) = match shape {
        Shape::Path(length) => (length, Selector::Climb, Tag::Node as u8),
        Shape::Hash(length, tag) => (length, Selector::Absorb, tag),
    };
    let mut constants = PARAMETERS.round_constants[0];
    constants[0] += Fr::from(u64::from(tag));
    let mut row = builder.table.append(1);
    // The output of a lane without a chain. Its other inputs are 0.
    let mut idle = Fr::ZERO;
    for i in 0..length {
        builder.table.select(row, selector);
        builder.table.row(row).constants = constants;
        let next = builder.table.append(ROWS);
        let idle_rows = trace([Fr::from(u64::from(tag)), idle, Fr::ZERO, Fr::ZERO, Fr::ZERO]);
        for (lane, first) in LANES.into_iter().enumerate() {
            let rows = match pair.get(lane) {
                Some(chain) => {
                    let Block { inputs, rows, output } = &chain.blocks[i];
                    for (word, wire) in inputs {
                        builder.place(*wire, row, first + word, chain.origin);
                    }
                    builder.place(*output, next + ROWS as u32 - 1, first, chain.origin);
                    let words = ((1 << WIDTH) - 1) << first;
                    builder.table.explain(row, row + 1, words, chain.origin);
                    builder.table.explain(next, next + ROWS as u32, words, chain.origin);
                    rows
                }
                None => &idle_rows,
            };
            for (offset, cells) in rows[..ROWS - 1].iter().enumerate() {
                for (word, value) in cells.iter().enumerate() {
                    builder.table.write(next + offset as u32, first + word, *value);
                }
            }
            builder.table.write(next + ROWS as u32 - 1, first, rows[ROWS - 1][0]);
        }
        idle = idle_rows[ROWS - 1][0];
        for (offset, (step, constants)) in SCHEDULE.steps.iter().enumerate() {
            let target = next + offset as u32;
            let selector = match step {
                Step::Full => Selector::Full,
                Step::Entry => Selector::Entry,
                Step::Partial => Selector::Partial,
                Step::Exit => Selector::Exit,
                Step::Last => Selector::Last,
            };
            builder.table.select(target, selector);
            builder.table.row(target).constants = *constants;
        }
        row = next + ROWS as u32 - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{circuit::diagnosis::failures_of, primitive::poseidon, state::leaf::LeafHash, state::tree::Path};

    fn four(first: u64) -> [Fr; 4] {
        std::array::from_fn(|i| Fr::from(first + i as u64))
    }

    /// Climbs from leaf 77 in one lane or in two.
    fn climb(turns: &[Fr], lanes: usize) -> (Vec<Fr>, usize) {
        let mut builder = Builder::new();
        let mut roots = Vec::new();
        for _ in 0..lanes {
            let [leaf] = builder.test_hints([Fr::from(77)]);
            let levels: Vec<Level> = turns
                .iter()
                .zip(1..)
                .map(|(turn, level)| {
                    let [a, b, c, d] = builder.test_hints([
                        *turn,
                        (10 * level).into(),
                        (10 * level + 1).into(),
                        (10 * level + 2).into(),
                    ]);
                    ([b, c, d], a)
                })
                .collect();
            let root = builder.test_scope().queue_climb(leaf, &levels).pop().expect("a root");
            roots.push(builder.value(root));
        }
        (roots, failures_of(&builder.finish()).len())
    }

    #[test]
    fn a_climb_is_the_trees_path_at_every_turn() {
        for position in 0..64u32 {
            let turns: Vec<_> = (0..3).map(|level| Fr::from(u64::from(position >> (2 * level) & 3))).collect();
            let path = Path::new((1..=3u64).map(|level| [10 * level, 10 * level + 1, 10 * level + 2].map(Fr::from)));
            let root = path.root(position, LeafHash::from(Fr::from(77)));
            for lanes in [1, 2, 3] {
                assert_eq!(climb(&turns, lanes), (vec![root; lanes], 0));
            }
        }
    }

    #[test]
    fn a_turn_that_is_no_turn_is_refused_and_nothing_else() {
        for turn in [Fr::from(4), -Fr::ONE, Fr::from(2).invert().unwrap_or(Fr::ZERO), Fr::from(1 << 40)] {
            assert_eq!(climb(&[Fr::ONE, turn], 1).1, 1, "{turn:?}");
            assert_eq!(climb(&[turn, Fr::from(3)], 2).1, 2, "{turn:?}");
        }
    }

    #[test]
    fn a_hash_of_any_length_is_the_hash() {
        let inputs: Vec<Fr> = four(5).into_iter().chain(four(40)).chain(four(90)).collect();
        for length in 1..=inputs.len() {
            for lanes in [1, 2, 3] {
                let mut builder = Builder::new();
                let wires: Vec<_> = inputs[..length].iter().map(|input| builder.test_hints([*input])[0]).collect();
                for _ in 0..lanes {
                    let hash = builder.test_scope().hash(Tag::Message, &wires);
                    assert_eq!(builder.value(hash), poseidon::hash(Tag::Message, &inputs[..length]));
                }
                assert_eq!(failures_of(&builder.finish()), []);
            }
        }
    }
}
