//! The programs of a hospital.

pub mod admission;
pub mod adopt;
pub mod commands;
pub mod deployment;
mod deployment_check;
pub mod fees;
pub mod inviter;
pub mod links;
pub mod office;
pub mod prover;
pub mod proving;
pub mod settle_queue;
pub mod setup;
mod signals;
pub mod site;
mod start_failure;
mod status;

use std::{io::Write, net::SocketAddr, path::Path};

use alloy::{
    primitives::{B256, U256},
    signers::local::PrivateKeySigner,
};
use deployment::Target;
use emr_chain::{SizeRecord, endpoint::Endpoint};
use emr_core::{Origin, Role};
use emr_crypto::{Identity, KeyProfile, RsaBits, ScryptCost};
use emr_node::{Activity, Limits};
use emr_rollup::{
    prover::Prover,
    setup::{SetupChoice, SetupId},
};
use secrecy::SecretString;
use signals::Signals;
use site::{Site, SitePlan};
use status::Status;
use url::Url;

use crate::{
    failure::{Exit, Failure, OrExit},
    options::{DEFAULT_NODE, Options, parse_address, parse_origin},
    participant, passphrase,
    report::{Answer, Progress, ether, print},
};

const HOSPITAL: Role = Role::Hospital;

/// The Ethereum key of an identity.
///
/// # Errors
/// No error is expected, because identities hold valid keys.
pub fn ethereum_key(identity: &Identity) -> Result<PrivateKeySigner, Failure> {
    PrivateKeySigner::from_bytes(&B256::from(*identity.ethereum_secret())).or_exit(Exit::Identity)
}

/// Options of `dev` and `serve`.
#[derive(clap::Args, Clone, Debug)]
pub struct Serving {
    /// The address where the node listens
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_NODE)]
    pub listen: SocketAddr,
    /// Keep blocks on this Kubo node (its RPC address) instead of on disk
    #[arg(long, value_name = "URL", value_parser = parse_address)]
    pub ipfs: Option<Url>,
    /// Seal a batch when an operation has waited this long
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub seal_after: u64,
    /// Trust the last hop of X-Forwarded-For, because a reverse proxy is in front of the node; nobody else may reach
    /// --listen
    #[arg(long)]
    pub behind_proxy: bool,
    /// An address at which clients reach the node, if it is not the one of --listen; repeat it for more. Logins count
    /// for these addresses only
    #[arg(long, value_name = "URL", value_parser = parse_origin)]
    pub public_url: Vec<Origin>,
    /// How many invitations of each doctor this hospital pays for per day
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub doctor_invites: u32,
    /// The most that the hospital pays per gas on Ethereum, in gwei; without it, ten times the median base fee of the last
    /// 1,000 blocks, and at least 50 gwei. Above it, transactions wait until fees fall
    #[arg(long, value_name = "GWEI", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_fee_gwei: Option<u32>,
    /// Leave proving to `emr-hospital prove` on another machine
    #[arg(long)]
    pub no_prove: bool,
    /// The memory for proving.
    #[command(flatten)]
    pub memory: Memory,
}

/// The memory for proving.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Memory {
    /// Memory that proving may keep between proofs to make the next one faster, in MiB; at most 500 are of use, and 2000
    /// with the large size
    #[arg(long, value_name = "MIB", default_value_t = Prover::MEMORY >> 20)]
    memory: u64,
}

impl Memory {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.memory.saturating_mul(1 << 20)
    }
}

/// `dev`: everything in one process, for development.
///
/// # Errors
/// Returns what does not start, and what to do.
pub async fn dev(options: &Options, serving: &Serving, rpc_listen: SocketAddr) -> Result<(), Failure> {
    if options.one_rpc()?.is_some() {
        let message = "dev brings its own chain; to use another, run `emr-hospital deploy` and `emr-hospital serve`";
        return Err(Failure::new(Exit::Usage, message));
    }
    let folder = options.data_dir(HOSPITAL)?;
    let passphrase = if folder.join("identity").exists() {
        participant::passphrase(options, HOSPITAL)?
    } else {
        let passphrase = passphrase::new(options.passphrase_file.as_deref())?;
        eprintln!("making a hospital in {}", folder.display());
        participant::create(
            &folder,
            &Identity::generate(HOSPITAL, RsaBits::DEFAULT, KeyProfile::Hybrid),
            &passphrase,
            ScryptCost::Standard,
        )?;
        passphrase
    };
    let plan = SitePlan { rpc_listen, deploy: true, ..plan(options, folder.clone(), serving) };
    start(&plan, &folder, &passphrase).await
}

