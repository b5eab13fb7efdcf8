//! Keys that never leave their device. A card is another thread; the participant has only a channel to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use alloy::primitives::{Address, B256, Signature as EthereumSignature};
use emr_client::{
    Client, ClientError, ErrorKind,
    flow::submit::Fate,
    keys::{Decryptor, KeyError, Signer},
    profile::Profile,
};
use emr_core::{Class, ClassMask, Reason, Rights, Role};
use emr_crypto::{EncryptionKey, Identity, LoginMessage, key_wrap::WrappedKey};
use emr_rollup::{
    operation::{Domain, Operation},
    primitive::{eddsa, jubjub::Point},
};
use zeroize::Zeroizing;

use crate::scene::*;

/// The questions to the card. No answer contains a key.
enum Question {
    Operation(Domain, Box<Operation>, mpsc::Sender<eddsa::Signature>),
    Authorship(Vec<u8>, mpsc::Sender<Vec<u8>>),
    Login(Box<LoginMessage>, mpsc::Sender<Vec<u8>>),
    Possession(Vec<u8>, mpsc::Sender<Vec<u8>>),
    Ethereum(B256, mpsc::Sender<EthereumSignature>),
    Unwrap(WrappedKey, Vec<u8>, mpsc::Sender<Option<Zeroizing<[u8; 32]>>>),
}

/// The channel to a card, and the public data that are printed on the card.
#[derive(Clone, Debug)]
struct Card {
    line: mpsc::Sender<Question>,
    connected: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    role: Role,
    rollup: eddsa::PublicKey,
    registration: Point,
    encryption: EncryptionKey,
    salt: Option<[u8; 32]>,
    ethereum: Address,
}

impl Card {
    /// A card with these keys. Only the thread that this starts holds them.
    fn insert(identity: Identity) -> Self {
        let (line, questions) = mpsc::channel();
        let card = Self {
            line,
            connected: Arc::new(AtomicBool::new(true)),
            asked: Arc::default(),
            role: Signer::role(&identity),
            rollup: identity.rollup_key(),
            registration: identity.registration_point(),
            encryption: identity.encryption_key(),
            salt: Signer::commitment_salt(&identity),
            ethereum: identity.ethereum_address(),
        };
        thread::spawn(move || {
            for question in questions {
                // The asker may be gone, so a failed send is ignored. Keys in memory do not fail.
                match question {
                    Question::Operation(domain, operation, to) => {
                        let _ = identity.sign_operation(domain, &operation).map(|signature| to.send(signature));
                    }
                    Question::Authorship(bytes, to) => _ = identity.sign_authorship(&bytes).map(|done| to.send(done)),
                    Question::Login(message, to) => _ = identity.sign_login(&message).map(|done| to.send(done)),
                    Question::Possession(bytes, to) => _ = identity.sign_possession(&bytes).map(|done| to.send(done)),
                    Question::Ethereum(hash, to) => _ = identity.sign_ethereum(&hash).map(|done| to.send(done)),
                    Question::Unwrap(wrapped, context, to) => {
                        let _ = Decryptor::unwrap_key(&identity, &wrapped, &context).map(|key| to.send(key));
                    }
                }
            }
        });
        card
    }

