//! `init`, `register` and `whoami`, which are the same for all three roles.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
};
use clap::{Args, ValueEnum};
use emr_client::verify::card::Card;
use emr_core::{AccountIndex, Role};
use emr_crypto::{EncryptedPem, Identity, KeyProfile, RsaBits, RsaKeyError, RsaSecret};
use serde::Serialize;

use crate::{
    failure::{Exit, Failure, OrExit, one_line},
    identity::{self, Scrypt},
    input, invite, keystore, on_l1,
    options::Options,
    participant, passphrase,
    report::{Answer, Done, Progress, print, text},
};

/// Arguments of `init`.
#[derive(Args, Clone, Debug)]
pub struct Init {
    /// Use this RSA key (PEM, PKCS#1 or PKCS#8, also encrypted PKCS#8) instead of a new one
    #[arg(long, value_name = "FILE", conflicts_with = "rsa_bits")]
    rsa_pem: Option<PathBuf>,
    /// File whose first line is the RSA key's passphrase, if the key is encrypted [otherwise: a prompt]
    #[arg(long, value_name = "FILE", requires = "rsa_pem")]
    rsa_pem_passphrase_file: Option<PathBuf>,
    /// Size of the new RSA key: 2048 to 4096
    #[arg(long, value_name = "BITS", default_value_t = 3072)]
    rsa_bits: usize,
    /// Which encryption keys to make
    #[arg(long, value_enum, default_value_t, value_name = "KEYS")]
    keys: EncryptionKeys,
    /// Use the Ethereum key in this encrypted keystore (version 3, as geth and wallets write it) instead of a new one
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// File whose first line is the keystore's passphrase [otherwise: a prompt]
    #[arg(long, value_name = "FILE", requires = "keystore")]
    keystore_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    scrypt: Scrypt,
}

/// The encryption keys of a new identity.
#[derive(ValueEnum, Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncryptionKeys {
    /// RSA and X-Wing: what is encrypted to you stays secret unless both are broken
    #[default]
    Hybrid,
    /// RSA alone, for programs and tokens that know nothing else: a quantum computer would open it
    Rsa,
}

impl From<EncryptionKeys> for KeyProfile {
    fn from(keys: EncryptionKeys) -> Self {
        match keys {
            EncryptionKeys::Hybrid => Self::Hybrid,
            EncryptionKeys::Rsa => Self::RsaAlone,
        }
    }
}

/// Arguments of `register`.
#[derive(Args, Clone, Debug)]
pub struct Register {
    /// An invitation of the hospital or of one of its doctors, which makes the hospital pay
    #[arg(long, value_name = "CODE", conflicts_with = "own_ether")]
    invite: Option<String>,
    /// Pay with the ether of this identity
    #[arg(long)]
    own_ether: bool,
    /// Wait until a batch has taken the registration
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Serialize)]
struct Created {
    role: Role,
    folder: PathBuf,
    rsa_bits: usize,
    keys: EncryptionKeys,
    ethereum: Address,
}

impl Answer for Created {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { role, folder, rsa_bits, keys, ethereum } = self;
        let xwing = match keys {
            EncryptionKeys::Hybrid => " with X-Wing",
            EncryptionKeys::Rsa => " alone",
        };
        writeln!(out, "new {role} in {} (RSA-{rsa_bits}{xwing}, rollup key, Ethereum key)", folder.display())?;
        writeln!(out, "its Ethereum account is {ethereum}")
    }
}

/// Reads an RSA key. Asks for the passphrase of an encrypted one only after its form and the work that it asks for were checked.
fn rsa_key(file: &Path, passphrase_file: Option<&Path>) -> Result<RsaSecret, Failure> {
    let failed = |error: RsaKeyError| {
        let exit = if error == RsaKeyError::WrongPassphrase { Exit::Identity } else { Exit::Input };
        Failure::new(exit, format!("{}: {}", file.display(), one_line(&error)))
    };
    let pem = input::read_secret("the key", file)?;
    if !EncryptedPem::is_one(&pem) {
        return RsaSecret::from_pem(&pem).map_err(failed);
    }
    let encrypted = EncryptedPem::parse(&pem).map_err(failed)?;
    encrypted.decrypt(&passphrase::of_rsa_key(passphrase_file)?).map_err(failed)
}

