//! A small world without a node: identities, a ledger, blocks, and the views that an honest node would give of them.

use std::{collections::HashMap, sync::LazyLock};

use alloy::primitives::Address;
use emr_api::encryption::CommittedKey;
use emr_api::{
    AccountView, AuditPage, GrantView, IdentityProof, MedicalProof, PatientView, RecordProof, RecordSummary,
    RecordView, StoredAt, SubtreeView,
};
use emr_chain::RollupInstance;
use emr_client::{
    verify::card::Card, verify::light::Expectation, verify::record::RecordId, verify::settled_state::SettledState,
};
use emr_core::{
    AccountEpoch, AccountIndex, AuthoredStatement, Cid, Class, ClassMask, Commitment, GrantSlot, Key, Opaque, Purpose,
    Reason, Record, RecordSlot, RecordStatus, Revision, Rights, SaltSeed, UnixTime, Uses, Value, Version,
};
use emr_crypto::{AuthoredRecord, Identity, OpenedRecord, Past, PatientDirectory, SealedRecord, SigningContext};
use emr_rollup::{
    l1_operation::Registration,
    operation::{
        Action, DirectoryCommitment, Domain, Operation, PutRecord, RequestAccess, Revoke, SetGrant, SignedOperation,
        Tombstone,
    },
    primitive::{
        eddsa::SigningKey,
        field::{self, Fr},
    },
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        ledger::Ledger,
    },
    statement::IdentityFields,
    version::CircuitVersion,
};
use emr_testkit::people::people;

pub(crate) type TestResult = Result<(), Box<dyn std::error::Error>>;

pub(crate) const HOSPITAL: usize = 0;
pub(crate) const DOCTOR: usize = 1;
pub(crate) const PATIENT: usize = 2;
pub(crate) const OTHER: usize = 3;

pub(crate) fn account(who: usize) -> AccountIndex {
    AccountIndex::new(who as u64 + 1).expect("an account")
}

pub(crate) fn slot(number: u64) -> RecordSlot {
    RecordSlot::new(number).expect("a slot")
}

pub(crate) fn grant_slot(number: u64) -> GrantSlot {
    GrantSlot::new(number).expect("a slot")
}

pub(crate) fn time(seconds: u64) -> UnixTime {
    UnixTime::new(seconds).expect("a time")
}

/// The batch time of everything that happens.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn instance() -> RollupInstance {
    RollupInstance { chain_id: 31337, contract: Address::repeat_byte(0x42) }
}

pub(crate) fn domain() -> Domain {
    Domain::new(31337, [0x42; 20])
}

/// A record with one field.
pub(crate) fn record(text: &str) -> Record {
    let mut record = Record::new();
    let key: Key = "Observation.note.0.text".parse().expect("a key");
    record.insert(key, Value::Text(text.to_owned())).expect("room");
    record
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) identities: [Identity; 4],
    pub(crate) ledger: Ledger,
    pub(crate) batches: u64,
    pub(crate) directory: PatientDirectory,
    pub(crate) directory_cid: Option<Cid>,
    pub(crate) blocks: HashMap<Cid, Vec<u8>>,
    pub(crate) stored: HashMap<RecordSlot, StoredAt>,
    salts: u64,
}

/// An authored and sealed version of a record, and its leaf.
#[derive(Clone, Debug)]
pub(crate) struct Version1 {
    pub(crate) authored: AuthoredRecord,
    pub(crate) sealed: SealedRecord,
    pub(crate) leaf: RecordLeaf,
}

impl World {
    /// Four accounts in the state, nothing else.
    pub(crate) fn new() -> Self {
        let cast = people();
        let identities =
            [&cast.hospital, &cast.doctor, &cast.patient, &cast.stranger].map(|person| person.identity.clone());
        let mut ledger = Ledger::genesis(domain(), CircuitVersion::V1);
        for (who, identity) in identities.iter().enumerate() {
            let registration = Self::registration_of(who, identity);
            ledger.consume(&registration.into()).expect("an honest registration");
        }
        let directory = PatientDirectory::create(identities[PATIENT].rsa());
        Self {
            identities,
            ledger,
            batches: 1,
            directory,
            directory_cid: None,
            blocks: HashMap::new(),
            stored: HashMap::new(),
            salts: 0,
        }
    }

    fn registration_of(who: usize, identity: &Identity) -> Registration {
        Registration {
            account: account(who),
            role: identity.role(),
            org: (who == DOCTOR).then(|| account(HOSPITAL)),
            key: SigningKey::from_seed(identity.rollup_seed()).public(),
            encryption: CommittedKey::of(identity).element(),
        }
    }

