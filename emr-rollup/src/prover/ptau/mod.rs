//! Powers-of-tau files of snarkjs (`.ptau`): the result of a ceremony. If one of its contributors forgot their secret,
//! nobody knows tau.
//!
//! `docs/setup.md` describes the format, what is checked, and what is trusted.

mod contribution;
mod error;
mod hashes;
mod layout;
mod points;
mod powers;

use std::io::{Read, Seek, SeekFrom};

use blake2b_simd::State;
use contribution::Last;
pub use error::{PointFault, PtauError};
use halo2curves::{
    bn256::{Bn256, G1Affine, G2Affine},
    pairing::Engine,
};
use hashes::{Response, finish};
use layout::{CONTRIBUTIONS, Layout, Section, TAU_G1, TAU_G2, coordinate, name};
pub(super) use points::decode_all;
use points::{Point, plain};
use powers::Sums;
pub(super) use powers::{are_powers, randomness};

/// A BLAKE2b-512 hash: 64 bytes, 128 hex digits when displayed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash512(pub [u8; 64]);

impl std::fmt::Display for Hash512 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Hash512 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The text is not 128 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a BLAKE2b hash has 128 hex digits")]
pub struct NotAHash;

impl std::str::FromStr for Hash512 {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let mut hash = [0; 64];
        hex::decode_to_slice(text, &mut hash).map_err(|_| NotAHash)?;
        Ok(Self(hash))
    }
}

/// Which ceremony a setup comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceremony {
    /// BLAKE2b of the whole file. Publishers of ceremonies publish it.
    pub file: Hash512,
    /// BLAKE2b of the last contributor's response, computed from the points. snarkjs prints it as "Contribution Response
    /// Hash". `None` if the file is a part, which does not hold all points.
    pub response: Option<Hash512>,
    /// BLAKE2b of the response's hash and all points of the ceremony. snarkjs prints it as "Next Challenge Hash". If the
    /// file is a part, it is only what the file says.
    pub challenge: Hash512,
    /// The number of contributions.
    pub contributions: u32,
    /// The binary logarithm of the number of powers in the file.
    pub power: u32,
    /// The same of the whole ceremony.
    pub ceremony_power: u32,
}

impl Ceremony {
    /// Whether the file is a part of the ceremony's result. Then nothing in it shows who made its points.
    pub fn is_part(&self) -> bool {
        self.power < self.ceremony_power
    }
}

/// What an import does at the moment. It displays as a line of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportStep {
    /// Reading the file, and checking its points.
    Reading {
        /// The bytes read.
        done: u64,
        /// The bytes of the file.
        total: u64,
        /// The content of the section that is being read.
        section: &'static str,
    },
    /// Computing the Lagrange basis of `2^k` points.
    Lagrange {
        /// The binary logarithm of the number of points.
        k: u32,
    },
}

impl std::fmt::Display for ImportStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Reading { done, total, section } => {
                // A file has less than 2^64 / 100 bytes.
                write!(
                    f,
                    "reading and checking: {section}, {}% of {total} bytes",
                    done.saturating_mul(100) / total.max(1)
                )
            }
            Self::Lagrange { k } => write!(f, "computing the Lagrange basis of 2^{k} points; this can take minutes"),
        }
    }
}

/// The checked powers of a ceremony.
#[derive(Debug)]
pub(super) struct Powers {
    /// `2^k` powers in G1.
    pub(super) g1: Vec<G1Affine>,
    /// tau in G2.
    pub(super) tau_g2: G2Affine,
    pub(super) ceremony: Ceremony,
}

/// The points that are read at a time. So memory beside the `2^k` points that are kept is a few mebibytes, however
/// large the file is.
const CHUNK: usize = 1 << 14;
/// The bytes that are read at a time where points are not checked: a multiple of every point's size.
const CHUNK_BYTES: u64 = 1 << 20;

