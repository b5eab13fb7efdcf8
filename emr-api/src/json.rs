//! Reading JSON that another party sent. Node and client both read it here.

use std::fmt;

use serde::de::DeserializeOwned;

/// The longest path and the longest reason in a [`JsonError`], in characters.
const LONGEST: usize = 200;

/// Why bytes are not the JSON of a type. Both texts are short and printable, whatever the other party sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The path of the field that is wrong, such as `grants[2].slot`. `None` if no single field is.
    field: Option<String>,
    reason: String,
}

impl JsonError {
    /// The path of the field that is wrong, such as `grants[2].slot`. `None` if no single field is.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "field `{field}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads a value.
///
/// # Errors
/// [`JsonError`] names the first field that is wrong.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    serde_json::from_slice(bytes).map_err(|error| explain::<T>(bytes, &error))
}

/// Reads again, and follows the path. Valid JSON is read only once.
fn explain<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> JsonError {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(wrong) => {
            let field = wrong.path().to_string();
            JsonError {
                field: (field != ".").then(|| printable(&field)),
                reason: printable(&wrong.inner().to_string()),
            }
        }
        // The value is whole, and something follows it.
        Ok(_) => JsonError { field: None, reason: printable(&error.to_string()) },
    }
}

fn printable(text: &str) -> String {
    let printed = text.chars().map(|c| if emr_core::is_harmless(c) { c } else { ' ' });
    match text.char_indices().nth(LONGEST) {
        Some(_) => printed.take(LONGEST).chain("...".chars()).collect(),
        None => printed.collect(),
    }
}