    fn ask<T>(&self, question: impl FnOnce(mpsc::Sender<T>) -> Question) -> Result<T, KeyError> {
        let gone = || KeyError::Unavailable("no card in the reader".to_owned());
        if !self.connected.load(Ordering::SeqCst) {
            return Err(gone());
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (to, answer) = mpsc::channel();
        self.line.send(question(to)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }
}

impl Signer for Card {
    fn role(&self) -> Role {
        self.role
    }

    fn rollup_key(&self) -> eddsa::PublicKey {
        self.rollup
    }

    fn registration_point(&self) -> Point {
        self.registration
    }

    fn encryption_key(&self) -> EncryptionKey {
        self.encryption.clone()
    }

    fn commitment_salt(&self) -> Option<[u8; 32]> {
        self.salt
    }

    fn ethereum_address(&self) -> Address {
        self.ethereum
    }

    fn sign_operation(&self, domain: Domain, operation: &Operation) -> Result<eddsa::Signature, KeyError> {
        self.ask(|to| Question::Operation(domain, Box::new(*operation), to))
    }

    fn sign_authorship(&self, authorship: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.ask(|to| Question::Authorship(authorship.to_vec(), to))
    }

    fn sign_login(&self, message: &LoginMessage) -> Result<Vec<u8>, KeyError> {
        self.ask(|to| Question::Login(Box::new(message.clone()), to))
    }

    fn sign_possession(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.ask(|to| Question::Possession(message.to_vec(), to))
    }

    fn sign_ethereum(&self, hash: &B256) -> Result<EthereumSignature, KeyError> {
        self.ask(|to| Question::Ethereum(*hash, to))
    }
}

impl Decryptor for Card {
    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError> {
        self.ask(|to| Question::Unwrap(wrapped.clone(), context.to_vec(), to))
    }
}

/// A participant whose data folder holds no keys.
async fn with_card(scene: &Scene, person: emr_testkit::people::Member, card: Card) -> TestResult<Client> {
    let folder = scene.folder.path().join(format!("{}-card", person.name));
    let profile = Profile::create_for_device(&folder)?;
    assert!(!folder.join("identity").exists());
    Ok(Client::join_over(profile, card, scene.node.url().as_str(), &scene.endpoint()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_register_grant_write_and_read() -> TestResult {
    let scene = Scene::new().await?;
    let hospital = scene.client(HOSPITAL).await?;
    let (patients, doctors) = (Card::insert(PATIENT.identity.clone()), Card::insert(STRANGER.identity.clone()));
    let patient = with_card(&scene, PATIENT, patients.clone()).await?;
    let doctor = with_card(&scene, STRANGER, doctors.clone()).await?;
    for client in [&patient, &doctor] {
        client.register(None, Some(&invitation(&hospital)?)).await?;
    }
    drop(hospital);
    scene.admit(&doctor).await?;
    patient.wait_registered(false, std::time::Duration::from_millis(20), std::time::Duration::from_secs(30)).await?;

    // The grant, the first key directory, login, authorship, operation, and the content key that is kept.
    patient.grant(&handed_over(&doctor), &terms(Rights::READ | Rights::WRITE, ClassMask::ALL)).await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Laboratory, &record("by card")).await?;
    let (read, _) = patient.retrieve(&card, written.slot, None).await?;
    assert_eq!(read.unproven().record(), &record("by card"));
    let (before, directory) = (doctors.asked.load(Ordering::SeqCst), patient.node().patient(patient.account()?).await?);
    let cid = directory.directory.ok_or("published")?;
    let keys = doctor.keyring(patient.account()?, doctor.directory(&cid).await?).await?;
    assert!(keys.is_some() && doctors.asked.load(Ordering::SeqCst) > before);

    // A removed card gives another error than a directory without keys, and nothing is lost.
    patients.connected.store(false, Ordering::SeqCst);
    let pulled = patient.revoke(doctor.account()?, ClassMask::ALL).await;
    assert!(matches!(&pulled, Err(error) if error.kind() == ErrorKind::Keys), "{pulled:?}");
    let unread = patient.retrieve(&card, written.slot, None).await;
    assert!(matches!(unread, Err(ClientError::Keys(KeyError::Unavailable(_)))), "{unread:?}");
    patients.connected.store(true, Ordering::SeqCst);
    patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    let fates = patient.resume().await?;
    assert!(fates.iter().all(|resumed| resumed.fate == Fate::Waiting), "{fates:?}");
    let refused = doctor.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    assert!(matches!(&refused, Err(error) if error.code() == "revoked"), "{refused:?}");
    Ok(())
}

/// Another participant's card shows the patient's public keys, but signs with its own key.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_of_a_card_does_not_leave_the_machine() -> TestResult {
    let scene = Scene::new().await?;
    let doctor = scene.registered(STRANGER).await?;
    drop(scene.registered(PATIENT).await?);
    let honest = Card::insert(PATIENT.identity.clone());
    let other = Card::insert(PATIENT.identity.clone().with_rollup_seed(&[9; 32]));
    let swapped = Card { line: other.line, ..honest };
    let patient = with_card(&scene, PATIENT, swapped).await?;
    let refused = patient.grant(&handed_over(&doctor), &terms(Rights::READ, ClassMask::ALL)).await;
    assert!(matches!(refused, Err(ClientError::Keys(KeyError::Refused(_)))), "{refused:?}");
    assert!(patient.profile().outbox().entries().is_empty());
    Ok(())
}