    pub(crate) fn registration(&self, who: usize) -> Registration {
        Self::registration_of(who, &self.identities[who])
    }

    /// What happens to a patient in a life: grants, records by doctor and patient, a version, a deletion, a request, a
    /// revocation.
    pub(crate) fn lived() -> Self {
        let mut world = Self::new();
        world.grant(64, DOCTOR, Rights::READ | Rights::WRITE, ClassMask::ALL);
        world.grant(65, OTHER, Rights::READ, Class::Laboratory.into());
        world.put(DOCTOR, 0, Class::Laboratory, "potassium 4.1 mmol/l");
        world.put(PATIENT, 1, Class::Document, "my allergies");
        world.put(DOCTOR, 2, Class::Imaging, "chest");
        world.put(DOCTOR, 0, Class::Laboratory, "potassium 4.2 mmol/l");
        world.tombstone(DOCTOR, 2);
        world.request(OTHER, 65, Class::Laboratory);
        world.revoke(65, OTHER, Class::Laboratory.into());
        world
    }

    pub(crate) fn signing(&self, who: usize) -> SigningKey {
        SigningKey::from_seed(self.identities[who].rollup_seed())
    }

    pub(crate) fn salt(&mut self) -> Fr {
        self.salts += 1;
        Fr::from(self.salts)
    }

    pub(crate) fn sign(&mut self, who: usize, authority: Option<u64>, action: Action) -> SignedOperation {
        let operation = Operation {
            signer: account(who),
            signer_epoch: AccountEpoch::FIRST,
            patient: account(PATIENT),
            patient_epoch: AccountEpoch::FIRST,
            valid_until: time(NOW + 1000),
            salt: self.salt(),
            action,
        };
        operation.sign(domain(), &self.signing(who), authority.map(grant_slot))
    }

    /// Executes an operation in a batch of its own.
    pub(crate) fn execute(&mut self, signed: &SignedOperation) {
        self.ledger.execute(signed, time(NOW)).expect("an honest operation");
        self.batches += 1;
    }

    pub(crate) fn directory_commitment(&self) -> DirectoryCommitment {
        self.ledger.medical(account(PATIENT)).expect("the patient").key_directory
    }

    fn publish(&mut self) -> DirectoryCommitment {
        let published = self.directory.published();
        let cid = published.cid();
        self.blocks.insert(cid, published.to_bytes().to_vec());
        self.directory_cid = Some(cid);
        DirectoryCommitment::of(&cid)
    }

    /// Signs a grant, with the directory that goes with it; does not execute it.
    pub(crate) fn sign_grant(&mut self, number: u64, to: usize, rights: Rights, scope: ClassMask) -> SignedOperation {
        if rights.contains(Rights::READ) {
            let key = self.identities[to].rsa().public();
            self.directory.grant(account(to), key, scope, Past::Included).expect("room");
        }
        let old = self.ledger.patient(account(PATIENT)).and_then(|leaves| leaves.grants.get(&grant_slot(number)));
        let expected = old.map_or(Version::ZERO, |leaf| leaf.version);
        let leaf = GrantLeaf {
            grantee: Some(account(to)),
            rights,
            scope,
            not_after: time(NOW + 10_000),
            uses: Uses::ZERO,
            version: expected.next().expect("room"),
            salt: self.salt(),
        };
        let directory_before = self.directory_commitment();
        let directory_after = self.publish();
        let slot = grant_slot(number);
        self.sign(PATIENT, None, Action::SetGrant(SetGrant { slot, expected, leaf, directory_before, directory_after }))
    }

    pub(crate) fn grant(&mut self, number: u64, to: usize, rights: Rights, scope: ClassMask) {
        let signed = self.sign_grant(number, to, rights, scope);
        self.execute(&signed);
    }

    pub(crate) fn sign_revoke(&mut self, number: u64, from: usize, scope: ClassMask) -> SignedOperation {
        self.directory.revoke(account(from), scope).expect("a reader");
        let directory_before = self.directory_commitment();
        let directory_after = self.publish();
        let leaf_salt = self.salt();
        let expected = Version::new(5).expect("a version");
        let slot = grant_slot(number);
        self.sign(
            PATIENT,
            None,
            Action::Revoke(Revoke { slot, expected, leaf_salt, directory_before, directory_after }),
        )
    }

    pub(crate) fn revoke(&mut self, number: u64, from: usize, scope: ClassMask) {
        let signed = self.sign_revoke(number, from, scope);
        self.execute(&signed);
    }

    pub(crate) fn request(&mut self, who: usize, number: u64, class: Class) {
        let purpose = Purpose { reason: Reason::Treatment, class };
        let leaves = self.ledger.patient(account(PATIENT)).expect("a patient");
        let expected = leaves.grants[&grant_slot(number)].uses;
        let action = Action::RequestAccess(RequestAccess { slot: grant_slot(number), expected, purpose });
        let signed = self.sign(who, None, action);
        self.execute(&signed);
    }

