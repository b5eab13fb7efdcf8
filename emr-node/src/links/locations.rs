//! The addresses of files in manifests. Each works once, and for some minutes. They are in memory only: after a restart,
//! a viewer asks for the manifest again, as the specification demands of it.

use std::collections::{BTreeMap, VecDeque};

use emr_api::url_token::UrlToken;
use emr_core::UnixTime;

use super::{digest_of, store::Digest};

/// How long an address works, in seconds. The specification allows an hour.
pub(super) const SECONDS: u64 = 900;
/// How many addresses of a link work at the same time. A new one replaces the oldest.
const OF_LINK: usize = 128;

/// A file of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) link: Digest,
    pub(super) file: u32,
    until: UnixTime,
}

/// The addresses that were not used yet. Their number is limited by the number of links that strangers can open.
#[derive(Debug, Default)]
pub(super) struct Locations {
    /// By the digest of the token, so that a lookup takes no time that depends on how much of a guess is right.
    by_token: BTreeMap<Digest, Location>,
    /// Tokens of each link, oldest first.
    of_link: BTreeMap<Digest, VecDeque<Digest>>,
}

impl Locations {
    /// Makes an address for a file.
    pub(super) fn make(&mut self, link: Digest, file: u32, now: UnixTime) -> UrlToken {
        let token = UrlToken::random();
        let key = digest_of(&token);
        let tokens = self.of_link.entry(link).or_default();
        tokens.push_back(key);
        if tokens.len() > OF_LINK
            && let Some(oldest) = tokens.pop_front()
        {
            self.by_token.remove(&oldest);
        }
        self.by_token.insert(key, Location { link, file, until: now.saturating_add(SECONDS) });
        token
    }

    /// Uses an address up. `None` if it was used, is too old, or was never made.
    pub(super) fn take(&mut self, token: &UrlToken, now: UnixTime) -> Option<Location> {
        let key = digest_of(token);
        let location = self.by_token.remove(&key)?;
        if let Some(tokens) = self.of_link.get_mut(&location.link) {
            tokens.retain(|token| *token != key);
            if tokens.is_empty() {
                self.of_link.remove(&location.link);
            }
        }
        (now <= location.until).then_some(location)
    }

    /// Forgets what is too old.
    pub(super) fn sweep(&mut self, now: UnixTime) {
        self.by_token.retain(|_, location| now <= location.until);
        let known = &self.by_token;
        self.of_link.retain(|_, tokens| {
            tokens.retain(|token| known.contains_key(token));
            !tokens.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::ZERO.saturating_add(1_800_000_000 + seconds)
    }

    #[test]
    fn an_address_works_once_and_for_less_than_an_hour() {
        const { assert!(SECONDS <= 3600) };
        let mut locations = Locations::default();
        let token = locations.make([7; 32], 3, at(0));
        let found = locations.take(&token, at(SECONDS));
        assert_eq!(found.map(|found| (found.link, found.file)), Some(([7; 32], 3)));
        assert_eq!(locations.take(&token, at(0)), None, "it was used");
        let late = locations.make([7; 32], 3, at(0));
        assert_eq!(locations.take(&late, at(SECONDS + 1)), None);
        assert_eq!(locations.take(&UrlToken::random(), at(0)), None);
        assert!(locations.by_token.is_empty() && locations.of_link.is_empty());
    }

    /// Who opens one link again and again takes neither memory nor addresses from others.
    #[test]
    fn the_addresses_of_a_link_are_bounded() {
        let mut locations = Locations::default();
        let other = locations.make([8; 32], 0, at(0));
        let first = locations.make([7; 32], 0, at(0));
        let mut last = first;
        for _ in 0..10_000 {
            last = locations.make([7; 32], 0, at(0));
        }
        assert_eq!(locations.by_token.len(), OF_LINK + 1);
        assert_eq!(locations.take(&first, at(0)), None);
        assert!(locations.take(&last, at(0)).is_some() && locations.take(&other, at(0)).is_some());
        locations.sweep(at(SECONDS + 1));
        assert!(locations.by_token.is_empty() && locations.of_link.is_empty());
    }
}
