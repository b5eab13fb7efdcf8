//! The data that a participant registers on L1, and its signatures. Nothing here talks to a node.

use alloy::{
    dyn_abi::Eip712Domain,
    primitives::{Address, B256, Bytes, Signature, U256, aliases::U24},
    signers::SignerSync,
    sol_types::{SolStruct, SolValue, eip712_domain},
};
use emr_core::{AccountIndex, KemHash, Opaque, Role, UnixTime};
use serde::{Deserialize, Serialize};

use crate::bindings::IRegistry;

mod eip712 {
    alloy::sol! {
        /// The message that an owner signs. The contract's `registerFor` computes its hash again.
        struct Registration {
            address owner;
            uint8 role;
            uint24 org;
            uint256 qx;
            uint256 qy;
            uint256 encryptionCommitment;
            bytes32 kemHash;
            bytes rsaModulus;
            bytes rsaSignature;
            uint256 deadline;
        }
    }
}

/// One deployed rollup. Signatures are bound to it, so they are not valid for another chain or contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RollupInstance {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The contract's address.
    pub contract: Address,
}

impl RollupInstance {
    /// The rollup's domain, a field element in 32 bytes, big-endian: `keccak256(abi.encode(chain id, contract)) >> 8`.
    pub fn domain(&self) -> [u8; 32] {
        let words = (U256::from(self.chain_id), self.contract).abi_encode();
        let digest = U256::from_be_bytes(alloy::primitives::keccak256(words).0);
        (digest >> 8_usize).to_be_bytes()
    }

    /// The EIP-712 domain: name "EMR Rollup", version "1", chain id, contract.
    pub(crate) fn eip712_domain(&self) -> Eip712Domain {
        eip712_domain! {
            name: "EMR Rollup",
            version: "1",
            chain_id: self.chain_id,
            verifying_contract: self.contract,
        }
    }

    /// The message that an RSA key signs (RSASSA-PKCS1-v1_5, SHA-256) to prove that the owner of the rollup key `A`
    /// holds it. Seven words, 224 bytes: `keccak256("emr/rsa/possession/v2"), domain, owner, A.x, A.y, role, kem hash`. So the holder of the RSA
    /// key chose the second key that an account has beside it.
    ///
    /// `key` is the rollup key `A` itself, not the `Q` that is submitted.
    pub fn possession_message(&self, owner: Address, key: CurvePoint, role: Role, kem: KemHash) -> Vec<u8> {
        let tag = alloy::primitives::keccak256("emr/rsa/possession/v2");
        let (role, kem) = (U256::from(role.code()), B256::from(*kem.as_bytes()));
        (tag, B256::from(self.domain()), owner, B256::from(key.x), B256::from(key.y), role, kem).abi_encode()
    }
}

/// A point of Baby Jubjub in affine coordinates. Each has 32 bytes, big-endian, and is below the field's modulus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CurvePoint {
    /// Abscissa.
    pub x: [u8; 32],
    /// Ordinate.
    pub y: [u8; 32],
}

/// An RSA public key with exponent 65537, the second key beside it, and the proof that the owner holds the private RSA key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPossession {
    /// The modulus, big-endian without leading zeros: 256 to 512 bytes, top bit set.
    pub modulus: Vec<u8>,
    /// The account's second key, which the signature covers.
    pub kem: KemHash,
    /// Signature over [`RollupInstance::possession_message`], as long as the modulus.
    pub signature: Vec<u8>,
}

/// The commitment to the keys of a doctor or hospital in their identity leaf:
/// `sha256(uint16 length of e || e || uint16 length of n || n || kem hash) >> 8`, both numbers of the RSA key big-endian without leading zeros.
///
/// The contract computes it for exponent 65537, which is `e = 01 00 01`.
pub fn rsa_commitment(modulus: &[u8], exponent: &[u8], kem: KemHash) -> Opaque {
    let mut bytes = Vec::with_capacity(4 + exponent.len() + modulus.len() + kem.as_bytes().len());
    for number in [exponent, modulus] {
        let length = u16::try_from(number.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(number);
    }
    bytes.extend_from_slice(kem.as_bytes());
    Opaque::of(&bytes)
}

/// The registration of one owner. The constructors allow only combinations that the contract accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    role: Role,
    org: Option<AccountIndex>,
    qx: B256,
    qy: B256,
    encryption_commitment: Option<Opaque>,
    kem_hash: KemHash,
    rsa_modulus: Bytes,
    rsa_signature: Bytes,
}

