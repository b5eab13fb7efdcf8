//! What the prover prepares once from halo2-axiom's proving key.

use std::{io, sync::OnceLock};

use halo2_proofs::{
    plonk::{Any, Column, ProvingKey, VerifyingKey},
    poly::kzg::commitment::ParamsKZG,
};
use halo2curves::bn256::{Bn256, G1Affine};
use rayon::prelude::*;

use super::{
    commit::Committer,
    domain::{Domain, Twiddles, evaluate, reverse_bits},
    expression::Kind,
    program::Program,
};
use crate::primitive::field::Fr;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The constraint system has a part that this prover does not implement.
    #[error("the circuit uses {0}, which this prover does not implement")]
    Unsupported(&'static str),
    /// The setup cannot be read.
    #[error("the setup cannot be read: {0}")]
    Setup(#[source] io::Error),
}

/// A proving key, and how to evaluate its constraints.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) verifying: VerifyingKey<G1Affine>,
    pub(super) domain: Domain,
    pub(super) committer: Committer,
    pub(super) program: Program,
    /// The columns of the permutation argument, in its order.
    pub(super) permuted: Vec<(Kind, usize)>,
    /// The number of columns that share a grand product.
    pub(super) columns_per_product: usize,
    /// The cosets that determine the quotient: one less than the degree.
    pub(super) cosets: usize,
    /// Rows at the end that hold random values.
    pub(super) blinding: usize,
    /// Coefficients of all fixed columns.
    pub(super) fixed: Vec<Vec<Fr>>,
    /// Values of those fixed columns that are permuted. The others are empty.
    pub(super) fixed_values: Vec<Vec<Fr>>,
    /// Coefficients and values of the permutation's columns.
    pub(super) sigma: Vec<Vec<Fr>>,
    pub(super) sigma_values: Vec<Vec<Fr>>,
    /// The polynomials of the key on the first cosets. Filled by the first proof.
    kept: Vec<OnceLock<FixedCoset>>,
}

/// The polynomials of the key on one coset.
#[derive(Debug)]
pub(super) struct FixedCoset {
    /// Empty for columns that neither a gate nor the permutation reads.
    pub(super) fixed: Vec<Vec<Fr>>,
    pub(super) sigma: Vec<Vec<Fr>>,
    /// 1 on the first row of H, 0 on the others.
    pub(super) first: Vec<Fr>,
}

impl Key {
    /// Takes a proving key apart.
    pub(super) fn new(params: &ParamsKZG<Bn256>, key: &ProvingKey<G1Affine>) -> Result<Self, KeyError> {
        let system = key.get_vk().cs();
        if !system.lookups().is_empty() {
            return Err(KeyError::Unsupported("lookups"));
        }
        if system.num_challenges() > 0 || system.advice_column_phase().iter().any(|phase| *phase > 0) {
            return Err(KeyError::Unsupported("challenges"));
        }
        let program = Program::new(system).map_err(|_| KeyError::Unsupported("a selector that is not a column"))?;
        let halo2 = key.get_vk().get_domain();
        let cosets = halo2.get_quotient_poly_degree();
        let permuted: Vec<_> = system.permutation().get_columns().iter().map(place).collect();
        let natural = |polynomials: &[halo2_proofs::poly::Polynomial<Fr, halo2_proofs::poly::Coeff>]| -> Vec<Vec<Fr>> {
            let reversed = polynomials.par_iter().map(|polynomial| {
                let mut coefficients = polynomial.values().to_vec();
                reverse_bits(&mut coefficients);
                coefficients
            });
            reversed.collect()
        };
        let values = key.fixed_values().iter().enumerate().map(|(column, values)| {
            if permuted.contains(&(Kind::Fixed, column)) { values.values().to_vec() } else { vec![] }
        });
        Ok(Self {
            domain: Domain::new(halo2.k(), halo2.extended_k()),
            committer: Committer::new(params).map_err(KeyError::Setup)?,
            columns_per_product: cosets - 1,
            cosets,
            blinding: system.blinding_factors(),
            fixed: natural(key.fixed_polys()),
            fixed_values: values.collect(),
            sigma: natural(key.permutation().polys()),
            sigma_values: key.permutation().permutations().iter().map(|values| values.values().to_vec()).collect(),
            verifying: key.get_vk().clone(),
            kept: vec![],
            program,
            permuted,
        })
    }

    /// Keeps the key's polynomials between proofs on as many cosets as fit into so many bytes.
    pub(super) fn keep(&mut self, memory: u64) {
        let kept = memory.checked_div(self.coset_bytes()).unwrap_or(0).min(self.cosets as u64);
        self.kept = (0..kept).map(|_| OnceLock::new()).collect();
    }

    /// The number of cosets that are kept and were filled.
    #[cfg(test)]
    pub(super) fn filled(&self) -> usize {
        self.kept.iter().filter(|coset| coset.get().is_some()).count()
    }

    /// The bytes of one [`FixedCoset`].
    fn coset_bytes(&self) -> u64 {
        let fixed = (0..self.fixed.len()).filter(|column| self.reads_fixed(*column)).count();
        ((fixed + self.sigma.len() + 1) * self.domain.size() * size_of::<Fr>()) as u64
    }

    fn reads_fixed(&self, column: usize) -> bool {
        self.program.reads_fixed(column) || self.permuted.contains(&(Kind::Fixed, column))
    }

    /// Calls `with` with the key's polynomials on a coset.
    pub(super) fn with_coset<R>(&self, coset: usize, twiddles: &Twiddles, with: impl FnOnce(&FixedCoset) -> R) -> R {
        match self.kept.get(coset) {
            Some(kept) => with(kept.get_or_init(|| self.fixed_coset(twiddles))),
            None => with(&self.fixed_coset(twiddles)),
        }
    }

    fn fixed_coset(&self, twiddles: &Twiddles) -> FixedCoset {
        let read = self.fixed.par_iter().enumerate();
        // The polynomial that is 1 on the first row has equal coefficients.
        let mut first = vec![self.domain.size_inverse(); self.domain.size()];
        evaluate(&mut first, twiddles);
        FixedCoset {
            fixed: read
                .map(|(i, column)| if self.reads_fixed(i) { on_coset(column, twiddles) } else { vec![] })
                .collect(),
            sigma: self.sigma.par_iter().map(|column| on_coset(column, twiddles)).collect(),
            first,
        }
    }
}

/// The values on a coset of the polynomial with these coefficients.
pub(super) fn on_coset(coefficients: &[Fr], twiddles: &Twiddles) -> Vec<Fr> {
    let mut values = coefficients.to_vec();
    evaluate(&mut values, twiddles);
    values
}

fn place(column: &Column<Any>) -> (Kind, usize) {
    let kind = match column.column_type() {
        Any::Advice(_) => Kind::Advice,
        Any::Fixed => Kind::Fixed,
        Any::Instance => Kind::Instance,
    };
    (kind, column.index())
}
