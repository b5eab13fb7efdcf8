//! What a record lacks.

use serde::{Serialize, Serializer};

use super::bound::Range;
use crate::value::{Decimal, Value};

/// A place where a record does not conform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The name of the rule.
    pub rule: String,
    /// The key of the value; or what is missing, as a pattern of keys.
    pub path: String,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: Problem,
}

/// For people: `Bundle.entry.3.resource.valueQuantity: the unit 'mmol/l' is not one of mmol/L, mg/dL (glucose in blood)`.
impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.path, self.problem, self.rule)
    }
}

/// Why a value, or the number of values, does not conform. In JSON: its name, and a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There are fewer than required.
    #[error("there must be at least {min}, there are {found}")]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many are required.
        min: usize,
    },
    /// There are more than allowed.
    #[error("there may be at most {max}, there are {found}")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The value has another type.
    #[error("must be a {expected}, but is {found}")]
    Type {
        /// The required type.
        expected: &'static str,
        /// What is there.
        found: Shown,
    },
    /// In place of one value there is an object or an array.
    #[error("must be a single {expected}, but has parts, such as {part}")]
    Parts {
        /// The required type.
        expected: &'static str,
        /// One of the parts.
        part: String,
    },
    /// The number is not in the range.
    #[error("{value} is not in the range {range}")]
    Range {
        /// The number.
        value: Shown,
        /// The range.
        range: Range,
    },
    /// The quantity has no unit code of UCUM.
    #[error("has no unit code of the system {system}", system = super::UCUM)]
    NoUnit,
    /// The unit is not an expression of UCUM.
    #[error("the unit {0} is not a unit of UCUM")]
    NotUcum(Shown),
    /// The unit is not among the allowed ones.
    #[error("the unit {unit} is not {allowed}")]
    Unit {
        /// The unit.
        unit: Shown,
        /// The allowed ones.
        allowed: String,
    },
    /// The text is not among the allowed ones.
    #[error("the text {0} is not among the allowed ones")]
    Text(Shown),
    /// The code's system is not among the allowed ones.
    #[error("the code system {0} is not among the allowed ones")]
    CodeSystem(Shown),
    /// The code is not among the allowed ones.
    #[error("the code {code} of {system} is not among the allowed ones")]
    Code {
        /// The code.
        code: Shown,
        /// Its system.
        system: Shown,
    },
}

impl Problem {
    /// Its name in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "too-few",
            Self::TooMany { .. } => "too-many",
            Self::Type { .. } => "type",
            Self::Parts { .. } => "parts",
            Self::Range { .. } => "range",
            Self::NoUnit => "no-unit",
            Self::NotUcum(_) => "not-ucum",
            Self::Unit { .. } => "unit",
            Self::Text(_) => "text",
            Self::CodeSystem(_) => "code-system",
            Self::Code { .. } => "code",
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written {
            problem: &'static str,
            message: String,
        }
        Written { problem: self.name(), message: self.to_string() }.serialize(serializer)
    }
}

/// A value of the record in a message: at most 80 characters, without control characters, so that a hostile record cannot
/// write to a terminal what it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    fn of(text: &str) -> Self {
        const MAX_CHARS: usize = 80;
        let mut shown: String = text.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
        if text.chars().nth(MAX_CHARS).is_some() {
            shown.push('…');
        }
        Self(shown)
    }

    pub(super) fn text(text: &str) -> Self {
        Self(format!("'{}'", Self::of(text)))
    }

    pub(super) fn number(number: &Decimal) -> Self {
        Self::of(number.as_str())
    }

    pub(super) fn value(value: &Value) -> Self {
        let what = match value {
            Value::Null => return Self::of("null"),
            Value::Bool(_) => "the bool",
            Value::Integer(_) => "the integer",
            Value::Decimal(_) => "the decimal",
            Value::Text(text) => return Self(format!("the text {}", Self::text(text))),
            Value::DateTime(_) => "the date-time",
            Value::Code(_) => "the code",
            Value::Quantity(_) => "the quantity",
            Value::Bytes(_) | Value::Attachment(_) => "",
        };
        Self(format!("{what} {}", Self::of(&value.to_string())).trim_start().to_owned())
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many violations there are.
    pub total: usize,
    /// The first of them, at most [`Report::MAX_LISTED`], in the order of the rules and then of the keys.
    pub violations: Vec<Violation>,
    /// How many objects each rule is about, in the order of the rules. A rule that is about none checked nothing.
    pub applied: Vec<Applied>,
}

/// How many objects a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The name of the rule.
    pub rule: String,
    /// How many objects fulfil its conditions.
    pub objects: usize,
}

impl Report {
    /// How many violations are listed.
    pub const MAX_LISTED: usize = 50;

    /// Whether the record conforms.
    pub const fn conforms(&self) -> bool {
        self.total == 0
    }

    /// Adds a violation. The texts are made only if it is listed.
    pub(super) fn add(&mut self, violation: impl FnOnce() -> Violation) {
        self.total += 1;
        if self.violations.len() < Self::MAX_LISTED {
            self.violations.push(violation());
        }
    }
}