    fn old(&self, slot: RecordSlot) -> Option<RecordLeaf> {
        self.ledger.patient(account(PATIENT)).and_then(|leaves| leaves.records.get(&slot)).copied()
    }

    pub(crate) fn id(&self, number: u64) -> RecordId {
        RecordId { domain: domain(), patient: account(PATIENT), slot: slot(number) }
    }

    /// Makes the next version of a record; `change` may make it a dishonest one before it is signed.
    pub(crate) fn author(
        &self,
        who: usize,
        number: u64,
        class: Class,
        text: &str,
        change: impl FnOnce(&mut AuthoredStatement),
    ) -> Version1 {
        let old = self.old(slot(number));
        let version = old.map_or(Version::ZERO, |old| old.version).next().expect("room");
        let context = self.id(number).context_of(version, class);
        let record = record(text);
        let seed = SaltSeed::new([7; 32]);
        let mut statement = AuthoredStatement {
            domain: context.domain,
            patient: account(PATIENT),
            slot: slot(number),
            version,
            class,
            commitment: Commitment::of(&record, &seed).root(),
            previous: old.map(|old| Opaque::from_be_bytes32(field::to_bytes(&old.authored)).expect("an opaque value")),
        };
        change(&mut statement);
        let key = CommittedKey::of(&self.identities[who]);
        let authored = AuthoredRecord {
            record: record.to_dag_cbor().expect("small"),
            signature: self.identities[who].rsa().sign_pss(SigningContext::STATEMENT, &statement.to_dag_cbor()),
            statement: statement.to_dag_cbor(),
            author: account(who),
            author_key: key.key,
            author_salt: key.salt,
            commitment_seed: *seed.as_bytes(),
            attachments: Vec::new(),
        };
        let to = self.directory.published().current_public(class);
        let sealed = SealedRecord::seal(&authored, &context, &to).expect("sealed");
        let stored = Opaque::stored(&sealed.manifest, &sealed.storage_salt);
        let leaf = RecordLeaf {
            status: RecordStatus::Live,
            class,
            author: account(who),
            custodian: Some(old.map_or(Some(account(HOSPITAL)), |old| old.custodian).expect("kept")),
            version,
            revision: old.map_or(Revision::ZERO, |old| old.revision).next().expect("room"),
            authored: field::from_opaque(statement.authored().as_bytes()),
            stored: field::from_opaque(stored.as_bytes()),
        };
        Version1 { authored, sealed, leaf }
    }

    pub(crate) fn store(&mut self, number: u64, version: &Version1) {
        self.blocks.extend(version.sealed.blocks.iter().cloned());
        let at =
            StoredAt { manifest: version.sealed.manifest.to_string(), salt: hex::encode(version.sealed.storage_salt) };
        self.stored.insert(slot(number), at);
    }

    /// Writes a version to the state.
    pub(crate) fn write(&mut self, who: usize, number: u64, version: &Version1) {
        self.store(number, version);
        let expected = self.old(slot(number)).map_or(Revision::ZERO, |old| old.revision);
        let action = Action::PutRecord(PutRecord { slot: slot(number), expected, leaf: version.leaf });
        let signed = self.sign(who, (who != PATIENT).then_some(64), action);
        self.execute(&signed);
    }

    pub(crate) fn put(&mut self, who: usize, number: u64, class: Class, text: &str) {
        let version = self.author(who, number, class, text, |_| {});
        self.write(who, number, &version);
    }

    pub(crate) fn tombstone(&mut self, who: usize, number: u64) {
        let old = self.old(slot(number)).expect("a record");
        let leaf = RecordLeaf { status: RecordStatus::Tombstone, revision: old.revision.next().expect("room"), ..old };
        let action = Action::Tombstone(Tombstone { slot: slot(number), expected: old.revision, leaf });
        let signed = self.sign(who, Some(64), action);
        self.execute(&signed);
    }

    /// What L1 holds.
    pub(crate) fn state(&self) -> SettledState {
        SettledState::established(self.ledger.trees().root(), self.batches, time(NOW))
    }

    pub(crate) fn account_view(&self, who: usize) -> AccountView {
        let (account, trees) = (account(who), self.ledger.trees());
        let leaf = self.ledger.identity(account).expect("registered");
        AccountView {
            account,
            role: leaf.role,
            status: leaf.status,
            org: leaf.org,
            epoch: leaf.epoch,
            identity: IdentityFields::from(leaf),
            settled: true,
            proof: Some(IdentityProof {
                batch: self.batches,
                path: trees.identity_path(account),
                identity_root: trees.identity_root(),
                medical_root: trees.medical_root(),
            }),
        }
    }

