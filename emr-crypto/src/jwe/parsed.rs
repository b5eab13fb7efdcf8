//! Reads a JWE in JSON: general (RFC 7516, 7.2.1) or flattened (7.2.2), as libraries write it for one recipient.
//!
//! Hostile files are read in memory and time that follow from their length: unknown members are skipped and not kept, and
//! lists have a bound. A name that is twice in an object is refused. Otherwise two programs could read two different files.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::general::{GeneralJweError, MAX_JWE_BYTES, MAX_JWE_RECIPIENTS};
use super::{A256GCM, OpenedJwe, SealedContent};
use crate::key_wrap::{Algorithm, WrappedKey};
use crate::random;

/// The most members of an object. Programs write fewer than ten.
const MAX_MEMBERS: usize = 64;
/// The longest name of a member in bytes. Registered names have fewer than twenty.
const MAX_NAME_BYTES: usize = 256;

/// A JWE that was read and not opened yet: `A256GCM`, with at least one key that is encrypted with `RSA-OAEP-256`.
pub struct GeneralJwe {
    content_type: Option<String>,
    keys: Vec<WrappedKey>,
    /// The additional data: the protected header, and `aad` behind a dot if there is one.
    associated: String,
    sealed: SealedContent,
}

/// Shows no content.
impl fmt::Debug for GeneralJwe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneralJwe").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl GeneralJwe {
    /// Reads a JWE. Keys that are encrypted with other algorithms are for others and are left out.
    ///
    /// # Errors
    /// Returns [`GeneralJweError`], but never [`GeneralJweError::Decryption`].
    pub fn parse(jwe: &[u8]) -> Result<Self, GeneralJweError> {
        if jwe.len() > MAX_JWE_BYTES {
            return Err(GeneralJweError::TooLarge);
        }
        let written: Written = serde_json::from_slice(jwe)
            .map_err(|error| GeneralJweError::Malformed { line: error.line(), column: error.column() })?;
        let Written { protected, unprotected, recipients, only, iv, ciphertext, tag, aad } = written;
        let recipients = match (recipients, only) {
            (Some(recipients), None) => recipients,
            (None, Some(only)) => Recipients { first: vec![only], count: 1 },
            (Some(_), Some(_)) => return Err(GeneralJweError::Incomplete("list of recipients alone")),
            (None, None) => return Err(GeneralJweError::Incomplete("recipients")),
        };
        if !(1..=MAX_JWE_RECIPIENTS).contains(&recipients.count) {
            return Err(GeneralJweError::Recipients(recipients.count));
        }
        let mut shared = match &protected {
            Some(protected) => Header::of_base64url(protected)?,
            None => Header::default(),
        };
        shared.join(unprotected)?;
        let (mut keys, mut others, mut content_type) = (Vec::new(), Vec::new(), None);
        for Recipient { header, encrypted_key } in recipients.first {
            let mut header = header;
            header.join(shared.clone())?;
            if header.enc.as_deref() != Some(A256GCM) {
                return Err(GeneralJweError::ContentEncryption(GeneralJweError::shown(header.enc.as_deref())));
            }
            if header.alg.as_deref() == Some(Algorithm::RsaOaep256.name()) {
                keys.push(WrappedKey { algorithm: Algorithm::RsaOaep256, ciphertext: encrypted_key });
                content_type = content_type.or(header.cty);
            } else {
                others.push(header.alg);
            }
        }
        if keys.is_empty() {
            let first = others.first().and_then(Option::as_deref);
            return Err(GeneralJweError::KeyEncryption(GeneralJweError::shown(first)));
        }
        let missing = GeneralJweError::Incomplete;
        let sealed = SealedContent {
            iv: iv.try_into().map_err(|_| missing("iv of 12 bytes"))?,
            ciphertext: ciphertext.ok_or(missing("ciphertext"))?,
            tag: tag.try_into().map_err(|_| missing("tag of 16 bytes"))?,
        };
        let mut associated = protected.unwrap_or_default();
        if let Some(aad) = aad {
            associated.push('.');
            associated.push_str(&aad);
        }
        Ok(Self { content_type, keys, associated, sealed })
    }

    /// Opens it. `unwrap` tries a key with an empty context, and returns `None` if it does not open. It is called for one
    /// recipient after the other, until a key opens.
    ///
    /// If none opens, the content is still tried, with a random key (RFC 7516, 11.5), so that neither the error nor the
    /// work done shows which of the two steps failed.
    ///
    /// # Errors
    /// Returns [`GeneralJweError::Decryption`] for everything that does not open, and what `unwrap` returns.
    pub fn open_with<E: From<GeneralJweError>>(
        self,
        mut unwrap: impl FnMut(&WrappedKey) -> Result<Option<Zeroizing<[u8; 32]>>, E>,
    ) -> Result<OpenedJwe, E> {
        let mut key = None;
        for wrapped in &self.keys {
            key = unwrap(wrapped)?;
            if key.is_some() {
                break;
            }
        }
        let key = key.unwrap_or_else(random::secret);
        let plaintext = self.sealed.open(&key, &self.associated).map_err(GeneralJweError::from)?;
        Ok(OpenedJwe { content_type: self.content_type, plaintext })
    }
}