impl Registration {
    /// A patient. `q` is the patient's rollup key divided by 8. Only a `commitment` to their encryption keys goes on
    /// chain.
    pub fn patient(q: CurvePoint, commitment: Opaque) -> Self {
        Self {
            role: Role::Patient,
            org: None,
            qx: q.x.into(),
            qy: q.y.into(),
            encryption_commitment: Some(commitment),
            kem_hash: KemHash::NONE,
            rsa_modulus: Bytes::new(),
            rsa_signature: Bytes::new(),
        }
    }

    /// A doctor. With `org`, the doctor belongs to that hospital, which must have endorsed the owner.
    pub fn doctor(q: CurvePoint, org: Option<AccountIndex>, key: RsaPossession) -> Self {
        Self::proven(Role::Doctor, q, org, key)
    }

    /// A hospital.
    pub fn hospital(q: CurvePoint, key: RsaPossession) -> Self {
        Self::proven(Role::Hospital, q, None, key)
    }

    fn proven(role: Role, q: CurvePoint, org: Option<AccountIndex>, key: RsaPossession) -> Self {
        Self {
            role,
            org,
            qx: q.x.into(),
            qy: q.y.into(),
            encryption_commitment: None,
            kem_hash: key.kem,
            rsa_modulus: key.modulus.into(),
            rsa_signature: key.signature.into(),
        }
    }

    /// The rollup key divided by 8.
    pub const fn q(&self) -> CurvePoint {
        CurvePoint { x: self.qx.0, y: self.qy.0 }
    }

    /// The commitment to the encryption keys that the contract stores.
    pub fn commitment(&self) -> Opaque {
        self.encryption_commitment.unwrap_or_else(|| rsa_commitment(&self.rsa_modulus, &[1, 0, 1], self.kem_hash))
    }

    /// The role that is registered.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The hash that the owner signs (EIP-712). With the signature, anyone can relay the registration until `deadline`.
    pub fn signing_hash(&self, instance: &RollupInstance, owner: Address, deadline: UnixTime) -> B256 {
        let message = eip712::Registration {
            owner,
            role: self.role.code(),
            org: self.org_number(),
            qx: self.qx.into(),
            qy: self.qy.into(),
            encryptionCommitment: self.commitment_number(),
            kemHash: self.kem_word(),
            rsaModulus: self.rsa_modulus.clone(),
            rsaSignature: self.rsa_signature.clone(),
            deadline: U256::from(deadline.get()),
        };
        message.eip712_signing_hash(&instance.eip712_domain())
    }

    /// Signs as the owner, with the key of that externally owned account.
    ///
    /// # Errors
    /// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
    pub fn sign(
        self,
        instance: &RollupInstance,
        owner: Address,
        key: &impl SignerSync,
        deadline: UnixTime,
    ) -> Result<SignedRegistration, alloy::signers::Error> {
        let signature = key.sign_hash_sync(&self.signing_hash(instance, owner, deadline))?;
        Ok(SignedRegistration { registration: self, owner, deadline, signature: signature.as_bytes().into() })
    }

    fn org_number(&self) -> U24 {
        self.org.map_or(U24::ZERO, |org| U24::from(org.get()))
    }

    fn commitment_number(&self) -> U256 {
        self.encryption_commitment.map_or(U256::ZERO, |commitment| U256::from_be_bytes(commitment.to_be_bytes32()))
    }

    fn kem_word(&self) -> B256 {
        B256::from(*self.kem_hash.as_bytes())
    }

    /// Converts to the argument of the contract's functions.
    pub(crate) fn to_abi(&self) -> IRegistry::Registration {
        IRegistry::Registration {
            role: self.role.code(),
            org: self.org_number(),
            qx: self.qx.into(),
            qy: self.qy.into(),
            encryptionCommitment: self.commitment_number(),
            kemHash: self.kem_word(),
            rsaModulus: self.rsa_modulus.clone(),
            rsaSignature: self.rsa_signature.clone(),
        }
    }
}

/// A registration that its owner signed and anyone can relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRegistration {
    /// The registration.
    pub registration: Registration,
    /// The owner of the account.
    pub owner: Address,
    /// The last second at which the contract accepts it.
    pub deadline: UnixTime,
    /// 65 bytes `r || s || v` of an externally owned account, or a signature that an ERC-1271 wallet accepts.
    pub signature: Bytes,
}

