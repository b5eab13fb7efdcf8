//! The bytes of a key, and the places of everything in the verifier's memory (`docs/contracts.md`, "The verifier's
//! key").

use halo2_proofs::{
    plonk::VerifyingKey,
    poly::{commitment::ParamsProver, kzg::commitment::ParamsKZG},
};
use halo2curves::{
    CurveAffine,
    bn256::{Bn256, Fq, Fq2, G1Affine, G2Affine},
    ff::{Field, PrimeField},
};

use super::{
    graph::{Graph, Input},
    opening::{self, Point, PointSum},
    plonk::{self, Challenges, Domain, POINT, Shape, WORD},
    program::{Operand, Program},
    schedule::Schedule,
};
use crate::{batch::PublicInputs, primitive::field};

/// Where the verifier copies the key to.
const KEY: usize = 0x200;
/// The places of the parts that every key has, in words.
const CONSTANTS: usize = 10;

/// The bytes of a point of G2.
const G2: usize = 4 * WORD;

/// The first two bytes of the header: the format's number.
const FORMAT: u16 = 0xe101;

/// The places of a key's parts in memory.
struct Places {
    points: usize,
    permutation: usize,
    generator: usize,
    rounds: usize,
    runs: usize,
    words: usize,
    terms: usize,
    calldata: usize,
    challenges: usize,
    results: usize,
    scratch: usize,
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(WORD)
}

/// The code that creates a contract from the bytes after it: `PUSH2 size, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0,
/// RETURN`.
fn creation(code: &[u8]) -> Vec<u8> {
    let [high, low] = short(code.len()).to_be_bytes();
    [&[0x61, high, low, 0x80, 0x60, 0x0a, 0x5f, 0x39, 0x5f, 0xf3], code].concat()
}

/// The creation code of the contract that holds a key. Its code begins with a zero byte, so nobody can call it.
pub(in crate::prover) fn key_contract(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>) -> Vec<u8> {
    creation(&[&[0], &encode(params, key)[..]].concat())
}

/// tau in G2, from the code of a contract that [`key_contract`] creates. `None` if it is other code.
pub(in crate::prover) fn tau_g2(code: &[u8]) -> Option<G2Affine> {
    let [0, key @ ..] = code else { return None };
    let header = key.get(WORD..2 * WORD)?;
    let negated = key.get(2 * WORD + G2..2 * WORD + 2 * G2)?;
    if header[..2] != FORMAT.to_be_bytes() {
        return None;
    }
    let mut coordinates = [Fq::ZERO; 4];
    for (coordinate, bytes) in coordinates.iter_mut().zip(negated.chunks_exact(WORD)) {
        let mut repr = <Fq as PrimeField>::Repr::default();
        repr.as_mut().iter_mut().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
        *coordinate = Option::from(Fq::from_repr(repr))?;
    }
    let [x1, x0, y1, y0] = coordinates;
    Option::<G2Affine>::from(G2Affine::from_xy(Fq2::new(x0, x1), Fq2::new(y0, y1))).map(|point| -point)
}

/// The data of a key.
fn encode(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>) -> Vec<u8> {
    let shape = Shape::of(key, PublicInputs::COUNT);
    let domain = Domain::new(key);
    let mut graph = Graph::default();
    let challenges = Challenges::of(&mut graph);
    let equations = plonk::equations(&mut graph, key, &shape, &domain, &challenges);
    let sum = opening::point_sum(&mut graph, &shape, &domain, &challenges, &equations);
    let wanted: Vec<_> = sum.terms.iter().map(|(_, scalar)| *scalar).collect();
    let program = Program::new(&graph, &wanted);
    let schedule = Schedule::new(&program);
    Image { params, key, shape, program, schedule, sum }.bytes()
}

struct Image<'a> {
    params: &'a ParamsKZG<Bn256>,
    key: &'a VerifyingKey<G1Affine>,
    shape: Shape,
    program: Program,
    schedule: Schedule,
    sum: PointSum,
}

