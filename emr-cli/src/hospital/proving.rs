//! `prove`: turns sealed batches into proofs, on any machine.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use emr_client::ClientError;
use emr_rollup::{
    batch::Prover as _,
    prover::{Prover, Provers},
    setup::SetupChoice,
    version::{CircuitSizes, CircuitVersion},
};

use super::{Memory, prover, signals::Signals, site::key_cache};
use crate::{
    failure::{Exit, Failure, OrExit, one_line},
    options::{DEFAULT_NODE, Options},
    participant,
    report::Progress,
};

/// How often a node without work is asked again.
const POLL: Duration = Duration::from_secs(2);

/// Fetches sealed batches from the node, proves them and submits the proofs, until Ctrl-C or SIGTERM. Both also end it
/// during a proof. It needs only the node's address and a credential. It needs nothing from L1, because the keys belong
/// to the circuit version and the node verifies every proof.
///
/// # Errors
/// Fails if the node refuses, or if the keys cannot be made. An interrupted batch is fetched again.
pub async fn prove(options: &Options, credential: &Path, memory: Memory) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        failed = work(options, credential, memory) => failed,
        () = signals.next() => {
            eprintln!("stopped; a batch that was being proved waits at the node for the next prover");
            Ok(())
        }
    }
}

/// The prover of a size. The node names it: nothing is made for a size that this program does not know.
async fn prover_of(provers: &Arc<Mutex<Provers>>, size: CircuitVersion) -> Result<Arc<Prover>, Failure> {
    if CircuitSizes::v1_all().position(&size).is_none() {
        let slots = size.slots();
        let message = format!("the node proves in a size of {slots}: use the program that belongs to it");
        return Err(Failure::new(Exit::Usage, message));
    }
    let (provers, progress) = (Arc::clone(provers), Progress::start("reading the proving key"));
    tokio::task::spawn_blocking(move || {
        let mut provers = provers.lock().unwrap_or_else(PoisonError::into_inner);
        provers.of(size, |stage| progress.say(format!("{stage}, {}", size.slots())))
    })
    .await
    .or_exit(Exit::Internal)?
    .or_exit(Exit::Storage)
}

/// Returns only with an error.
async fn work(options: &Options, credential: &Path, memory: Memory) -> Result<(), Failure> {
    let address = options.node.as_ref().map_or_else(|| format!("http://{DEFAULT_NODE}"), url::Url::to_string);
    let node = participant::node(options, &address)?.with_credential(prover::read(credential)?);
    let status = node.status().await?;
    if let Some(named) = options.chain_id.filter(|named| *named != status.chain_id) {
        return Err(ClientError::OtherChain { named, found: status.chain_id }.into());
    }
    let (version, setup) = (status.circuit_version, status.setup);
    if version != CircuitVersion::V1.number {
        let message = format!("the node is for circuit version {version}: use the program that belongs to it");
        return Err(Failure::new(Exit::Usage, message));
    }
    // Reports an unknown credential before it reads the keys, which takes a while.
    match node.proof_job().await {
        Err(error) if !error.is_temporary() => return Err(error.into()),
        _ => {}
    }
    let provers = Arc::new(Mutex::new(Provers::new(key_cache()?, setup, memory.bytes())));
    // A key that is missing is made now, and not while a batch waits. The last ones are needed most, and stay in memory.
    for size in status.sizes.iter().rev() {
        prover_of(&provers, *size).await?;
    }
    if setup == SetupChoice::InsecureDevelopment {
        eprintln!("the proving setup is for development only");
    }
    eprintln!("ready; waiting for batches. Stop with Ctrl-C.");
    let mut away = false;
    loop {
        let job = match node.proof_job().await {
            // The node restarts. Its batch waits, here or there.
            Err(error) if error.is_temporary() => {
                if !std::mem::replace(&mut away, true) {
                    eprintln!("{}; trying again until the node is back", one_line(&error));
                }
                None
            }
            job => {
                away = false;
                job?
            }
        };
        let Some(job) = job else {
            tokio::time::sleep(POLL).await;
            continue;
        };
        let prover = prover_of(&provers, job.witness.version).await?;
        let (number, started) = (job.number, Instant::now());
        let progress = Progress::start(format!("proving batch {number}"));
        let proof = tokio::task::spawn_blocking(move || prover.prove(&job.witness, &job.public))
            .await
            .or_exit(Exit::Internal)?
            .or_exit(Exit::Unverified)?;
        drop(progress);
        match node.proof(number, &proof).await {
            Ok(()) => {
                let seconds = started.elapsed().as_secs_f64();
                eprintln!("batch {number}: {} bytes of proof in {seconds:.1} s", proof.len());
            }
            // Meanwhile the batch was sealed again or proved elsewhere. Or the node is not reachable, and will give out
            // the batch again.
            Err(error) if error.is_temporary() || error.is_not_found() => {
                eprintln!("batch {number}: the proof was not accepted: {}", one_line(&error));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
