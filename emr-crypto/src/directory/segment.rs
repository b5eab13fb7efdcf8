//! Segments of a key directory: sealed runs of epoch secrets.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::epoch::{EpochSecret, KeyEpoch};
use crate::secret::SecretBytes;
use crate::{aead, padded, random};

/// Segments are padded to at least this many bytes. Three epochs fit.
const LEAST_SEGMENT_BYTES: usize = 192;

/// The position of a segment, and the key that opens it.
pub(crate) type SegmentLink = (u32, SecretBytes);

/// Consecutive epochs of a class: the first epoch, the epochs' secrets, and a link to the next segment. A reader of one
/// segment can read all later segments.
#[derive(Serialize, Deserialize)]
pub(crate) struct Segment(pub(super) u32, pub(super) Vec<SecretBytes>, pub(super) Option<SegmentLink>);

impl Segment {
    /// Encrypts consecutive epochs with a new key.
    pub(crate) fn seal(
        first: KeyEpoch,
        secrets: &[EpochSecret],
        next: Option<SegmentLink>,
        aad: &[u8; 32],
    ) -> (SecretBytes, ByteBuf) {
        let key = SecretBytes::new(&random::secret());
        let secrets = secrets.iter().map(|secret| secret.seed().clone()).collect();
        let plaintext = padded::encode(&Self(first.get(), secrets, next), LEAST_SEGMENT_BYTES);
        let sealed = aead::seal_once(key.as_bytes(), aad, &plaintext).into();
        (key, sealed)
    }
}
