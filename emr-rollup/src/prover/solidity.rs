//! Generates the verifier contract.

use std::rc::Rc;

use halo2_proofs::{
    plonk::VerifyingKey,
    poly::{commitment::ParamsProver, kzg::commitment::ParamsKZG},
};
use halo2curves::bn256::{Bn256, Fq, Fr, G1Affine};
use snark_verifier::{
    loader::evm::{EvmLoader, encode_calldata},
    pcs::kzg::{Bdfg21, KzgAs},
    system::halo2::{Config, compile, transcript::evm::EvmTranscript},
    verifier::{SnarkVerifier, plonk::PlonkProtocol, plonk::PlonkVerifier},
};

use super::{keys::KeyDigest, setup::Provenance};
use crate::batch::PublicInputs;

type EvmVerifier = PlonkVerifier<KzgAs<Bn256, Bdfg21>>;

fn protocol(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>) -> PlonkProtocol<G1Affine> {
    compile(params, key, Config::kzg().with_num_instance(vec![PublicInputs::COUNT]))
}

/// The parts of a proof, in order: points of 64 bytes (advice, permutation product, blinding polynomial, quotient),
/// evaluations of 32 bytes, and the two points of the opening.
struct ProofLayout {
    commitments: usize,
    evaluations: usize,
}

impl ProofLayout {
    const POINT: usize = 64;
    const SCALAR: usize = 32;
    const OPENING: usize = 2 * Self::POINT;

    fn of(protocol: &PlonkProtocol<G1Affine>) -> Self {
        Self {
            commitments: protocol.num_witness.iter().sum::<usize>() + protocol.quotient.num_chunk(),
            evaluations: protocol.evaluations.len(),
        }
    }

    fn size(&self) -> usize {
        Self::POINT * self.commitments + Self::SCALAR * self.evaluations + Self::OPENING
    }

    /// Yul code that refuses two things which the native verifier refuses and snark-verifier's code accepts: calldata
    /// that does not end with the proof, and evaluations that are not below the scalar field's modulus. Without these
    /// checks one proof has many encodings that are accepted.
    fn checks(&self) -> String {
        let instances = Self::SCALAR * PublicInputs::COUNT;
        let first = instances + Self::POINT * self.commitments;
        let end = first + Self::SCALAR * self.evaluations;
        format!(
            "            // The instances, one proof, and nothing after it\n            \
             if iszero(eq(calldatasize(), {:#x})) {{ revert(0, 0) }}\n            \
             // The proof's evaluations are canonical\n            \
             for {{ let at := {first:#x} }} lt(at, {end:#x}) {{ at := add(at, 0x20) }} {{\n                \
             success := and(lt(calldataload(at), f_q), success)\n            \
             }}\n",
            instances + self.size(),
        )
    }
}

/// The size of every proof in bytes.
pub(super) fn proof_size(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>) -> usize {
    ProofLayout::of(&protocol(params, key)).size()
}

/// The line of snark-verifier's code before which [`ProofLayout::checks`] is inserted: `success` and `f_q` are defined
/// there.
const BEFORE_THE_PROOF: &str = "            function validate_ec_point(x, y) -> valid {\n";

/// snark-verifier's contract for a key, with a check of the calldata's exact form.
///
/// # Panics
/// Never for a key of this crate. It would panic for a proof system that snark-verifier does not know, or with another
/// version of snark-verifier that generates other code.
pub(super) fn generate(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>, provenance: &Provenance) -> String {
    let deciding_key = (params.get_g()[0], params.g2(), params.s_g2()).into();
    let loader = EvmLoader::new::<Fq, Fr>();
    let protocol = protocol(params, key);
    let checks = ProofLayout::of(&protocol).checks();
    let protocol = protocol.loaded(&loader);
    let mut transcript = EvmTranscript::<_, Rc<EvmLoader>, _, _>::new(&loader);
    let instances = transcript.load_instances(vec![PublicInputs::COUNT]);
    let verified = EvmVerifier::read_proof(&deciding_key, &protocol, &instances, &mut transcript)
        .map(|proof| EvmVerifier::verify(&deciding_key, &protocol, &instances, &proof));
    assert!(matches!(verified, Ok(Ok(_))), "writing a verifier does not depend on any proof");
    // snark-verifier pins another compiler version. The code compiles with newer ones too.
    let source = loader.solidity_code().replace("pragma solidity 0.8.19;", "pragma solidity ^0.8.19;");
    assert_eq!(source.matches(BEFORE_THE_PROOF).count(), 1, "snark-verifier writes its code in another way");
    let source = source.replace(BEFORE_THE_PROOF, &format!("{checks}{BEFORE_THE_PROOF}"));
    let origin = match provenance {
        Provenance::InsecureDevelopmentSeed => {
            "Under the INSECURE DEVELOPMENT SETUP: for development chains only.".to_owned()
        }
        Provenance::Ceremony(_) => format!("Under the {provenance}."),
    };
    let (license, code) = source.trim_start().split_once('\n').unwrap_or(("", &source));
    format!(
        "{license}\n\
         // Generated from the verifying key with digest {}. Do not edit.\n\
         // {origin}\n\
         {}",
        KeyDigest::of(params, key),
        code.trim_end().to_owned() + "\n"
    )
}

/// The calldata of the verifier contract: the instances, 32 bytes each, then the proof.
pub fn calldata(public: &PublicInputs, proof: &[u8]) -> Vec<u8> {
    encode_calldata(&[public.elements().to_vec()], proof)
}