/// Starts a site, registers its hospital if necessary, and serves.
async fn start(plan: &SitePlan, folder: &Path, passphrase: &SecretString) -> Result<(), Failure> {
    let open = || participant::unlock(folder, HOSPITAL, passphrase);
    let key = ethereum_key(&open()?.1)?;
    let site = plan.start(&key).await?;
    let (profile, identity) = open()?;
    drop(admission::enroll(profile, identity, &site).await?);
    for address in plan.listeners().filter(|address| !address.ip().is_loopback()) {
        eprintln!("warning: other machines reach {address} over plain http, as --insecure allows");
    }
    run(site).await
}

/// `serve`: a node on a real chain.
///
/// # Errors
/// Returns what does not start, and what to do.
pub async fn serve(options: &Options, serving: &Serving) -> Result<(), Failure> {
    let folder = options.data_dir(HOSPITAL)?;
    let rpc = options.one_rpc()?.ok_or_else(|| {
        Failure::new(Exit::Usage, "serve needs the address of an Ethereum node: --rpc URL (`dev` brings its own chain)")
    })?;
    let passphrase = participant::passphrase(options, HOSPITAL)?;
    let plan = SitePlan { rpc: Some(rpc), ..plan(options, folder.clone(), serving) };
    start(&plan, &folder, &passphrase).await
}

fn plan(options: &Options, folder: std::path::PathBuf, serving: &Serving) -> SitePlan {
    SitePlan {
        folder,
        rpc: None,
        ipfs: serving.ipfs.clone(),
        listen: serving.listen,
        rpc_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        plain: options.plain_http(),
        seal: site::seal_after(serving.seal_after),
        limits: Limits {
            behind_proxy: serving.behind_proxy,
            doctor_invites: serving.doctor_invites,
            ..Limits::default()
        },
        origins: serving.public_url.clone(),
        prove: !serving.no_prove,
        memory: serving.memory.bytes(),
        max_fee: serving.max_fee_gwei.map(|gwei| u128::from(gwei) * 1_000_000_000),
        deploy: false,
        chain_id: options.chain_id,
        finality: options.finality,
    }
}

/// Serves until a signal stops it. Reports on stderr what happens.
async fn run(site: Site) -> Result<(), Failure> {
    eprintln!("node      {}", site.node.url());
    eprintln!("ethereum  {} (chain {})", site.rpc, site.deployment.chain_id);
    eprintln!("contract  {}", site.deployment.contract);
    match site.deployment.setup {
        SetupChoice::InsecureDevelopment => {
            eprintln!("The proving setup is for development: anyone who knows its seed can forge proofs.");
        }
        SetupChoice::Imported(id) => eprintln!("setup     {id}, of a ceremony"),
    }
    eprintln!("Stop with Ctrl-C.");
    let mut activity = site.node.activity();
    let mut signals = Signals::listen()?;
    let mut last = Activity::Idle.to_string();
    let failed = site.node.failed();
    tokio::pin!(failed);
    let ended = loop {
        tokio::select! {
            changed = activity.changed() => {
                let now = activity.borrow_and_update().to_string();
                if changed.is_err() { break Ok(()); }
                if now != last {
                    eprintln!("{now}");
                    last = now;
                }
            }
            () = signals.next() => break Ok(()),
            failed = &mut failed => break Err(Failure::new(Exit::Internal, failed.to_string())),
        }
    };
    eprintln!(
        "stopping: waiting for requests and for what is being written, for some seconds; Ctrl-C again ends at once"
    );
    tokio::select! {
        () = site.shutdown() => {}
        () = signals.next() => eprintln!("ended at once"),
    }
    eprintln!("acknowledged operations continue at the next start");
    ended
}

