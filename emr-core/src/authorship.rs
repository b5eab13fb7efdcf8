//! The authorship of a record version: what its author signs.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::{Digest, Sha256};

use crate::class::Class;
use crate::codec::{CodecError, decode, encode};
use crate::commitment::CommitmentRoot;
use crate::opaque::Opaque;
use crate::quantity::{AccountIndex, RecordSlot, Version};

/// The largest encoding in bytes, far more than any authorship needs.
const MAX_BYTES: usize = 1024;
const TYPE: &str = "emr/authored/v1";

/// Why something is not an authorship.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorshipError {
    /// It has version 0, or it is a first version with a predecessor, or a later version without one.
    #[error("version {version} of a record {}: its author has to sign it again", match version.get() {
        0 => "does not exist",
        1 => "cannot replace another version",
        _ => "must name the version that it replaces",
    })]
    Chain {
        /// The version stated.
        version: Version,
    },
    /// The bytes are not the canonical bytes of an authorship.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// States that an author wrote this content as this version of this record. The author signs it with RSA-PSS.
///
/// It does not mention storage, so encrypting the record again keeps it valid. It names the contract and the patient,
/// so nobody can move it to another chain, patient, slot or version.
///
/// DAG-CBOR: a map of `type` (`"emr/authored/v1"`), `domain` (32 bytes), `patient`, `slot`, `version` (integers),
/// `class` (its code), `commitment` (32 bytes) and `previous` (31 bytes, or null).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorship {
    /// The rollup: the field element `keccak256(chain id, contract) >> 8`, 32 bytes big-endian.
    pub domain: [u8; 32],
    /// Whose record.
    pub patient: AccountIndex,
    /// The record's slot in the patient's records tree.
    pub slot: RecordSlot,
    /// The version of the record's content. The first is 1.
    pub version: Version,
    /// The record's class.
    pub class: Class,
    /// The commitment to the content.
    pub commitment: CommitmentRoot,
    /// The `authored` field of the previous version, as the record leaf held it; `None` for version 1.
    pub previous: Option<Opaque>,
}

impl Authorship {
    /// The canonical bytes: what the author signs.
    pub fn to_dag_cbor(&self) -> Vec<u8> {
        encode(&Wire {
            r#type: TYPE.to_owned(),
            domain: ByteArray::new(self.domain),
            patient: self.patient,
            slot: self.slot,
            version: self.version,
            class: self.class.code(),
            commitment: self.commitment,
            previous: self.previous,
        })
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// Returns [`AuthorshipError`] if the bytes are not canonical, or if version and predecessor do not match: only
    /// version 1 has no predecessor.
    pub fn from_dag_cbor(bytes: &[u8]) -> Result<Self, AuthorshipError> {
        let malformed = |detail: &str| CodecError::Malformed { what: WHAT, detail: detail.to_owned() };
        let wire: Wire = decode(WHAT, MAX_BYTES, bytes)?;
        if wire.r#type != TYPE {
            return Err(malformed("of another type").into());
        }
        let class = Class::from_code(wire.class).ok_or_else(|| malformed("of no class"))?;
        let Wire { domain, patient, slot, version, commitment, previous, .. } = wire;
        if version.get() == 0 || (version.get() == 1) != previous.is_none() {
            return Err(AuthorshipError::Chain { version });
        }
        Ok(Self { domain: domain.into_array(), patient, slot, version, class, commitment, previous })
    }

    /// SHA-256 of the canonical bytes.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_dag_cbor()).into()
    }

    /// The `authored` field of the record leaf: the digest without its last byte.
    pub fn authored(&self) -> Opaque {
        Opaque::truncate(self.digest())
    }
}

