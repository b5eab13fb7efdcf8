//! The profile file.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ProfileError, bound::Range, pattern::Pattern, unit::is_unit};
use crate::excerpt::is_harmless;

/// What a registry or a study requires of a record. JSON; `docs/profiles.md` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its version, for people: whoever publishes the profile counts as they like.
    pub version: String,
    /// The rules. There is at least one.
    pub rules: Vec<Rule>,
}

/// What every context of a kind must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, for the list of violations.
    pub name: String,
    /// Where its contexts are: objects whose path one of these patterns matches.
    pub each: Vec<Pattern>,
    /// Which of these objects the rule is about: those that fulfil all conditions.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// How many such objects there must be.
    #[serde(default)]
    pub count: Count,
    /// What each of them must have.
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// A condition on an object. It holds if one of the values at the key equals the given one. Exactly one of `text` and `code` is
/// given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Where the value is, relative to the object.
    pub key: Pattern,
    /// The value is this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The value is this code, with any display text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<AllowedCode>,
}

/// How many there may be. Without an end, any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// At least this many.
    #[serde(default)]
    pub min: usize,
    /// At most this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

/// A field that an object must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Where it is, relative to the object.
    pub key: Pattern,
    /// The object has at least this many. 1 if it is not given: a field that is named is required.
    #[serde(default = "once")]
    pub min: usize,
    /// The object has at most this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
    /// What each of them must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueRule>,
}

const fn once() -> usize {
    1
}

/// The type of a value, and which values are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
#[non_exhaustive]
pub enum ValueRule {
    /// A number with a unit of UCUM, and without a comparator.
    Quantity {
        /// The units, each with its own range. Without it, every unit of UCUM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        units: Option<Vec<AllowedUnit>>,
        /// Every unit that can be converted into this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commensurable: Option<String>,
    },
    /// A number.
    Decimal {
        /// Its range.
        #[serde(default)]
        range: Range,
    },
    /// A whole number.
    Integer {
        /// Its range.
        #[serde(default)]
        range: Range,
    },
    /// A text.
    Text {
        /// The texts that are allowed. Without it, every text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        values: Option<BTreeSet<String>>,
    },
    /// A full date, or a full date with time and zone.
    DateTime {},
    /// A code.
    Code {
        /// The code systems that are allowed. Without it, every system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code_systems: Option<BTreeSet<String>>,
        /// The codes that are allowed. Without it, every code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codes: Option<BTreeSet<AllowedCode>>,
    },
    /// True or false.
    Bool {},
}

impl ValueRule {
    /// The type, as the file names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Quantity { .. } => "quantity",
            Self::Decimal { .. } => "decimal",
            Self::Integer { .. } => "integer",
            Self::Text { .. } => "text",
            Self::DateTime {} => "date-time",
            Self::Code { .. } => "code",
            Self::Bool {} => "bool",
        }
    }
}

/// A unit that is allowed, with the range of numbers in this unit. No number is converted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedUnit {
    /// The unit's code in UCUM.
    pub code: String,
    /// The range.
    #[serde(default)]
    pub range: Range,
}

/// A code in its system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedCode {
    /// The code system's URI.
    pub system: String,
    /// The code.
    pub code: String,
}

impl Profile {
    /// The largest file: 1 MiB.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The most rules, patterns of contexts, conditions and fields, all together.
    pub const MAX_PARTS: usize = 1000;
    /// The most units of a field.
    pub const MAX_UNITS: usize = 64;
    /// The longest name of a profile or a rule, and the longest version. Bytes.
    pub const MAX_NAME_BYTES: usize = 200;

    /// Reads a profile.
    ///
    /// # Errors
    /// [`ProfileError`] if the file is not JSON, has a member that profiles do not have, is larger than allowed, or contradicts
    /// itself.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ProfileError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(ProfileError::TooLarge(bytes.len()));
        }
        // The message of a hostile file may be as long as the file.
        let short = |error: serde_json::Error| error.to_string().escape_debug().to_string().chars().take(300).collect();
        let profile: Self = serde_json::from_slice(bytes).map_err(|error| ProfileError::Malformed(short(error)))?;
        profile.check_parts()?;
        Ok(profile)
    }

    fn check_parts(&self) -> Result<(), ProfileError> {
        let parts = self.rules.iter().map(|rule| 1 + rule.each.len() + rule.when.len() + rule.fields.len()).sum();
        if parts > Self::MAX_PARTS {
            return Err(ProfileError::TooMany(parts));
        }
        for (what, text) in [("name", &self.name), ("version", &self.version)] {
            require(is_name(text), || what.to_owned(), NAME)?;
        }
        require(!self.rules.is_empty(), || "rules".to_owned(), "is empty: name at least one rule")?;
        let mut names = BTreeSet::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let at = || format!("rules[{number}]");
            require(is_name(&rule.name), || format!("{}.name", at()), NAME)?;
            require(
                names.insert(&rule.name),
                || format!("{}.name", at()),
                "is the name of an earlier rule: choose another",
            )?;
            rule.check(&at())?;
        }
        Ok(())
    }
}

