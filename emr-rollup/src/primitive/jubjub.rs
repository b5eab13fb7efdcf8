//! Baby Jubjub: the twisted Edwards curve `a x^2 + y^2 = 1 + d x^2 y^2` over BN254's scalar field, with circomlib's
//! parameters (EIP-2494). `a` is a square and `d` is not, so the addition law is complete.

use std::ops::{Add, Mul, Neg};

use crypto_bigint::{NonZero, U256, modular::ConstMontyParams as _};
use halo2curves::ff::Field;
use subtle::{Choice, ConditionallySelectable};
use zeroize::Zeroize;

use crate::primitive::field::Fr;

/// Coefficient of x^2.
pub const A: Fr = Fr::from_raw([168_700, 0, 0, 0]);
/// Coefficient of x^2 y^2.
pub const D: Fr = Fr::from_raw([168_696, 0, 0, 0]);
/// Bits of a subgroup scalar.
pub const SCALAR_BITS: u32 = 251;

/// Order of the subgroup that [`Point::BASE`] generates; the curve has 8 times as many points.
pub const ORDER: U256 = U256::from_be_hex("060c89ce5c263405370a08b6d0302b0bab3eedb83920ee0a677297dc392126f1");

mod modulus {
    #![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "the macro writes the item")]
    use super::U256;
    crypto_bigint::const_monty_params!(Order, U256, "060c89ce5c263405370a08b6d0302b0bab3eedb83920ee0a677297dc392126f1");
}

type ScalarForm = crypto_bigint::modular::ConstMontyForm<modulus::Order, { U256::LIMBS }>;

/// An integer modulo [`ORDER`].
#[derive(Clone, Copy, PartialEq, Eq, Zeroize)]
pub struct Scalar(U256);

/// Does not print the number: scalars are keys and nonces.
impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scalar(..)")
    }
}

impl Scalar {
    const ORDER_NONZERO: &'static NonZero<U256> = modulus::Order::PARAMS.modulus().as_nz_ref();

    /// Reduces a 512-bit big-endian integer: a hash output wide enough that the result is uniform.
    pub fn reduce_wide(bytes: &[u8; 64]) -> Self {
        let (high, low) = bytes.split_at(32);
        Self(U256::rem_wide((U256::from_be_slice(low), U256::from_be_slice(high)), Self::ORDER_NONZERO))
    }

    /// Reduces a field element read as an integer below p.
    pub fn from_element(element: &Fr) -> Self {
        Self(U256::from_be_slice(&crate::primitive::field::to_bytes(element)).rem(Self::ORDER_NONZERO))
    }

    /// Reads 32 big-endian bytes; `None` unless the integer is below the order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let integer = U256::from_be_slice(bytes);
        (integer < ORDER).then_some(Self(integer))
    }

    /// The 32 big-endian bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.to_be_bytes().as_ref());
        bytes
    }

    /// Whether the number is 0.
    pub fn is_zero(&self) -> bool {
        self.0 == U256::ZERO
    }

    /// `self · other + addend`.
    pub fn mul_add(self, other: Self, addend: Self) -> Self {
        let form = |scalar: Self| ScalarForm::new(&scalar.0);
        Self((form(self) * form(other) + form(addend)).retrieve())
    }

    /// The inverse of 8 modulo the order.
    pub fn inverse_of_cofactor() -> Self {
        let half = |scalar: ScalarForm| scalar.div_by_2();
        Self(half(half(half(ScalarForm::ONE))).retrieve())
    }
}

/// A point in affine coordinates; always on the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    x: Fr,
    y: Fr,
}

impl Point {
    /// The neutral element (0, 1).
    pub const IDENTITY: Self = Self { x: Fr::zero(), y: Fr::one() };

    /// Circomlib's Base8, of prime order.
    pub const BASE: Self = Self {
        x: Fr::from_raw([0x2893_f3f6_bb95_7051, 0x2ab8_d801_0534_e0b6, 0x4eac_b2e0_9d62_77c1, 0x0bb7_7a6a_d63e_739b]),
        y: Fr::from_raw([0x4b3c_257a_872d_7d8b, 0xfce0_051f_b9e1_3377, 0x25572e1cd16bf9ed, 0x2579_7203_f7a0_b249]),
    };

    /// The point with these coordinates, if it is on the curve.
    pub fn new(x: Fr, y: Fr) -> Option<Self> {
        let (xx, yy) = (x.square(), y.square());
        (A * xx + yy == Fr::ONE + D * xx * yy).then_some(Self { x, y })
    }

    /// The x coordinate.
    pub fn x(&self) -> Fr {
        self.x
    }

    /// The y coordinate.
    pub fn y(&self) -> Fr {
        self.y
    }

    /// Whether the point is in the subgroup of prime order and is not the identity.
    pub fn has_prime_order(self) -> bool {
        // ORDER · P = (ORDER - 1) · P + P; a `Scalar` cannot hold ORDER itself.
        let last = Scalar(ORDER.wrapping_sub(&U256::ONE));
        self != Self::IDENTITY && self * &last == -self
    }
}

impl Neg for Point {
    type Output = Self;
    fn neg(self) -> Self {
        Self { x: -self.x, y: self.y }
    }
}

/// The complete addition law.
impl Add for Point {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Projective::from(self).add(&Projective::from(other)).to_affine()
    }
}

