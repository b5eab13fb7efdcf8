//! A scanner for JSON (RFC 8259) that keeps numbers as they are written.
//!
//! serde_json would turn numbers into floats, and keep only the last of two members with the same name. Its feature
//! `arbitrary_precision` would change this, but for every crate of the program.

use std::borrow::Cow;

use super::FhirError;

/// A position in JSON text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// What a value starts with.
pub(super) enum Start<'a> {
    /// `{`.
    Object,
    /// `[`.
    Array,
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// A number as written.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl<'a> Scanner<'a> {
    /// Starts before the first value, after a byte order mark if there is one.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, FhirError> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                // The bytes before the error are UTF-8.
                let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
                return Err(Scanner { text: valid, at: valid.len() }.expected("text in UTF-8"));
            }
        };
        let mut scanner = Self { text, at: 0 };
        scanner.eat("\u{feff}");
        Ok(scanner)
    }

    /// Line and column of the current position.
    pub(super) fn position(&self) -> (usize, usize) {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// The position of the quotation mark that ended the string just read.
    pub(super) fn before_quotation_mark(&self) -> usize {
        self.at.saturating_sub(1)
    }

    /// Skips white space. Returns where the next value starts, for [`Self::since`].
    pub(super) fn start(&mut self) -> usize {
        self.space();
        self.at
    }

    /// The text from a start on, up to the current position.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> FhirError {
        let (line, column) = self.position();
        FhirError::NotJson { line, column, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.iter().position(|byte| !keep(*byte)).unwrap_or(rest.len());
        let start = self.at;
        self.at += len;
        // Runs start and end next to ASCII, so both positions are character boundaries.
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn space(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(token.as_bytes());
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// Skips white space, and then `token` if it follows. Returns whether it followed.
    pub(super) fn next_is(&mut self, token: &str) -> bool {
        self.space();
        self.eat(token)
    }

    /// Skips white space and `token`, which must follow.
    pub(super) fn require(&mut self, token: &str, expected: &'static str) -> Result<(), FhirError> {
        if self.next_is(token) { Ok(()) } else { Err(self.expected(expected)) }
    }

    /// Checks that only white space follows.
    pub(super) fn end(&mut self) -> Result<(), FhirError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.expected("the end of the document")) }
    }

    /// Skips white space and reads a scalar value, or the opening bracket of an object or array.
    pub(super) fn value(&mut self) -> Result<Start<'a>, FhirError> {
        self.space();
        match self.peek() {
            Some(b'{') if self.eat("{") => Ok(Start::Object),
            Some(b'[') if self.eat("[") => Ok(Start::Array),
            Some(b'"') => self.string().map(Start::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Start::Number),
            Some(b't') if self.eat("true") => Ok(Start::Bool(true)),
            Some(b'f') if self.eat("false") => Ok(Start::Bool(false)),
            Some(b'n') if self.eat("null") => Ok(Start::Null),
            _ => Err(self.expected("a value")),
        }
    }

    /// Skips white space and reads a string.
    pub(super) fn name(&mut self) -> Result<Cow<'a, str>, FhirError> {
        self.space();
        self.string()
    }

    fn digits(&mut self) -> Result<(), FhirError> {
        if self.skip_while(|byte| byte.is_ascii_digit()).is_empty() { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<&'a str, FhirError> {
        let start = self.at;
        self.eat("-");
        if !self.eat("0") {
            self.digits()?;
        }
        if self.eat(".") {
            self.digits()?;
        }
        if self.eat("e") || self.eat("E") {
            let _ = self.eat("+") || self.eat("-");
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, FhirError> {
        if !self.eat("\"") {
            return Err(self.expected("a string in double quotes"));
        }
        let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
        let mut string = Cow::Borrowed(self.skip_while(plain));
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    string.to_mut().push(character);
                }
                Some(_) => return Err(self.expected("a string without control characters")),
                None => return Err(self.expected("the end of the string")),
            }
            let run = self.skip_while(plain);
            if !run.is_empty() {
                string.to_mut().push_str(run);
            }
        }
    }

    fn escape(&mut self) -> Result<char, FhirError> {
        for (escape, character) in [
            ("\\\"", '"'),
            ("\\\\", '\\'),
            ("\\/", '/'),
            ("\\b", '\u{8}'),
            ("\\f", '\u{c}'),
            ("\\n", '\n'),
            ("\\r", '\r'),
            ("\\t", '\t'),
        ] {
            if self.eat(escape) {
                return Ok(character);
            }
        }
        let unit = self.code_unit()?;
        let code = match unit {
            0xd800..0xdc00 => match self.code_unit()? {
                low @ 0xdc00..0xe000 => 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                _ => return Err(self.expected("the second half of a surrogate pair")),
            },
            _ => unit,
        };
        char::from_u32(code).ok_or_else(|| self.expected("the first half of a surrogate pair"))
    }

    fn code_unit(&mut self) -> Result<u32, FhirError> {
        if !self.eat("\\u") {
            return Err(self.expected("an escape sequence of JSON"));
        }
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.expected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }
}