/// Reads a file, checks it, and keeps `2^k` powers.
pub(super) fn read(
    mut file: impl Read + Seek,
    k: u32,
    on_progress: &mut impl FnMut(ImportStep),
) -> Result<Powers, PtauError> {
    let layout = Layout::scan(&mut file)?;
    if layout.power < k {
        return Err(PtauError::TooSmall { power: layout.power, k });
    }
    let contributions = layout.contributions(&mut file)?;
    let last = Last::parse(&contributions)?;
    let is_whole = layout.power == layout.ceremony_power;
    let challenge = is_whole.then(|| Challenge::begin(&mut file, &layout, &last, on_progress)).transpose()?;
    file.rewind()?;
    let mut pass = Pass { file, hash: State::new(), challenge, done: 0, total: layout.total, on_progress };
    pass.expect(&layout.prologue)?;
    let (mut g1, mut g2) = (Checked::empty(), Checked::empty());
    for section in &layout.sections {
        pass.expect(&section.header())?;
        match section.id {
            1 => pass.expect(&layout.header)?,
            TAU_G1 => g1 = pass.powers(section, 1 << k, true)?,
            TAU_G2 => g2 = pass.powers(section, 1 << k, false)?,
            CONTRIBUTIONS => pass.expect(&contributions)?,
            _ => pass.skip(section, section.length)?,
        }
    }
    compare(&g1, &g2, &last)?;
    let response = pass.challenge.map(|challenge| challenge.finish(&last)).transpose()?;
    let ceremony = Ceremony {
        file: finish(&pass.hash),
        response,
        challenge: last.challenge,
        contributions: last.number,
        power: layout.power,
        ceremony_power: layout.ceremony_power,
    };
    Ok(Powers { g1: g1.kept, tau_g2: g2.second, ceremony })
}

/// The comparison of all points with the last contribution. Its next challenge begins with the response's hash. So the
/// points are read twice: first for the response alone, then for both.
struct Challenge {
    expected: Hash512,
    response: Response,
    next: State,
}

impl Challenge {
    /// Reads the points, and computes the response's hash.
    fn begin(
        file: &mut (impl Read + Seek),
        layout: &Layout,
        last: &Last,
        on_progress: &mut impl FnMut(ImportStep),
    ) -> Result<Self, PtauError> {
        let sections = || layout.sections.iter().filter_map(|section| Some((section, coordinate(section.id)?)));
        let total = sections().map(|(section, _)| section.length).sum();
        let (mut response, mut done) = (Response::begin(last, layout.power), 0);
        for (section, size) in sections() {
            file.seek(SeekFrom::Start(section.at))?;
            let mut left = section.length;
            while left > 0 {
                let mut bytes = vec![0; left.min(CHUNK_BYTES) as usize];
                layout::read(file, &mut bytes, name(section.id))?;
                let points = plain(&bytes, size).and_then(|points| response.points(&points, size));
                points.map_err(|bad| fault(section, section.length - left, bad))?;
                left -= bytes.len() as u64;
                done += bytes.len() as u64;
                on_progress(ImportStep::Reading { done, total, section: "hash of the last contribution" });
            }
        }
        let expected = response.finish();
        let mut next = State::new();
        next.update(&expected.0);
        Ok(Self { expected, response: Response::begin(last, layout.power), next })
    }

    /// Takes the next points, in the file's form. `size` is the bytes of a coordinate. They were read before, and good.
    fn points(&mut self, bytes: &[u8], size: usize) -> Result<(), PtauError> {
        let points = plain(bytes, size).map_err(|_| PtauError::Changed)?;
        self.next.update(&points);
        self.response.points(&points, size).map_err(|_| PtauError::Changed)
    }

    /// The response's hash, if these are the points of the contribution.
    fn finish(self, last: &Last) -> Result<Hash512, PtauError> {
        if self.response.finish() != self.expected {
            return Err(PtauError::Changed);
        }
        if finish(&self.next) == last.challenge { Ok(self.expected) } else { Err(PtauError::OtherContribution) }
    }
}

/// The error of a bad point. `before` is the bytes of the section before the points that were read together.
fn fault(section: &Section, before: u64, (index, fault): (u64, PointFault)) -> PtauError {
    let size = coordinate(section.id).map_or(1, |size| 2 * size as u64);
    PtauError::Point { section: section.id, name: name(section.id), index: before / size + index, fault }
}

