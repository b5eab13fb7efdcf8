//! Differences between versions of a record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use emr_core::diff::{Change, Diff, Moved};
use emr_core::{Key, Record, Value, fhir};
use proptest::prelude::*;

type Anything = Box<dyn std::error::Error>;

const BUNDLE: &str = include_str!("../fixtures/synthea-bundle.json");

fn record(fields: &[(&str, &str)]) -> Result<Record, Anything> {
    let field = |(key, value): &(&str, &str)| Ok((key.parse()?, Value::Text((*value).to_owned())));
    Ok(Record::from_fields(fields.iter().map(field).collect::<Result<_, Anything>>()?, None)?)
}

/// Compares, and checks that the result leads from the one to the other.
fn diff(old: &Record, new: &Record) -> Result<Diff, Anything> {
    let diff = Diff::between(old, new);
    assert_eq!(diff.apply(old.fields())?, *new.fields());
    assert_eq!(diff.is_empty(), old.fields() == new.fields());
    Ok(diff)
}

/// One line for each change, as people see it.
fn lines(diff: &Diff) -> Vec<String> {
    let line = |change: &Change| match change {
        Change::Removed { key, old } => format!("- {key} {old}"),
        Change::Added { key, new } => format!("+ {key} {new}"),
        Change::Changed { key, old_key, old, new } if key == old_key => format!("~ {key} {old} -> {new}"),
        Change::Changed { key, old_key, old, new } => format!("~ {old_key} {key} {old} -> {new}"),
        _ => "?".to_owned(),
    };
    diff.changes.iter().map(line).collect()
}

fn moves(diff: &Diff) -> Vec<(&str, &str)> {
    diff.moved.iter().map(|Moved { from, to }| (from.as_str(), to.as_str())).collect()
}

#[test]
fn members_are_compared_by_name() -> Result<(), Anything> {
    let old = record(&[("P.a", "1"), ("P.b", "2"), ("P.c.d", "3")])?;
    let new = record(&[("P.a", "1"), ("P.b", "two"), ("P.e", "4")])?;
    assert_eq!(lines(&diff(&old, &new)?), ["~ P.b 2 -> two", "- P.c.d 3", "+ P.e 4"]);
    assert!(diff(&old, &old)?.is_empty());
    Ok(())
}

#[test]
fn an_item_that_is_inserted_at_the_front_changes_nothing_else() -> Result<(), Anything> {
    let old = record(&[("P.n.0", "Ana"), ("P.n.1", "Eva"), ("P.n.2", "Ida")])?;
    let new = record(&[("P.n.0", "Mia"), ("P.n.1", "Ana"), ("P.n.2", "Eva"), ("P.n.3", "Ida")])?;
    let inserted = diff(&old, &new)?;
    assert_eq!(lines(&inserted), ["+ P.n.0 Mia"]);
    assert_eq!(moves(&inserted), [("P.n.0", "P.n.1"), ("P.n.1", "P.n.2"), ("P.n.2", "P.n.3")]);
    assert_eq!(lines(&diff(&new, &old)?), ["- P.n.0 Mia"]);
    Ok(())
}

#[test]
fn items_with_a_name_stay_themselves() -> Result<(), Anything> {
    let old = record(&[("B.e.0.fullUrl", "a"), ("B.e.0.v", "1"), ("B.e.1.fullUrl", "b"), ("B.e.1.v", "2")])?;
    // Swapped, one of them changed, and one new.
    let new = record(&[
        ("B.e.0.fullUrl", "b"),
        ("B.e.0.v", "2"),
        ("B.e.1.fullUrl", "new"),
        ("B.e.1.v", "1"),
        ("B.e.2.fullUrl", "a"),
        ("B.e.2.v", "one"),
    ])?;
    let swapped = diff(&old, &new)?;
    assert_eq!(lines(&swapped), ["+ B.e.1.fullUrl new", "+ B.e.1.v 1", "~ B.e.0.v B.e.2.v 1 -> one"]);
    assert_eq!(moves(&swapped), [("B.e.0", "B.e.2"), ("B.e.1", "B.e.0")]);
    // A name that another item takes is another item.
    let other = record(&[("B.e.0.fullUrl", "c"), ("B.e.0.v", "1"), ("B.e.1.fullUrl", "b"), ("B.e.1.v", "2")])?;
    assert_eq!(lines(&diff(&old, &other)?).len(), 4);
    Ok(())
}