/// Creates an identity.
///
/// # Errors
/// Fails if an identity exists already, or if it cannot be written.
pub fn init(options: &Options, role: Role, arguments: &Init) -> Result<(), Failure> {
    let folder = options.data_dir(role)?;
    if folder.join("identity").exists() {
        let message =
            format!("there is an identity in {} already; give another --data-dir for a new one", folder.display());
        return Err(Failure::new(Exit::Identity, message));
    }
    let rsa = match &arguments.rsa_pem {
        Some(file) => Some(rsa_key(file, arguments.rsa_pem_passphrase_file.as_deref())?),
        None => None,
    };
    let bits = RsaBits::new(arguments.rsa_bits).or_exit(Exit::Usage)?;
    let asked = || passphrase::of_keystore(arguments.keystore_passphrase_file.as_deref());
    let ethereum = arguments.keystore.as_deref().map(|file| keystore::read(file, asked)).transpose()?;
    let passphrase = passphrase::new(options.passphrase_file.as_deref())?;
    let progress = Progress::start("making keys");
    let identity = match rsa {
        Some(rsa) => Identity::with_rsa(role, rsa, arguments.keys.into()),
        None => Identity::generate(role, bits, arguments.keys.into()),
    };
    let identity = match ethereum {
        Some(key) => identity.with_ethereum(&key).or_exit(Exit::Input)?,
        None => identity,
    };
    let rsa_bits = identity.rsa().public().modulus().len() * 8;
    let ethereum = PrivateKeySigner::from_bytes(&B256::from(*identity.ethereum_secret())).or_exit(Exit::Identity)?;
    participant::create(&folder, &identity, &passphrase, arguments.scrypt.cost())?;
    drop(progress);
    print(&Created { role, folder, rsa_bits, keys: arguments.keys, ethereum: ethereum.address() }, options.json)?;
    identity::after_init(role);
    Ok(())
}

#[derive(Debug, Serialize)]
struct Registered {
    role: Role,
    account: AccountIndex,
    settled: bool,
    next: &'static str,
}

impl Answer for Registered {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{} {}: {}", self.role, self.account, self.next)
    }
}

/// Registers the identity. `org` is the card of a doctor's hospital.
///
/// # Errors
/// Fails if the node or the contract refuses.
pub async fn register(options: &Options, role: Role, org: Option<&Path>, arguments: &Register) -> Result<(), Failure> {
    let invitation = arguments.invite.as_deref().map(invite::read).transpose()?;
    let options = &match &invitation {
        Some(invitation) => options.invited_to(&invitation.instance())?,
        None => options.clone(),
    };
    let client = participant::open(options, role).await?;
    let org = org.map(read_card).transpose()?;
    let org = org.map(|card| client_org(&card)).transpose()?;
    let progress = Progress::start("registering");
    let registered = if arguments.own_ether {
        client.register_on_l1(org).await
    } else {
        client.register(org, invitation.as_ref()).await
    };
    let account = registered?;
    identity::remind(client.profile(), role);
    let mut settled = false;
    if arguments.wait {
        let waiting = client.node().status().await?.health.queues.ordinary.waiting().count();
        progress.say(format!("waiting for a batch ({waiting} registrations wait)"));
        let view = client.wait_registered(true, Duration::from_millis(500), Duration::from_secs(600)).await;
        settled = view?.settled;
    }
    drop(progress);
    let next = match (settled, role) {
        (true, _) => "in the settled state",
        (false, Role::Patient) => "queued; the next batch takes it",
        (false, _) => "known to the contract; a registrar admits it with `emr-hospital registrar admit CARD`",
    };
    print(&Registered { role, account, settled, next }, options.json)
}

/// Withdraws a registration that no registrar has admitted, with this identity's own ether.
///
/// # Errors
/// Fails if there is no such registration.
pub async fn withdraw_registration(options: &Options, role: Role) -> Result<(), Failure> {
    let client = on_l1::open(options, role).await?;
    client.require_ether().await?;
    let receipt = client.rollup().withdraw_registration().await?;
    let done = "the registration is withdrawn; `register --own-ether` makes another one, for which nobody else can pay";
    print(&Done::new(done, &receipt), options.json)
}

fn client_org(card: &Card) -> Result<AccountIndex, Failure> {
    if card.role != Role::Hospital {
        return Err(Failure::new(Exit::Input, format!("the card is a {}'s; --org takes a hospital's", card.role)));
    }
    card.registered().or_exit(Exit::Input)
}

/// Prints this identity's card. Needs no passphrase if an earlier command kept the card, unless the addresses of nodes are given.
///
/// # Errors
/// Fails if the node cannot be reached, because a card names chain and contract.
pub async fn whoami(options: &Options, role: Role) -> Result<(), Failure> {
    if options.node.is_none() && options.rpc.is_empty() {
        let profile = participant::profile(options, role)?;
        if let Some(card) = profile.kept_card().filter(|card| card.role == role) {
            identity::remind(&profile, role);
            participant::report_refused(&profile, role);
            return text(&card.to_json());
        }
    }
    let client = participant::connect_as(options, role).await?;
    let card = client.card();
    if card.account.is_none() {
        eprintln!("not registered yet: others can use this card only to endorse or admit you");
    }
    identity::remind(client.profile(), role);
    participant::report_refused(client.profile(), role);
    text(&card.to_json())
}

/// Reads a card file.
///
/// # Errors
/// Fails if the file cannot be read, or if it is not a card.
pub fn read_card(file: &Path) -> Result<Card, Failure> {
    Card::from_json(&input::read("the card", file, input::SMALL)?)
        .map_err(|error| Failure::new(Exit::Input, format!("{}: {}", file.display(), one_line(&error))))
}
