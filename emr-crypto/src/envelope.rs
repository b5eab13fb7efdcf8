//! Envelopes: a record with its authorship, sealed into blocks for one epoch of one class.

use std::convert::Infallible;

use cid::Cid;
use emr_core::cid::cid_of;
use emr_core::{AccountIndex, Codec, KemHash};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::Zeroizing;

use crate::committed_key::CommittedKey;
use crate::content::ContentKey;
use crate::epoch::{EpochKeyring, EpochPublicKey, KeyEpoch};
use crate::manifest::{MAX_LINKS, Manifest};
use crate::rsa_key::{BadSignature, RsaPublic, SigningContext};
use crate::secret::SecretBytes;
use crate::{AttachmentKey, DecryptionFailed, OpenError, RecordContext, SealError, aead, chunks, padded, random};

/// The longest record, in bytes. Put longer content into attachments.
pub const MAX_RECORD_BYTES: u64 = 64 << 20;
/// The largest number of attachments of a record. Their descriptions fit the block of the sealed part.
pub const MAX_ATTACHMENTS: usize = 4096;
/// The longest authorship, in bytes.
const MAX_AUTHORSHIP_BYTES: usize = 64 * 1024;
/// The sealed part is padded to at least this many bytes, so that its size does not show the size of the author's key.
const LEAST_SEALED_PART_BYTES: usize = 2048;

/// Checks that the holder of `author_key` signed the authorship.
///
/// The caller must check that the author's account is bound to this key, and that the authorship agrees with the record
/// leaf.
///
/// # Errors
/// Returns [`BadSignature`] if the signature does not belong to this authorship and key.
pub fn verify_authorship(authorship: &[u8], signature: &[u8], author_key: &RsaPublic) -> Result<(), BadSignature> {
    author_key.verify_pss(SigningContext::AUTHORSHIP, authorship, signature)
}

/// A record with its authorship: the content of an envelope. It does not depend on storage and readers.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthoredRecord {
    /// The record's bytes.
    pub record: Vec<u8>,
    /// The authorship's bytes.
    pub authorship: Vec<u8>,
    /// The author's RSA-PSS signature of the authorship.
    pub signature: Vec<u8>,
    /// The author's account.
    pub author: AccountIndex,
    /// The author's encryption key, as their account commits to it.
    pub author_key: CommittedKey,
    /// The seed of the salts in the record's commitment.
    pub commitment_seed: [u8; 32],
    /// Attachments that the record links.
    pub attachments: Vec<AttachmentKey>,
}

/// Shows the sizes and the author, but no content.
impl std::fmt::Debug for AuthoredRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthoredRecord")
            .field("record_bytes", &self.record.len())
            .field("author", &self.author)
            .field("attachments", &self.attachments.len())
            .finish_non_exhaustive()
    }
}

/// The plaintext of the sealed part: a DAG-CBOR list of the fields in this order. It is not a map, because the encoder
/// sorts the fields of maps in buffers that nobody erases.
struct SealedPart {
    authorship: ByteBuf,
    signature: ByteBuf,
    author: AccountIndex,
    author_key: ByteBuf,
    author_kem: KemHash,
    author_salt: Option<SecretBytes>,
    commitment_seed: SecretBytes,
    storage_salt: ByteArray<32>,
    length: u64,
    attachments: Vec<SealedAttachment>,
}

impl Serialize for SealedPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (
            &self.authorship,
            &self.signature,
            &self.author,
            &self.author_key,
            &self.author_kem,
            &self.author_salt,
            &self.commitment_seed,
            &self.storage_salt,
            &self.length,
            &self.attachments,
        )
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SealedPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (
            authorship,
            signature,
            author,
            author_key,
            author_kem,
            author_salt,
            commitment_seed,
            storage_salt,
            length,
            attachments,
        ) = Deserialize::deserialize(deserializer)?;
        Ok(Self {
            authorship,
            signature,
            author,
            author_key,
            author_kem,
            author_salt,
            commitment_seed,
            storage_salt,
            length,
            attachments,
        })
    }
}

/// An attachment's manifest, key and length.
#[derive(Serialize, Deserialize)]
struct SealedAttachment(Cid, SecretBytes, u64);

fn sealed_part_key(key: &ContentKey, context: &RecordContext) -> Zeroizing<[u8; 32]> {
    key.derive("emr/envelope/sealed-part/v2", &context.to_bytes())
}

fn record_key(key: &ContentKey, context: &RecordContext) -> Zeroizing<[u8; 32]> {
    key.derive("emr/envelope/record/v1", &context.to_bytes())
}

