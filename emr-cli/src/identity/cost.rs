//! How much work a guess of a new passphrase takes.

use std::time::Duration;

use clap::Args;
use emr_crypto::ScryptCost;

/// The longest time that may be chosen, in seconds.
const MOST_SECONDS: f64 = 10.0;

/// The option of commands that encrypt an identity under a new passphrase.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Scrypt {
    /// How long opening the identity may take on this machine, in seconds, at most 10: a thief needs as long for each guess [default: 1]
    #[arg(long, value_name = "SECONDS", env = "EMR_SCRYPT_SECONDS", hide_env_values = true, value_parser = parse_seconds)]
    scrypt_seconds: Option<Duration>,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=MOST_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("write seconds like 1 or 2.5, at most {MOST_SECONDS}"))
}

impl Scrypt {
    /// The cost for a new file, measured on this machine.
    pub(crate) fn cost(self) -> ScryptCost {
        ScryptCost::calibrated(self.scrypt_seconds.unwrap_or(Duration::from_secs(1)))
    }

    /// The cost for a file that replaces another one: not less than before, unless a time was asked for.
    pub(crate) fn cost_after(self, before: ScryptCost) -> ScryptCost {
        let cost = self.cost();
        if self.scrypt_seconds.is_some() { cost } else { cost.at_least(before) }
    }
}

#[cfg(test)]
mod tests {
    use emr_crypto::LogN;

    use super::*;

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(parse_seconds("2.5"), Ok(Duration::from_millis(2500)));
        assert_eq!(parse_seconds("0"), Ok(Duration::ZERO));
        for bad in ["", "-1", "11", "1e300", "inf", "NaN", "one"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    /// A busy or slow machine must not weaken a file that a quick one wrote.
    #[test]
    fn a_cost_falls_only_if_asked() -> Result<(), &'static str> {
        let before = ScryptCost::Measured(LogN::new(20).ok_or("within bounds")?);
        let quickly = |scrypt_seconds| Scrypt { scrypt_seconds }.cost_after(before).log_n();
        assert_eq!(quickly(Some(Duration::ZERO)), 15);
        assert_eq!(quickly(None), 20);
        Ok(())
    }
}
