//! The check of a record.

use super::{
    pattern::{Fit, Pattern},
    profile::{Condition, Field, Profile, Rule, ValueRule},
    unit::{UCUM, are_commensurable, is_unit},
    violation::{Applied, Problem, Report, Shown, Violation},
};
use crate::record::Record;
use crate::value::{Decimal, Quantity, Value};

/// Fields in the order of their keys.
type Fields<'a> = [(&'a str, &'a Value)];

impl Profile {
    /// Checks a record.
    pub fn check(&self, record: &Record) -> Report {
        let fields: Vec<_> = record.fields().iter().map(|(key, value)| (key.as_str(), value)).collect();
        let mut report = Report { total: 0, violations: Vec::new(), applied: Vec::new() };
        // Most rules of a profile are about the same objects as the rule before. Only these are kept: the objects of all patterns of a hostile
        // profile would take many times the record's memory.
        let mut last: Option<(&Pattern, Vec<Found<'_>>)> = None;
        for rule in &self.rules {
            let mut objects = 0;
            for each in &rule.each {
                let known = last.take().filter(|(pattern, _)| *pattern == each);
                let (_, known) = last.insert(known.unwrap_or_else(|| (each, found(&fields, 0, each))));
                for object in known.iter().filter(|object| object.value.is_none()) {
                    // The key of a member begins after the object's path and a dot.
                    let skip = object.path.len() + 1;
                    if rule.when.iter().all(|condition| condition.holds(object.parts, skip)) {
                        objects += 1;
                        rule.fields.iter().for_each(|field| field.check(rule, object, skip, &mut report));
                    }
                }
            }
            let every = || rule.each.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            check_count(objects, rule.count.min, rule.count.max, rule, every, &mut report);
            report.applied.push(Applied { rule: rule.name.clone(), objects });
        }
        report
    }
}

/// What is at a path: a value, or the fields below it.
struct Found<'a> {
    path: &'a str,
    value: Option<&'a Value>,
    parts: &'a Fields<'a>,
}

impl<'a> Found<'a> {
    /// System and code, if it is a code. An object with more members than a code has, such as `userSelected`, is one too.
    fn code(&self) -> Option<(&'a str, &'a str)> {
        match self.value {
            Some(Value::Code(code)) => Some((&code.system, &code.code)),
            Some(_) => None,
            None => {
                let part = |name: &str| {
                    let is_part = |(key, _): &&(&str, &Value)| key.get(self.path.len() + 1..) == Some(name);
                    self.parts.iter().find(is_part).and_then(|(_, value)| text(value))
                };
                part("system").zip(part("code"))
            }
        }
    }
}

/// What a pattern names among these fields, which are ordered. `skip` bytes of each key are not part of the pattern. Nulls are
/// not there.
fn found<'a>(fields: &'a Fields<'a>, skip: usize, pattern: &Pattern) -> Vec<Found<'a>> {
    let mut found: Vec<Found<'a>> = Vec::new();
    // The fields below a path follow each other, because they have a common prefix that no other key has.
    let mut first = 0;
    for (number, (key, value)) in fields.iter().enumerate() {
        match key.get(skip..).map_or(Fit::No, |rest| pattern.fit(rest)) {
            Fit::No => {}
            Fit::Exact if **value == Value::Null => {}
            Fit::Exact => found.push(Found { path: key, value: Some(value), parts: &[] }),
            Fit::Below(rest) => {
                let path = key.get(..skip + rest.len()).unwrap_or(key);
                match found.last_mut().filter(|last| last.path == path && last.value.is_none()) {
                    Some(last) => last.parts = fields.get(first..=number).unwrap_or_default(),
                    None => {
                        first = number;
                        found.push(Found { path, value: None, parts: fields.get(number..=number).unwrap_or_default() });
                    }
                }
            }
        }
    }
    found
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        // A text in the form of a date-time is one in a record.
        Value::DateTime(date_time) => Some(date_time.as_str()),
        _ => None,
    }
}

impl Condition {
    fn holds(&self, object: &Fields<'_>, skip: usize) -> bool {
        found(object, skip, &self.key).iter().any(|found| {
            let is_text = |wanted: &String| found.value.and_then(text) == Some(wanted);
            let is_code =
                |(system, code)| self.code.as_ref().is_some_and(|it| (&*it.system, &*it.code) == (system, code));
            self.text.as_ref().is_some_and(is_text) || found.code().is_some_and(is_code)
        })
    }
}

