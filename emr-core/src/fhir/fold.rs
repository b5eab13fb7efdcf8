//! Objects that become one code or quantity.

use super::fields::{Fields, Member};
use crate::value::{Code, Decimal, Quantity, Value};

/// Folds an object into one code or quantity if its members say nothing else. The members' fields are those from
/// `first` on. Returns whether it did.
pub(super) fn fold(fields: &mut Fields, path: &str, first: usize, members: &[Member<'_>]) -> bool {
    let one_each = fields.len() - first == members.len();
    if members.len() > 4 || !one_each || !members.iter().all(|member| fields.is_scalar(path, member)) {
        return false;
    }
    let only = |names: &[&str]| members.iter().all(|member| names.contains(&&*member.name));
    let value = |name: &str| {
        members.iter().find(|member| member.name == name).and_then(|member| fields.value(member.fields.start))
    };
    let text = |name: &str| match value(name) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let folded = if only(&["system", "code", "display"]) {
        code(text, members.len())
    } else if only(&["value", "unit", "system", "code"]) {
        value("value").and_then(|number| quantity(number, text, members.len()))
    } else {
        None
    };
    let Some(folded) = folded else { return false };
    fields.truncate(first);
    fields.push(path, Some(folded));
    true
}

/// A code, if the members are the texts `system` and `code` and at most `display` besides.
fn code(text: impl Fn(&str) -> Option<String>, members: usize) -> Option<Value> {
    let (system, code, display) = (text("system")?, text("code")?, text("display"));
    // Otherwise the display is no text.
    let complete = members == 2 + usize::from(display.is_some());
    complete.then_some(Value::Code(Code { system, code, display }))
}

/// A quantity, if the members are a number `value` and texts among `unit`, `system` and `code`, at least `unit` or
/// `code`.
fn quantity(value: &Value, text: impl Fn(&str) -> Option<String>, members: usize) -> Option<Value> {
    let value: Decimal = match value {
        Value::Integer(value) => value.to_string().parse().ok()?,
        Value::Decimal(value) => value.clone(),
        _ => return None,
    };
    let (unit, system, code) = (text("unit"), text("system"), text("code"));
    let texts = [&unit, &system, &code].into_iter().flatten().count();
    let complete = members == 1 + texts && (unit.is_some() || code.is_some());
    complete.then_some(Value::Quantity(Quantity { value, unit, system, code }))
}
