//! The verifier as a contract.

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

use super::keys::KeyDigest;
use crate::batch::PublicInputs;

type EvmVerifier = PlonkVerifier<KzgAs<Bn256, Bdfg21>>;

fn protocol(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>) -> PlonkProtocol<G1Affine> {
    compile(params, key, Config::kzg().with_num_instance(vec![PublicInputs::COUNT]))
}

/// Bytes of every proof: 64 for each point (advice, permutation product, blinding polynomial, quotient, two openings), 32 for
/// each evaluation.
pub(super) fn proof_size(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>) -> usize {
    let protocol = protocol(params, key);
    let points = protocol.num_witness.iter().sum::<usize>() + protocol.quotient.num_chunk() + 2;
    64 * points + 32 * protocol.evaluations.len()
}

/// snark-verifier's contract for a key.
///
/// # Panics
/// Never for a key of this crate: only a proof system that snark-verifier does not know would make it.
pub(super) fn generate(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>) -> String {
    let deciding_key = (params.get_g()[0], params.g2(), params.s_g2()).into();
    let loader = EvmLoader::new::<Fq, Fr>();
    let protocol = protocol(params, key).loaded(&loader);
    let mut transcript = EvmTranscript::<_, Rc<EvmLoader>, _, _>::new(&loader);
    let instances = transcript.load_instances(vec![PublicInputs::COUNT]);
    let verified = EvmVerifier::read_proof(&deciding_key, &protocol, &instances, &mut transcript)
        .map(|proof| EvmVerifier::verify(&deciding_key, &protocol, &instances, &proof));
    assert!(matches!(verified, Ok(Ok(_))), "writing a verifier does not depend on any proof");
    // snark-verifier pins a compiler of its own; the code needs no feature newer than that.
    let source = loader.solidity_code().replace("pragma solidity 0.8.19;", "pragma solidity ^0.8.19;");
    let (license, code) = source.trim_start().split_once('\n').unwrap_or(("", &source));
    format!(
        "{license}\n\
         // Generated from the verifying key with digest {}. Do not edit.\n\
         // Under the INSECURE DEVELOPMENT SETUP: for development chains only.\n\
         {}",
        KeyDigest::of(key),
        code.trim_end().to_owned() + "\n"
    )
}

/// What the verifying contract is called with: the instances, 32 bytes each, then the proof.
pub fn calldata(public: &PublicInputs, proof: &[u8]) -> Vec<u8> {
    encode_calldata(&[public.elements().to_vec()], proof)
}
