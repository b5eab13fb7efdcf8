//! The steps of the demo.

use std::{collections::HashMap, path::PathBuf, time::Instant};

use emr_client::{
    ClientError,
    client::Client,
    flow::grant::{History, Terms},
    flow::next_version::EditClass,
    flow::retrieve::{ReadError, Retrieved},
    verify::card::Card,
};
use emr_core::{AccountIndex, Cid, Class, ClassMask, Key, PlainHttp, Reason, Record, Rights, Role, UnixTime, Value};
use emr_crypto::{KeyDirectory, Manifest, OpenedRecord, RecordContext};
use url::Url;

use super::{
    actors::Actor,
    cast::Cast,
    document,
    next_batch::next_batch,
    outcome::{Outcome, Teller},
    read_bounded,
};
use crate::{
    failure::{Exit, Failure, OrExit, one_line},
    hospital::{
        self,
        site::{Site, SitePlan},
    },
    options::RecordName,
    patient,
};

/// The class of the Bundle's record. Doctor B may read it.
const CLASS: Class = Class::Summary;
/// How long doctor B's grant is valid: 30 days.
const GRANT_SECONDS: u64 = 30 * 86_400;

/// The setting of the demo.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) passphrase_file: PathBuf,
    pub(super) rpc: Option<Url>,
    pub(super) plain: PlainHttp,
    pub(super) ipfs: Option<Url>,
    pub(super) json: bool,
}

