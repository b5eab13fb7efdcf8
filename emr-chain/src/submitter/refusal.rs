//! What an Ethereum node means when it refuses a transaction. Each program words it differently.

/// What a refusal means for a transaction that is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The node has it already.
    Known,
    /// The nonce is used. The next look shows by which transaction.
    NonceUsed,
    /// The fees are too low, for the node or to replace another transaction with the same nonce.
    Underpriced,
    /// Anything else, such as an account without ether.
    Other,
}

/// The words of geth, reth, Erigon, Nethermind, Besu, anvil and the embedded chain.
const WORDS: [(Refusal, &[&str]); 3] = [
    (Refusal::Known, &["already known", "alreadyknown", "already imported", "known transaction", "already exists"]),
    (Refusal::NonceUsed, &["nonce too low", "nonce is too low", "oldnonce", "nonce_too_low"]),
    (
        Refusal::Underpriced,
        &[
            "underpriced",
            "replacementnotallowed",
            "feetoolow",
            "fee too low",
            "less than block base fee",
            "less than the block base fee",
            "gas_price_below",
            "gas price below",
        ],
    ),
];

impl Refusal {
    /// Reads a node's message.
    pub(super) fn of(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        WORDS.iter().find(|(_, words)| says(words)).map_or(Self::Other, |(refusal, _)| *refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_programs_words_are_known() {
        for (message, refusal) in [
            ("already known", Refusal::Known),
            ("already known: this transaction is in a block", Refusal::Known),
            ("AlreadyKnown", Refusal::Known),
            ("transaction already imported", Refusal::Known),
            ("nonce too low: next nonce 5, tx nonce 4", Refusal::NonceUsed),
            ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", Refusal::NonceUsed),
            ("Nonce too low", Refusal::NonceUsed),
            ("replacement transaction underpriced", Refusal::Underpriced),
            ("transaction underpriced: gas tip cap 1, minimum needed 1000000", Refusal::Underpriced),
            ("transaction gas price below minimum: gas tip cap 0, minimum needed 1", Refusal::Underpriced),
            ("ReplacementNotAllowed", Refusal::Underpriced),
            ("FeeTooLow, EffectivePriorityFeePerGas too low", Refusal::Underpriced),
            ("max fee per gas less than block base fee", Refusal::Underpriced),
            ("insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1", Refusal::Other),
            ("intrinsic gas too low", Refusal::Other),
            ("exceeds block gas limit", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(message), refusal, "{message}");
        }
    }
}
