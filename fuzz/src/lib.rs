#![doc = include_str!("../README.md")]

mod authorship;
mod backup;
mod backup_paper;
mod cid;
mod classes;
mod consent;
pub mod craft;
mod delegated_keys;
mod dicom;
mod directory;
mod disclosure;
mod embedded;
mod encrypted_pem;
mod envelope;
mod fhir;
mod identity_file;
mod jwe;
mod key_directory;
mod login;
mod manifest;
mod ndjson;
mod public_key;
mod record;
mod research_profile;
mod sealed_part;
mod text;

/// Inputs that a target accepts, or why they cannot be made.
pub type Seeds = Result<Vec<Vec<u8>>, Box<dyn std::error::Error>>;

/// A parser under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file, of its fuzzer and of its corpus.
    pub name: &'static str,
    /// Panics if something does not hold that must hold for any bytes. Returns whether they were accepted.
    pub check: fn(&[u8]) -> bool,
    /// Inputs that are accepted. The fuzzer starts from them.
    pub seeds: fn() -> Seeds,
}

macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        /// All parsers under test.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), check: $name::check, seeds: $name::seeds }),+];
        $(
            #[doc = concat!("[`Target::check`] of `", stringify!($name), "`.")]
            pub fn $name(data: &[u8]) -> bool {
                $name::check(data)
            }
        )+
    };
}

targets! {
    authorship,
    backup,
    backup_paper,
    cid,
    classes,
    consent,
    delegated_keys,
    dicom,
    directory,
    disclosure,
    embedded,
    encrypted_pem,
    envelope,
    fhir,
    identity_file,
    jwe,
    key_directory,
    login,
    manifest,
    ndjson,
    public_key,
    record,
    research_profile,
    sealed_part,
    text,
}

/// Panics if an error does not read well in a terminal, though a hostile file made it: it is one line, short, and without characters that
/// change the screen or that nobody sees.
///
/// # Panics
/// If it is not.
pub fn one_line(error: &impl std::fmt::Display) {
    at_most(error, LONGEST_LINE);
}

/// The same for an error that may be longer.
///
/// # Panics
/// If it is not.
pub fn at_most(error: &impl std::fmt::Display, longest: usize) {
    let line = error.to_string();
    assert!(!line.is_empty() && line.chars().count() <= longest, "{} characters: {line:?}", line.chars().count());
    assert!(line.chars().all(emr_core::is_harmless), "a harmful character: {line:?}");
}

/// The longest input that is tried, in bytes. `cargo xtask soak fuzz` says it to libFuzzer.
pub const LONGEST: usize = 8192;
/// The longest error in characters.
pub const LONGEST_LINE: usize = 300;