/// A header: the names in it, and those values that are used.
#[derive(Clone, Default)]
struct Header {
    names: BTreeSet<String>,
    alg: Option<String>,
    enc: Option<String>,
    cty: Option<String>,
}

impl Header {
    fn of_base64url(text: &str) -> Result<Self, GeneralJweError> {
        let json = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| GeneralJweError::ProtectedHeader)?;
        serde_json::from_slice(&json).map_err(|_| GeneralJweError::ProtectedHeader)
    }

    /// Adds another header. No name may be in both, and neither may ask for compression or have `crit`.
    fn join(&mut self, other: Self) -> Result<(), GeneralJweError> {
        let Self { names, alg, enc, cty } = other;
        if let Some(name) = names.intersection(&self.names).next() {
            return Err(GeneralJweError::NameTwice(GeneralJweError::shown(Some(name))));
        }
        self.names.extend(names);
        if let Some(name) = ["crit", "zip"].into_iter().find(|name| self.names.contains(*name)) {
            return Err(GeneralJweError::Extension(name));
        }
        self.alg = self.alg.take().or(alg);
        self.enc = self.enc.take().or(enc);
        self.cty = self.cty.take().or(cty);
        Ok(())
    }
}

impl Members for Header {
    const WHAT: &'static str = "a header of a JWE";

    fn member<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "alg" => self.alg = Some(map.next_value()?),
            "enc" => self.enc = Some(map.next_value()?),
            "cty" => self.cty = Some(map.next_value()?),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        self.names.insert(name.to_owned());
        Ok(())
    }
}

#[derive(Default)]
struct Recipient {
    header: Header,
    encrypted_key: Vec<u8>,
}

impl Members for Recipient {
    const WHAT: &'static str = "a recipient of a JWE";

    fn member<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "header" => self.header = map.next_value()?,
            "encrypted_key" => self.encrypted_key = map.next_value::<Decoded>()?.0,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

/// The members of the outer object.
#[derive(Default)]
struct Written {
    protected: Option<String>,
    unprotected: Header,
    recipients: Option<Recipients>,
    /// What the flattened form has in place of a list.
    only: Option<Recipient>,
    iv: Vec<u8>,
    ciphertext: Option<Vec<u8>>,
    tag: Vec<u8>,
    aad: Option<String>,
}

impl Members for Written {
    const WHAT: &'static str = "a JWE in JSON";

    fn member<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "protected" => self.protected = Some(map.next_value()?),
            "unprotected" => self.unprotected = map.next_value()?,
            "recipients" => self.recipients = Some(map.next_value()?),
            "header" | "encrypted_key" => self.only.get_or_insert_default().member(name, map)?,
            "iv" => self.iv = map.next_value::<Decoded>()?.0,
            "ciphertext" => self.ciphertext = Some(map.next_value::<Decoded>()?.0),
            "tag" => self.tag = map.next_value::<Decoded>()?.0,
            "aad" => self.aad = Some(map.next_value()?),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

/// The recipients that are read, and how many the list has.
struct Recipients {
    first: Vec<Recipient>,
    count: usize,
}

impl<'de> Deserialize<'de> for Recipients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Recipients;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of recipients")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Recipients, S::Error> {
                let mut first = Vec::new();
                while first.len() < MAX_JWE_RECIPIENTS
                    && let Some(recipient) = list.next_element()?
                {
                    first.push(recipient);
                }
                let mut count = first.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Recipients { first, count })
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// Bytes in base64url without padding.
struct Decoded(Vec<u8>);

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64Url;

        impl Visitor<'_> for Base64Url {
            type Value = Decoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes in base64url without padding")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Decoded, E> {
                BASE64URL_NOPAD.decode(text.as_bytes()).map(Decoded).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Base64Url)
    }
}

/// An object with each name once, and at most [`MAX_MEMBERS`] names of at most [`MAX_NAME_BYTES`].
trait Members: Default {
    /// What it is, for the error.
    const WHAT: &'static str;

    /// Reads the value of a member.
    fn member<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error>;
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Members> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<T, M::Error> {
        let (mut object, mut names) = (T::default(), BTreeSet::new());
        while let Some(name) = map.next_key::<String>()? {
            if names.len() == MAX_MEMBERS || name.len() > MAX_NAME_BYTES || names.contains(&name) {
                return Err(M::Error::custom("a name twice, or too many or too long names"));
            }
            object.member(&name, &mut map)?;
            names.insert(name);
        }
        Ok(object)
    }
}

macro_rules! read_members {
    ($($object:ty),+) => {
        $(impl<'de> Deserialize<'de> for $object {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(Object(PhantomData))
            }
        })+
    };
}

read_members!(Header, Recipient, Written);