fn check_count(
    found: usize,
    min: usize,
    max: Option<usize>,
    rule: &Rule,
    path: impl FnOnce() -> String,
    report: &mut Report,
) {
    let problem = match max {
        _ if found < min => Problem::TooFew { found, min },
        Some(max) if found > max => Problem::TooMany { found, max },
        _ => return,
    };
    report.add(|| Violation { rule: rule.name.clone(), path: path(), problem });
}

impl Field {
    fn check(&self, rule: &Rule, object: &Found<'_>, skip: usize, report: &mut Report) {
        let found = found(object.parts, skip, &self.key);
        for one in &found {
            if let Some(problem) = self.value.as_ref().and_then(|value| value.problem(one)) {
                report.add(|| Violation { rule: rule.name.clone(), path: one.path.to_owned(), problem });
            }
        }
        let path = || format!("{}.{}", object.path, self.key);
        check_count(found.len(), self.min, self.max, rule, path, report);
    }
}

impl ValueRule {
    fn problem(&self, found: &Found<'_>) -> Option<Problem> {
        let other = |value: &Value| Some(Problem::Type { expected: self.name(), found: Shown::value(value) });
        let value = match (self, found.value) {
            (Self::Code { code_systems, codes }, value) => {
                let Some((system, code)) = found.code() else {
                    return value.map_or_else(|| self.parts(found), other);
                };
                if code_systems.as_ref().is_some_and(|systems| !systems.contains(system)) {
                    return Some(Problem::CodeSystem(Shown::text(system)));
                }
                let is_allowed = codes.as_ref().is_none_or(|codes| {
                    let asked = super::AllowedCode { system: system.to_owned(), code: code.to_owned() };
                    codes.contains(&asked)
                });
                let refused = || Problem::Code { code: Shown::text(code), system: Shown::text(system) };
                return (!is_allowed).then(refused);
            }
            (_, None) => return self.parts(found),
            (_, Some(value)) => value,
        };
        let in_range = |number: Decimal, range: &super::Range| {
            let refused = || Problem::Range { value: Shown::number(&number), range: range.clone() };
            (!range.contains(&number)).then(refused)
        };
        match (self, value) {
            (Self::Quantity { units, commensurable }, Value::Quantity(quantity)) => {
                quantity_problem(quantity, units.as_deref(), commensurable.as_deref())
            }
            (Self::Decimal { range }, Value::Decimal(number)) => in_range(number.clone(), range),
            (Self::Decimal { range } | Self::Integer { range }, Value::Integer(number)) => {
                number.to_string().parse().map_or_else(|_| other(value), |number| in_range(number, range))
            }
            (Self::Text { values }, value) => match text(value) {
                None => other(value),
                Some(text) if values.as_ref().is_some_and(|values| !values.contains(text)) => {
                    Some(Problem::Text(Shown::text(text)))
                }
                Some(_) => None,
            },
            (Self::DateTime {}, Value::DateTime(_)) | (Self::Bool {}, Value::Bool(_)) => None,
            (_, value) => other(value),
        }
    }

    /// An object or an array where a value should be.
    fn parts(&self, found: &Found<'_>) -> Option<Problem> {
        // The part that a single value does not have says most: a comparator, an extension.
        let is_usual = |key: &str| {
            let part = key.get(found.path.len() + 1..).unwrap_or_default();
            ["value", "unit", "system", "code", "display"].contains(&part)
        };
        let unusual = found.parts.iter().find(|(key, _)| !is_usual(key));
        let part = unusual.or(found.parts.first()).map_or(found.path, |(key, _)| key);
        Some(Problem::Parts { expected: self.name(), part: part.to_owned() })
    }
}

fn quantity_problem(
    quantity: &Quantity,
    units: Option<&[super::AllowedUnit]>,
    commensurable: Option<&str>,
) -> Option<Problem> {
    let code = quantity.code.as_deref().filter(|_| quantity.system.as_deref() == Some(UCUM));
    let Some(code) = code else { return Some(Problem::NoUnit) };
    if let Some(units) = units {
        let Some(unit) = units.iter().find(|unit| unit.code == code) else {
            let codes: Vec<_> = units.iter().map(|unit| unit.code.as_str()).collect();
            return Some(Problem::Unit { unit: Shown::text(code), allowed: format!("one of {}", codes.join(", ")) });
        };
        let refused = || Problem::Range { value: Shown::number(&quantity.value), range: unit.range.clone() };
        return (!unit.range.contains(&quantity.value)).then(refused);
    }
    if !is_unit(code) {
        return Some(Problem::NotUcum(Shown::text(code)));
    }
    let unit = commensurable.filter(|unit| !are_commensurable(code, unit))?;
    Some(Problem::Unit { unit: Shown::text(code), allowed: format!("one that can be converted into {unit}") })
}
