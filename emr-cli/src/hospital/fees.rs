//! The fee of a registration, and collecting the fees.

use alloy::primitives::{Address, U256, utils::parse_ether};
use emr_client::ClientError;

use super::HOSPITAL;
use crate::{failure::Failure, money::Paid, on_l1, options::Options, report::print};

/// The highest fee, 1 ether. Changing a fee takes 14 days, and somebody who types wei instead of ether would set a fee that nobody can pay.
const HIGHEST: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// Parses a fee in ether from the command line. Returns wei.
///
/// # Errors
/// Fails unless the text is a decimal number from 0 to 1 with at most 18 decimals.
pub fn parse(text: &str) -> Result<U256, String> {
    wei(text).filter(|fee| *fee <= HIGHEST).ok_or_else(|| "write a sum in ether from 0 to 1, like 0.001".to_owned())
}

/// A sum in ether, in wei. `None` unless the text is a decimal number with at most 18 decimals.
pub(super) fn wei(text: &str) -> Option<U256> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let starts_with_digit = text.starts_with(|first: char| first.is_ascii_digit());
    if decimal && decimals <= 18 && starts_with_digit { parse_ether(text).ok() } else { None }
}

/// `collect-fees`: takes the registration fees from the contract.
///
/// # Errors
/// Fails if this hospital is not the sequencer, or if the recipient does not accept ether.
pub async fn collect(options: &Options, to: Option<Address>) -> Result<(), Failure> {
    let client = on_l1::open(options, HOSPITAL).await?;
    let to = to.unwrap_or_else(|| client.ethereum_address());
    let (amount, receipt) = client.rollup().collect_fees(to).await.map_err(ClientError::from)?;
    print(&Paid::new(amount, to, &receipt), options.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_read_in_ether() {
        for (text, wei) in [("0", 0), ("0.000000000000000001", 1), ("0.001", 1_000_000_000_000_000_u64), ("0.0", 0)] {
            assert_eq!(parse(text), Ok(U256::from(wei)), "{text}");
        }
        assert_eq!(parse("1"), Ok(HIGHEST));
        // A sum in wei, and what ether cannot say.
        for text in [
            "1.000000000000000001",
            "1000000000000000",
            "-0.1",
            "-1",
            "0.0000000000000000001",
            "",
            ".",
            "1e-3",
            "0x1",
            "0.1.1",
            " 1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
