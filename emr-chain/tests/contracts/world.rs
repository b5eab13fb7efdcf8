//! A chain with a deployed rollup, and the accounts that use it.

use std::marker::PhantomData;

use alloy::{
    contract::CallBuilder,
    eips::BlockId,
    network::Ethereum,
    primitives::{Address, B256, Bytes, U256, aliases::U24},
    providers::{DynProvider, Provider},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use emr_chain::{
    BatchContent, Deployment, L1Receipt, Officers, QueueName, QueueProgress, Registration, Revert, Rollup, RollupError,
    RsaPossession, SettlementLayer, SignedRegistration, SizeDeployment, VerifierCode, Words,
    bindings::IRegistry::{Candidate, Keys},
    deploy,
};
use emr_core::{AccountIndex, KemHash, Opaque, Role, StateRoot, UnixTime};
use emr_testkit::{
    Outcome,
    chain::{Node, account},
};
use num_bigint::BigUint;

use crate::reference::{self, Point, integer, rsa};

alloy::sol!(
    #[sol(rpc)]
    ExpectingVerifier,
    "../contracts/test/artifacts/ExpectingVerifier.json"
);

alloy::sol!(
    #[sol(rpc)]
    Wallet,
    "../contracts/test/artifacts/Wallet.json"
);

alloy::sol!(
    #[sol(rpc)]
    Newborn,
    "../contracts/test/artifacts/Newborn.json"
);

/// Numbers of prefunded test accounts.
pub const SEQUENCER: u8 = 0;
pub const REGISTRAR: u8 = 1;
pub const HOSPITAL: u8 = 2;
pub const DOCTOR: u8 = 3;
/// Accounts from here on have no ether.
pub const PATIENT: u8 = 4;

/// Far in the future.
pub const DEADLINE: u64 = 0xff_ffff_ffff;
pub const MAX_L1: u64 = 8;
pub const MAX_L2: u64 = 24;
/// The sizes of these rollups: L1 and L2 slots.
pub const SIZES: [(u64, u64); 3] = [(MAX_L1, MAX_L2), (2, 3), (MAX_L1, 0)];
pub const GENESIS: u64 = 42;
pub const HOUR: u64 = 3600;

pub struct World {
    pub node: Node,
    /// The rollup, used with the sequencer's key.
    pub rollup: Rollup<DynProvider>,
    /// The verifier of each size.
    pub verifiers: Vec<Address>,
    /// L1 and L2 slots of each size.
    pub slots: Vec<(u64, u64)>,
}

impl World {
    pub async fn new(node: Node) -> Outcome<Self> {
        Self::with_fee(node, 0).await
    }

    pub async fn with_fee(node: Node, fee: u64) -> Outcome<Self> {
        Self::deployed(node, &deployment(fee)?).await
    }

    pub async fn deployed(node: Node, deployment: &Deployment) -> Outcome<Self> {
        let provider = node.endpoint()?.connect(Some(account(SEQUENCER)?))?;
        let deployed = deploy(provider, deployment).await?;
        let slots = deployment.sizes.iter().map(|size| (size.max_l1, size.max_l2)).collect();
        let world = Self { node, rollup: deployed.rollup, verifiers: deployed.verifiers, slots };
        // anvil's clock starts at 0 here, so "an hour ago" would be before the beginning. geth has the real time.
        if !matches!(world.node, Node::Geth(_)) {
            world.wait(3 * HOUR).await?;
        }
        Ok(world)
    }

    pub fn provider(&self) -> &DynProvider {
        self.rollup.provider()
    }

    /// The rollup, used with the key of account `n`.
    pub async fn as_account(&self, n: u8) -> Outcome<Rollup<DynProvider>> {
        let provider = self.node.endpoint()?.connect(Some(account(n)?))?;
        Ok(Rollup::attach(provider, self.rollup.instance().contract, self.rollup.deployed_at()).await?)
    }

    /// The contract's reason for refusing a call from an account. Sends nothing.
    pub async fn refusal<P: Provider, C: SolCall>(
        &self,
        from: u8,
        call: CallBuilder<P, PhantomData<C>, Ethereum>,
    ) -> Outcome<Revert> {
        match call.from(account(from)?.address()).call_raw().await {
            Ok(_) => Err("the contract accepts the call".into()),
            Err(error) => match RollupError::from(error) {
                RollupError::Reverted(revert) => Ok(revert),
                other => Err(other.into()),
            },
        }
    }

    /// A patient's registration signed by account `n`, whose rollup key is `8 k G`.
    pub fn signed_patient(&self, n: u8, k: u64) -> Outcome<SignedRegistration> {
        self.sign(n, patient(k))
    }

    pub fn sign(&self, n: u8, registration: Registration) -> Outcome<SignedRegistration> {
        Ok(registration.sign(self.rollup.instance(), account(n)?.address(), &account(n)?, UnixTime::new(DEADLINE)?)?)
    }

    /// Registers patients who have no ether: accounts `PATIENT..`, keys `8 k G` for k from 1.
    pub async fn register_patients(&self, count: u8) -> Outcome<Vec<Words>> {
        self.register_patients_from(PATIENT, count).await
    }

    pub async fn register_patients_from(&self, first: u8, count: u8) -> Outcome<Vec<Words>> {
        let mut entries = Vec::new();
        for i in 0..count {
            let k = u64::from(i) + 1;
            let (index, _) = self.rollup.register_for(&self.signed_patient(first + i, k)?).await?;
            entries.push(reference::register_entry(index.get(), 1, 0, &rollup_key(k), &patient_commitment(k)));
        }
        Ok(entries)
    }

    /// The RSA key of this size, with its proof for an account, a role, the rollup key `8 k G` and the second key number `k`.
    pub fn possession(&self, bits: usize, owner: Address, role: Role, k: u64) -> RsaPossession {
        self.possession_with(bits, owner, role, k, kem(k))
    }

    /// The same with any second key.
    pub fn possession_with(&self, bits: usize, owner: Address, role: Role, k: u64, kem: KemHash) -> RsaPossession {
        let message = self.rollup.instance().possession_message(owner, rollup_key(k).bytes(), role, kem);
        RsaPossession { modulus: rsa(bits).modulus(), kem, signature: rsa(bits).sign(&message) }
    }

    pub fn hospital(&self, k: u64) -> Outcome<Registration> {
        let key = self.possession(2048, account(HOSPITAL)?.address(), Role::Hospital, k);
        Ok(Registration::hospital(submitted(k).bytes(), key))
    }

    pub fn doctor(&self, k: u64, org: Option<AccountIndex>) -> Outcome<Registration> {
        let key = self.possession(2048, account(DOCTOR)?.address(), Role::Doctor, k);
        Ok(Registration::doctor(submitted(k).bytes(), org, key))
    }

    /// Entries of the ordinary queue.
    pub async fn ordinary(&self, range: std::ops::Range<u64>) -> Outcome<Vec<Words>> {
        let entries = self.rollup.queue_entries(QueueName::Ordinary, range, 0).await?;
        Ok(entries.iter().map(|entry| entry.words).collect())
    }

    /// How far the ordinary queue is.
    pub async fn registrations(&self) -> Outcome<QueueProgress> {
        Ok(self.rollup.head().await?.queues.ordinary)
    }

    /// Registers the hospital and admits it.
    pub async fn admitted_hospital(&self) -> Outcome<AccountIndex> {
        let (hospital, _) = self.as_account(HOSPITAL).await?.register(&self.hospital(77)?).await?;
        self.admit(hospital).await?;
        Ok(hospital)
    }

    /// As the registrar, admits the registration that waits under an account index.
    pub async fn admit(&self, account: AccountIndex) -> Outcome<L1Receipt> {
        let registrar = self.as_account(REGISTRAR).await?;
        let waiting = registrar.pending(account).await?.ok_or("nothing waits")?;
        Ok(registrar.admit(&waiting).await?)
    }

    /// Makes the verifier of the batch's size accept exactly this batch as the next one.
    pub async fn expect(&self, batch: &BatchContent) -> Outcome {
        self.expect_at(batch.size, batch).await
    }

    /// Makes the verifier of any size accept exactly this batch as the next one.
    pub async fn expect_at(&self, size: u8, batch: &BatchContent) -> Outcome {
        let number = self.rollup.head().await?.batch_count + 1;
        self.expect_numbered(size, number, batch).await
    }

    /// Makes the verifier of a size accept exactly this batch under this number.
    pub async fn expect_numbered(&self, size: u8, number: u64, batch: &BatchContent) -> Outcome {
        let slots = self.slots[usize::from(batch.size)];
        let hash = reference::verifier_calldata_hash((self.rollup.domain(), slots), number, batch);
        let verifier = ExpectingVerifier::new(self.verifiers[usize::from(size)], self.provider());
        verifier.expect(hash.into()).send().await?.get_receipt().await?;
        Ok(())
    }

    /// A batch on top of the current state, at the newest block's time.
    pub async fn batch(&self, d1: Vec<Words>, d2: Vec<Words>) -> Outcome<BatchContent> {
        let head = self.rollup.head().await?;
        Ok(BatchContent {
            size: 0,
            pre: head.state_root,
            post: StateRoot::from_bytes(integer(1_000 + head.batch_count))?,
            time: UnixTime::new(self.now().await?)?,
            commitment: integer(7),
            urgent: d1.iter().take_while(|words| !is_registration(words)).count() as u16,
            d1,
            d2,
            proof: b"the proof".to_vec(),
        })
    }

    /// Time of the newest block.
    pub async fn now(&self) -> Outcome<u64> {
        let block = self.provider().get_block(BlockId::latest()).await?.ok_or("no newest block")?;
        Ok(block.header.timestamp)
    }

    /// Lets time pass and makes a block.
    pub async fn wait(&self, seconds: u64) -> Outcome {
        let _: serde_json::Value = self.provider().raw_request("evm_increaseTime".into(), (seconds,)).await?;
        let _: serde_json::Value = self.provider().raw_request("evm_mine".into(), ()).await?;
        Ok(())
    }

    pub async fn wallet(&self, key: Address) -> Outcome<Wallet::WalletInstance<&DynProvider>> {
        Ok(Wallet::deploy(self.provider(), key).await?)
    }
}

/// The contract's reason for refusing a batch of this settler; `None` if it is settled. The verifier would accept the
/// batch.
pub async fn refusal(world: &World, settler: &Rollup<DynProvider>, batch: &BatchContent) -> Outcome<Option<Revert>> {
    world.expect_at(batch.size, batch).await?;
    match settler.settle(batch).await {
        Ok(_) => Ok(None),
        Err(error) => Ok(Some(error.revert().cloned().ok_or(error)?)),
    }
}

/// A second rollup on the same chain, with the same parameters.
pub async fn another(world: &World) -> Outcome<Rollup<DynProvider>> {
    let other = Deployment { salt: B256::repeat_byte(1), ..deployment(0)? };
    Ok(deploy(world.provider().clone(), &other).await?.rollup)
}

/// Sizes whose verifiers are stand-ins. The keys, which these do not read, make them different contracts.
pub fn sizes(slots: &[(u64, u64)]) -> Vec<SizeDeployment> {
    let size = |((max_l1, max_l2), code): (&(u64, u64), VerifierCode)| SizeDeployment {
        verifier_code: VerifierCode { verifier: ExpectingVerifier::BYTECODE.clone(), ..code },
        max_l1: *max_l1,
        max_l2: *max_l2,
    };
    slots.iter().zip(VerifierCode::development().into_iter().cycle()).map(size).collect()
}

pub fn deployment(fee: u64) -> Outcome<Deployment> {
    Ok(Deployment {
        factory: None,
        salt: B256::ZERO,
        begun_at: 0,
        sizes: sizes(&SIZES),
        circuit_version: 1,
        genesis: StateRoot::from_bytes(integer(GENESIS))?,
        sequencer: account(SEQUENCER)?.address(),
        officers: Officers::registrar(account(REGISTRAR)?.address()),
        registration_fee: U256::from(fee),
    })
}

/// The point that is submitted for key number `k`: `k G`, of order 8l for odd k.
pub fn submitted(k: u64) -> Point {
    Point::generator().times(&k.into())
}

/// The rollup key that the contract must derive from it.
pub fn rollup_key(k: u64) -> Point {
    submitted(k).times(&8_u8.into())
}

/// The hash of second key number `k`. The contracts see only hashes, so there is no key.
pub fn kem(k: u64) -> KemHash {
    KemHash::of(&k.to_be_bytes())
}

pub fn patient(k: u64) -> Registration {
    Registration::patient(submitted(k).bytes(), Opaque::of(&k.to_be_bytes()))
}

pub fn patient_commitment(k: u64) -> BigUint {
    BigUint::from_bytes_be(&Opaque::of(&k.to_be_bytes()).to_be_bytes32())
}

/// Whether an entry is a registration: its kind, the top 8 of 91 bits, is 16.
fn is_registration(words: &Words) -> bool {
    let packed = U256::from_be_bytes(words[0]);
    packed >> 83_usize == U256::from(16)
}

/// D2 entries of some operations: arbitrary canonical words.
pub fn operations(count: u64) -> Vec<Words> {
    (0..count).map(|i| [2, 3, 4, 5].map(|j| reference::word(&(reference::modulus() - (16 * i + j))))).collect()
}

/// A candidate for admission who is nobody.
pub fn nobody() -> Candidate {
    let keys = Keys { ax: U256::ZERO, ay: U256::ZERO, encryptionCommitment: U256::ZERO };
    Candidate { owner: Address::ZERO, role: 2, org: U24::ZERO, keys }
}

/// An address that nobody holds a key of.
pub fn stranger() -> Outcome<PrivateKeySigner> {
    Ok(PrivateKeySigner::from_bytes(&B256::repeat_byte(0x77))?)
}

pub fn bytes(data: &[u8]) -> Bytes {
    Bytes::copy_from_slice(data)
}