/// Compares the powers with each other and with the last contribution.
fn compare(g1: &Checked<G1Affine>, g2: &Checked<G2Affine>, last: &Last) -> Result<(), PtauError> {
    let (one_1, one_2) = (G1Affine::generator(), G2Affine::generator());
    for (section, good) in [(TAU_G1, g1.first == one_1), (TAU_G2, g2.first == one_2)] {
        if !good {
            return Err(PtauError::Generator { section, name: name(section) });
        }
    }
    if g1.second == one_1 {
        return Err(PtauError::NoContribution);
    }
    let ((low_1, high_1), (low_2, high_2)) = (g1.sums, g2.sums);
    // Every power in G1 is tau times the one before, with the tau of G2. And the other way round. So both have the same
    // tau.
    let cases = [
        (TAU_G1, Bn256::pairing(&high_1, &one_2) == Bn256::pairing(&low_1, &g2.second)),
        (TAU_G2, Bn256::pairing(&one_1, &high_2) == Bn256::pairing(&g1.second, &low_2)),
    ];
    for (section, good) in cases {
        if !good {
            return Err(PtauError::Powers { section, name: name(section) });
        }
    }
    if last.tau_g1 != g1.second || last.tau_g2 != g2.second {
        return Err(PtauError::OtherContribution);
    }
    Ok(())
}

/// What is known of a section of powers.
struct Checked<P> {
    first: P,
    second: P,
    sums: (P, P),
    kept: Vec<P>,
}

impl<P: Point> Checked<P> {
    fn empty() -> Self {
        let zero = P::identity();
        Self { first: zero, second: zero, sums: (zero, zero), kept: Vec::new() }
    }
}

/// One pass over the file, from its first byte to its last. All that is used is hashed.
struct Pass<'a, F, S> {
    file: F,
    hash: State,
    /// `None` if the file is a part.
    challenge: Option<Challenge>,
    done: u64,
    total: u64,
    on_progress: &'a mut S,
}

impl<F: Read, S: FnMut(ImportStep)> Pass<'_, F, S> {
    fn read(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), PtauError> {
        layout::read(&mut self.file, bytes, what)?;
        self.hash.update(bytes);
        self.done += bytes.len() as u64;
        (self.on_progress)(ImportStep::Reading { done: self.done, total: self.total, section: what });
        Ok(())
    }

    /// Reads bytes that were read before.
    fn expect(&mut self, before: &[u8]) -> Result<(), PtauError> {
        let mut bytes = vec![0; before.len()];
        self.read(&mut bytes, "structure")?;
        if bytes == before { Ok(()) } else { Err(PtauError::Changed) }
    }

    /// Reads `count` powers and checks them, then the rest of the section. `keep` says whether the points are needed
    /// later.
    fn powers<P: Point>(&mut self, section: &Section, count: u64, keep: bool) -> Result<Checked<P>, PtauError> {
        let mut checked = Checked::empty();
        let mut sums = Sums::new();
        let mut at = 0;
        while at < count {
            let points = (count - at).min(CHUNK as u64);
            let mut bytes = vec![0; points as usize * P::SIZE];
            self.read(&mut bytes, name(section.id))?;
            let points: Vec<P> = decode_all(&bytes).map_err(|bad| fault(section, at * P::SIZE as u64, bad))?;
            if let Some(challenge) = &mut self.challenge {
                challenge.points(&bytes, P::SIZE / 2)?;
            }
            if let (0, [first, second, ..]) = (at, &points[..]) {
                (checked.first, checked.second) = (*first, *second);
            }
            sums.add(&points);
            at += points.len() as u64;
            if keep {
                checked.kept.extend(points);
            }
        }
        checked.sums = sums.finish();
        self.skip(section, section.length - count * P::SIZE as u64)?;
        Ok(checked)
    }

    /// Reads the rest of a section, whose points are not used.
    fn skip(&mut self, section: &Section, mut left: u64) -> Result<(), PtauError> {
        while left > 0 {
            let mut bytes = vec![0; left.min(CHUNK_BYTES) as usize];
            self.read(&mut bytes, name(section.id))?;
            if let (Some(challenge), Some(size)) = (&mut self.challenge, coordinate(section.id)) {
                challenge.points(&bytes, size)?;
            }
            left -= bytes.len() as u64;
        }
        Ok(())
    }
}
