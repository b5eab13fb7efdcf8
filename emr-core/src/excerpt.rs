//! Text from outside as a part of an error: short, on one line, harmless in a terminal.

/// The start of a text, with `\u{1b}` and the like in place of every character that is not [harmless](is_harmless).
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

/// A whole text on one line: like [`excerpt`], of any length, and with `\n` for a line break.
///
/// An author could write a value that looks like what a program says about it.
pub fn on_one_line(text: &impl std::fmt::Display) -> String {
    let mut line = String::new();
    for character in text.to_string().chars() {
        if is_harmless(character) {
            line.push(character);
        } else {
            line.extend(character.escape_default());
        }
    }
    line
}

/// Whether a terminal shows the character, and nothing else happens. Not so: control characters; characters that change the direction of writing;
/// line and paragraph separators; characters that nobody sees (soft hyphen, zero width, byte order mark, Unicode's tags), with which two different
/// names look the same.
///
/// Everything from outside that a person reads goes through this, or through [`excerpt`] or [`on_one_line`].
pub fn is_harmless(character: char) -> bool {
    let invisible = matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
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

    #[test]
    fn what_changes_a_screen_or_is_invisible_is_not_harmless() {
        let hidden = "\0\n\r\t\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{61c}\u{180e}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{fffb}\u{e0001}\u{e0041}";
        for character in hidden.chars() {
            assert!(!is_harmless(character), "{character:?}");
            let (line, short) = (on_one_line(&character), excerpt(&character.to_string(), 40));
            assert!(line.chars().chain(short.chars()).all(|c| c.is_ascii_graphic()), "{line} {short}");
        }
        for text in ["Zoë Müller-Å", "日本 葛\u{e0100}", "שלום", "😀", "a\u{301}", "\u{a0}"] {
            assert_eq!(on_one_line(&text), text);
        }
        assert_eq!(on_one_line(&"4.1\nblock: final\u{202e}"), "4.1\\nblock: final\\u{202e}");
    }
}
