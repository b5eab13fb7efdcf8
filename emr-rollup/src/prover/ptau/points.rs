//! Points as snarkjs writes them: affine coordinates, little-endian, in Montgomery form with R = 2^256. This is
//! halo2curves' own raw form.

use std::sync::LazyLock;

use halo2_proofs::arithmetic::parallelize;
use halo2curves::{
    CurveAffine,
    bn256::{Fq, Fq2, Fr, G1Affine, G2, G2Affine},
    ff::{Field, PrimeField},
    group::{Group, prime::PrimeCurveAffine},
    serde::SerdeObject,
};

use super::error::PointFault;

/// The bytes of a coordinate in the field with the curve's modulus.
const COORDINATE: usize = 32;

/// A group of the file.
pub(in crate::prover) trait Point: CurveAffine<ScalarExt = Fr> + SerdeObject {
    /// The bytes of a point.
    const SIZE: usize;

    /// Whether a point of the curve belongs to the group of prime order.
    fn in_subgroup(&self) -> bool;
}

impl Point for G1Affine {
    const SIZE: usize = 2 * COORDINATE;

    /// The whole curve has prime order.
    fn in_subgroup(&self) -> bool {
        true
    }
}

impl Point for G2Affine {
    const SIZE: usize = 4 * COORDINATE;

    /// Compares `psi(P)` with `(t-1) P`, where psi is the Frobenius map carried to the twist and t the curve's trace.
    /// psi satisfies
    /// `psi^2 - t psi + p = 0` on the whole twist. So if `psi(P) = (t-1) P`, then `0 = ((t-1)^2 - t (t-1) + p) P = (p +
    /// 1 - t) P = r P`. And on the group of order r, psi multiplies by `p`, which is `t-1` modulo r. This takes an
    /// eighth of the time of a multiplication by r.
    fn in_subgroup(&self) -> bool {
        let (x, y) = (frobenius(self.x) * TWIST.0, frobenius(self.y) * TWIST.1);
        let mut multiple = G2::identity();
        for bit in (0..u128::BITS).rev() {
            multiple = multiple.double();
            if TRACE_LESS_ONE >> bit & 1 == 1 {
                multiple += self;
            }
        }
        Option::<G2Affine>::from(G2Affine::from_xy(x, y)).is_some_and(|image| multiple == image.to_curve())
    }
}

/// `t - 1 = 6 u^2` with the curve's parameter `u = 4965661367192848881`.
const TRACE_LESS_ONE: u128 = 6 * 4_965_661_367_192_848_881_u128 * 4_965_661_367_192_848_881_u128;

/// `(9+i)^((p-1)/3)` and `(9+i)^((p-1)/2)`: what psi multiplies the coordinates with. `9+i` is the element that defines
/// the twist.
static TWIST: LazyLock<(Fq2, Fq2)> = LazyLock::new(|| {
    let element = Fq2::new(Fq::from(9), Fq::from(1));
    let third = [0x6960_2eb2_4829_a9c2, 0xdd2b_2385_cd7b_4384, 0xe81a_c1e7_8080_72c9, 0x1021_6f7b_a065_e00d];
    let half = [0x9e10_460b_6c3e_7ea3, 0xcbc0_b548_b438_e546, 0xdc28_22db_40c0_ac2e, 0x1832_2739_7098_d014];
    (element.pow_vartime::<[u64; 4]>(third), element.pow_vartime::<[u64; 4]>(half))
});

fn frobenius(element: Fq2) -> Fq2 {
    Fq2::new(element.c0, -element.c1)
}

/// Reads a point and checks it.
pub(super) fn decode<P: Point>(bytes: &[u8]) -> Result<P, PointFault> {
    if bytes.chunks(COORDINATE).any(|coordinate| Fq::from_raw_bytes(coordinate).is_none()) {
        return Err(PointFault::Coordinate);
    }
    let point = P::from_raw_bytes(bytes).ok_or(PointFault::Curve)?;
    if bool::from(point.is_identity()) {
        return Err(PointFault::Infinity);
    }
    if point.in_subgroup() { Ok(point) } else { Err(PointFault::Subgroup) }
}

/// Reads points on all processors. On a failure, returns the first bad point's position.
pub(in crate::prover) fn decode_all<P: Point>(bytes: &[u8]) -> Result<Vec<P>, (u64, PointFault)> {
    let mut points = vec![Ok(P::identity()); bytes.len() / P::SIZE];
    parallelize(&mut points, |points, start| {
        for (point, bytes) in points.iter_mut().zip(bytes[start * P::SIZE..].chunks_exact(P::SIZE)) {
            *point = decode(bytes);
        }
    });
    points.into_iter().enumerate().map(|(i, point)| point.map_err(|fault| (i as u64, fault))).collect()
}