const NAME: &str = "must be a text of 1 to 200 bytes without control characters";
const COUNT: &str = "has a max below its min: nothing can fulfil it";

fn is_name(text: &str) -> bool {
    (1..=Profile::MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(is_harmless)
}

fn require(holds: bool, at: impl FnOnce() -> String, message: &str) -> Result<(), ProfileError> {
    if holds { Ok(()) } else { Err(ProfileError::Invalid { at: at(), message: message.to_owned() }) }
}

impl Rule {
    fn check(&self, at: &str) -> Result<(), ProfileError> {
        require(!self.each.is_empty(), || format!("{at}.each"), "is empty: say where the rule applies")?;
        require(self.count.max.is_none_or(|max| max >= self.count.min), || format!("{at}.count"), COUNT)?;
        require(
            !self.fields.is_empty() || self.count != Count::default(),
            || at.to_owned(),
            "requires nothing: give it fields or a count",
        )?;
        for (number, condition) in self.when.iter().enumerate() {
            let exactly_one = condition.text.is_some() != condition.code.is_some();
            require(exactly_one, || format!("{at}.when[{number}]"), "must have either a text or a code")?;
        }
        for (number, field) in self.fields.iter().enumerate() {
            let at = format!("{at}.fields[{number}]");
            require(field.max.is_none_or(|max| max >= field.min), || at.clone(), COUNT)?;
            if let Some(value) = &field.value {
                value.check(&format!("{at}.value"))?;
            }
        }
        Ok(())
    }
}

impl ValueRule {
    fn check(&self, at: &str) -> Result<(), ProfileError> {
        const EMPTY: &str = "is empty: nothing can fulfil it; leave it out if everything is allowed";
        const RANGE: &str = "has a low end above its high end: nothing can fulfil it";
        let named = |member: &str| format!("{at}.{member}");
        match self {
            Self::Quantity { units, commensurable } => {
                require(
                    units.is_none() || commensurable.is_none(),
                    || at.to_owned(),
                    "has both units and commensurable: choose one",
                )?;
                if let Some(unit) = commensurable {
                    require(is_unit(unit), || named("commensurable"), NOT_UCUM)?;
                }
                let units = units.as_ref();
                require(units.is_none_or(|units| !units.is_empty()), || named("units"), EMPTY)?;
                let few = units.is_none_or(|units| units.len() <= Profile::MAX_UNITS);
                require(few, || named("units"), "has more than 64 units: use commensurable")?;
                let mut codes = BTreeSet::new();
                for (number, unit) in units.into_iter().flatten().enumerate() {
                    let at = || format!("{at}.units[{number}]");
                    require(is_unit(&unit.code), at, NOT_UCUM)?;
                    require(codes.insert(&unit.code), at, "is listed twice: remove one")?;
                    require(!unit.range.is_empty(), at, RANGE)?;
                }
                Ok(())
            }
            Self::Decimal { range } | Self::Integer { range } => require(!range.is_empty(), || named("range"), RANGE),
            Self::Text { values } => {
                require(values.as_ref().is_none_or(|values| !values.is_empty()), || named("values"), EMPTY)
            }
            Self::Code { code_systems, codes } => {
                require(code_systems.as_ref().is_none_or(|set| !set.is_empty()), || named("code-systems"), EMPTY)?;
                require(codes.as_ref().is_none_or(|set| !set.is_empty()), || named("codes"), EMPTY)
            }
            Self::DateTime {} | Self::Bool {} => Ok(()),
        }
    }
}

const NOT_UCUM: &str = "is not a unit of UCUM: write it case-sensitively, as in mmol/L, 10*3/uL or mm[Hg]";