impl Stage {
    /// Runs all steps.
    pub(super) async fn play(&self, bundle: &Record) -> Result<Outcome, Failure> {
        let mut tell = Teller::new(self.json);
        let mut submits = Vec::new();

        tell.step("Identities, contracts, registration");
        let hospital = Actor::new(&self.folder, "hospital", Role::Hospital);
        let actors = [
            &hospital,
            &Actor::new(&self.folder, "doctor-a", Role::Doctor),
            &Actor::new(&self.folder, "doctor-b", Role::Doctor),
            &Actor::new(&self.folder, "patient", Role::Patient),
        ];
        for actor in actors {
            let made = actor.create(&self.passphrase_file)?;
            let what =
                if made { "RSA-3072 + rollup key + Ethereum key, encrypted" } else { "kept from an earlier run" };
            tell.say(format!("{:<9} {what}: {}", actor.name, actor.folder.display()));
        }
        let site = self.site(&hospital).await?;
        let deployment = &site.deployment;
        tell.say(format!(
            "contract {} on chain {}, with {} verifiers, deployed with {} gas",
            deployment.contract,
            deployment.chain_id,
            deployment.record.sizes.len(),
            deployment.gas_used
        ));
        tell.say("DEVELOPMENT SETUP: the proving key comes from a public seed; anyone who knows it can forge proofs");
        let cast = Cast::enroll(actors, &self.passphrase_file, &site, &tell).await?;
        let terms = |rights, classes: ClassMask, seconds| Terms {
            rights,
            classes,
            until: UnixTime::now().saturating_add(seconds),
            history: History::Included,
        };
        let year = 365 * 86_400;
        let hospital_card = cast.hospital.card();
        submits.push(grant(&cast.patient, &hospital_card, &terms(Rights::WRITE, ClassMask::ALL, year), &tell).await?);
        let doctor_a_card = cast.doctor_a.card();
        let both = Rights::READ | Rights::WRITE;
        submits.push(grant(&cast.patient, &doctor_a_card, &terms(both, ClassMask::ALL, year), &tell).await?);

        tell.step("Doctor A writes");
        let draft = without_one_text(bundle)?;
        let card = cast.patient_card.clone();
        let written = timed(&mut submits, cast.doctor_a.upload(&card, CLASS, &draft)).await;
        let written = written?;
        let name = RecordName { patient: written.patient, slot: written.slot };
        tell.say(format!("record {name} version {} ({CLASS}): {}", written.version, written.record_cid));
        let edited = timed(&mut submits, cast.doctor_a.edit(&card, name.slot, EditClass::Proved, bundle)).await;
        let edited = edited?;
        let record_cid = edited.record_cid.to_string();
        tell.say(format!("record {name} version {}: the Bundle unchanged, {record_cid}", edited.version));
        let mistake = timed(&mut submits, cast.doctor_a.upload(&card, Class::Document, &scribble(&draft)?)).await;
        let mistake = mistake?;
        timed(&mut submits, cast.doctor_a.delete(&card, mistake.slot)).await?;
        tell.say(format!("record {}/{} written by mistake and deleted: a tombstone stays", name.patient, mistake.slot));

        tell.step("The patient grants, doctor B requests");
        let doctor_b_card = cast.doctor_b.card();
        let read = terms(Rights::READ, CLASS.into(), GRANT_SECONDS);
        submits.push(grant(&cast.patient, &doctor_b_card, &read, &tell).await?);
        let requested = timed(&mut submits, cast.doctor_b.request(&card, CLASS, Reason::Treatment)).await;
        let requested = requested?;
        tell.say(format!("doctor B requested access to {CLASS} for treatment, under grant {}", requested.slot));

        tell.step("A batch is sealed, proved and settled");
        let first = next_batch(&cast.hospital, &site.node).await?;
        first.lines().iter().for_each(|line| tell.say(line));

        tell.step("Doctor B retrieves and checks everything");
        let (retrieved, _) = cast.doctor_b.retrieve(&card, name.slot, None).await?;
        let retrieved_equal = matches!(&retrieved, Retrieved::Verified(record) if document(record.authentic().record())? == document(bundle)?);
        tell.say("blocks re-hashed; author's signature; record leaf; path to the state root; root by eth_getProof");
        tell.say(format!("the plaintext is the original Bundle, byte for byte: {}", yes(retrieved_equal)));
        let old_directory = fetch_directory(&cast.doctor_b, name.patient).await?;

        tell.step("The patient revokes; the next version is out of reach");
        let revoked = timed(&mut submits, cast.patient.revoke(cast.accounts.doctor_b, ClassMask::ALL)).await;
        let revoked = revoked.map_err(|error| Failure::new(Exit::Refused, one_line(&error)))?;
        tell.say(format!(
            "account {} revoked; {} class(es) have new keys",
            revoked.grantee,
            revoked.new_epochs.classes().count()
        ));
        let next = timed(&mut submits, cast.doctor_a.edit(&card, name.slot, EditClass::Stated(CLASS), &draft)).await;
        let next = next?;
        tell.say(format!("doctor A wrote version {}: {}", next.version, next.record_cid));
        let second = next_batch(&cast.hospital, &site.node).await?;
        second.lines().iter().for_each(|line| tell.say(line));
        let refusal = cast.doctor_b.retrieve(&card, name.slot, Some(Reason::Treatment)).await;
        let (revoked_refused, revoked_message) = match refusal {
            Err(error @ ClientError::Read(ReadError::Revoked { .. })) => (true, one_line(&error)),
            Err(error) => (false, one_line(&error)),
            Ok(_) => (false, "doctor B still reads".to_owned()),
        };
        tell.say(format!("doctor B: {revoked_message}"));
        let context = RecordContext {
            domain: cast.doctor_b.instance().domain(),
            patient: name.patient,
            slot: name.slot,
            version: next.version,
            class: CLASS,
        };
        let old_keys_fail = self.old_keys_fail(&cast.doctor_b, &old_directory, &next.record_cid, &context).await?;
        tell.say(format!("with the raw blocks and every key they ever had, decryption fails: {}", yes(old_keys_fail)));
        let fresh_process_equal = self.fresh_process(cast.doctor_a, &card, name, &draft).await?;
        tell.say(format!("a fresh process as doctor A reads it: {}", yes(fresh_process_equal)));

        tell.step("The patient's light check");
        let (verified, _) = patient::check(&cast.patient, 0).await?;
        let leaves = verified.leaves();
        let access = leaves.access(UnixTime::now()).count();
        tell.say(format!("grants root, recomputed from all {} slots: {access} grants hold", leaves.grants().len()));
        for view in leaves.access(UnixTime::now()) {
            let who = view.grant.grantee.map_or_else(String::new, |account| account.to_string());
            tell.say(format!("  slot {}: account {who} may {}", view.slot, view.grant.rights));
        }
        let audit_entries = verified.audit_length();
        let may: Vec<_> = leaves.access(UnixTime::now()).filter_map(|view| view.grant.grantee).collect();
        let light_verified = second.is_at(leaves.state()) && may == [cast.accounts.hospital, cast.accounts.doctor_a];
        tell.say(format!("audit chain, recomputed: {audit_entries} entries"));

        let slowest = submits.iter().copied().fold(0.0, f64::max);
        tell.step("Done");
        tell.say(format!("slowest acknowledged submission, sealing and upload included: {slowest:.0} ms"));
        let outcome = Outcome {
            chain_id: deployment.chain_id,
            contract: deployment.contract.to_string(),
            deploy_gas: deployment.gas_used,
            accounts: cast.accounts,
            register_gas: cast.register_gas,
            record: name.to_string(),
            record_cid,
            submit_milliseconds: submits,
            batches: vec![first, second],
            retrieved_equal,
            revoked_refused,
            revoked_message,
            old_keys_fail,
            fresh_process_equal,
            light_verified,
            access,
            audit_entries,
            seconds: tell.seconds(),
        };
        site.shutdown().await;
        let held = [retrieved_equal, revoked_refused, old_keys_fail, fresh_process_equal, light_verified];
        if held.contains(&false) {
            return Err(Failure::new(Exit::Unverified, "the demo did not show what it should; see above"));
        }
        Ok(outcome)
    }

    fn plan(&self, hospital: &Actor) -> SitePlan {
        let any = ([127, 0, 0, 1], 0).into();
        SitePlan {
            folder: hospital.folder.clone(),
            rpc: self.rpc.clone(),
            ipfs: self.ipfs.clone(),
            listen: any,
            rpc_listen: any,
            plain: self.plain,
            seal: emr_node::SealPolicy::Manual,
            limits: emr_node::Limits::default(),
            origins: Vec::new(),
            prove: true,
            memory: emr_rollup::prover::Prover::MEMORY,
            max_fee: None,
            deploy: true,
            chain_id: None,
            finality: None,
        }
    }