    pub(crate) fn card(&self, who: usize) -> Card {
        let ethereum = Address::repeat_byte(who as u8);
        Card { ethereum, ..Card::of(&self.identities[who], &instance(), Some(account(who))) }
    }

    pub(crate) fn record_view(&self, number: u64) -> RecordView {
        let (patient, trees) = (account(PATIENT), self.ledger.trees());
        let leaf = self.old(slot(number)).expect("a record");
        let author = self.ledger.identity(leaf.author).expect("registered");
        RecordView {
            slot: slot(number),
            leaf,
            stored: self.stored[&slot(number)].clone(),
            directory: self.directory_cid.expect("published").to_string(),
            author: IdentityFields::from(author),
            proof: Some(RecordProof {
                batch: self.batches,
                record_path: trees.subtree(patient).expect("a patient").records.path(number as u32),
                medical: self.ledger.medical(patient).expect("a patient"),
                medical_path: trees.medical_path(patient),
                author_path: trees.identity_path(leaf.author),
                identity_root: trees.identity_root(),
                medical_root: trees.medical_root(),
            }),
        }
    }

    /// Opens a record as the patient.
    pub(crate) fn open(&self, view: &RecordView) -> OpenedRecord {
        let id = RecordId { slot: view.slot, ..self.id(0) };
        let manifest = Cid::try_from(view.stored.manifest.as_str()).expect("a CID");
        let fetch = |cid: &Cid| self.blocks.get(cid).cloned().ok_or(std::io::Error::other("no such block"));
        OpenedRecord::open(&manifest, fetch, &self.directory.keyring(), &id.context(&view.leaf)).expect("opens")
    }

    pub(crate) fn patient_view(&self) -> PatientView {
        let (patient, trees) = (account(PATIENT), self.ledger.trees());
        let leaves = self.ledger.patient(patient).expect("a patient");
        PatientView {
            patient,
            epoch: AccountEpoch::FIRST,
            directory: self.directory_cid.map(|cid| cid.to_string()),
            directory_commitment: self.directory_commitment(),
            grants: leaves.grants.iter().map(|(slot, grant)| GrantView { slot: *slot, grant: *grant }).collect(),
            next_record_slot: slot(leaves.records.len() as u64),
            proof: MedicalProof {
                batch: self.batches,
                leaf: self.ledger.medical(patient),
                path: trees.medical_path(patient),
                identity_root: trees.identity_root(),
                medical_root: trees.medical_root(),
            },
            directory_operations: Vec::new(),
        }
    }

    pub(crate) fn expectation(&self) -> Expectation {
        Expectation {
            domain: domain(),
            account: account(PATIENT),
            key: self.signing(PATIENT).public(),
            encryption: CommittedKey::of(&self.identities[PATIENT]).element(),
        }
    }

    pub(crate) fn subtree_view(&self) -> SubtreeView {
        let (patient, trees) = (account(PATIENT), self.ledger.trees());
        let leaves = self.ledger.patient(patient).expect("a patient");
        let record = |(slot, leaf): (&RecordSlot, &RecordLeaf)| RecordSummary {
            slot: *slot,
            leaf: *leaf,
            stored: self.stored[slot].clone(),
            settled: true,
        };
        SubtreeView {
            patient,
            batch: self.batches,
            identity: IdentityFields::from(self.ledger.identity(patient).expect("registered")),
            identity_path: trees.identity_path(patient),
            medical: self.ledger.medical(patient).expect("a patient"),
            medical_path: trees.medical_path(patient),
            identity_root: trees.identity_root(),
            medical_root: trees.medical_root(),
            grants: leaves.grants.iter().map(|(slot, grant)| GrantView { slot: *slot, grant: *grant }).collect(),
            records: leaves.records.iter().map(record).collect(),
            audit_length: leaves.audit.entries().len() as u64,
            directory: self.directory_cid.map(|cid| cid.to_string()),
            pending: Vec::new(),
        }
    }

    /// A page of the audit chain, as an honest node with pages of this size sends it.
    pub(crate) fn audit_page(&self, end: u64, limit: usize) -> AuditPage {
        let leaves = self.ledger.patient(account(PATIENT)).expect("a patient");
        let part = leaves.audit.part(end as usize, limit).expect("not more entries than there are");
        AuditPage { first: part.first as u64, before: part.before, entries: part.entries.to_vec() }
    }
}

/// The patient after [`World::lived`]; made once.
pub(crate) static LIVED: LazyLock<World> = LazyLock::new(World::lived);
