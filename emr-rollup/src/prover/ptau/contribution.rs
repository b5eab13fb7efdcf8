//! Section 7: who contributed. Only the last contribution's content is used; the others are walked over.

use halo2curves::bn256::{G1Affine, G2Affine};

use super::{
    Hash512,
    error::PtauError,
    layout::{CONTRIBUTIONS, le, name},
    points::{Point, decode, plain},
};

/// tau G1, tau G2, alpha G1, beta G1, beta G2.
const POINTS: usize = 3 * G1Affine::SIZE + 2 * G2Affine::SIZE;
/// The part of the public key in G1, and the part in G2.
const KEY_G1: usize = 6 * G1Affine::SIZE;
const KEY_G2: usize = 3 * G2Affine::SIZE;
/// The state of snarkjs's hash of the response before the key. It is not used: nothing binds it to the points.
const STATE: usize = 216;

/// The last contribution.
#[derive(Debug)]
pub(super) struct Last {
    /// Its number, from 1.
    pub(super) number: u32,
    pub(super) tau_g1: G1Affine,
    pub(super) tau_g2: G2Affine,
    /// The challenge that the contributor got: what the file says was the next challenge of the contribution before.
    /// `None` if this is the first contribution.
    pub(super) before: Option<Hash512>,
    /// The contributor's public key, in plain form.
    pub(super) key: Vec<u8>,
    /// The next challenge, as the file says.
    pub(super) challenge: Hash512,
}

impl Last {
    pub(super) fn parse(section: &[u8]) -> Result<Self, PtauError> {
        let mut rest = section;
        let number = le(take(&mut rest, 4)?);
        if number == 0 {
            return Err(PtauError::NoContribution);
        }
        let mut before = None;
        // Each turn takes bytes, so a false number ends at the section's end.
        for _ in 1..number {
            before = Some(contribution(&mut rest)?.challenge);
        }
        let parts = contribution(&mut rest)?;
        if !rest.is_empty() {
            return Err(PtauError::Contributions("bytes follow the last contribution"));
        }
        let point = |fault| PtauError::Point { section: CONTRIBUTIONS, name: name(CONTRIBUTIONS), index: 0, fault };
        Ok(Self {
            number,
            tau_g1: decode(&parts.points[..G1Affine::SIZE]).map_err(point)?,
            tau_g2: decode(&parts.points[G1Affine::SIZE..G1Affine::SIZE + G2Affine::SIZE]).map_err(point)?,
            before,
            key: key(parts.key)?,
            challenge: parts.challenge,
        })
    }
}

const SHORT: PtauError = PtauError::Contributions("it ends in the middle of a contribution");

/// A contribution's parts.
struct Parts<'a> {
    points: &'a [u8],
    key: &'a [u8],
    challenge: Hash512,
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], PtauError> {
    let (taken, left) = rest.split_at_checked(count).ok_or(SHORT)?;
    *rest = left;
    Ok(taken)
}

fn contribution<'a>(rest: &mut &'a [u8]) -> Result<Parts<'a>, PtauError> {
    let points = take(rest, POINTS)?;
    let key = take(rest, KEY_G1 + KEY_G2)?;
    take(rest, STATE)?;
    let challenge = Hash512(take(rest, 64)?.try_into().map_err(|_| SHORT)?);
    // The kind (0: a person's, 1: a random beacon's), and parameters: a name, the beacon's iterations and value.
    take(rest, 4)?;
    let length = le(take(rest, 4)?) as usize;
    take(rest, length)?;
    Ok(Parts { points, key, challenge })
}

/// A public key in plain form.
fn key(bytes: &[u8]) -> Result<Vec<u8>, PtauError> {
    let (g1, g2) = bytes.split_at(KEY_G1);
    let malformed = |_| PtauError::Contributions("a key has a coordinate that is not below the modulus");
    let (g1, g2) = (plain(g1, G1Affine::SIZE / 2), plain(g2, G2Affine::SIZE / 2));
    Ok([g1.map_err(malformed)?, g2.map_err(malformed)?].concat())
}
