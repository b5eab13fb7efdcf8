//! Text in the character sets of DICOM (PS3.3, section C.12.1.1.2), also with code extensions (ISO 2022).

use encoding_rs::{
    EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7,
    ISO_8859_8, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

/// How the bytes of a text are read until the next escape sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// In this encoding, in which bytes below 0x80 are ASCII.
    As(&'static Encoding),
    /// As pairs of bytes below 0x80: JIS X 0208.
    Jis0208,
    /// The same for JIS X 0212.
    Jis0212,
}

/// The character sets that a file declares.
#[derive(Clone, Copy, Debug)]
pub(super) struct CharacterSets {
    /// The first one, in which each text starts.
    first: Reading,
    /// Whether escape sequences change it.
    extensions: bool,
}

/// The escape sequences that a text may have, without their first byte.
const ESCAPES: [(&[u8], Reading); 17] = [
    (b"(B", Reading::As(WINDOWS_1252)),
    (b"(J", Reading::As(SHIFT_JIS)),
    (b")I", Reading::As(SHIFT_JIS)),
    (b"-A", Reading::As(WINDOWS_1252)),
    (b"-B", Reading::As(ISO_8859_2)),
    (b"-C", Reading::As(ISO_8859_3)),
    (b"-D", Reading::As(ISO_8859_4)),
    (b"-F", Reading::As(ISO_8859_7)),
    (b"-G", Reading::As(ISO_8859_6)),
    (b"-H", Reading::As(ISO_8859_8)),
    (b"-L", Reading::As(ISO_8859_5)),
    (b"-M", Reading::As(WINDOWS_1254)),
    (b"-T", Reading::As(WINDOWS_874)),
    (b"$)A", Reading::As(GBK)),
    (b"$)C", Reading::As(EUC_KR)),
    (b"$B", Reading::Jis0208),
    (b"$(D", Reading::Jis0212),
];

impl CharacterSets {
    /// Reads Specific Character Set (0008,0005). Western European if it is absent or unknown: files that leave it out are
    /// mostly in ASCII or that.
    pub(super) fn declared(value: &[u8]) -> Self {
        let mut names = value.split(|byte| *byte == b'\\').map(<[u8]>::trim_ascii);
        let first = names.next().unwrap_or_default();
        let encoding = match first {
            b"ISO_IR 101" | b"ISO 2022 IR 101" => ISO_8859_2,
            b"ISO_IR 109" | b"ISO 2022 IR 109" => ISO_8859_3,
            b"ISO_IR 110" | b"ISO 2022 IR 110" => ISO_8859_4,
            b"ISO_IR 144" | b"ISO 2022 IR 144" => ISO_8859_5,
            b"ISO_IR 127" | b"ISO 2022 IR 127" => ISO_8859_6,
            b"ISO_IR 126" | b"ISO 2022 IR 126" => ISO_8859_7,
            b"ISO_IR 138" | b"ISO 2022 IR 138" => ISO_8859_8,
            b"ISO_IR 148" | b"ISO 2022 IR 148" => WINDOWS_1254,
            b"ISO_IR 13" | b"ISO 2022 IR 13" => SHIFT_JIS,
            b"ISO_IR 166" | b"ISO 2022 IR 166" => WINDOWS_874,
            b"ISO_IR 192" => UTF_8,
            b"GB18030" => GB18030,
            b"GBK" => GBK,
            _ => WINDOWS_1252,
        };
        let extensions = names.next().is_some() || first.starts_with(b"ISO 2022");
        Self { first: Reading::As(encoding), extensions }
    }

    /// Decodes a text. What the character set does not have becomes U+FFFD.
    pub(super) fn decode(self, bytes: &[u8]) -> String {
        let mut text = String::new();
        if !self.extensions {
            self.first.decode(bytes, &mut text);
            return text;
        }
        let mut reading = self.first;
        for (position, part) in bytes.split(|byte| *byte == 0x1b).enumerate() {
            let mut part = part;
            if position > 0 {
                match ESCAPES.iter().find(|(escape, _)| part.starts_with(escape)) {
                    Some((escape, next)) => {
                        reading = *next;
                        part = &part[escape.len()..];
                    }
                    None => text.push(char::REPLACEMENT_CHARACTER),
                }
            }
            // Parts of a name and values start in the first character set again.
            let ends = |byte: &u8| matches!(byte, b'^' | b'=' | b'\\') && matches!(reading, Reading::As(_));
            match part.iter().position(ends) {
                Some(at) => {
                    reading.decode(&part[..at], &mut text);
                    reading = self.first;
                    reading.decode(&part[at..], &mut text);
                }
                None => reading.decode(part, &mut text),
            }
        }
        text
    }
}

impl Reading {
    fn decode(self, bytes: &[u8], text: &mut String) {
        // EUC-JP has the same pairs with the highest bits set, and 0x8F before those of JIS X 0212.
        let high = |byte: &u8| byte | 0x80;
        match self {
            Self::As(encoding) => text.push_str(&encoding.decode_without_bom_handling(bytes).0),
            Self::Jis0208 => {
                let bytes: Vec<u8> = bytes.iter().map(high).collect();
                text.push_str(&EUC_JP.decode_without_bom_handling(&bytes).0);
            }
            Self::Jis0212 => {
                let bytes: Vec<u8> =
                    bytes.chunks(2).flat_map(|pair| std::iter::once(0x8f).chain(pair.iter().map(high))).collect();
                text.push_str(&EUC_JP.decode_without_bom_handling(&bytes).0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of PS3.5, annexes H, I and J.
    #[test]
    fn names_of_the_standard() {
        for (declared, bytes, name) in [
            (&b""[..], &b"Adams^John"[..], "Adams^John"),
            (b"ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^J\u{e9}r\u{f4}me"),
            (
                b"ISO_IR 144",
                b"\xbb\xee\xda\x63\x65\xdc\xd1\x79\x70\xd3",
                "\u{41b}\u{44e}\u{43a}ce\u{43c}\u{431}yp\u{433}",
            ),
            (
                b"ISO_IR 192 ",
                "Wang^XiaoDong=\u{738b}^\u{5c0f}\u{6771}".as_bytes(),
                "Wang^XiaoDong=\u{738b}^\u{5c0f}\u{6771}",
            ),
            (b"GB18030", b"\xcd\xf5^\xd0\xa1\xb6\xab", "\u{738b}^\u{5c0f}\u{4e1c}"),
            // Annex H.3.1
            (
                b"\\ISO 2022 IR 87",
                b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
                "Yamada^Tarou=\u{5c71}\u{7530}^\u{592a}\u{90ce}=\u{3084}\u{307e}\u{3060}^\u{305f}\u{308d}\u{3046}",
            ),
            // Annex H.3.2: the Latin part is JIS X 0201, in which katakana have one byte.
            (
                b"ISO 2022 IR 13\\ISO 2022 IR 87",
                b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
                "\u{ff94}\u{ff8f}\u{ff80}\u{ff9e}^\u{ff80}\u{ff9b}\u{ff73}=\u{5c71}\u{7530}^\u{592a}\u{90ce}",
            ),
            // Annex I.2
            (
                b"\\ISO 2022 IR 149",
                b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
                "Hong^Gildong=\u{6d2a}^\u{5409}\u{6d1e}=\u{d64d}^\u{ae38}\u{b3d9}",
            ),
        ] {
            assert_eq!(CharacterSets::declared(declared).decode(bytes), name);
        }
    }

    #[test]
    fn any_bytes_are_decoded() {
        for declared in [&b"ISO_IR 192"[..], b"\\ISO 2022 IR 87", b"nonsense", b"\\\\\\"] {
            let sets = CharacterSets::declared(declared);
            for bytes in [&b"\x1b"[..], b"\x1b\x1b\x1b$", b"\x1b$B\x1b", b"\xff\xfe\x80", b"\x1b$(D!", b"\x1b$B^=\\"] {
                assert!(sets.decode(bytes).chars().count() <= bytes.len() + 3, "{bytes:?}");
            }
        }
    }
}