/// A record sealed into blocks, ready to be stored.
#[derive(Clone, Debug)]
pub struct SealedRecord {
    /// The storage manifest, the root of the blocks.
    pub manifest: Cid,
    /// Hashed with the manifest's CID into the leaf's `stored` field. The sealed part contains it too.
    pub storage_salt: [u8; 32],
    /// The content key. It opens the record without an epoch key; the writer wraps it to themselves.
    pub key: ContentKey,
    /// All blocks but those of attachments, each at most [`emr_core::cid::MAX_BLOCK_BYTES`], the manifest last.
    pub blocks: Vec<(Cid, Vec<u8>)>,
}

impl SealedRecord {
    /// Encrypts `authored` with a new content key, and wraps this key to the class's epoch key.
    ///
    /// To rekey a record, open it and seal it to the new epoch's key in the same context. Attachments stay the same.
    ///
    /// # Errors
    /// Returns [`SealError::EpochKey`] if the epoch key is for another class, [`SealError::Authorship`] if the
    /// signature is wrong, and [`SealError::TooLarge`] or [`SealError::TooManyAttachments`] beyond the limits.
    pub fn seal(
        authored: &AuthoredRecord,
        context: &RecordContext,
        to: &EpochPublicKey,
    ) -> Result<Self, SealError<Infallible>> {
        verify_authorship(&authored.authorship, &authored.signature, &authored.author_key.rsa)?;
        Self::seal_unverified(authored, context, to)
    }

    fn seal_unverified(
        authored: &AuthoredRecord,
        context: &RecordContext,
        to: &EpochPublicKey,
    ) -> Result<Self, SealError<Infallible>> {
        if to.class() != context.class {
            return Err(SealError::EpochKey);
        }
        if authored.authorship.len() > MAX_AUTHORSHIP_BYTES {
            return Err(SealError::TooLarge { limit: MAX_AUTHORSHIP_BYTES as u64 });
        }
        if authored.attachments.len() > MAX_ATTACHMENTS {
            return Err(SealError::TooManyAttachments);
        }
        let key = ContentKey::generate();
        let mut blocks = Vec::new();
        let mut put = |codec, bytes: Vec<u8>| {
            let cid = cid_of(codec, &bytes);
            blocks.push((cid, bytes));
            cid
        };

        let wrap = put(Codec::Raw, to.wrap(&key, context));
        let storage_salt = random::bytes();
        let sealed_part = SealedPart {
            attachments: authored.attachments.iter().map(SealedAttachment::from).collect(),
            author: authored.author,
            author_key: authored.author_key.rsa.to_der().into(),
            author_kem: authored.author_key.kem,
            author_salt: authored.author_key.salt.as_ref().map(SecretBytes::new),
            commitment_seed: SecretBytes::new(&authored.commitment_seed),
            length: authored.record.len() as u64,
            signature: authored.signature.clone().into(),
            authorship: authored.authorship.clone().into(),
            storage_salt: ByteArray::new(storage_salt),
        };
        let sealed_part = put(
            Codec::Raw,
            aead::seal_once(
                &sealed_part_key(&key, context),
                b"",
                &padded::encode(&sealed_part, LEAST_SEALED_PART_BYTES),
            ),
        );
        let content = chunks::seal(&record_key(&key, context), &*authored.record, MAX_RECORD_BYTES, |cid, bytes| {
            blocks.push((cid, bytes));
            Ok(())
        })?;
        let mut links = vec![wrap, sealed_part];
        links.extend(content);
        links.extend(authored.attachments.iter().map(|attachment| attachment.manifest));
        let (manifest, bytes) = Manifest::new(links).expect("the limits keep the links within a manifest").to_block();
        blocks.push((manifest, bytes));
        Ok(Self { manifest, storage_salt, key, blocks })
    }
}

const _: () =
    assert!(2 + (MAX_RECORD_BYTES / 8 * 9) as usize / crate::content::CHUNK_BYTES + MAX_ATTACHMENTS < MAX_LINKS);

impl From<&AttachmentKey> for SealedAttachment {
    fn from(attachment: &AttachmentKey) -> Self {
        Self(attachment.manifest, attachment.key.secret().clone(), attachment.length)
    }
}

/// A record that was opened, with the author's signature checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRecord {
    /// The content of the envelope.
    pub authored: AuthoredRecord,
    /// The epoch to which it was sealed.
    pub epoch: KeyEpoch,
    /// The salt in the leaf's `stored` field.
    pub storage_salt: [u8; 32],
}

