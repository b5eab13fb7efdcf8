//! Whether a record conforms to a research profile.
//!
//! A [`Profile`] is a file that a registry or a study writes. It names what a record must have: keys, types, numbers within a
//! range, units of UCUM, and code systems. [`Profile::check`] lists every place where a record differs, each with its path.
//! `docs/profiles.md` describes the file.
//!
//! ```text
//! rule ── each ──> contexts (for example every resource of a Bundle)
//!   └──── when ──> of these, the ones that it is about (for example those with a LOINC code)
//!            └──── fields ──> what each of them must have
//! ```
//!
//! The check is pure. It reads every field at most once for each condition, and patterns have no backtracking, so its time is
//! bounded by the size of the record times the size of the profile.

mod bound;
mod check;
mod error;
mod pattern;
mod profile;
mod unit;
mod violation;

pub use bound::{Bound, NotABound, Range};
pub use error::ProfileError;
pub use pattern::Pattern;
pub use profile::{AllowedCode, AllowedUnit, Condition, Count, Field, Profile, Rule, ValueRule};
pub use unit::{UCUM, is_unit};
pub use violation::{Applied, Problem, Report, Shown, Violation};