/// Options of `deploy`.
#[derive(clap::Args, Clone, Debug)]
pub struct Deploy {
    /// The fee of a registration in ether, at most 1. On a shared chain, 0 lets anyone fill the queue for the price of gas
    #[arg(long, value_name = "ETHER", default_value = "0", value_parser = fees::parse)]
    registration_fee: U256,
    /// Prove with the setup of a ceremony, which `emr-hospital setup` printed; then --chain-id names the chain
    #[arg(long, value_name = "SETUP")]
    setup: Option<SetupId>,
    /// Also take batches of up to 370 operations: less gas for each, but a proof takes four times the time and memory of
    /// one of 90. Making the key takes minutes
    #[arg(long)]
    large: bool,
    #[command(flatten)]
    officers: office::OfficerArguments,
}

/// `deploy`: verifiers and rollup, on a development chain or with the setup of a ceremony.
///
/// # Errors
/// Fails if the chain is not for development and there is no setup of a ceremony, if it refuses, or if a rollup is
/// deployed already.
pub async fn deploy(options: &Options, arguments: &Deploy) -> Result<(), Failure> {
    let registration_fee = arguments.registration_fee;
    let folder = options.data_dir(HOSPITAL)?;
    let rpc = options.one_rpc()?.ok_or_else(|| {
        Failure::new(Exit::Usage, "deploy needs the address of an Ethereum node: --rpc URL (`dev` deploys by itself)")
    })?;
    let (profile, identity) = participant::identity(options, HOSPITAL)?;
    let endpoint = Endpoint::http(rpc.as_str(), options.plain_http()).or_exit(Exit::Usage)?;
    if let Some(known) = deployment::DeploymentFile::read(&folder)?
        && known.is_there(&endpoint).await?
    {
        let message = format!(
            "{} on chain {} is deployed already; use another --data-dir for a second one",
            known.contract, known.chain_id
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let target = Target {
        setup: arguments.setup.map_or(SetupChoice::InsecureDevelopment, SetupChoice::Imported),
        chain_id: options.chain_id,
        large: arguments.large,
    };
    let hospital = ethereum_key(&identity)?;
    let development = target.setup == SetupChoice::InsecureDevelopment;
    let officers = arguments.officers.officers(hospital.address(), development)?;
    let progress = Progress::start("deploying verifiers and rollup");
    let deployed =
        deployment::DeploymentFile::deploy(&folder, &endpoint, &hospital, registration_fee, officers, target).await?;
    drop(progress);
    eprintln!("a registration costs {} ether; changing this takes 14 days", ether(registration_fee));
    if deployed.record.officers.registrars.contains(&hospital.address()) {
        eprintln!("this hospital is also the registrar; --registrar names somebody else");
    }
    let forfeit = deployed.record.officers.forfeit;
    if !forfeit.is_zero() {
        let forfeit = ether(forfeit);
        eprintln!(
            "an overdue entry takes {forfeit} ether of the bond, which is empty: `emr-hospital office bond deposit ETHER`"
        );
    }
    drop(profile);
    print(&deployed, options.json)
}

impl Answer for deployment::DeploymentFile {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "contract {} on chain {}", self.contract, self.chain_id)?;
        for (SizeRecord { max_l1, max_l2, .. }, verifier) in self.record.sizes.iter().zip(self.record.verifiers()) {
            writeln!(out, "verifier {verifier} for batches of {max_l1} + {max_l2} operations")?;
        }
        writeln!(out, "{} gas", self.gas_used)
    }
}

/// `status`: prints a node's status.
///
/// # Errors
/// Fails if the node cannot be reached.
pub async fn status(options: &Options) -> Result<(), Failure> {
    let address = match &options.node {
        Some(given) => given.to_string(),
        None => participant::known_node(options, HOSPITAL)?.unwrap_or_else(|| format!("http://{DEFAULT_NODE}")),
    };
    let node = participant::node(options, &address)?;
    let status = node.status().await?;
    print(&Status(status), options.json)
}
