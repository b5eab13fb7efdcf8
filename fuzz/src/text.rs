//! The texts that a person or a file gives: keys, numbers, date-times, names of classes, opaque values, roots.

use emr_core::{Class, CommitmentRoot, DateTime, Decimal, Key, Opaque, Value};

pub(crate) fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let kept = |read: Result<String, String>| match read {
        Ok(written) => assert_eq!(written, text, "kept as it was written"),
        Err(error) => crate::one_line(&error),
    };
    let show = |shown: &dyn std::fmt::Display| shown.to_string();
    kept(text.parse::<Key>().map(|key| show(&key)).map_err(|error| show(&error)));
    kept(text.parse::<Decimal>().map(|number| show(&number)).map_err(|error| show(&error)));
    kept(text.parse::<DateTime>().map(|time| show(&time)).map_err(|error| show(&error)));
    kept(text.parse::<Class>().map(|class| show(&class)).map_err(|error| show(&error)));
    for error in
        [text.parse::<Opaque>().map_err(|e| show(&e)).err(), text.parse::<CommitmentRoot>().map_err(|e| show(&e)).err()]
    {
        error.iter().for_each(crate::one_line);
    }
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.segments().collect::<Vec<_>>().join("."), text);
    }
    // The same text as a value of a record.
    let value = Value::Text(text.to_owned());
    let bytes = serde_ipld_dagcbor::to_vec(&value).expect("text");
    assert_eq!(serde_ipld_dagcbor::from_slice::<Value>(&bytes).expect("text"), value);
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let opaque = Opaque::of(b"x").to_string();
    let texts = ["Patient.name.0.family", "-12.50e+7", "2016-12-31T23:59:60.5+02:00", "laboratory", &opaque];
    Ok(texts.map(|text| text.as_bytes().to_vec()).into())
}