/// The multiplication takes a time that does not depend on the scalar.
impl Mul<&Scalar> for Point {
    type Output = Self;
    fn mul(self, scalar: &Scalar) -> Self {
        let base = Projective::from(self);
        let bytes = zeroize::Zeroizing::new(scalar.to_bytes());
        let mut sum = Projective::from(Self::IDENTITY);
        for i in (0..SCALAR_BITS as usize).rev() {
            let bit = bytes[31 - i / 8] >> (i % 8) & 1;
            let doubled = sum.add(&sum);
            sum = Projective::conditional_select(&doubled, &doubled.add(&base), Choice::from(bit));
        }
        sum.to_affine()
    }
}

/// Projective coordinates (X : Y : Z); additions by "add-2008-bbjlp", complete on this curve.
#[derive(Clone, Copy)]
struct Projective {
    x: Fr,
    y: Fr,
    z: Fr,
}

impl From<Point> for Projective {
    fn from(point: Point) -> Self {
        Self { x: point.x, y: point.y, z: Fr::ONE }
    }
}

impl Projective {
    fn add(&self, other: &Self) -> Self {
        let a = self.z * other.z;
        let b = a.square();
        let c = self.x * other.x;
        let d = self.y * other.y;
        let e = D * c * d;
        let (f, g) = (b - e, b + e);
        let cross = (self.x + self.y) * (other.x + other.y) - c - d;
        Self { x: a * f * cross, y: a * g * (d - A * c), z: f * g }
    }

    fn to_affine(self) -> Point {
        // Z is never 0: the law is complete.
        let inverse = self.z.invert().unwrap_or(Fr::ZERO);
        Point { x: self.x * inverse, y: self.y * inverse }
    }
}

impl ConditionallySelectable for Projective {
    fn conditional_select(a: &Self, b: &Self, choice: Choice) -> Self {
        Self {
            x: Fr::conditional_select(&a.x, &b.x, choice),
            y: Fr::conditional_select(&a.y, &b.y, choice),
            z: Fr::conditional_select(&a.z, &b.z, choice),
        }
    }
}

#[cfg(test)]
mod tests {
    use halo2curves::ff::PrimeField;
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Fr {
        Fr::from_str_vartime(text).unwrap_or(Fr::ZERO)
    }

    #[test]
    fn constants_are_those_of_eip_2494() {
        let base = Point::new(
            decimal("5299619240641551281634865583518297030282874472190772894086521144482721001553"),
            decimal("16950150798460657717958625567821834550301663161624707787222815936182638968203"),
        );
        assert_eq!(base, Some(Point::BASE));
        assert_eq!(
            decimal("2736030358979909402780800718157159386076813972158567259200215660948447373041"),
            crate::primitive::field::reduce(&{
                let mut bytes = [0; 32];
                bytes.copy_from_slice(ORDER.to_be_bytes().as_ref());
                bytes
            })
        );
        assert!(Point::BASE.has_prime_order());
        // Completeness: a is a square and d is not.
        assert!(bool::from(A.sqrt().is_some()) && bool::from(D.sqrt().is_none()));
    }

    #[test]
    fn small_order_points_are_told_apart() {
        let order_two = Point::new(Fr::ZERO, -Fr::ONE);
        assert_eq!(order_two.map(Point::has_prime_order), Some(false));
        assert!(!Point::IDENTITY.has_prime_order());
        assert_eq!(order_two.map(|p| (p + Point::BASE).has_prime_order()), Some(false));
    }

    /// EIP-2494, test vectors 2 and 3 (addition and doubling).
    #[test]
    fn eip_2494_addition() {
        let p = Point::new(
            decimal("17777552123799933955779906779655732241715742912184938656739573121738514868268"),
            decimal("2626589144620713026669568689430873010625803728049924121243784502389097019475"),
        );
        let q = Point::new(
            decimal("16540640123574156134436876038791482806971768689494387082833631921987005038935"),
            decimal("20819045374670962167435360035096875258406992893633759881276124905556507972311"),
        );
        let (Some(p), Some(q)) = (p, q) else { panic!("the vectors are on the curve") };
        let sum = p + q;
        assert_eq!(sum.x(), decimal("7916061937171219682591368294088513039687205273691143098332585753343424131937"));
        assert_eq!(sum.y(), decimal("14035240266687799601661095864649209771790948434046947201833777492504781204499"));
        let doubled = p + p;
        assert_eq!(
            doubled.x(),
            decimal("6890855772600357754907169075114257697580319025794532037257385534741338397365")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn scalars_act_as_a_ring(a: [u8; 32], b: [u8; 32]) {
            let wide = |bytes: [u8; 32]| { let mut w = [0; 64]; w[..32].copy_from_slice(&bytes); Scalar::reduce_wide(&w) };
            let (a, b) = (wide(a), wide(b));
            let one = Scalar(U256::ONE);
            let sum = a.mul_add(one, b);
            prop_assert_eq!(Point::BASE * &a + Point::BASE * &b, Point::BASE * &sum);
            prop_assert_eq!(Point::BASE * &a * &b, Point::BASE * &a.mul_add(b, Scalar(U256::ZERO)));
            let eighth = Point::BASE * &a * &Scalar::inverse_of_cofactor();
            let doubled = eighth + eighth;
            let quadrupled = doubled + doubled;
            prop_assert_eq!(quadrupled + quadrupled, Point::BASE * &a);
        }
    }
}
