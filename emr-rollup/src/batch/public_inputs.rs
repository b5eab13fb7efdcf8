//! The values that bind a batch's data to its proof (`docs/encoding.md`, "Batch data").

use emr_core::StateRoot;
use serde::{Deserialize, Serialize};

use super::data::BatchData;
use crate::{
    operation::Domain,
    primitive::{
        field::{self, Fr, hex_element},
        keccak::keccak256,
    },
    version::CircuitVersion,
};

/// The values that a proof is verified against, in the order of the instance column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicInputs {
    /// The rollup's domain.
    pub domain: Domain,
    /// The state root before the batch.
    pub pre: StateRoot,
    /// The state root after the batch.
    pub post: StateRoot,
    /// The batch's time, Unix seconds.
    pub time: u64,
    /// The number of used L1 slots.
    pub n1: u64,
    /// The number of used L2 slots.
    pub n: u64,
    /// `C`, the commitment to the data.
    #[serde(with = "hex_element")]
    pub commitment: Fr,
    /// The point at which the data are evaluated.
    #[serde(with = "hex_element")]
    pub z: Fr,
    /// `sum D1_i z^i`.
    #[serde(with = "hex_element")]
    pub y1: Fr,
    /// `sum D2_i z^i`.
    #[serde(with = "hex_element")]
    pub y2: Fr,
}

impl PublicInputs {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// Derives the public inputs of a batch.
    ///
    /// # Panics
    /// If there are more entries than the version has L1 or L2 slots.
    pub fn derive(
        version: &CircuitVersion,
        domain: Domain,
        batch_number: u64,
        (pre, post): (StateRoot, StateRoot),
        time: u64,
        data: &BatchData,
    ) -> Self {
        let (n1, n) = (data.d1.len() as u64, data.d2.len() as u64);
        let commitment = data.commitment(version);
        let integer = |value: u64| field::to_bytes(&Fr::from(value));
        let words = [
            field::to_bytes(&domain.element()),
            integer(version.number.into()),
            integer(version.max_l1 as u64),
            integer(version.max_l2 as u64),
            integer(batch_number),
            *pre.as_bytes(),
            *post.as_bytes(),
            integer(time),
            field::to_bytes(&commitment),
            integer(n1),
            integer(n),
            data.queue_hash(),
            data.d2_hash(),
        ];
        let z = field::reduce(&keccak256(&words.concat()));
        Self { domain, pre, post, time, n1, n, commitment, z, y1: data.y1(z), y2: data.y2(z) }
    }

    /// The values in the order of the instance column, which is halo2's name for the column of public inputs.
    pub fn elements(&self) -> [Fr; Self::COUNT] {
        [
            self.domain.element(),
            field::of_root(&self.pre),
            field::of_root(&self.post),
            Fr::from(self.time),
            Fr::from(self.n1),
            Fr::from(self.n),
            self.commitment,
            self.z,
            self.y1,
            self.y2,
        ]
    }
}
