//! X-Wing against the vectors of its draft, and ML-KEM-768 in it against a second implementation (libcrux, which is verified).

use emr_crypto::{XWingPublic, XWingSecret};
use libcrux_ml_kem::mlkem768;
use proptest::prelude::*;
use serde::Deserialize;
use sha3::digest::{ExtendableOutput, Update, XofReader};
use sha3::{Digest, Sha3_256, Shake256};
use x_wing::{Decapsulate, DecapsulationKey, EncapsulationKey};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::fixtures::fixture;

#[derive(Deserialize)]
struct Vector {
    #[serde(with = "hex::serde")]
    sk: [u8; 32],
    #[serde(with = "hex::serde")]
    eseed: [u8; 64],
    #[serde(with = "hex::serde")]
    ss: [u8; 32],
    #[serde(with = "hex::serde")]
    pk: Vec<u8>,
    #[serde(with = "hex::serde")]
    ct: Vec<u8>,
}

/// draft-connolly-cfrg-xwing-kem, `spec/test-vectors.json`. `x-wing` is what `hpke` uses.
#[test]
fn vectors_of_the_draft() -> Result<(), Box<dyn std::error::Error>> {
    let vectors: Vec<Vector> = serde_json::from_slice(fixture!("xwing.json"))?;
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let public = XWingSecret::from_seed(&vector.sk).public();
        assert_eq!(public.as_bytes()[..], vector.pk);
        assert_eq!(XWingPublic::from_bytes(&vector.pk)?, public);
        let (ct, ss) = EncapsulationKey::try_from(&vector.pk[..])?.encapsulate_deterministic(&vector.eseed.into());
        assert_eq!((&ct[..], &ss[..]), (&vector.ct[..], &vector.ss[..]));
        assert_eq!(DecapsulationKey::from(vector.sk).decapsulate(&ct)[..], vector.ss);
    }
    Ok(())
}

/// The draft's combiner.
fn combined(ss_m: &[u8], ss_x: &[u8], ct_x: &[u8], pk_x: &[u8]) -> [u8; 32] {
    let parts = [ss_m, ss_x, ct_x, pk_x, br"\.//^\"];
    parts.iter().fold(Sha3_256::new(), |hasher, part| hasher.chain_update(part)).finalize().into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Key pairs, ciphertexts and shared secrets are the same, also the secrets of altered ciphertexts: ML-KEM rejects implicitly.
    #[test]
    fn a_second_implementation_agrees(
        seed: [u8; 32], m: [u8; 32], x: [u8; 32], at in 0_usize..1088, change in 1_u8..,
    ) {
        let mut expanded = [0; 96];
        Shake256::default().chain(seed).finalize_xof().read(&mut expanded);
        let (seed_m, secret_x) = expanded.split_at(64);
        let pair = mlkem768::generate_key_pair(seed_m.try_into().expect("64 bytes"));
        let secret_x = StaticSecret::from(<[u8; 32]>::try_from(secret_x).expect("32 bytes"));
        let public_x = PublicKey::from(&secret_x);

        let public = XWingSecret::from_seed(&seed).public();
        let (ours_m, ours_x) = public.as_bytes().split_at(1184);
        prop_assert_eq!(ours_m, &pair.public_key().as_slice()[..]);
        prop_assert_eq!(ours_x, &public_x.as_bytes()[..]);

        let (ct_m, ss_m) = mlkem768::encapsulate(pair.public_key(), m);
        let ct_x = PublicKey::from(&StaticSecret::from(x));
        let ss_x = secret_x.diffie_hellman(&ct_x);
        let ss = combined(&ss_m, ss_x.as_bytes(), ct_x.as_bytes(), public_x.as_bytes());
        let key = EncapsulationKey::try_from(&public.as_bytes()[..]).expect("a key");
        let randomness: [u8; 64] = [m, x].concat().try_into().expect("64 bytes");
        let (ct, ours) = key.encapsulate_deterministic(&randomness.into());
        prop_assert_eq!(&ct[..1088], &ct_m.as_slice()[..]);
        prop_assert_eq!(&ct[1088..], &ct_x.as_bytes()[..]);
        prop_assert_eq!(&ours[..], &ss[..]);

        let mut altered = ct;
        altered[at] ^= change;
        let altered_m = <[u8; 1088]>::try_from(&altered[..1088]).expect("1088 bytes").into();
        let ss_m = mlkem768::decapsulate(pair.private_key(), &altered_m);
        let ss = combined(&ss_m, ss_x.as_bytes(), ct_x.as_bytes(), public_x.as_bytes());
        prop_assert_eq!(&DecapsulationKey::from(seed).decapsulate(&altered)[..], &ss[..]);
        prop_assert_ne!(&ours[..], &ss[..]);
    }
}
