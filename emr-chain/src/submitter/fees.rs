//! The fees of a transaction (EIP-1559), in wei per gas.

use alloy::{eips::BlockNumberOrTag, providers::Provider};

use super::SubmitError;
use crate::revert::RollupError;

const GWEI: u128 = 1_000_000_000;
/// Without a configured limit, the limit is at least this.
pub(super) const LEAST_DEFAULT_LIMIT: u128 = 50 * GWEI;
/// Without a configured limit, the limit is this many times the usual base fee.
const DEFAULT_TIMES: u128 = 10;
/// The number of blocks whose median is the usual base fee: 3 h 20 min of mainnet. geth shows at most 1,024 at once.
const USUAL_BLOCKS: u64 = 1_000;
/// The number of blocks whose tips are looked at, and the percentile of each, as wallets do it.
const TIP_BLOCKS: u64 = 10;
const TIP_PERCENTILE: f64 = 20.0;
/// The first tip is at most this, or the base fee if that is more. The Ethereum node alone says what is usual.
const FIRST_TIP: u128 = 5 * GWEI;
/// The first tip if the last blocks had no tips.
const QUIET_TIP: u128 = GWEI;

/// What a transaction pays at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fees {
    /// Base fee and tip together.
    pub(super) cap: u128,
    /// The tip.
    pub(super) tip: u128,
}

/// How much higher the fees of a replacement are at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raise {
    /// By an eighth. geth and most others want a tenth, for both numbers.
    Eighth,
    /// To the double, with a tip that is not nearly nothing, because the fees of the transaction in the pool are not known.
    Double,
}

impl Fees {
    fn raised(self, raise: Raise) -> Self {
        let up = |fee: u128| {
            let more = if raise == Raise::Double { fee } else { fee.div_ceil(8) };
            fee.saturating_add(more.max(1))
        };
        let (cap, tip) = (up(self.cap), up(self.tip));
        match raise {
            Raise::Eighth => Self { cap, tip },
            // Where tips are nearly nothing, as 1 wei on geth's development chain, doubling them alone would meet the limit of
            // the cap long before the tip of the other transaction.
            Raise::Double => Self { cap, tip: tip.max(QUIET_TIP).min(cap) },
        }
    }
}

/// What L1 asks for, and the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Market {
    /// The base fee of the next block.
    pub(super) base: u128,
    /// The usual tip.
    tip: u128,
    /// The most that the account pays.
    pub(super) limit: u128,
    /// The next block.
    pub(super) next_block: u64,
}

impl Market {
    /// Asks the Ethereum node.
    pub(super) async fn read<P: Provider>(provider: &P, limit: Option<u128>) -> Result<Self, RollupError> {
        let newest = BlockNumberOrTag::Latest;
        let history = provider.get_fee_history(TIP_BLOCKS, newest, &[TIP_PERCENTILE]).await?;
        let base = history.next_block_base_fee();
        let base = base.ok_or_else(|| RollupError::Malformed("a fee history without fees".to_owned()))?;
        let next_block = history.oldest_block.saturating_add(history.base_fee_per_gas.len() as u64 - 1);
        let tips = history.reward.iter().flatten().filter_map(|tips| tips.first().copied());
        let tip = match median(tips.filter(|tip| *tip > 0).collect()) {
            0 => QUIET_TIP,
            usual => usual.min(base.max(FIRST_TIP)),
        };
        let limit = match limit {
            Some(limit) => limit,
            None => {
                // Some nodes show no long history. Then the least limit counts.
                let usual = provider.get_fee_history(USUAL_BLOCKS, newest, &[]).await;
                let usual = usual.map(|history| median(history.base_fee_per_gas)).unwrap_or_default();
                usual.saturating_mul(DEFAULT_TIMES).max(LEAST_DEFAULT_LIMIT)
            }
        };
        Ok(Self { base, tip, limit, next_block })
    }

    /// The fees that carry a transaction through six full blocks: the double base fee, and the tip.
    fn asked(&self) -> Fees {
        let cap = self.base.saturating_mul(2).saturating_add(self.tip).min(self.limit);
        Fees { cap, tip: self.tip.min(cap) }
    }

