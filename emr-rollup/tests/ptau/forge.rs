//! Takes powers-of-tau files apart, and makes new ones with a known secret.

use std::{
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use halo2curves::{
    CurveAffine,
    bn256::{Fq, Fq2, Fr, G1, G1Affine, G2, G2Affine},
    ff::{Field, PrimeField},
    group::{Curve, cofactor::CofactorGroup, prime::PrimeCurveAffine},
    serde::SerdeObject,
};
use rand_chacha_03::{ChaCha20Rng, rand_core::SeedableRng};

/// A file in parts.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) sections: Vec<(u32, Vec<u8>)>,
}

impl File {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = &bytes[12..];
        let mut sections = Vec::new();
        while !rest.is_empty() {
            let id = u32::from_le_bytes(rest[..4].try_into().unwrap());
            let length = u64::from_le_bytes(rest[4..12].try_into().unwrap()) as usize;
            sections.push((id, rest[12..12 + length].to_vec()));
            rest = &rest[12 + length..];
        }
        Self { sections }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [b"ptau", &1_u32.to_le_bytes()[..], &(self.sections.len() as u32).to_le_bytes()].concat();
        for (id, content) in &self.sections {
            bytes.extend(id.to_le_bytes());
            bytes.extend((content.len() as u64).to_le_bytes());
            bytes.extend(content);
        }
        bytes
    }

    pub(crate) fn section(&self, id: u32) -> &[u8] {
        &self.sections.iter().find(|(section, _)| *section == id).unwrap().1
    }

    pub(crate) fn section_mut(&mut self, id: u32) -> &mut Vec<u8> {
        &mut self.sections.iter_mut().find(|(section, _)| *section == id).unwrap().1
    }
}

/// The bytes of the last contribution of the small file, with its name.
pub(crate) const CONTRIBUTION: usize = 1521;
/// The bytes of a contribution's points, which come first.
const POINTS: usize = 448;
/// Where a contribution has the hash of the next challenge.
pub(crate) const NEXT_CHALLENGE: usize = POINTS + 768 + 216;

/// Points in the form that a challenge has: every coordinate as a big-endian number.
fn uncompressed(points: &[u8], coordinate: usize) -> Vec<u8> {
    let number = |bytes: &[u8]| Fq::from_raw_bytes(bytes).unwrap().to_repr().as_ref().to_vec();
    let coordinates = points.chunks(coordinate);
    coordinates.flat_map(|parts| parts.chunks(32).flat_map(number).rev().collect::<Vec<_>>()).collect()
}

/// A file whose secret is known.
pub(crate) struct Fixture {
    pub(crate) power: u32,
    pub(crate) ceremony_power: u32,
    pub(crate) secret: u64,
}

impl Fixture {
    fn header(&self) -> Vec<u8> {
        let mut modulus = hex::decode(Fq::MODULUS.trim_start_matches("0x")).unwrap();
        modulus.reverse();
        [&32_u32.to_le_bytes()[..], &modulus, &self.power.to_le_bytes(), &self.ceremony_power.to_le_bytes()].concat()
    }

    /// The file. alpha and beta are 1. The contribution has no key.
    pub(crate) fn file(&self) -> File {
        let (tau, n) = (Fr::from(self.secret), 1_usize << self.power);
        let powers = |count: usize| std::iter::successors(Some(Fr::ONE), move |power| Some(power * tau)).take(count);
        let projective: Vec<G1> = powers(2 * n - 1).map(|power| G1::generator() * power).collect();
        let mut g1 = vec![G1Affine::default(); projective.len()];
        G1::batch_normalize(&projective, &mut g1);
        let projective: Vec<G2> = powers(n).map(|power| G2::generator() * power).collect();
        let mut g2 = vec![G2Affine::default(); projective.len()];
        G2::batch_normalize(&projective, &mut g2);
        let (one_1, one_2) = (g1[0].to_raw_bytes(), g2[0].to_raw_bytes());
        let tau = (g1[1].to_raw_bytes(), g2[1].to_raw_bytes());
        let contribution = [
            &1_u32.to_le_bytes()[..],
            &tau.0,
            &tau.1,
            &one_1,
            &one_1,
            &one_2,
            &[0; 6 * 64 + 3 * 128 + 216 + 64],
            &[0; 8],
        ]
        .concat();
        let raw = |g1: &[G1Affine]| g1.iter().flat_map(SerdeObject::to_raw_bytes).collect::<Vec<u8>>();
        let sections = vec![
            (1, self.header()),
            (2, raw(&g1)),
            (3, g2.iter().flat_map(SerdeObject::to_raw_bytes).collect()),
            (4, one_1.repeat(n)),
            (5, one_1.repeat(n)),
            (6, one_2),
            (7, contribution),
        ];
        File { sections }
    }

    /// A whole file with the points of this secret, and with the contributions of a real file. The last one has its own
    /// key and hash, but the points of this secret, and the next challenge that follows from `response`.
    pub(crate) fn under_contributions_of(&self, real: &File, response: &[u8; 64]) -> File {
        let mut file = self.file();
        let mut challenge = blake2b_simd::State::new();
        challenge.update(response);
        for (id, coordinate) in [(2, 32), (3, 64), (4, 32), (5, 32), (6, 64)] {
            challenge.update(&uncompressed(file.section(id), coordinate));
        }
        let forged = file.section(7)[4..][..POINTS].to_vec();
        let mut contributions = real.section(7).to_vec();
        let last = contributions.len() - CONTRIBUTION;
        contributions[last..][..POINTS].copy_from_slice(&forged);
        contributions[last + NEXT_CHALLENGE..][..64].copy_from_slice(challenge.finalize().as_bytes());
        *file.section_mut(7) = contributions;
        file
    }

    /// A file with true headers and these contributions, and zeros in place of the points.
    pub(crate) fn sparse(path: &Path, power: u32, contributions: &[u8]) {
        let header = Self { power, ceremony_power: power, secret: 0 }.header();
        let n = 1_u64 << power;
        let mut file = std::fs::File::create(path).unwrap();
        let zeros = [(2, (2 * n - 1) * 64), (3, n * 128), (4, n * 64), (5, n * 64), (6, 128)];
        file.write_all(&File { sections: vec![(1, header.clone()); 7] }.bytes()[..12]).unwrap();
        let mut section = |id: u32, length: u64, content: &[u8]| {
            file.write_all(&[&id.to_le_bytes()[..], &length.to_le_bytes(), content].concat()).unwrap();
            file.seek(SeekFrom::Current((length - content.len() as u64) as i64)).unwrap();
        };
        section(1, header.len() as u64, &header);
        for (id, length) in zeros {
            section(id, length, &[]);
        }
        section(7, contributions.len() as u64, contributions);
    }
}

/// A point of the twist that is not in the subgroup of prime order.
pub(crate) fn outside_the_subgroup() -> Vec<u8> {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    loop {
        let x = Fq2::random(&mut rng);
        let y = Option::<Fq2>::from((x.square() * x + G2Affine::b()).sqrt());
        if let Some(point) = y.and_then(|y| Option::<G2Affine>::from(G2Affine::from_xy(x, y)))
            && !bool::from(point.to_curve().is_torsion_free())
        {
            return point.to_raw_bytes();
        }
    }
}
