//! A circuit with random coefficients, and honest columns for it.

use halo2_proofs::{
    circuit::{Cell, Layouter, SimpleFloorPlanner, Value},
    plonk::{Advice, Circuit, Column, ConstraintSystem, Error, Expression, Fixed, Instance, ProvingKey, keygen_pk2},
    poly::{Rotation, kzg::commitment::ParamsKZG},
};
use halo2curves::{
    bn256::{Bn256, Fr, G1Affine},
    ff::Field,
};
use rand_chacha_03::{ChaCha20Rng, rand_core::SeedableRng};

/// Rows: `2^K`.
pub(super) const K: u32 = 6;
/// Rows with gates.
const USED: usize = 40;

/// `c = f·a·b[next] + w·a² - g·(b[previous] - 3)` and `d = a^(degree - 1) + instance`, on the rows with a selector.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    degree: usize,
    factors: [Fr; 2],
    selector: Vec<Fr>,
    constants: Vec<Fr>,
    pub(super) advice: Vec<Vec<Fr>>,
    pub(super) instance: Vec<Fr>,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    advice: [Column<Advice>; 4],
    selector: Column<Fixed>,
    constants: Column<Fixed>,
    instance: Column<Instance>,
}

impl Sample {
    pub(super) fn new(degree: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let size = 1usize << K;
        let mut random = || Fr::random(&mut rng);
        let factors = [random(), random()];
        let mut column =
            |used| -> Vec<_> { (0..size).map(|row| if row < used { random() } else { Fr::ZERO }).collect() };
        let constants = column(USED);
        let mut instance = column(7);
        let (mut a, mut b) = (column(USED), column(USED + 1));
        // The rows 0 and USED - 1 have no selector, because their neighbours may be random.
        let selector: Vec<_> =
            (0..size).map(|row| Fr::from(u64::from((1..USED - 1).contains(&row) && row % 5 != 0))).collect();
        // The copies, except that of c.
        b[7] = constants[3];
        b[5] = a[1];
        instance[0] = b[9];
        let (mut c, mut d) = (vec![Fr::ZERO; size], vec![Fr::ZERO; size]);
        for row in 1..USED - 1 {
            if row == 12 {
                a[row] = c[2];
            }
            c[row] = factors[0] * a[row] * b[row + 1] + constants[row] * a[row].square()
                - factors[1] * (b[row - 1] - Fr::from(3));
            d[row] = a[row].pow_vartime([degree as u64 - 1]) + instance[row];
        }
        Self { degree, factors, selector, constants, advice: vec![a, b, c, d], instance: instance[..7].to_vec() }
    }

    pub(super) fn key(&self, params: &ParamsKZG<Bn256>) -> ProvingKey<G1Affine> {
        keygen_pk2(params, self, false).unwrap()
    }
}

impl Circuit<Fr> for Sample {
    type Config = Config;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = (usize, [Fr; 2]);

    fn params(&self) -> Self::Params {
        (self.degree, self.factors)
    }

    fn without_witnesses(&self) -> Self {
        self.clone()
    }

    fn configure(_: &mut ConstraintSystem<Fr>) -> Config {
        unreachable!("the circuit has parameters")
    }

    fn configure_with_params(meta: &mut ConstraintSystem<Fr>, (degree, factors): Self::Params) -> Config {
        meta.set_minimum_degree(degree);
        let config = Config {
            advice: [(); 4].map(|()| meta.advice_column()),
            selector: meta.fixed_column(),
            constants: meta.fixed_column(),
            instance: meta.instance_column(),
        };
        for column in config.advice {
            meta.enable_equality(column);
        }
        meta.enable_equality(config.constants);
        meta.enable_equality(config.instance);
        let [a, b, c, d] = config.advice;
        meta.create_gate("c", |meta| {
            let [a, c] = [a, c].map(|column| meta.query_advice(column, Rotation::cur()));
            let [before, after] = [Rotation::prev(), Rotation::next()].map(|rotation| meta.query_advice(b, rotation));
            let [q, w] = [config.selector, config.constants].map(|column| meta.query_fixed(column, Rotation::cur()));
            let three = Expression::Constant(Fr::from(3));
            let sum = a.clone() * after * factors[0] + w * (a.clone() * a) - (before - three) * factors[1];
            // Twice, in another form: equal work must be shared and still count twice.
            vec![q.clone() * (sum.clone() - c.clone()), (c * Fr::from(2) - sum * Fr::from(2)) * q]
        });
        meta.create_gate("d", |meta| {
            let [a, d] = [a, d].map(|column| meta.query_advice(column, Rotation::cur()));
            let q = meta.query_fixed(config.selector, Rotation::cur());
            let public = meta.query_instance(config.instance, Rotation::cur());
            let power = (1..degree - 1).fold(a.clone(), |power, _| power * a.clone());
            vec![q * (power + public - d)]
        });
        config
    }

    fn synthesize(&self, config: Config, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        let [a, b, c, _] = config.advice;
        let cell = |column, row_offset| Cell { row_offset, column };
        layouter.assign_region(
            || "all",
            |mut region| {
                for row in 0..USED {
                    region.assign_fixed(config.selector, row, self.selector[row]);
                    region.assign_fixed(config.constants, row, self.constants[row]);
                    for (column, values) in config.advice.into_iter().zip(&self.advice) {
                        region.assign_advice(column, row, Value::known(values[row]));
                    }
                }
                region.constrain_equal(cell(b.into(), 7), cell(config.constants.into(), 3));
                region.constrain_equal(cell(a.into(), 1), cell(b.into(), 5));
                region.constrain_equal(cell(a.into(), 12), cell(c.into(), 2));
                Ok(())
            },
        )?;
        layouter.constrain_instance(cell(b.into(), 9), config.instance, 0);
        Ok(())
    }
}
