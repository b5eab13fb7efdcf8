//! The place that a sealed record is bound to: its ciphertext opens there and nowhere else.

use emr_core::{AccountIndex, Class, RecordSlot, Version};

/// The place of one version of a record. Everything in its envelope is bound to this place.
///
/// Bytes: domain 32 | patient 4 | slot 2 | version 4 | class 1, integers big-endian; 43 in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordContext {
    /// The rollup's domain: chain and contract (`docs/encoding.md`), 32 bytes big-endian.
    pub domain: [u8; 32],
    /// The patient whose record it is.
    pub patient: AccountIndex,
    /// The record's slot in the patient's records tree.
    pub slot: RecordSlot,
    /// The version of the record's content.
    pub version: Version,
    /// Its class.
    pub class: Class,
}

impl RecordContext {
    /// The 43 bytes.
    pub fn to_bytes(&self) -> [u8; 43] {
        let mut bytes = [0; 43];
        bytes[..32].copy_from_slice(&self.domain);
        bytes[32..36].copy_from_slice(&(self.patient.get() as u32).to_be_bytes());
        bytes[36..38].copy_from_slice(&(self.slot.get() as u16).to_be_bytes());
        bytes[38..42].copy_from_slice(&(self.version.get() as u32).to_be_bytes());
        bytes[42] = self.class.code();
        bytes
    }
}