impl OpenedRecord {
    /// Opens the record with this manifest, if the reader holds a key of its epoch and it was sealed for exactly this
    /// context. `fetch` may get blocks from any node, because this function hashes them again. It follows only links
    /// that the sealed part accounts for, and assembles at most [`MAX_RECORD_BYTES`].
    ///
    /// Afterwards the caller must check the record leaf (`stored`, `authored`), the authorship against the record's
    /// commitment, and the author's key against the author's account (`docs/envelope.md`).
    ///
    /// # Errors
    /// Returns [`OpenError`]. Any fault in the blocks' content gives [`DecryptionFailed`].
    pub fn open<E: std::error::Error + 'static>(
        manifest: &Cid,
        mut fetch: impl FnMut(&Cid) -> Result<Vec<u8>, E>,
        keys: &EpochKeyring,
        context: &RecordContext,
    ) -> Result<Self, OpenError<E>> {
        let manifest = links(manifest, &mut fetch)?;
        let [wrap, ..] = manifest.links() else { return Err(DecryptionFailed.into()) };
        let wrap = chunks::fetch(wrap, &mut fetch)?;
        let (epoch, key) = keys.unwrap(&wrap, context)?;
        let (authored, storage_salt) = open_content(&manifest, fetch, &key, context)?;
        Ok(Self { authored, epoch, storage_salt })
    }
}

impl AuthoredRecord {
    /// Opens the record with this manifest by its content key, which only its writer keeps ([`SealedRecord::key`]).
    /// Otherwise the same as [`OpenedRecord::open`].
    ///
    /// # Errors
    /// The same as [`OpenedRecord::open`].
    pub fn reopen<E: std::error::Error + 'static>(
        manifest: &Cid,
        mut fetch: impl FnMut(&Cid) -> Result<Vec<u8>, E>,
        key: &ContentKey,
        context: &RecordContext,
    ) -> Result<Self, OpenError<E>> {
        let manifest = links(manifest, &mut fetch)?;
        open_content(&manifest, fetch, key, context).map(|(authored, _)| authored)
    }
}

fn links<E: std::error::Error + 'static>(
    manifest: &Cid,
    fetch: &mut impl FnMut(&Cid) -> Result<Vec<u8>, E>,
) -> Result<Manifest, OpenError<E>> {
    let bytes = chunks::fetch(manifest, fetch)?;
    Ok(Manifest::from_bytes(&bytes).map_err(|_| DecryptionFailed)?)
}

/// Opens a record with its content key. Returns the record and the salt in `stored`.
fn open_content<E: std::error::Error + 'static>(
    manifest: &Manifest,
    mut fetch: impl FnMut(&Cid) -> Result<Vec<u8>, E>,
    key: &ContentKey,
    context: &RecordContext,
) -> Result<(AuthoredRecord, [u8; 32]), OpenError<E>> {
    let [_, sealed_part, content @ ..] = manifest.links() else {
        return Err(DecryptionFailed.into());
    };
    let sealed_part = chunks::fetch(sealed_part, &mut fetch)?;
    let part: SealedPart = padded::decode(&aead::open_once(&sealed_part_key(key, context), b"", &sealed_part)?)?;
    let rsa = RsaPublic::from_der(&part.author_key).map_err(|_| DecryptionFailed)?;
    verify_authorship(&part.authorship, &part.signature, &rsa)?;
    if part.length > MAX_RECORD_BYTES {
        return Err(DecryptionFailed.into());
    }
    let chunk_count = usize::try_from(chunks::count(part.length)).map_err(|_| DecryptionFailed)?;
    let (content, attachments) = content.split_at_checked(chunk_count).ok_or(DecryptionFailed)?;
    if !attachments.iter().eq(part.attachments.iter().map(|SealedAttachment(link, ..)| link)) {
        return Err(DecryptionFailed.into());
    }
    // Grows with the bytes that arrive. The claimed length allocates nothing.
    let mut record = Vec::new();
    chunks::open(&record_key(key, context), content, part.length, &mut fetch, &mut record)?;
    let authored = AuthoredRecord {
        record,
        authorship: part.authorship.into_vec(),
        signature: part.signature.into_vec(),
        author: part.author,
        author_key: CommittedKey { rsa, kem: part.author_kem, salt: part.author_salt.map(|salt| *salt.as_bytes()) },
        commitment_seed: *part.commitment_seed.as_bytes(),
        attachments: part
            .attachments
            .into_iter()
            .map(|SealedAttachment(manifest, key, length)| AttachmentKey { manifest, key: ContentKey::of(key), length })
            .collect(),
    };
    Ok((authored, part.storage_salt.into_array()))
}

#[cfg(all(test, target_os = "linux"))]
mod memory;
#[cfg(test)]
mod tests;