impl SignedRegistration {
    /// Whether the owner's key made the signature, in the form that the contract accepts from an owner without code: 65
    /// bytes, `v` 27 or 28, low `s`. Only the chain can tell whether an ERC-1271 wallet accepts a signature.
    pub fn is_signed_by_owner(&self, instance: &RollupInstance) -> bool {
        let hash = self.registration.signing_hash(instance, self.owner, self.deadline);
        let signature = match self.signature[..] {
            [.., 27 | 28] if self.signature.len() == 65 => Signature::from_raw(&self.signature).ok(),
            _ => None,
        };
        signature
            .filter(|signature| signature.normalize_s().is_none())
            .and_then(|signature| signature.recover_address_from_prehash(&hash).ok())
            .is_some_and(|signer| signer == self.owner)
    }
}

#[cfg(test)]
mod tests {
    use alloy::signers::local::PrivateKeySigner;

    use super::*;

    fn instance() -> RollupInstance {
        RollupInstance { chain_id: 31337, contract: Address::repeat_byte(0x11) }
    }

    /// Computed with Python's hashlib over `0003 010001 0100 || n || kem hash`, n = 0x80 00.. 01 of 256 bytes.
    #[test]
    fn rsa_commitment_vectors() {
        let mut modulus = [0; 256];
        (modulus[0], modulus[255]) = (0x80, 1);
        for (kem, expected) in [
            (KemHash::NONE, "0x00d56db5cafb9cf65f7e522c7eff8be926d209fbe8928504d1f8697e9913284c"),
            (KemHash::of(b"abc"), "0x00b0ed5d07a4721f1a56ee1cab65c42a41479b38e74f51198dc5a764eb9e9f2d"),
        ] {
            assert_eq!(rsa_commitment(&modulus, &[1, 0, 1], kem).to_string(), expected);
        }
    }

    #[test]
    fn lengths_keep_exponent_and_modulus_apart() {
        let commitment = |modulus, exponent| rsa_commitment(modulus, exponent, KemHash::NONE);
        assert_ne!(commitment(&[1, 2, 3], &[4]), commitment(&[2, 3], &[4, 1]));
    }

    #[test]
    fn the_signature_covers_every_field() -> Result<(), Box<dyn std::error::Error>> {
        let q = CurvePoint { x: [1; 32], y: [2; 32] };
        let key = RsaPossession { modulus: vec![3; 256], kem: KemHash::of(b"key"), signature: vec![4; 256] };
        let (owner, deadline) = (Address::repeat_byte(5), UnixTime::new(6)?);
        let signed = Registration::doctor(q, Some(AccountIndex::new(7)?), key);
        let hash = |registration: &Registration| registration.signing_hash(&instance(), owner, deadline);
        let base = hash(&signed);

        let changes: [fn(&mut Registration); 8] = [
            |r| r.role = Role::Hospital,
            |r| r.org = None,
            |r| r.qx = B256::ZERO,
            |r| r.qy = B256::ZERO,
            |r| r.encryption_commitment = Some(Opaque::of(b"x")),
            |r| r.kem_hash = KemHash::NONE,
            |r| r.rsa_modulus = Bytes::new(),
            |r| r.rsa_signature = Bytes::new(),
        ];
        for change in changes {
            let mut changed = signed.clone();
            change(&mut changed);
            assert_ne!(hash(&changed), base);
        }
        assert_ne!(signed.signing_hash(&instance(), Address::ZERO, deadline), base);
        assert_ne!(signed.signing_hash(&instance(), owner, UnixTime::new(7)?), base);
        let elsewhere = RollupInstance { chain_id: 1337, ..instance() };
        assert_ne!(signed.signing_hash(&elsewhere, owner, deadline), base);
        let other = RollupInstance { contract: Address::ZERO, ..instance() };
        assert_ne!(signed.signing_hash(&other, owner, deadline), base);
        Ok(())
    }

    #[test]
    fn a_signed_registration_survives_json() -> Result<(), Box<dyn std::error::Error>> {
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(1))?;
        let registration = Registration::patient(CurvePoint { x: [1; 32], y: [2; 32] }, Opaque::of(b"key"));
        let signed = registration.sign(&instance(), key.address(), &key, UnixTime::new(9)?)?;
        let json = serde_json::to_string(&signed)?;
        assert_eq!(serde_json::from_str::<SignedRegistration>(&json)?, signed);
        Ok(())
    }
}
