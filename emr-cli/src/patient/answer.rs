//! What `grant` and `revoke` answer.

use std::io::Write;

use emr_core::{AccountIndex, Class};
use serde::Serialize;

use crate::{light::Access, records, report::Answer};

#[derive(Debug, Serialize)]
pub(super) struct GrantAnswer {
    pub(super) grant: Access,
    pub(super) stays_open: Vec<Class>,
    pub(super) may_take_effect_until: String,
    #[serde(flatten)]
    pub(super) promise: records::Promise,
}

impl Answer for GrantAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.grant.write(out)?;
        if !self.stays_open.is_empty() {
            let classes: Vec<_> = self.stays_open.iter().map(Class::to_string).collect();
            let classes = classes.join(", ");
            writeln!(out, "  they could already read {classes}: what they could open until now stays open to them")?;
        }
        self.promise.write(out)
    }
}

#[derive(Debug, Serialize)]
pub(super) struct RevokeAnswer {
    pub(super) grantee: AccountIndex,
    pub(super) new_epochs: Vec<Class>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) keys_wait: bool,
    pub(super) operations: Vec<records::Promise>,
}

impl Answer for RevokeAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "access of account {} revoked; classes with new keys: {}", self.grantee, self.new_epochs.len())?;
        if self.keys_wait {
            let wait = "the node has no room for new keys now: until a later command has published them, do not let anyone write new records";
            writeln!(out, "{wait}")?;
        }
        writeln!(out, "what was read, or kept as ciphertext with its keys, cannot be taken back")?;
        self.operations.iter().try_for_each(|promise| promise.write(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_wait_are_said() -> Result<(), Box<dyn std::error::Error>> {
        for keys_wait in [false, true] {
            let answer = RevokeAnswer {
                grantee: AccountIndex::new(2)?,
                new_epochs: Vec::new(),
                keys_wait,
                operations: Vec::new(),
            };
            let mut out = Vec::new();
            answer.write(&mut out)?;
            assert_eq!(String::from_utf8(out)?.contains("no room for new keys"), keys_wait);
            assert_eq!(serde_json::to_value(&answer)?.get("keys_wait").is_some(), keys_wait);
        }
        Ok(())
    }
}