const WHAT: &str = "an authorship";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    r#type: String,
    domain: ByteArray<32>,
    patient: AccountIndex,
    slot: RecordSlot,
    version: Version,
    class: u8,
    commitment: CommitmentRoot,
    previous: Option<Opaque>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::OutOfRange;

    fn authorship() -> Result<Authorship, OutOfRange> {
        Ok(Authorship {
            domain: Opaque::of(b"domain").to_be_bytes32(),
            patient: AccountIndex::new(7)?,
            slot: RecordSlot::new(300)?,
            version: Version::new(2)?,
            class: Class::Laboratory,
            commitment: CommitmentRoot::new([0xc0; 32]),
            previous: Some(Opaque::of(b"previous")),
        })
    }

    /// Put together by hand after RFC 8949; `docs/record.md` shows it.
    #[test]
    fn vector() -> Result<(), Box<dyn std::error::Error>> {
        let authorship = authorship()?;
        let text = |text: &str| format!("{:02x}{}", 0x60 + text.len(), hex::encode(text));
        let cbor = [
            "a8".to_owned(),
            text("slot") + "19012c",
            text("type") + &text("emr/authored/v1"),
            text("class") + "02",
            text("domain") + "5820" + &hex::encode(authorship.domain),
            text("patient") + "07",
            text("version") + "02",
            text("previous") + "581f" + &hex::encode(Opaque::of(b"previous").as_bytes()),
            text("commitment") + "5820" + &"c0".repeat(32),
        ];
        assert_eq!(hex::encode(authorship.to_dag_cbor()), cbor.concat());
        assert_eq!(
            hex::encode(authorship.digest()),
            "cfbd497218b9b6b6337c6a0688478caa7ef9cc67f625ed3275c11ec9bdf73e04"
        );
        assert_eq!(
            authorship.authored().to_string(),
            "0x00cfbd497218b9b6b6337c6a0688478caa7ef9cc67f625ed3275c11ec9bdf73e"
        );
        assert_eq!(Authorship::from_dag_cbor(&authorship.to_dag_cbor())?, authorship);
        Ok(())
    }

    #[test]
    fn every_part_is_in_the_digest() -> Result<(), Box<dyn std::error::Error>> {
        let authorship = authorship()?;
        let of = || authorship.clone();
        for other in [
            Authorship { domain: [0; 32], ..of() },
            Authorship { patient: AccountIndex::new(8)?, ..of() },
            Authorship { slot: RecordSlot::new(301)?, ..of() },
            Authorship { version: Version::new(3)?, ..of() },
            Authorship { class: Class::Imaging, ..of() },
            Authorship { commitment: CommitmentRoot::new([0xc1; 32]), ..of() },
            Authorship { previous: Some(Opaque::of(b"another")), ..of() },
        ] {
            assert_ne!(other.digest(), authorship.digest());
            assert_ne!(other.authored(), authorship.authored());
        }
        Ok(())
    }

    #[test]
    fn versions_form_a_chain() -> Result<(), Box<dyn std::error::Error>> {
        for (version, previous, fits) in [
            (0, None, false),
            (1, None, true),
            (1, Some(Opaque::ZERO), false),
            (2, None, false),
            (2, Some(Opaque::ZERO), true),
        ] {
            let authorship = Authorship { version: Version::new(version)?, previous, ..authorship()? };
            assert_eq!(Authorship::from_dag_cbor(&authorship.to_dag_cbor()).is_ok(), fits, "{version}");
        }
        Ok(())
    }

    #[test]
    fn what_is_not_an_authorship_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let bytes = authorship()?.to_dag_cbor();
        let with = |from: &str, to: &str| hex::decode(hex::encode(&bytes).replacen(from, to, 1));
        let class = hex::encode("class");
        let patient = hex::encode("patient");
        for other in [
            Vec::new(),
            bytes[..bytes.len() - 1].to_vec(),
            [bytes.clone(), vec![0]].concat(),
            with(&format!("{class}02"), &format!("{class}10"))?,
            with(&format!("{class}02"), &format!("{class}1802"))?,
            with(&format!("{patient}07"), &format!("{patient}00"))?,
            with(&format!("{patient}07"), &format!("{patient}1a01000000"))?,
            with(&hex::encode("emr/authored/v1"), &hex::encode("emr/authored/v2"))?,
            with(&hex::encode("slot"), &hex::encode("slow"))?,
            vec![0xff; MAX_BYTES + 1],
        ] {
            assert!(Authorship::from_dag_cbor(&other).is_err(), "{}", hex::encode(other));
        }
        Ok(())
    }
}
