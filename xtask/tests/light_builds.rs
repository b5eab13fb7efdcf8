//! Checks that a hospital system that embeds `emr-client`, and a build of only `emr-patient`, compile no EVM and no
//! prover, and that `emr-crypto` compiles no C.

use std::{env, path::Path, process::Command};

/// The EVM, the prover, and the node that needs the prover.
const HEAVY: [&str; 4] = ["revm", "halo2-axiom", "snark-verifier", "emr-node"];

/// C and assembly, and the crate that compiles it.
const C: [&str; 3] = ["aws-lc-rs", "aws-lc-sys", "cc"];

/// The packages of [`HEAVY`] that a selection of `cargo build` compiles.
fn heavy(selection: &[&str]) -> Result<Vec<&'static str>, Box<dyn std::error::Error>> {
    compiled(&HEAVY, selection)
}

/// Which of these packages a selection of `cargo build` compiles.
fn compiled(which: &[&'static str], selection: &[&str]) -> Result<Vec<&'static str>, Box<dyn std::error::Error>> {
    let mut tree = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let output = tree.args(["tree", "--edges", "normal,build", "--prefix", "none"]).args(selection).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let tree = String::from_utf8(output.stdout)?;
    let packages: Vec<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    Ok(which.iter().copied().filter(|package| packages.contains(package)).collect())
}

#[test]
fn an_embedded_client_compiles_no_evm_and_no_prover() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(heavy(&["--package", "emr-client"])?, [""; 0]);
    Ok(())
}

#[test]
fn the_chain_crate_compiles_no_evm() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(heavy(&["--package", "emr-chain"])?, [""; 0]);
    Ok(())
}

#[test]
fn patients_and_doctors_programs_compile_no_evm_and_no_prover() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(heavy(&["--package", "emr-cli", "--no-default-features"])?, [""; 0]);
    // The same check finds all of them in the hospital's program.
    assert_eq!(heavy(&["--package", "emr-cli"])?, HEAVY);
    Ok(())
}

#[test]
fn the_crypto_crate_compiles_no_c_unless_asked() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(compiled(&C, &["--package", "emr-crypto"])?, [""; 0]);
    assert_eq!(compiled(&C, &["--package", "emr-crypto", "--features", "aws-lc-rs"])?, C);
    // The programs contain AWS-LC for TLS. By default, emr-crypto does not use it.
    for (features, uses) in [("", false), ("aws-lc-rs", true)] {
        for package in ["emr-client", "emr-node", "emr-cli"] {
            let feature =
                compiled(&["emr-crypto"], &["--package", package, "--features", features, "--invert", "aws-lc-rs"])?;
            assert_eq!(!feature.is_empty(), uses, "{package}, features '{features}'");
        }
    }
    Ok(())
}