    async fn site(&self, hospital: &Actor) -> Result<Site, Failure> {
        let key = hospital::ethereum_key(&hospital.open(&self.passphrase_file)?.1)?;
        self.plan(hospital).start(&key).await
    }

    /// Whether a reader can open the raw blocks neither with their old keys nor with keys from the newest directory.
    async fn old_keys_fail(
        &self,
        reader: &Client,
        old_directory: &KeyDirectory,
        manifest: &Cid,
        context: &RecordContext,
    ) -> Result<bool, Failure> {
        let store = self.plan(&Actor::new(&self.folder, "hospital", Role::Hospital)).blockstore().await?;
        let mut blocks = HashMap::new();
        let bytes = store.get(manifest).await.or_exit(Exit::Unavailable)?;
        let links = Manifest::from_bytes(&bytes).or_exit(Exit::Unverified)?.links().to_vec();
        blocks.insert(*manifest, bytes);
        for link in links {
            blocks.insert(link, store.get(&link).await.or_exit(Exit::Unavailable)?);
        }
        let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(emr_client::flow::retrieve::Missing);
        let keys = reader.keyring(context.patient, old_directory.clone()).await?;
        let keys = keys.ok_or_else(|| Failure::new(Exit::Unverified, "the old key directory does not open"))?;
        Ok(OpenedRecord::open(manifest, fetch, &keys, context).is_err())
    }

    /// Reads the record as doctor A in another process of this program.
    async fn fresh_process(
        &self,
        doctor: Client,
        patient_card: &Card,
        name: RecordName,
        expected: &Record,
    ) -> Result<bool, Failure> {
        let folder = doctor.profile().folder().to_owned();
        let patient = self.folder.join("patient-card.json");
        std::fs::write(&patient, patient_card.to_json()).or_exit(Exit::Storage)?;
        // Forgets operations that were settled meanwhile, so that the other process does not report them. Then frees
        // the folder for it.
        doctor.resume().await?;
        drop(doctor);
        let output = folder.join("retrieved.json");
        let program = std::env::current_exe().or_exit(Exit::Internal)?;
        let status = tokio::process::Command::new(program)
            .args(["as-doctor", "--", "get"])
            .arg(name.to_string())
            .arg("--patient")
            .arg(&patient)
            .arg("--output")
            .arg(&output)
            .arg("--data-dir")
            .arg(&folder)
            .arg("--passphrase-file")
            .arg(&self.passphrase_file)
            .args((self.plain == PlainHttp::Everywhere).then_some("--insecure"))
            .stdout(std::process::Stdio::null())
            .status()
            .await
            .or_exit(Exit::Internal)?;
        Ok(status.success() && read_bounded(&output, 1 << 28)? == document(expected)?)
    }
}

async fn grant(patient: &Client, to: &Card, terms: &Terms, tell: &Teller) -> Result<f64, Failure> {
    let started = Instant::now();
    let granted = patient.grant(to, terms).await.map_err(|error| Failure::new(Exit::Refused, one_line(&error)))?;
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    let (slot, rights) = (granted.slot, granted.grant.rights);
    let to = to.registered().or_exit(Exit::Input)?;
    tell.say(format!("the patient grants account {to}: {rights}, slot {slot} ({milliseconds:.0} ms)"));
    Ok(milliseconds)
}

/// Records how long a call took, in milliseconds.
async fn timed<T>(times: &mut Vec<f64>, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = work.await;
    times.push(started.elapsed().as_secs_f64() * 1e3);
    done
}

/// An earlier draft of the Bundle: without its first plain text.
fn without_one_text(bundle: &Record) -> Result<Record, Failure> {
    let mut draft = bundle.clone();
    let text = bundle.fields().iter().rev().find(|(_, value)| matches!(value, Value::Text(_)));
    let (key, _) = text.ok_or_else(|| Failure::new(Exit::Input, "the Bundle holds no text; the demo changes one"))?;
    draft.remove(key);
    Ok(draft)
}

/// A record that no earlier run wrote. The same record again would count as a repetition of the earlier one.
fn scribble(draft: &Record) -> Result<Record, Failure> {
    let mut record = draft.clone();
    let note = Key::new("note").or_exit(Exit::Internal)?;
    record.insert(note, Value::Text(hex::encode(rand::random::<[u8; 16]>()))).or_exit(Exit::Input)?;
    Ok(record)
}

async fn fetch_directory(reader: &Client, patient: AccountIndex) -> Result<KeyDirectory, Failure> {
    let view = reader.node().patient(patient).await?;
    let missing = || Failure::new(Exit::Unverified, "the patient has published no key directory");
    let cid = view.directory.ok_or_else(missing)?;
    Ok(reader.directory(&cid).await?)
}

fn yes(held: bool) -> &'static str {
    if held { "yes" } else { "NO" }
}
