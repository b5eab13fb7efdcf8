//! halo2-axiom is the oracle: same key, same transcript, and its verifier decides.

#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use halo2_proofs::{
    plonk::{Circuit, ConstraintSystem, Expression, ProvingKey, create_proof_from_advice, verify_proof},
    poly::{
        VerificationStrategy,
        commitment::ParamsProver,
        kzg::{
            commitment::{KZGCommitmentScheme, ParamsKZG},
            multiopen::{ProverSHPLONK, VerifierSHPLONK},
            strategy::AccumulatorStrategy,
        },
    },
    transcript::{
        Blake2bRead, Blake2bWrite, Challenge255, Transcript, TranscriptReadBuffer, TranscriptWrite,
        TranscriptWriterBuffer,
    },
};
use halo2curves::{
    bn256::{Bn256, Fr, G1, G1Affine},
    ff::Field,
    group::Curve,
};
use rand_chacha_03::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};
use rand_core_06::OsRng;
use sample::{K, Sample};

use super::{
    Engine,
    commit::multiply,
    domain::{Domain, evaluate, interpolate, reverse_bits, value_at},
    expression::Kind,
    permutation::{self, Challenges},
    program::{Columns, Program},
    quotient::{self, Witness},
};
use crate::circuit::BatchCircuit;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn params() -> ParamsKZG<Bn256> {
    ParamsKZG::setup(K, rng(1))
}

/// What was done to a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Challenge,
    CommonPoint,
    CommonScalar,
    Point,
    Scalar,
}

/// A transcript that remembers the order of events, and the points.
struct Recorder {
    inner: Blake2bWrite<Vec<u8>, G1Affine, Challenge255<G1Affine>>,
    events: Vec<Event>,
    points: Vec<G1Affine>,
}

impl Recorder {
    fn new() -> Self {
        Self { inner: Blake2bWrite::init(vec![]), events: vec![], points: vec![] }
    }
}

impl Transcript<G1Affine, Challenge255<G1Affine>> for Recorder {
    fn squeeze_challenge(&mut self) -> Challenge255<G1Affine> {
        self.events.push(Event::Challenge);
        self.inner.squeeze_challenge()
    }

    fn common_point(&mut self, point: G1Affine) -> std::io::Result<()> {
        self.events.push(Event::CommonPoint);
        self.inner.common_point(point)
    }

    fn common_scalar(&mut self, scalar: Fr) -> std::io::Result<()> {
        self.events.push(Event::CommonScalar);
        self.inner.common_scalar(scalar)
    }
}

impl TranscriptWrite<G1Affine, Challenge255<G1Affine>> for Recorder {
    fn write_point(&mut self, point: G1Affine) -> std::io::Result<()> {
        self.events.push(Event::Point);
        self.points.push(point);
        self.inner.write_point(point)
    }

    fn write_scalar(&mut self, scalar: Fr) -> std::io::Result<()> {
        self.events.push(Event::Scalar);
        self.inner.write_scalar(scalar)
    }
}

fn ours(engine: &Engine, sample: &Sample, seed: u64) -> Recorder {
    let mut recorder = Recorder::new();
    engine.prove(&[&sample.instance], sample.advice.clone(), rng(seed), &mut recorder).unwrap();
    recorder
}

fn theirs(params: &ParamsKZG<Bn256>, key: &ProvingKey<G1Affine>, sample: &Sample, seed: u64) -> Recorder {
    let mut recorder = Recorder::new();
    create_proof_from_advice::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, _, _, _>(
        params,
        key,
        &[&sample.instance],
        sample.advice.clone(),
        rng(seed),
        &mut recorder,
    )
    .unwrap();
    recorder
}

fn verifies(params: &ParamsKZG<Bn256>, key: &ProvingKey<G1Affine>, instance: &[Fr], recorder: Recorder) -> bool {
    let proof = recorder.inner.finalize();
    let mut transcript: Blake2bRead<_, G1Affine, Challenge255<_>> = Blake2bRead::init(&proof[..]);
    let verified = verify_proof::<_, VerifierSHPLONK<'_, Bn256>, _, _, _>(
        params.verifier_params(),
        key.get_vk(),
        AccumulatorStrategy::new(params.verifier_params()),
        &[&[instance]],
        &mut transcript,
    );
    verified.is_ok_and(VerificationStrategy::<_, VerifierSHPLONK<'_, Bn256>>::finalize)
}

