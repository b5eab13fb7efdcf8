//! The instructions that a build with the feature `asm` needs.
//!
//! `asm` makes the field arithmetic of `halo2curves-axiom` use MULX, ADCX and ADOX. They are in the extensions BMI2 and
//! ADX: Intel since 2014 (Broadwell), AMD since 2017 (Zen). A processor without them ends the process with SIGILL at the
//! first multiplication. So programs call [`check_processor`] before anything else. On other architectures than x86-64 the
//! feature changes nothing.

/// The processor lacks instructions that this build uses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this program was built for processors with the instructions ADX and BMI2, and this processor lacks {}: \
     build it without the feature asm (see docs/cli.md, \"Older processors\")",
    missing.join(" and ")
)]
pub struct UnsupportedProcessor {
    missing: Vec<&'static str>,
}

/// Checks that the processor has the instructions that this build uses.
///
/// # Errors
/// [`UnsupportedProcessor`] if it lacks one.
pub fn check_processor() -> Result<(), UnsupportedProcessor> {
    #[cfg(all(feature = "asm", target_arch = "x86_64"))]
    let features = [("ADX", std::is_x86_feature_detected!("adx")), ("BMI2", std::is_x86_feature_detected!("bmi2"))];
    #[cfg(not(all(feature = "asm", target_arch = "x86_64")))]
    let features = [];
    require(features)
}

fn require(features: impl IntoIterator<Item = (&'static str, bool)>) -> Result<(), UnsupportedProcessor> {
    let missing: Vec<_> = features.into_iter().filter(|(_, present)| !present).map(|(name, _)| name).collect();
    if missing.is_empty() { Ok(()) } else { Err(UnsupportedProcessor { missing }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_missing_instructions_and_the_way_out() {
        assert_eq!(require([("ADX", true), ("BMI2", true)]), Ok(()));
        let message = |features| require(features).map_err(|error| error.to_string());
        let one = message([("ADX", false), ("BMI2", true)]);
        assert!(
            one.as_ref().is_err_and(|text| text.contains("lacks ADX: build it without the feature asm")),
            "{one:?}"
        );
        let both = message([("ADX", false), ("BMI2", false)]);
        assert!(both.as_ref().is_err_and(|text| text.contains("lacks ADX and BMI2")), "{both:?}");
    }

    #[test]
    fn the_processor_that_runs_this_test_passes() {
        // This test multiplies field elements in the same process, so it would not have come here otherwise.
        use halo2curves::ff::Field;
        assert_eq!(check_processor(), Ok(()));
        assert_eq!(crate::primitive::field::Fr::from(6) * crate::primitive::field::Fr::ONE, 6.into());
    }
}
