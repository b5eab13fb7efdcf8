//! Sealing a file as an attachment and opening it again: padding, chunks, encryption, and the CID of every block. The peer is the program `age`
//! (filippo.io/age) on the same file, which makes no content addresses. They take turns.
//!
//! `cargo run --release --package benches --bin attachment -- --age PROGRAM --age-keygen PROGRAM`

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use emr_crypto::AttachmentKey;
use serde::Serialize;

/// Measure sealing and opening a file against `age`
#[derive(Debug, Parser)]
struct Arguments {
    /// The file's size in MiB
    #[arg(long, default_value = "256")]
    mebibytes: usize,
    /// How often each is measured; the median counts
    #[arg(long, default_value = "5")]
    rounds: usize,
    /// The program `age`
    #[arg(long, default_value = "age")]
    age: PathBuf,
    /// The program `age-keygen`
    #[arg(long, default_value = "age-keygen")]
    age_keygen: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Medians of wall-clock time. `None`: the peer is not installed.
#[derive(Debug, Serialize)]
struct Figures {
    mebibytes: usize,
    rounds: usize,
    seal_seconds: f64,
    open_seconds: f64,
    age_encrypt_seconds: Option<f64>,
    age_decrypt_seconds: Option<f64>,
}

fn median(mut times: Vec<Duration>) -> Option<f64> {
    times.sort_unstable();
    times.get(times.len() / 2).map(Duration::as_secs_f64)
}

fn timed<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<(T, Duration), Box<dyn Error>> {
    let began = Instant::now();
    let done = work()?;
    Ok((done, began.elapsed()))
}

/// The peer, with a new key pair.
struct Age<'a> {
    program: &'a Path,
    key: PathBuf,
    recipient: String,
}

impl<'a> Age<'a> {
    /// `None` if it is not installed.
    fn new(arguments: &'a Arguments, folder: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        let key = folder.join("key");
        let made = Command::new(&arguments.age_keygen).arg("-o").arg(&key).stderr(Stdio::null()).status();
        if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            eprintln!("age is not installed: it is left out. Name it with --age and --age-keygen");
            return Ok(None);
        }
        if !made?.success() {
            return Err("age-keygen failed".into());
        }
        let shown = Command::new(&arguments.age_keygen).arg("-y").arg(&key).output()?;
        let recipient = String::from_utf8(shown.stdout)?.trim().to_owned();
        Ok(Some(Self { program: &arguments.age, key, recipient }))
    }

    fn run(&self, options: &[&str], to: &Path, from: &Path) -> Result<(), Box<dyn Error>> {
        let status = Command::new(self.program).args(options).arg("-o").arg(to).arg(from).status()?;
        if status.success() { Ok(()) } else { Err("age failed".into()) }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let [plain, encrypted] = ["plain", "encrypted"].map(|name| folder.path().join(name));
    let bytes: Vec<u8> = (0..arguments.mebibytes << 20).map(|i| ((i * 31) >> 3) as u8).collect();
    fs::write(&plain, &bytes)?;
    drop(bytes);
    let age = Age::new(&arguments, folder.path())?;

    let (mut seal, mut open, mut encrypt, mut decrypt) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let mut blocks = HashMap::new();
        let (key, took) = timed(|| {
            let put = |cid, block: Vec<u8>| {
                blocks.insert(cid, block);
                Ok::<_, Infallible>(())
            };
            Ok(AttachmentKey::seal(BufReader::new(File::open(&plain)?), put)?)
        })?;
        seal.push(took);
        let fetch = |cid: &_| blocks.remove(cid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        open.push(timed(|| Ok(key.open(fetch, io::sink())?))?.1);
        if let Some(age) = &age {
            encrypt.push(timed(|| age.run(&["-r", &age.recipient], &encrypted, &plain))?.1);
            let key = age.key.to_string_lossy();
            decrypt.push(timed(|| age.run(&["-d", "-i", &key], Path::new("/dev/null"), &encrypted))?.1);
        }
    }
    let figures = Figures {
        mebibytes: arguments.mebibytes,
        rounds: arguments.rounds,
        seal_seconds: median(seal).ok_or("no rounds")?,
        open_seconds: median(open).ok_or("no rounds")?,
        age_encrypt_seconds: median(encrypt),
        age_decrypt_seconds: median(decrypt),
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(());
    }
    let rate = |seconds: f64| arguments.mebibytes as f64 / seconds;
    println!("{} MiB, median of {}", figures.mebibytes, figures.rounds);
    println!("seal          {:7.3} s  {:6.0} MiB/s", figures.seal_seconds, rate(figures.seal_seconds));
    println!("open          {:7.3} s  {:6.0} MiB/s", figures.open_seconds, rate(figures.open_seconds));
    if let (Some(encrypt), Some(decrypt)) = (figures.age_encrypt_seconds, figures.age_decrypt_seconds) {
        println!(
            "age encrypts  {encrypt:7.3} s  {:6.0} MiB/s  {:.2} times as long",
            rate(encrypt),
            encrypt / figures.seal_seconds
        );
        println!(
            "age decrypts  {decrypt:7.3} s  {:6.0} MiB/s  {:.2} times as long",
            rate(decrypt),
            decrypt / figures.open_seconds
        );
    }
    Ok(())
}