/// Degrees with one grand product and with several, with a power of two of cosets and without.
const DEGREES: [usize; 5] = [4, 5, 6, 8, 9];

#[test]
fn proofs_of_both_provers_hold_for_the_same_key() {
    let params = params();
    for degree in DEGREES {
        let sample = Sample::new(degree, degree as u64);
        let key = sample.key(&params);
        let engine = Engine::new(&params, &key, u64::MAX).unwrap();
        let (ours, theirs) = (ours(&engine, &sample, 2), theirs(&params, &key, &sample, 2));
        assert_eq!(ours.events, theirs.events, "degree {degree}");
        // The same generator gives the same random rows.
        assert_eq!(ours.points[..4], theirs.points[..4], "degree {degree}");
        assert!(verifies(&params, &key, &sample.instance, theirs), "degree {degree}: halo2-axiom");
        assert!(verifies(&params, &key, &sample.instance, ours), "degree {degree}: ours");
    }
}

#[test]
fn a_false_witness_gives_no_proof() {
    let params = params();
    let sample = Sample::new(6, 3);
    let key = sample.key(&params);
    let engine = Engine::new(&params, &key, u64::MAX).unwrap();
    let holds = |sample: &Sample| verifies(&params, &key, &sample.instance, ours(&engine, sample, 4));
    assert!(holds(&sample));
    // A gate, each kind of copy, a public input that is copied, and one that only a gate reads.
    for (column, row) in [(0, 4), (2, 6), (3, 8), (1, 7), (0, 12), (1, 5)] {
        let mut other = sample.clone();
        other.advice[column][row] += Fr::ONE;
        assert!(!holds(&other), "column {column}, row {row}");
    }
    for row in [0, 3] {
        let mut other = sample.clone();
        other.instance[row] += Fr::ONE;
        assert!(!holds(&other), "public input {row}");
    }
    // Row 0 of column d is in no constraint.
    let mut free = sample.clone();
    free.advice[3][0] += Fr::ONE;
    assert!(holds(&free));
}

#[test]
fn two_proofs_of_one_witness_share_no_commitment() {
    let params = params();
    let sample = Sample::new(5, 5);
    let key = sample.key(&params);
    let engine = Engine::new(&params, &key, 0).unwrap();
    let (one, two) = (ours(&engine, &sample, 6), ours(&engine, &sample, 7));
    assert_eq!(one.points.len(), two.points.len());
    for (i, (one, two)) in one.points.iter().zip(&two.points).enumerate() {
        assert_ne!(one, two, "commitment {i}");
    }
    // Each is blinded by its own random values, not by one that both provers could guess from another.
    let mut zero = sample;
    zero.advice = vec![vec![Fr::ZERO; 1 << K]; 4];
    let points = ours(&engine, &zero, 8).points;
    for i in 0..4 {
        assert!(points[..i].iter().all(|point| *point != points[i]), "equal columns have the same commitment");
    }
}

/// What hides the witness in the grand products and in the quotient. Commitments do not show it: they differ anyway.
#[test]
fn what_blinds_is_random_in_each_proof_and_in_each_place() {
    let params = params();
    let sample = Sample::new(4, 11);
    let engine = Engine::new(&params, &sample.key(&params), 0).unwrap();
    let Engine(key) = &engine;
    let instance = [super::padded(&sample.instance, 1 << K, key.blinding)];
    let columns = Columns { fixed: &key.fixed_values, advice: &sample.advice, instance: &instance };
    let challenges = Challenges { beta: Fr::from(3), gamma: Fr::from(5) };
    let products = |seed| permutation::products(key, columns, challenges, &mut rng(seed));
    let (one, two) = (products(12), products(13));
    assert!(one.len() > 1 && key.blinding >= 5, "several products, and as many random rows as halo2-axiom");
    let usable = (1 << K) - key.blinding;
    let mut seen = std::collections::BTreeSet::new();
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one[..usable], two[..usable]);
        seen.extend(one[usable..].iter().chain(&two[usable..]).copied());
    }
    assert_eq!(seen.len(), 2 * one.len() * key.blinding, "no value stands twice");
    let polynomials = [14, 15].map(|seed| super::blinding_polynomial(1 << K, &mut rng(seed)));
    let seen: std::collections::BTreeSet<_> = polynomials.iter().flatten().copied().collect();
    assert_eq!(seen.len(), 2 << K, "every coefficient is random");
}

