//! RSA-3072 and AES-256-GCM with SHA-256, by the back end that this program was built with. The peers are the program
//! `openssl` (`openssl speed`) and, in this process, the crates `rsa`, `aes-gcm` and `sha2`. All take turns on one core.
//! CPU time counts, because it is less disturbed by other processes than wall-clock time.
//!
//! `cargo run --release --package benches --bin backend`, and the same with `--features aws-lc-rs`

mod openssl;

use std::{
    collections::HashMap, convert::Infallible, error::Error, hint::black_box, io, path::PathBuf, time::Duration,
};

use aes_gcm::{Aes256Gcm, KeyInit, Nonce, aead::AeadInOut};
use cid::Cid;
use clap::Parser;
use emr_crypto::{AttachmentKey, CHUNK_BYTES, RsaBits, RsaSecret};
use rsa::{Oaep, RsaPrivateKey, pkcs8::DecodePrivateKey};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use sha2::{Digest, Sha256};

use openssl::Openssl;

/// A record of 1 MB.
const RECORD_BYTES: usize = 1_000_000;

/// Measure the back end of this build against OpenSSL and the crates of RustCrypto
#[derive(Debug, Parser)]
struct Arguments {
    /// The size of the attachment in MiB
    #[arg(long, default_value = "64")]
    mebibytes: usize,
    /// How often each is measured; the median counts
    #[arg(long, default_value = "5")]
    rounds: usize,
    /// How often a round unwraps a key, and opens a record
    #[arg(long, default_value = "50")]
    times: u32,
    /// The program `openssl`
    #[arg(long, default_value = "openssl")]
    openssl: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Medians of CPU time, in seconds.
#[derive(Debug, Serialize)]
struct Figures {
    back_end: &'static str,
    /// RSA-3072: `RsaSecret::decrypt_oaep`, `rsa`, and OpenSSL's private operation alone.
    unwrap: Row,
    /// Sealing an attachment, with its addresses; AES-256-GCM and SHA-256 alone over the same bytes.
    seal: Row,
    /// Opening it.
    open: Row,
    /// Opening content of 1 MB, which is the symmetric part of opening a record.
    open_record: Row,
}

#[derive(Debug, Serialize)]
struct Row {
    ours: f64,
    rust_crypto: f64,
    openssl: f64,
}

/// One figure for each round.
#[derive(Default)]
struct Rounds {
    ours: Vec<f64>,
    rust_crypto: Vec<f64>,
    openssl: Vec<f64>,
}

impl Rounds {
    fn row(self) -> Row {
        Row { ours: median(self.ours), rust_crypto: median(self.rust_crypto), openssl: median(self.openssl) }
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time of this process so far.
fn cpu_time() -> Duration {
    // The clock is never negative.
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Seconds of one of `times` calls.
fn timed<T>(times: u32, mut call: impl FnMut() -> T) -> f64 {
    let began = cpu_time();
    for _ in 0..times {
        black_box(call());
    }
    ((cpu_time() - began) / times).as_secs_f64()
}

/// An attachment's key and its blocks.
type Sealed = (AttachmentKey, HashMap<Cid, Vec<u8>>);

fn sealed(bytes: &[u8]) -> Result<Sealed, Box<dyn Error>> {
    let mut blocks = HashMap::new();
    let put = |cid, block: Vec<u8>| {
        blocks.insert(cid, block);
        Ok::<_, Infallible>(())
    };
    let key = AttachmentKey::seal(bytes, put)?;
    Ok((key, blocks))
}

/// Opens content `times` times. Preparing the blocks and the output is not counted.
fn opened(key: &AttachmentKey, blocks: &HashMap<Cid, Vec<u8>>, times: u32) -> Result<f64, Box<dyn Error>> {
    let mut took = Duration::ZERO;
    for _ in 0..times {
        let mut blocks = blocks.clone();
        let mut output = Vec::with_capacity(usize::try_from(key.length)?);
        let began = cpu_time();
        let fetch = |cid: &Cid| blocks.remove(cid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        key.open(fetch, &mut output)?;
        took += cpu_time() - began;
    }
    Ok((took / times).as_secs_f64())
}

/// AES-256-GCM and SHA-256 of RustCrypto, chunk by chunk in one buffer.
fn rust_crypto(bytes: &[u8], is_sealing: bool) -> Result<f64, Box<dyn Error>> {
    let cipher = Aes256Gcm::new(&[7; 32].into());
    let mut took = Duration::ZERO;
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let mut buffer = chunk.to_vec();
        let mut began = cpu_time();
        let tag = cipher.encrypt_inout_detached(&Nonce::default(), b"", buffer.as_mut_slice().into())?;
        if !is_sealing {
            began = cpu_time();
            cipher.decrypt_inout_detached(&Nonce::default(), b"", buffer.as_mut_slice().into(), &tag)?;
        }
        black_box(Sha256::digest(&buffer));
        took += cpu_time() - began;
    }
    Ok(took.as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let openssl = Openssl::new(&arguments.openssl)?;
    let secret = RsaSecret::generate(RsaBits::DEFAULT);
    let same = RsaPrivateKey::from_pkcs8_der(&secret.to_der())?;
    let wrapped = secret.public().encrypt_oaep(b"label", &[1; 32]);
    let file: Vec<u8> = (0..arguments.mebibytes << 20).map(|byte| ((byte * 31) >> 3) as u8).collect();
    let record = &file[..RECORD_BYTES];
    let (of_record, record_blocks) = sealed(record)?;

    let [mut unwrap, mut seal, mut open, mut open_record] = std::array::from_fn(|_| Rounds::default());
    for _ in 0..arguments.rounds {
        unwrap.ours.push(timed(arguments.times, || secret.decrypt_oaep(b"label", &wrapped)));
        unwrap.rust_crypto.push(timed(arguments.times, || {
            same.decrypt_blinded(&mut rand::rng(), Oaep::<Sha256>::new_with_label(&b"label"[..]), &wrapped)
        }));
        unwrap.openssl.push(openssl.rsa_private_seconds()?);

        let bytes_a_second =
            1.0 / (1.0 / openssl.bytes_a_second("aes-256-gcm")? + 1.0 / openssl.bytes_a_second("sha256")?);
        let began = cpu_time();
        // The blocks go elsewhere, one after the other, as in an upload.
        AttachmentKey::seal(&file[..], |_, _| Ok::<_, Infallible>(()))?;
        seal.ours.push((cpu_time() - began).as_secs_f64());
        let (key, blocks) = sealed(&file)?;
        open.ours.push(opened(&key, &blocks, 1)?);
        open_record.ours.push(opened(&of_record, &record_blocks, arguments.times)?);
        for (rounds, bytes, is_sealing) in
            [(&mut seal, &file[..], true), (&mut open, &file[..], false), (&mut open_record, record, false)]
        {
            rounds.rust_crypto.push(rust_crypto(bytes, is_sealing)?);
            rounds.openssl.push(bytes.len() as f64 / bytes_a_second);
        }
    }
    let figures = Figures {
        back_end: if cfg!(feature = "aws-lc-rs") { "aws-lc-rs" } else { "RustCrypto" },
        unwrap: unwrap.row(),
        seal: seal.row(),
        open: open.row(),
        open_record: open_record.row(),
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(());
    }
    println!("back end {}, {}, median of {}", figures.back_end, openssl.version(), arguments.rounds);
    let attachment = |verb| format!("{verb} {} MiB", arguments.mebibytes);
    for (what, row) in [
        ("unwrap a key (RSA-3072)".to_owned(), figures.unwrap),
        (attachment("seal"), figures.seal),
        (attachment("open"), figures.open),
        ("open content of 1 MB".to_owned(), figures.open_record),
    ] {
        let milliseconds = |seconds: f64| seconds * 1000.0;
        println!(
            "{what:<24}{:9.3} ms  {:5.2} times as long as OpenSSL ({:.3} ms), {:5.2} times as long as RustCrypto ({:.3} ms)",
            milliseconds(row.ours),
            row.ours / row.openssl,
            milliseconds(row.openssl),
            row.ours / row.rust_crypto,
            milliseconds(row.rust_crypto),
        );
    }
    Ok(())
}
