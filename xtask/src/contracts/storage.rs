//! Where a contract's variables lie in storage, as the compiler says: in a form that people read and that changes only
//! with the layout. The compiler's own form names each type by a number that any edit of a source changes.

use serde_json::{Map, Value, json};

/// Variables in order, and the members of every struct that lies in storage. `None` if the compiler's answer lacks a
/// part.
pub(super) fn readable(layout: &Value) -> Option<Value> {
    // A contract without variables has no types.
    let (none, types) = (Map::new(), &layout["types"]);
    let types = if types.is_null() { &none } else { types.as_object()? };
    let mut structs = Map::new();
    for declared in types.values() {
        if declared.get("members").is_some() {
            structs.insert(declared["label"].as_str()?.to_owned(), variables(&declared["members"], types)?);
        }
    }
    Some(json!({ "variables": variables(&layout["storage"], types)?, "structs": structs }))
}

fn variables(list: &Value, types: &Map<String, Value>) -> Option<Value> {
    let variables = list.as_array()?.iter().map(|variable| {
        let declared = types.get(variable["type"].as_str()?)?;
        Some(json!({
            "slot": number(&variable["slot"])?,
            "offset": variable["offset"].as_u64()?,
            "bytes": number(&declared["numberOfBytes"])?,
            "type": declared["label"].as_str()?,
            "name": variable["label"].as_str()?,
        }))
    });
    Some(Value::Array(variables.collect::<Option<_>>()?))
}

/// The compiler writes some numbers as texts.
fn number(text: &Value) -> Option<u64> {
    text.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A short form of what the compiler says. The numbers in the names of types differ from build to build.
    fn answer(id: u32, slot: &str) -> Value {
        let progress = format!("t_struct(Progress){id}_storage");
        json!({
            "storage": [
                { "astId": id, "contract": "src/A.sol:A", "label": "_root", "offset": 0, "slot": "0", "type": "t_uint256" },
                { "astId": id + 1, "contract": "src/A.sol:A", "label": "_progress", "offset": 0, "slot": slot, "type": progress },
            ],
            "types": {
                "t_uint256": { "encoding": "inplace", "label": "uint256", "numberOfBytes": "32" },
                "t_uint40": { "encoding": "inplace", "label": "uint40", "numberOfBytes": "5" },
                progress: {
                    "encoding": "inplace", "label": "struct A.Progress", "numberOfBytes": "32",
                    "members": [{ "astId": id + 2, "contract": "src/A.sol:A", "label": "time", "offset": 3, "slot": "0", "type": "t_uint40" }],
                },
            },
        })
    }

    #[test]
    fn only_the_layout_counts() {
        let layout = readable(&answer(1, "1")).expect("nothing is missing");
        assert_eq!(readable(&answer(77, "1")).as_ref(), Some(&layout));
        assert_ne!(readable(&answer(1, "2")).as_ref(), Some(&layout));
        let member = json!({ "slot": 0, "offset": 3, "bytes": 5, "type": "uint40", "name": "time" });
        assert_eq!(layout["structs"]["struct A.Progress"], json!([member]));
    }

    #[test]
    fn a_missing_type_is_no_empty_one() {
        let mut without = answer(1, "1");
        without["types"].as_object_mut().expect("it has types").remove("t_uint40");
        assert_eq!(readable(&without), None);
        assert_eq!(readable(&json!({})), None);
    }
}