#[test]
fn kept_cosets_change_nothing() {
    let params = params();
    let sample = Sample::new(6, 9);
    let mut engine = Engine::new(&params, &sample.key(&params), 0).unwrap();
    let proof = ours(&engine, &sample, 10).inner.finalize();
    let coset = (1 << K) * 32 * 9;
    for memory in [coset - 1, coset, 3 * coset, u64::MAX] {
        engine.keep(memory);
        for round in ["fills the cosets", "reads them"] {
            assert_eq!(ours(&engine, &sample, 10).inner.finalize(), proof, "{memory} bytes, {round}");
        }
        let filled = (memory / coset).min(5) as usize;
        assert_eq!(engine.0.filled(), filled);
    }
}

/// The quotient times `X^n - 1` must be the sum of halo2's own expressions at a random point.
#[test]
fn the_quotient_is_that_of_the_constraints() {
    let params = params();
    for degree in DEGREES {
        let sample = Sample::new(degree, 11);
        let key = sample.key(&params);
        let engine = Engine::new(&params, &key, u64::MAX).unwrap();
        let prepared = &engine.0;
        let domain = &prepared.domain;
        let [beta, gamma, y, x] = [(); 4].map(|()| Fr::random(OsRng));
        let challenges = Challenges { beta, gamma };
        let instance = vec![super::padded(&sample.instance, 1 << K, prepared.blinding)];
        let columns = Columns { fixed: &prepared.fixed_values, advice: &sample.advice, instance: &instance };
        let products = permutation::products(prepared, columns, challenges, &mut rng(12));
        let coefficients =
            |columns: &[Vec<Fr>]| columns.iter().map(|column| domain.coefficients(column.clone())).collect::<Vec<_>>();
        let (advice, instance, products) =
            (coefficients(&sample.advice), coefficients(&instance), coefficients(&products));
        let witness = Witness { advice: &advice, instance: &instance, products: &products };
        let pieces = quotient::pieces(prepared, witness, challenges, y);
        assert_eq!(pieces.len(), degree - 1);

        let at = |polynomial: &[Fr], rotation: i32| value_at(polynomial, domain.rotate(x, rotation));
        let system = key.get_vk().cs();
        let mut values: Vec<Fr> = vec![];
        for polynomial in system.gates().iter().flat_map(|gate| gate.polynomials()) {
            values.push(polynomial.evaluate(
                &|constant| constant,
                &|_| unreachable!("no selectors"),
                &|query| at(&prepared.fixed[query.column_index()], query.rotation().0),
                &|query| at(&advice[query.column_index()], query.rotation().0),
                &|query| at(&instance[query.column_index()], query.rotation().0),
                &|_| unreachable!("no challenges"),
                &|value| -value,
                &|left, right| left + right,
                &|left, right| left * right,
                &|value, factor| value * factor,
            ));
        }
        let halo2 = key.get_vk().get_domain();
        let n = 1u64 << K;
        let xn = x.pow_vartime([n]);
        let last = -(prepared.blinding as i32 + 1);
        let basis = halo2.l_i_range(x, xn, last..=0);
        let (first, end) = (basis[basis.len() - 1], basis[0]);
        let active = Fr::ONE - basis[..basis.len() - 1].iter().sum::<Fr>();
        let (head, tail) = (at(&products[0], 0), at(&products[products.len() - 1], 0));
        values.push(first * (Fr::ONE - head));
        values.push(end * (tail.square() - tail));
        for pair in products.windows(2) {
            values.push(first * (at(&pair[1], 0) - at(&pair[0], last)));
        }
        let mut label = beta * x;
        let labelled = prepared.permuted.iter().zip(key.permutation().polys()).map(|((kind, column), sigma)| {
            let value = match kind {
                Kind::Fixed => at(&prepared.fixed[*column], 0),
                Kind::Advice => at(&advice[*column], 0),
                Kind::Instance => at(&instance[*column], 0),
            };
            let here = value + gamma + label;
            label *= <Fr as halo2curves::ff::PrimeField>::DELTA;
            (value + gamma + beta * halo2_proofs::arithmetic::eval_polynomial(sigma.values(), x), here)
        });
        let factors: Vec<_> = labelled.collect();
        for (product, factors) in products.iter().zip(factors.chunks(degree - 2)) {
            let left = factors.iter().fold(at(product, 1), |left, (factor, _)| left * factor);
            let right = factors.iter().fold(at(product, 0), |right, (_, factor)| right * factor);
            values.push(active * (left - right));
        }
        let expected = values.iter().fold(Fr::ZERO, |sum, value| sum * y + value);
        let quotient = pieces.iter().rev().fold(Fr::ZERO, |sum, piece| sum * xn + value_at(piece, x));
        assert_eq!(quotient * (xn - Fr::ONE), expected, "degree {degree}");
    }
}