/// Changes points from the file's form to plain form: plain numbers, big-endian, and in G2 the second part of a
/// coordinate before the first. `size` is the bytes of a coordinate in the point's field. On a failure, returns the
/// first bad point's position.
pub(super) fn plain(bytes: &[u8], size: usize) -> Result<Vec<u8>, (u64, PointFault)> {
    let mut out = Vec::with_capacity(bytes.len());
    for (i, coordinate) in bytes.chunks(size).enumerate() {
        for part in coordinate.chunks(COORDINATE).rev() {
            let number = Fq::from_raw_bytes(part).ok_or((i as u64 / 2, PointFault::Coordinate))?.to_repr();
            out.extend(number.as_ref().iter().rev());
        }
    }
    Ok(out)
}

/// `(p-1)/2`, big-endian.
static HALF: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let half = -Fq::ONE * Fq::TWO_INV;
    half.to_repr().as_ref().iter().rev().copied().collect()
});

/// Changes points from plain form to compressed form: x, and the highest bit says whether y is above `(p-1)/2`. In G2
/// the first part of y that is not 0 decides. On a failure, returns the first bad point's position.
pub(super) fn compressed(plain: &[u8], size: usize) -> Result<Vec<u8>, (u64, PointFault)> {
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    let mut out = Vec::with_capacity(plain.len() / 2);
    for (i, point) in plain.chunks_exact(2 * size).enumerate() {
        if is_zero(point) {
            return Err((i as u64, PointFault::Infinity));
        }
        let (x, y) = point.split_at(size);
        let at = out.len();
        out.extend(x);
        if y.chunks(COORDINATE).find(|part| !is_zero(part)).is_some_and(|part| part > &HALF[..]) {
            out[at] |= 0x80;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use halo2curves::group::{Curve, cofactor::CofactorGroup};
    use rand_chacha_03::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    /// A point of the twist. Almost none is in the subgroup.
    fn on_the_twist(rng: &mut ChaCha20Rng) -> G2Affine {
        loop {
            let x = Fq2::random(&mut *rng);
            let y = Option::<Fq2>::from((x.square() * x + G2Affine::b()).sqrt());
            if let Some(point) = y.and_then(|y| Option::from(G2Affine::from_xy(x, y))) {
                return point;
            }
        }
    }

    const ORDER: &str = "30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001";
    /// The cofactor divided by 10069.
    const COFACTOR_PART: &str = "00013af7a58fce699e28bcf65b5681da207142f7671af4486c3cd334915f1659";

    /// Multiplies by a number in hex.
    fn times(point: G2, number: &str) -> G2 {
        let bits = number
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .flat_map(|digit| (0..4).rev().map(move |i| digit >> i & 1));
        bits.fold(G2::identity(), |sum, bit| if bit == 1 { sum.double() + point } else { sum.double() })
    }

    /// The fast check agrees with the multiplication by the group's order, on points inside, outside, and outside by a
    /// small order only.
    #[test]
    fn the_subgroup_check_is_exact() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut outside = 0;
        for _ in 0..20 {
            let point = on_the_twist(&mut rng);
            let truth = bool::from(point.to_curve().is_torsion_free());
            assert_eq!(point.in_subgroup(), truth);
            outside += usize::from(!truth);
            let inside = point.to_curve().clear_cofactor();
            assert!(bool::from(inside.is_torsion_free()) && inside.to_affine().in_subgroup());
            // A point of order 10069, the smallest divisor of the cofactor, alone and added to a point of the subgroup.
            let small = times(times(point.to_curve(), ORDER), COFACTOR_PART);
            assert!(!bool::from(small.is_identity()) && bool::from(times(small, "2755").is_identity()));
            assert!(!small.to_affine().in_subgroup() && !(small + inside).to_affine().in_subgroup());
        }
        assert_eq!(outside, 20);
        assert!(G2Affine::generator().in_subgroup());
    }

    #[test]
    fn every_fault_of_a_point_is_named() {
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let good = G1Affine::generator().to_raw_bytes();
        assert_eq!(decode::<G1Affine>(&good), Ok(G1Affine::generator()));
        assert_eq!(decode::<G1Affine>(&[0; 64]), Err(PointFault::Infinity));
        assert_eq!(decode::<G2Affine>(&[0; 128]), Err(PointFault::Infinity));
        assert_eq!(decode::<G1Affine>(&[[0xff; 32], [0; 32]].concat()), Err(PointFault::Coordinate));
        assert_eq!(decode::<G1Affine>(&[&good[..32], &good[..32]].concat()), Err(PointFault::Curve));
        let outside = on_the_twist(&mut rng).to_raw_bytes();
        assert_eq!(decode::<G2Affine>(&outside), Err(PointFault::Subgroup));
        let many = [&good[..], &good, &[0; 64], &[0xff; 64]].concat();
        assert_eq!(decode_all::<G1Affine>(&many), Err((2, PointFault::Infinity)));
    }
}
