//! Limits the rate of requests by key, with governor's generic cell rate algorithm.

use std::{
    fmt,
    hash::Hash,
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use super::ClientAddress;

/// After this many checks, keys that were not used lately are forgotten.
const SWEEP: usize = 4096;

/// A rate for each key. A key is forgotten if it was not used for the time that its burst takes.
pub(crate) struct Rate<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    checks: AtomicUsize,
}

impl<K: Hash + Eq + Clone> fmt::Debug for Rate<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate").field("keys", &self.limiter.len()).finish_non_exhaustive()
    }
}

fn positive(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// Allows `rate` per second, and a burst of `burst` seconds' worth.
    pub(crate) fn per_second(rate: NonZeroU32, burst: u32) -> Self {
        Self::of(Quota::per_second(rate).allow_burst(positive(rate.get().saturating_mul(burst))))
    }

    /// Allows `rate` per minute, and a burst of the `share`-th part of it.
    pub(crate) fn per_minute(rate: u32, share: u32) -> Self {
        Self::of(Quota::per_minute(positive(rate)).allow_burst(positive(rate / share.max(1))))
    }

    fn of(quota: Quota) -> Self {
        Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default(), checks: AtomicUsize::new(0) }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// Returns how long to wait, if the rate is exceeded.
    pub(crate) fn check(&self, key: &K) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

/// How many addresses a site counts as: an IPv6 /48 has 65,536 networks.
pub(crate) const ADDRESSES_OF_A_SITE: u32 = 8;

/// A rate for each client address, and a higher one for each site. `K` is what else tells requests apart.
#[derive(Debug)]
pub(crate) struct AddressRate<K: Hash + Eq + Clone = ()> {
    of_address: Rate<(ClientAddress, K)>,
    of_site: Rate<(ClientAddress, K)>,
}

impl<K: Hash + Eq + Clone> AddressRate<K> {
    /// `rate` makes the rate for a number of addresses.
    pub(crate) fn new(rate: impl Fn(u32) -> Rate<(ClientAddress, K)>) -> Self {
        Self { of_address: rate(1), of_site: rate(ADDRESSES_OF_A_SITE) }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// Returns how long to wait, if the address or its site exceeds its rate.
    pub(crate) fn check(&self, address: ClientAddress, key: K) -> Result<(), Duration> {
        self.of_address.check(&(address, key.clone()))?;
        self.of_site.check(&(address.site(), key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_uses_up_its_own_rate_only_and_is_forgotten() {
        let rate = Rate::<u64>::per_second(positive(1000), 2);
        let allowed = (0..100_000).filter(|_| rate.check(&0).is_ok()).count();
        assert!((2000..50_000).contains(&allowed), "{allowed}");
        assert!(rate.check(&0).is_err_and(|wait| wait <= Duration::from_millis(2)));
        assert!(rate.check(&1).is_ok());
        for key in 0..10_000 {
            assert!(key == 0 || rate.check(&key).is_ok());
        }
        std::thread::sleep(Duration::from_millis(2100));
        for _ in 0..SWEEP {
            let _ = rate.check(&0);
        }
        assert!(rate.limiter.len() < 10, "{rate:?}");
    }

    /// Somebody sends each request from another network of their /48.
    #[test]
    fn a_site_with_many_networks_has_a_rate() {
        let rate = AddressRate::new(|addresses| Rate::per_second(positive(addresses), 10));
        let address = |text: String| ClientAddress::of(text.parse().expect("an address"));
        let from = |site: u32, network: u32| rate.check(address(format!("2001:db8:{site:x}:{network:x}::1")), ());
        let allowed = (0..5000).filter(|network| from(1, *network).is_ok()).count();
        assert!((80..200).contains(&allowed), "{allowed}");
        assert!(from(2, 1).is_ok(), "another site");
        let short = (0..5000).filter(|_| rate.check(address("192.0.2.1".to_owned()), ()).is_ok()).count();
        assert!((10..40).contains(&short), "{short}");
    }
}