/// Many Bundles have no `fullUrl`. Then a resource is its type and id: another patient is no changed patient.
#[test]
fn resources_without_a_full_url_are_their_type_and_id() -> Result<(), Anything> {
    const TYPE: &str = "B.entry.0.resource.resourceType";
    const ID: &str = "B.entry.0.resource.id";
    const VALUE: &str = "B.entry.0.resource.v";
    let entry = |resource_type, id, value| record(&[(TYPE, resource_type), (ID, id), (VALUE, value)]);
    let old = entry("Patient", "1", "x")?;
    assert_eq!(lines(&diff(&old, &entry("Patient", "1", "y")?)?), [format!("~ {VALUE} x -> y")]);
    for other in [entry("Observation", "1", "x")?, entry("Patient", "2", "x")?] {
        let replaced = diff(&old, &other)?;
        assert!(!lines(&replaced).iter().any(|line| line.starts_with('~')), "{replaced:?}");
        assert_eq!(lines(&replaced).len(), 6);
    }
    // An id that looks like a year is an id.
    let year = |id: &str| {
        fhir::import(format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{{"resourceType":"Patient","id":"{id}","gender":"male"}}}}]}}"#).as_bytes())
    };
    assert_eq!(lines(&diff(&year("2020")?, &year("2021")?)?).len(), 6);
    // A contained resource is found where it moved.
    let contained = |types: [&str; 2], value| {
        let [first, second] = types;
        record(&[
            ("P.contained.0.resourceType", first),
            ("P.contained.0.id", "1"),
            ("P.contained.0.v", if first == "Device" { value } else { "same" }),
            ("P.contained.1.resourceType", second),
            ("P.contained.1.id", "1"),
            ("P.contained.1.v", if second == "Device" { value } else { "same" }),
        ])
    };
    let moved = diff(&contained(["Device", "Group"], "x")?, &contained(["Group", "Device"], "y")?)?;
    assert_eq!(lines(&moved), ["~ P.contained.0.v P.contained.1.v x -> y"]);
    Ok(())
}

#[test]
fn moves_within_moves() -> Result<(), Anything> {
    let old = record(&[("B.e.0.fullUrl", "a"), ("B.e.0.n.0", "x"), ("B.e.0.n.1", "y"), ("B.e.1.fullUrl", "b")])?;
    let new = record(&[("B.e.0.fullUrl", "b"), ("B.e.1.fullUrl", "a"), ("B.e.1.n.0", "y"), ("B.e.1.n.1", "x")])?;
    let moved = diff(&old, &new)?;
    assert!(moved.changes.is_empty(), "{moved:?}");
    assert_eq!(moved.moved.len(), 4);
    Ok(())
}

#[test]
fn an_array_that_becomes_an_object_is_another_thing() -> Result<(), Anything> {
    let old = record(&[("P.a.0", "1"), ("P.a.1", "2"), ("P.b", "1")])?;
    let new = record(&[("P.a.x", "1"), ("P.a.1", "2"), ("P.b.0", "1")])?;
    assert_eq!(lines(&diff(&old, &new)?), ["- P.a.0 1", "+ P.a.x 1", "- P.b 1", "+ P.b.0 1"]);
    Ok(())
}

