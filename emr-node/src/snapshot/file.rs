//! A snapshot as bytes (`docs/node.md`, "Snapshots").

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use alloy::primitives::{Address, B256, Keccak256};
use emr_rollup::{
    operation::Domain,
    plain_bytes,
    state::{
        ledger::Ledger,
        snapshot::{PlainBytes, invalid},
    },
    version::CircuitSizes,
};

use super::{Header, RollupId, Snapshot, Unusable};
use crate::{derivation::SettledLedger, l1::follow::Position, state::history::History, state::rekeyed::Rekeyed};

/// The first bytes of every snapshot.
const MAGIC: [u8; 8] = *b"EMR-SNAP";
/// The version of the layout. A program reads its own only.
const FORMAT: u32 = 1;

/// An address or a hash of Ethereum.
#[derive(Clone, Copy)]
struct Raw<T>(T);

impl PlainBytes for Raw<Address> {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.0.into_array().write_to(out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        <[u8; 20]>::read_from(input).map(|bytes| Self(bytes.into()))
    }
}

impl PlainBytes for Raw<B256> {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.0.0.write_to(out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        <[u8; 32]>::read_from(input).map(|bytes| Self(bytes.into()))
    }
}

impl PlainBytes for RollupId {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.chain_id.write_to(out)?;
        Raw(self.contract).write_to(out)?;
        self.deployed_at.write_to(out)?;
        Raw(self.block_hash).write_to(out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        Ok(Self {
            chain_id: PlainBytes::read_from(input)?,
            contract: Raw::read_from(input)?.0,
            deployed_at: PlainBytes::read_from(input)?,
            block_hash: Raw::read_from(input)?.0,
        })
    }
}

impl PlainBytes for Position {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.number.write_to(out)?;
        Raw(self.hash).write_to(out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        Ok(Self { number: PlainBytes::read_from(input)?, hash: Raw::read_from(input)?.0 })
    }
}

plain_bytes! {
    Header { rollup, version, batches, last_time, commitment, root, block }
}

/// Hashes everything that passes.
struct Hashing<T> {
    inner: T,
    hasher: Keccak256,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hasher: Keccak256::new() }
    }

    fn digest(&self) -> B256 {
        self.hasher.clone().finalize()
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}

impl Header {
    pub(super) fn of(rollup: RollupId, snapshot: &Snapshot) -> Self {
        let SettledLedger { batches, last_time, commitment, ref ledger, .. } = snapshot.settled;
        Self {
            rollup,
            version: ledger.trees().version().number,
            batches,
            last_time,
            commitment,
            root: ledger.trees().root(),
            block: snapshot.block,
        }
    }

    /// Reads the beginning of a snapshot.
    pub(super) fn read(input: &mut impl Read) -> Result<Self, Unusable> {
        if <[u8; 8]>::read_from(input)? != MAGIC {
            return Err(Unusable::Damaged("it is no snapshot"));
        }
        if u32::read_from(input)? != FORMAT {
            return Err(Unusable::OtherFormat);
        }
        Ok(Self::read_from(input)?)
    }
}

/// Writes a snapshot.
pub(super) fn write(rollup: RollupId, snapshot: &Snapshot, out: impl Write) -> io::Result<()> {
    let mut out = Hashing::new(out);
    MAGIC.write_to(&mut out)?;
    FORMAT.write_to(&mut out)?;
    Header::of(rollup, snapshot).write_to(&mut out)?;
    let SettledLedger { ledger, history, rekeyed, .. } = &snapshot.settled;
    ledger.write_to(&mut out)?;
    history.write_to(&mut out)?;
    rekeyed.write_to(&mut out)?;
    let digest = out.digest();
    Raw(digest).write_to(&mut out.inner)
}

/// Reads a snapshot, and checks its digest and the root that its leaves give.
pub(super) fn read(rollup: RollupId, sizes: &Arc<CircuitSizes>, input: impl Read) -> Result<Snapshot, Unusable> {
    let mut input = Hashing::new(input);
    let header = Header::read(&mut input)?;
    if header.rollup != rollup {
        return Err(Unusable::OtherRollup);
    }
    let version = *sizes.any();
    if header.version != version.number {
        return Err(Unusable::OtherFormat);
    }
    let domain = Domain::new(rollup.chain_id, rollup.contract.into_array());
    let ledger = Ledger::read_from(domain, version, &mut input)?;
    let history = History::read_from(&mut input)?;
    let rekeyed = Rekeyed::read_from(&mut input)?;
    let digest = input.digest();
    if Raw::<B256>::read_from(&mut input.inner)?.0 != digest {
        return Err(Unusable::Damaged("its digest is another one"));
    }
    if input.inner.read(&mut [0])? != 0 {
        return Err(invalid("more bytes").into());
    }
    if ledger.trees().root() != header.root {
        return Err(Unusable::Damaged("its leaves give another root"));
    }
    let Header { batches, last_time, commitment, block, .. } = header;
    // Whoever loads it knows whether the sizes changed.
    let resized = false;
    let settled =
        SettledLedger { batches, last_time, commitment, ledger, history, rekeyed, sizes: Arc::clone(sizes), resized };
    Ok(Snapshot { settled, block })
}