#[test]
fn gates_share_work() {
    let mut system = ConstraintSystem::default();
    BatchCircuit::configure(&mut system);
    let program = Program::new(&system).unwrap_or_else(|_| panic!("cells only"));
    let written: usize = system.gates().iter().flat_map(|gate| gate.polynomials()).map(multiplications).sum();
    let needed = program.multiplications();
    eprintln!("multiplications per row: {needed}, as written: {written}");
    assert!(2 * needed < written, "{needed} of {written}");
}

/// The multiplications of an expression as it is written.
fn multiplications(expression: &Expression<Fr>) -> usize {
    match expression {
        Expression::Negated(inner) => multiplications(inner),
        Expression::Scaled(inner, _) => 1 + multiplications(inner),
        Expression::Sum(left, right) => multiplications(left) + multiplications(right),
        Expression::Product(left, right) => 1 + multiplications(left) + multiplications(right),
        _ => 0,
    }
}

#[test]
fn transforms_agree_with_polynomials() {
    for k in [0u32, 1, 3, 11, 14] {
        let domain = Domain::new(k, k + 3);
        let size = 1usize << k;
        let natural: Vec<_> = (0..size).map(|_| Fr::random(OsRng)).collect();
        let mut reversed = natural.clone();
        reverse_bits(&mut reversed);
        let shift = domain.shift(3);
        let mut values = reversed.clone();
        evaluate(&mut values, &domain.coset_factors(shift));
        let horner = |point: Fr| natural.iter().rev().fold(Fr::ZERO, |sum, coefficient| sum * point + coefficient);
        for row in [0, 1 % size, size / 2, size - 1] {
            let point = shift * domain.power(row);
            assert_eq!(values[row], horner(point), "k = {k}, row {row}");
            assert_eq!(value_at(&reversed, point), horner(point), "k = {k}, row {row}");
        }
        interpolate(&mut values, &domain.coset_inverse(shift));
        let scale = domain.size_inverse();
        assert!(values.iter().zip(&reversed).all(|(value, coefficient)| *value * scale == *coefficient));
        let on_h: Vec<_> = (0..size).map(|row| horner(domain.power(row))).take(2048).collect();
        if on_h.len() == size {
            assert_eq!(domain.coefficients(on_h), reversed);
        }
    }
}

/// A scalar for each row.
type Column = Box<dyn Fn(&mut ChaCha20Rng, usize) -> Fr>;

#[test]
fn sums_of_points_agree_with_single_multiplications() {
    let mut rng = rng(13);
    let point = |scalar: Fr| (G1::generator() * scalar).to_affine();
    for size in [1usize, 2, 3, 31, 300, 3000] {
        // Every seventh point is the same, and every eleventh is the identity.
        let logs: Vec<_> = (0..size)
            .map(|i| match (i % 7, i % 11) {
                (_, 10) => Fr::ZERO,
                (3, _) => Fr::from(5),
                _ => Fr::random(&mut rng),
            })
            .collect();
        let points: Vec<_> = logs.iter().map(|log| point(*log)).collect();
        let columns: [Column; 6] = [
            Box::new(|rng, _| Fr::random(rng)),
            Box::new(|_, _| Fr::ZERO),
            Box::new(|_, _| -Fr::ONE),
            // Equal points with equal and opposite digits.
            Box::new(|_, i| if i % 2 == 0 { Fr::from(4095) } else { -Fr::from(4095) }),
            Box::new(|rng, _| Fr::from(rng.next_u64() & 3)),
            Box::new(|rng, i| if i % 3 == 0 { Fr::ZERO } else { Fr::from(rng.next_u64()) }),
        ];
        for (number, column) in columns.iter().enumerate() {
            let scalars: Vec<_> = (0..size).map(|i| column(&mut rng, i)).collect();
            let expected: Fr = scalars.iter().zip(&logs).map(|(scalar, log)| *scalar * log).sum();
            assert_eq!(multiply(&scalars, &points).to_affine(), point(expected), "size {size}, column {number}");
        }
    }
}