impl Image<'_> {
    fn places(&self) -> Places {
        let fixed = self.key.fixed_commitments().len();
        let points = KEY + WORD * (CONSTANTS + self.program.constants.len());
        let permutation = points + POINT * fixed;
        let generator = permutation + POINT * self.key.permutation().commitments().len();
        let rounds = generator + POINT;
        let runs = rounds + padded(4 * self.shape.rounds().len());
        let words = runs + padded(2 * self.schedule.runs.len());
        let terms = words + WORD * self.schedule.runs.iter().map(|run| run.words.len()).sum::<usize>();
        let calldata = terms + padded(4 * self.sum.terms.len() + 2);
        let challenges = calldata + self.shape.calldata();
        let results = challenges + WORD * Challenges::COUNT;
        let scratch = results + WORD * self.schedule.count;
        Places { points, permutation, generator, rounds, runs, words, terms, calldata, challenges, results, scratch }
    }

    fn operand(&self, places: &Places, operand: Operand) -> u16 {
        let place = match operand {
            Operand::Constant(i) => KEY + WORD * (CONSTANTS + i),
            Operand::Input(Input::Calldata(at)) => places.calldata + at,
            Operand::Input(Input::Challenge(i)) => places.challenges + WORD * i,
            Operand::Result { instruction, index } => {
                places.results + WORD * (self.schedule.results[instruction] + index)
            }
            Operand::Inverse(i) => places.results + WORD * (self.schedule.denominators + i),
            Operand::Number(number) => usize::from(number),
        };
        short(place)
    }

    fn point(&self, places: &Places, point: Point) -> u16 {
        short(match point {
            Point::Calldata(at) => places.calldata + at,
            Point::Fixed(i) => places.points + POINT * i,
            Point::Permutation(i) => places.permutation + POINT * i,
            Point::NegatedGenerator => places.generator,
        })
    }

    fn header(&self, places: &Places) -> Vec<u8> {
        let shape = &self.shape;
        let fields = [
            usize::from(FORMAT),
            shape.calldata(),
            shape.instances_end(),
            shape.evaluations_start(),
            shape.evaluations_end(),
            places.calldata,
            places.challenges,
            places.results,
            places.rounds,
            places.rounds + 4 * shape.rounds().len(),
            places.runs,
            places.runs + 2 * self.schedule.runs.len(),
            places.words,
            places.terms,
            places.terms + 2 + 4 * self.sum.terms.len(),
            places.scratch,
        ];
        shorts(fields.map(short))
    }

    fn bytes(&self) -> Vec<u8> {
        let places = self.places();
        let mut bytes = Vec::new();
        bytes.extend(field::to_bytes(&self.key.transcript_repr()));
        bytes.extend(self.header(&places));
        bytes.extend(g2(self.params.g2()));
        bytes.extend(g2(-self.params.s_g2()));
        bytes.extend(self.program.constants.iter().flatten());
        bytes.extend(self.key.fixed_commitments().iter().flat_map(g1));
        bytes.extend(self.key.permutation().commitments().iter().flat_map(g1));
        bytes.extend(g1(&-self.params.get_g()[0]));
        let rounds = self.shape.rounds();
        push_padded(&mut bytes, shorts(rounds.into_iter().flat_map(|(bytes, count)| [short(bytes), short(count)])));
        let runs = self.schedule.runs.iter();
        push_padded(&mut bytes, shorts(runs.map(|run| (run.kind as u16) << 12 | short(run.words.len()))));
        for word in self.schedule.runs.iter().flat_map(|run| &run.words) {
            push_padded(&mut bytes, shorts(word.iter().map(|operand| self.operand(&places, *operand))));
        }
        let scalars = self.program.wanted.iter().map(|operand| self.operand(&places, *operand));
        let terms =
            self.sum.terms.iter().zip(scalars).flat_map(|((point, _), scalar)| [self.point(&places, *point), scalar]);
        push_padded(&mut bytes, shorts([self.point(&places, self.sum.first)].into_iter().chain(terms)));
        bytes
    }
}

fn push_padded(bytes: &mut Vec<u8>, part: Vec<u8>) {
    bytes.extend(part);
    bytes.resize(padded(bytes.len()), 0);
}

fn shorts(values: impl IntoIterator<Item = u16>) -> Vec<u8> {
    values.into_iter().flat_map(u16::to_be_bytes).collect()
}

/// # Panics
/// If the value does not fit. No key of this crate comes near: its memory is a few ten thousand bytes.
fn short(value: usize) -> u16 {
    u16::try_from(value).unwrap_or_else(|_| panic!("a key's memory has at most 65,536 bytes, not {value}"))
}

fn coordinate(value: &Fq) -> [u8; 32] {
    let mut bytes = value.to_repr();
    bytes.reverse();
    bytes
}

fn g1(point: &G1Affine) -> Vec<u8> {
    [point.x, point.y].iter().flat_map(coordinate).collect()
}

/// The imaginary part of each coordinate is first (EIP-197).
fn g2(point: G2Affine) -> Vec<u8> {
    [point.x.c1, point.x.c0, point.y.c1, point.y.c0].iter().flat_map(coordinate).collect()
}
