//! Text from outside as a part of an error: short, on one line, harmless in a terminal.

/// The start of a text, with `\u{1b}` and the like in place of control characters and of characters that change the direction of writing.
/// At most `longest` characters; `..` at the end stands for more.
///
/// An error that repeats a hostile file as it is could move the cursor, hide what is above it, or fill the screen.
pub fn excerpt(text: &str, longest: usize) -> String {
    let (mut shown, mut characters) = (String::new(), 0);
    // What fits if more follows.
    let mut whole = 0;
    for character in text.chars() {
        let escaped = character.escape_unicode();
        characters += if is_harmless(character) { 1 } else { escaped.len() };
        if characters > longest {
            shown.truncate(whole);
            shown.push_str("..");
            return shown;
        }
        if is_harmless(character) {
            shown.push(character);
        } else {
            shown.extend(escaped);
        }
        if characters + 2 <= longest {
            whole = shown.len();
        }
    }
    shown
}

/// Whether a terminal shows the character, and nothing else happens.
fn is_harmless(character: char) -> bool {
    let invisible = matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    !invisible && !character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_shows_no_control_characters() {
        assert_eq!(excerpt("Patient", 40), "Patient");
        assert_eq!(excerpt("a\u{1b}[2J\nb\u{202e}c", 40), "a\\u{1b}[2J\\u{a}b\\u{202e}c");
        assert_eq!(excerpt("\u{e9}\u{65e5}", 40), "\u{e9}\u{65e5}");
        assert_eq!(excerpt(&"x".repeat(40), 40), "x".repeat(40));
        assert_eq!(excerpt(&"x".repeat(41), 40), "x".repeat(38) + "..");
        for text in ["\0".repeat(100), "ab\0".repeat(100), "\u{feff}".repeat(1 << 20), "x".repeat(37) + "\u{feff}"] {
            let shown = excerpt(&text, 40);
            assert!(shown.chars().count() <= 40 && shown.ends_with(".."), "{shown}");
        }
        assert_eq!(excerpt("", 40), "");
    }
}
