//! The address of a SMART Health Link: `shlink:/` and a payload of JSON in base64url.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use emr_api::{route, url_token::UrlToken};
use emr_core::{Origin, UnixTime};
use emr_crypto::JweKey;
use serde::Serialize;
use zeroize::Zeroizing;

/// The flags of a link, in the order of the alphabet as the specification demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShlinkFlags {
    /// `L`: for long-term use.
    pub long_term: bool,
    /// `P`: opened with a passcode. Never together with `U`.
    pub passcode: bool,
    /// `U`: the address is that of the only file.
    pub direct_file: bool,
}

impl fmt::Display for ShlinkFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (set, flag) in [(self.long_term, "L"), (self.passcode, "P"), (self.direct_file, "U")] {
            f.write_str(if set { flag } else { "" })?;
        }
        Ok(())
    }
}

/// A SMART Health Link: where its files are, and the key that opens them. Anyone who has it can open them. The key never gets
/// to the node.
pub struct Shlink {
    /// Where the node serves it.
    url: String,
    key: JweKey,
    expires: UnixTime,
    flags: ShlinkFlags,
    label: Option<String>,
}

#[derive(Serialize)]
struct Payload<'a> {
    url: &'a str,
    key: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    flag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    v: u8,
}

impl Shlink {
    /// The longest address of a manifest, in characters.
    pub const LONGEST_URL: usize = 128;
    /// The longest label, in characters.
    pub const LONGEST_LABEL: usize = 80;

    /// The link to what a node serves under this id. The caller has checked the lengths of address and label.
    pub(crate) fn new(
        (origin, id): (&Origin, &UrlToken),
        key: JweKey,
        expires: UnixTime,
        flags: ShlinkFlags,
        label: Option<String>,
    ) -> Self {
        Self { url: format!("{origin}{}", route::shl(id)), key, expires, flags, label }
    }

    /// Where the node serves it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key of its files.
    pub const fn key(&self) -> &JweKey {
        &self.key
    }

    /// The address, which holds the key.
    pub fn to_uri(&self) -> Zeroizing<String> {
        let (key, flag) = (self.key.to_text(), self.flags.to_string());
        let payload = Payload {
            url: &self.url,
            key: &key,
            exp: self.expires.get(),
            flag: &flag,
            label: self.label.as_deref(),
            v: 1,
        };
        let json = Zeroizing::new(serde_json::to_vec(&payload).expect("a payload has a JSON form"));
        let payload = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(&*json));
        Zeroizing::new(format!("shlink:/{}", *payload))
    }
}

/// Shows neither key nor address.
impl fmt::Debug for Shlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shlink").field("expires", &self.expires).field("flags", &self.flags).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_payload_has_the_fields_of_the_specification() -> Result<(), Box<dyn std::error::Error>> {
        let (origin, id, key) = ("https://node.example".parse()?, UrlToken::random(), JweKey::generate());
        let expires = UnixTime::new(1_900_000_000)?;
        let flags = ShlinkFlags { long_term: true, passcode: true, direct_file: false };
        let link = Shlink::new((&origin, &id), key.clone(), expires, flags, Some("Impfungen für Ada".to_owned()));
        let uri = link.to_uri();
        let payload = uri.strip_prefix("shlink:/").ok_or("the scheme")?;
        let payload: serde_json::Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload)?)?;
        let url = format!("https://node.example/v1/shl/{id}");
        assert_eq!(
            payload,
            json!({ "url": url, "key": *key.to_text(), "exp": 1_900_000_000, "flag": "LP", "label": "Impfungen für Ada", "v": 1 })
        );
        assert_eq!(key.to_text().len(), 43);
        assert!(!format!("{link:?}").contains(&id.to_string()) && !format!("{link:?}").contains(&*key.to_text()));

        let plain = Shlink::new((&origin, &id), key, expires, ShlinkFlags::default(), None).to_uri();
        let plain = BASE64_URL_SAFE_NO_PAD.decode(plain.strip_prefix("shlink:/").ok_or("the scheme")?)?;
        let plain: serde_json::Value = serde_json::from_slice(&plain)?;
        assert!(plain.get("flag").is_none() && plain.get("label").is_none(), "{plain}");
        Ok(())
    }
}
