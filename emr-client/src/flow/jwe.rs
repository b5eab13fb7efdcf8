//! A JWE in general JSON serialization, opened with the participant's RSA key, which may be in a device.

use std::sync::Arc;

use emr_crypto::{GeneralJwe, GeneralJweError, OpenedJwe};

use crate::{
    client::Client,
    keys::{self, KeyError},
};

/// Why a JWE was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenJweError {
    /// The file is no such JWE, or it is not for this participant.
    #[error(transparent)]
    Jwe(#[from] GeneralJweError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl Client {
    /// Opens a JWE that somebody made for this participant. Nobody signed it: it proves nothing about who that was.
    ///
    /// # Errors
    /// [`OpenJweError`] if it is not such a file, not for this participant, or altered, or if the keys cannot be used.
    pub async fn open_jwe(&self, jwe: GeneralJwe) -> Result<OpenedJwe, OpenJweError> {
        let keys = Arc::clone(&self.keys);
        let open = move |keys: &dyn keys::Keys| {
            let mut failure = None;
            let opened = jwe.open_with(|wrapped| {
                keys.unwrap_key(wrapped, b"").or_else(|error| {
                    failure = Some(error);
                    Ok::<_, GeneralJweError>(None)
                })
            });
            failure.map_or(Ok(opened), Err)
        };
        Ok(keys::with(&keys, open).await??)
    }
}