    /// The fees of the first transaction with a nonce.
    pub(super) fn first(&self) -> Result<Fees, SubmitError> {
        if self.base > self.limit { Err(self.above_limit()) } else { Ok(self.asked()) }
    }

    /// The fees of a transaction that replaces one with these. `None` if they would be above the limit, or if the base fee is.
    pub(super) fn above(&self, old: Fees, raise: Raise) -> Option<Fees> {
        let least = old.raised(raise);
        let asked = self.asked();
        let fees = Fees { cap: least.cap.max(asked.cap), tip: least.tip.max(asked.tip) };
        (self.base <= self.limit && fees.cap <= self.limit).then_some(fees)
    }

    pub(super) const fn above_limit(&self) -> SubmitError {
        SubmitError::FeeLimit { base: self.base, limit: self.limit }
    }
}

fn median(mut numbers: Vec<u128>) -> u128 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// A fee in gwei, with as many digits as it has.
pub(super) fn gwei(wei: u128) -> String {
    let text = format!("{}.{:09}", wei / GWEI, wei % GWEI);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKET: Market = Market { base: 10 * GWEI, tip: GWEI, limit: 50 * GWEI, next_block: 7 };

    #[test]
    fn a_replacement_is_an_eighth_higher_in_both() {
        let first = MARKET.first().expect("below the limit");
        assert_eq!(first, Fees { cap: 21 * GWEI, tip: GWEI });
        let mut fees = first;
        let mut raised = 0;
        while let Some(next) = MARKET.above(fees, Raise::Eighth) {
            assert!(next.cap * 8 >= fees.cap * 9 && next.tip * 8 >= fees.tip * 9 && next.tip <= next.cap);
            assert!(next.cap <= MARKET.limit);
            (fees, raised) = (next, raised + 1);
        }
        assert_eq!(raised, 7);
        // The smallest fees grow too.
        assert_eq!(Fees { cap: 0, tip: 1 }.raised(Raise::Eighth), Fees { cap: 1, tip: 2 });
        assert_eq!(Fees { cap: 9, tip: 8 }.raised(Raise::Eighth), Fees { cap: 11, tip: 9 });
        let top = Fees { cap: u128::MAX, tip: u128::MAX };
        assert_eq!(top.raised(Raise::Double), top);
    }

    #[test]
    fn a_replacement_follows_the_market_up_to_the_limit() {
        let spike = Market { base: 40 * GWEI, ..MARKET };
        let old = Fees { cap: 21 * GWEI, tip: GWEI };
        assert_eq!(spike.above(old, Raise::Eighth).map(|fees| fees.cap), Some(50 * GWEI));
        assert_eq!(spike.above(Fees { cap: 45 * GWEI, tip: 1 }, Raise::Eighth), None);
        assert_eq!(MARKET.above(old, Raise::Double), Some(Fees { cap: 42 * GWEI, tip: 2 * GWEI }));
        let tipless = Fees { cap: 21 * GWEI, tip: 1 };
        let doubled = Market { tip: 1, ..MARKET }.above(tipless, Raise::Double);
        assert_eq!(doubled, Some(Fees { cap: 42 * GWEI, tip: GWEI }));
        assert_eq!(Fees { cap: 4, tip: 1 }.raised(Raise::Double), Fees { cap: 8, tip: 8 });
        let beyond = Market { base: 51 * GWEI, ..MARKET };
        assert_eq!(beyond.above(old, Raise::Eighth), None);
        let refused = beyond.first().expect_err("above the limit").to_string();
        assert!(refused.contains("51 gwei") && refused.contains("50 gwei") && refused.contains("--max-fee-gwei"));
    }

    #[test]
    fn gwei_are_exact() {
        assert_eq!(gwei(GWEI), "1");
        assert_eq!(gwei(10 * GWEI), "10");
        assert_eq!(gwei(1_500_000_000), "1.5");
        assert_eq!(gwei(1), "0.000000001");
        assert_eq!(gwei(0), "0");
    }
}
