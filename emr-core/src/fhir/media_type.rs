//! The media type of an embedded file, from what the document states.

/// For content of an unknown type (RFC 2046, section 4.5.1).
const UNKNOWN: &str = "application/octet-stream";
/// The longest type, and the longest subtype (RFC 6838, section 4.2).
const MAX_NAME: usize = 127;

/// The type and subtype that a `contentType` names, in lower case and without parameters. If it names none,
/// `application/octet-stream`.
///
/// The document can state anything there. What comes out is always short ASCII without spaces and control characters.
pub(super) fn media_type(content_type: Option<&str>) -> String {
    let stated = content_type.unwrap_or_default();
    let essence = stated.split_once(';').map_or(stated, |(essence, _)| essence).trim_matches(' ');
    match essence.split_once('/') {
        Some((main, sub)) if is_name(main) && is_name(sub) => essence.to_ascii_lowercase(),
        _ => UNKNOWN.to_owned(),
    }
}

/// Whether a text is a `restricted-name` of RFC 6838, section 4.2.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plausible_types_are_taken() {
        for (stated, media_type) in [
            ("application/pdf", "application/pdf"),
            ("Application/DICOM", "application/dicom"),
            ("text/plain; charset=UTF-8", "text/plain"),
            ("text/plain ;charset=\"a\n\"", "text/plain"),
            ("application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
            ("image/svg+xml", "image/svg+xml"),
        ] {
            assert_eq!(super::media_type(Some(stated)), media_type);
        }
        let long = format!("application/{}", "a".repeat(MAX_NAME + 1));
        for stated in [
            "",
            "/",
            "pdf",
            "/pdf",
            "a/",
            "a/b/c",
            "a/b c",
            "a/\u{7}",
            "a/b\n",
            "\u{e9}/a",
            ".a/b",
            "2024-01-01",
            &long,
        ] {
            assert_eq!(super::media_type(Some(stated)), UNKNOWN, "{stated:?}");
        }
        assert_eq!(super::media_type(None), UNKNOWN);
    }
}