#[test]
fn a_resource_put_before_others_in_a_real_bundle() -> Result<(), Anything> {
    let old = fhir::import(BUNDLE.as_bytes())?;
    let json: serde_json::Value = serde_json::from_str(BUNDLE)?;
    let count = json["entry"].as_array().ok_or("entries")?.len();
    // As text: serde_json would round numbers, and the comparison finds that.
    let note = r#""entry": [{"fullUrl": "urn:new", "resource": {"resourceType": "Basic", "id": "n"}},"#;
    let text = BUNDLE.replacen(r#""entry": ["#, note, 1).replacen(r#""gender": "female""#, r#""gender": "unknown""#, 1);
    let new = fhir::import(text.as_bytes())?;
    let changed = diff(&old, &new)?;
    assert_eq!(
        lines(&changed),
        [
            "+ Bundle.entry.0.fullUrl urn:new",
            "+ Bundle.entry.0.resource.id n",
            "+ Bundle.entry.0.resource.resourceType Basic",
            "~ Bundle.entry.0.resource.gender Bundle.entry.1.resource.gender female -> unknown",
        ]
    );
    assert_eq!(changed.moved.len(), count);
    Ok(())
}

#[test]
fn a_diff_applies_only_to_its_old_version() -> Result<(), Anything> {
    let old = record(&[("P.a", "1"), ("P.n.0", "x"), ("P.n.1", "y")])?;
    let new = record(&[("P.a", "2"), ("P.n.0", "y"), ("P.n.1", "x")])?;
    let diff = diff(&old, &new)?;
    assert!(diff.apply(new.fields()).is_err());
    assert!(diff.apply(&BTreeMap::new()).is_err());
    Ok(())
}

#[test]
fn the_largest_arrays_take_seconds() -> Result<(), Anything> {
    let many = |from: usize| -> Result<Record, Anything> {
        let field = |n: usize| Ok((Key::new(format!("P.n.{n}"))?, Value::Text(format!("{}", (n + from) % 1000))));
        Ok(Record::from_fields((0..Record::MAX_FIELDS / 4).map(field).collect::<Result<_, Anything>>()?, None)?)
    };
    let (old, new) = (many(0)?, many(77_777)?);
    let begun = Instant::now();
    diff(&old, &new)?;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    Ok(())
}

/// Records of few names, so that arrays, objects, equal items and values at inner paths all occur.
fn records() -> impl Strategy<Value = Record> {
    let segment =
        prop_oneof![Just("0"), Just("1"), Just("2"), Just("10"), Just("01"), Just("a"), Just("id"), Just("fullUrl")];
    let key = prop::collection::vec(segment, 1..5).prop_map(|segments| format!("R.{}", segments.join(".")));
    let value = prop_oneof![
        "[xy]{0,2}".prop_map(Value::Text),
        (0_i64..3).prop_map(Value::Integer),
        Just(Value::Null),
        Just(Value::Bytes(vec![1])),
    ];
    prop::collection::btree_map(key, value, 0..24).prop_map(|fields| {
        let fields = fields.into_iter().filter_map(|(key, value)| Some((key.parse().ok()?, value))).collect();
        Record::from_fields(fields, None).unwrap_or_default()
    })
}

proptest! {
    #[test]
    fn a_diff_leads_from_the_old_version_to_the_new(old in records(), new in records()) {
        let diff = Diff::between(&old, &new);
        let applied = diff.apply(old.fields());
        prop_assert_eq!(applied.as_ref(), Ok(new.fields()));
        prop_assert_eq!(diff.is_empty(), old.fields() == new.fields());
        prop_assert!(diff.changes.windows(2).all(|pair| pair[0].key() <= pair[1].key()));
    }

    /// A value that moves to other places of an array is nowhere changed.
    #[test]
    fn a_permutation_changes_no_field(items in prop::collection::vec("[a-d]{1,3}", 1..20), rotate in 0_usize..20) {
        let of = |items: &[String]| {
            let field = |(n, item): (usize, &String)| Some((format!("R.n.{n}.v").parse().ok()?, Value::Text(item.clone())));
            Record::from_fields(items.iter().enumerate().filter_map(field).collect(), None).unwrap_or_default()
        };
        let mut turned = items.clone();
        turned.rotate_left(rotate % items.len());
        prop_assert!(Diff::between(&of(&items), &of(&turned)).changes.is_empty());
    }
}
