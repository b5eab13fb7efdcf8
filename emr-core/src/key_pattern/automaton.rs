//! The matcher of patterns.

/// A pattern as a nondeterministic automaton, all states in one word (Baeza-Yates and Gonnet, "A new approach to text
/// searching", 1992). State i means that the first i characters of the pattern are matched. So no pattern needs
/// backtracking.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Automaton {
    /// For each character, the states in which the pattern goes on with it.
    literals: [u128; 128],
    /// The states in which it goes on with `*`.
    within: u128,
    /// The states in which it goes on with `**`.
    across: u128,
    accept: u128,
}

impl Automaton {
    /// `None` if the pattern has too many characters. Several stars in a row are one `**`.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut automaton = Self { literals: [0; 128], within: 0, across: 0, accept: 1 };
        let mut rest = text.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            let stars = rest.iter().take_while(|byte| **byte == b'*').count();
            let states = match stars {
                0 => automaton.literals.get_mut(usize::from(*byte))?,
                1 => &mut automaton.within,
                _ => &mut automaton.across,
            };
            *states |= automaton.accept;
            automaton.accept = automaton.accept.checked_mul(2)?;
            rest = if stars == 0 { after } else { &rest[stars..] };
        }
        Some(automaton)
    }

    pub(super) fn accepts(&self, bytes: impl Iterator<Item = u8>) -> bool {
        let stars = self.within | self.across;
        // A star also stands for nothing. No star follows another one, so one step is enough.
        let closed = |states: u128| states | (states & stars) << 1;
        let mut states = closed(1);
        for byte in bytes {
            let goes_on = self.literals.get(usize::from(byte)).map_or(0, |literals| states & literals);
            let stays = states & if byte == b'.' { self.across } else { stars };
            states = closed(goes_on << 1 | stays);
            if states == 0 {
                return false;
            }
        }
        states & self.accept != 0
    }
}
