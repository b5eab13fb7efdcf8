//! The versions of a record, listed and read again: by the patient, by readers of some classes, and from a lying node.

use emr_api::{RecordVersionsView, RevisionView};
use emr_client::{
    Client, ClientError,
    flow::grant::{History, Terms},
    flow::history::{RecordHistory, VersionProof},
    flow::next_version::EditClass,
    flow::retrieve::ReadError,
    verify::history::HistoryError,
};
use emr_core::{Class, ClassMask, Reason, RecordSlot, Revision, Rights, UnixTime, Version};
use emr_rollup::{operation::Kind, primitive::field::Fr};

use crate::{
    proxy::{Proxy, lie},
    scene::*,
};

use VersionProof::{AuditChain, Authorship, State, Unproved};

fn version(number: u64) -> Version {
    Version::new(number).expect("a version")
}

/// Version, kind and proof of each revision, the newest first.
fn shown(history: &RecordHistory) -> Vec<(u64, Kind, VersionProof)> {
    let row = |entry: &emr_client::flow::history::HistoryEntry| {
        (entry.revision.leaf.version.get(), entry.revision.kind, entry.proof)
    };
    history.entries.iter().map(row).collect()
}

async fn history(client: &Client, patient: &Client, slot: RecordSlot) -> Result<RecordHistory, ClientError> {
    Ok(client.history(&handed_over(patient), slot, Some(Reason::Treatment)).await?.0)
}

async fn read(
    client: &Client,
    patient: &Client,
    slot: RecordSlot,
    number: u64,
) -> Result<(emr_core::Record, VersionProof), ClientError> {
    let card = handed_over(patient);
    let (read, _) = client.retrieve_version(&card, slot, version(number), Some(Reason::Treatment)).await?;
    Ok((read.record.record().clone(), read.proof))
}

/// Three versions, of which one is in another class; a reader of one class; a rekey; a grant from now on; a move to another
/// class; a deletion.
#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_and_read_by_those_who_may() -> TestResult {
    use Kind::{PutRecord, Rekey, Tombstone};
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let laboratory = ClassMask::from(Class::Laboratory);
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, laboratory)).await?;
    let slot = doctor.upload(&card, Class::Laboratory, &record("one")).await?.slot;
    let deleted = doctor.upload(&card, Class::Laboratory, &record("wrong patient")).await?.slot;
    doctor.delete(&card, deleted).await?;
    // Nothing is settled: there is no version yet.
    let early = history(&patient, &patient, slot).await;
    assert!(matches!(early, Err(ClientError::Read(ReadError::NoSuchRecord { .. }))), "{early:?}");
    doctor.edit(&card, slot, EditClass::MoveTo(Class::MentalHealth), &record("two")).await?;
    doctor.edit(&card, slot, EditClass::MoveTo(Class::Laboratory), &record("three")).await?;
    scene.next_batch().await?;

    // The patient proves everything by the audit chain.
    let own = history(&patient, &patient, slot).await?;
    assert_eq!(shown(&own), [3, 2, 1].map(|number| (number, PutRecord, AuditChain)));
    let of = |history: &RecordHistory, number: usize| history.entries[number].revision.clone();
    assert_eq!(of(&own, 1).leaf.class, Class::MentalHealth);
    assert!(
        own.entries
            .iter()
            .all(|entry| entry.revision.stored.is_some() && entry.revision.signer == entry.revision.leaf.author)
    );
    for (number, text) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(read(&patient, &patient, slot, number).await?, (record(text), AuditChain));
    }
    let none = read(&patient, &patient, slot, 4).await;
    assert!(matches!(none, Err(ClientError::History(HistoryError::NoSuchVersion(_)))), "{none:?}");

    // A deletion stays in the list. Only the patient is still served the blocks.
    let own = history(&patient, &patient, deleted).await?;
    assert_eq!(shown(&own), [(1, Tombstone, AuditChain), (1, PutRecord, AuditChain)]);
    let gone = history(&doctor, &patient, deleted).await?;
    assert_eq!(shown(&gone), [(1, Tombstone, State), (1, PutRecord, Authorship)]);
    assert!(gone.entries.iter().all(|entry| entry.revision.stored.is_none()));
    let refused = read(&doctor, &patient, deleted, 1).await;
    assert!(matches!(refused, Err(ClientError::History(HistoryError::NotKept(_)))), "{refused:?}");

    // The doctor asked for access to laboratory records. The version of the other class appears with a request for it.
    assert_eq!(shown(&history(&doctor, &patient, slot).await?), [(3, PutRecord, State), (1, PutRecord, Unproved)]);
    doctor.request(&card, Class::MentalHealth, Reason::Treatment).await?;
    let all = [(3, PutRecord, State), (2, PutRecord, Authorship), (1, PutRecord, Authorship)];
    assert_eq!(shown(&history(&doctor, &patient, slot).await?), all);
    for (number, text, proof) in [(3, "three", State), (2, "two", Authorship), (1, "one", Authorship)] {
        assert_eq!(read(&doctor, &patient, slot, number).await?, (record(text), proof));
    }

    // A reader of laboratory records learns nothing of the version in the other class but its number.
    let part = history(&stranger, &patient, slot).await?;
    assert_eq!(shown(&part), [(3, PutRecord, State), (1, PutRecord, Unproved)]);
    let view = stranger.node().versions(patient.account()?, slot, Revision::new(Revision::MAX)?).await?;
    assert!(!serde_json::to_string(&view)?.contains("mental"), "{view:?}");
    let hidden = read(&stranger, &patient, slot, 2).await;
    assert!(matches!(hidden, Err(ClientError::History(HistoryError::NoSuchVersion(_)))), "{hidden:?}");
    let unlinked = read(&stranger, &patient, slot, 1).await;
    let expected = HistoryError::Unlinked { version: version(1), closed: version(2) };
    assert!(matches!(&unlinked, Err(ClientError::History(error)) if *error == expected), "{unlinked:?}");

    // A revocation and a rekey. The newest version is under the new keys, the older ones stay under those of their time.
    patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    scene.next_batch().await?;
    let closed = history(&stranger, &patient, slot).await;
    assert!(matches!(closed, Err(ClientError::Node(_) | ClientError::Read(_))), "{closed:?}");
    patient.rekey(laboratory, None, |_, _| ()).await?;
    let from_now = Terms { history: History::FromNow, ..terms(Rights::READ, laboratory) };
    patient.grant(&handed_over(&stranger), &from_now).await?;
    let stated = EditClass::Stated(Class::Laboratory);
    doctor.edit(&card, slot, stated, &record("four")).await?;
    scene.next_batch().await?;
    let own = history(&patient, &patient, slot).await?;
    let kinds = [(4, PutRecord), (3, Rekey), (3, PutRecord), (2, PutRecord), (1, PutRecord)];
    assert_eq!(shown(&own), kinds.map(|(number, kind)| (number, kind, AuditChain)));
    assert_eq!(of(&own, 1).signer, patient.account()?);
    for (number, text) in [(4, "four"), (3, "three"), (1, "one")] {
        assert_eq!(read(&patient, &patient, slot, number).await?.0, record(text));
        assert_eq!(read(&doctor, &patient, slot, number).await?.0, record(text));
    }

    // Who was granted access from now on opens the version of now, and is told why not an earlier one.
    let late = history(&stranger, &patient, slot).await?;
    assert_eq!(shown(&late).first(), Some(&(4, PutRecord, State)));
    assert!(shown(&late)[1..].iter().all(|(_, _, proof)| *proof == Unproved), "{late:?}");
    assert_eq!(read(&stranger, &patient, slot, 4).await?.0, record("four"));
    let earlier = read(&stranger, &patient, slot, 3).await;
    assert!(matches!(earlier, Err(ClientError::History(HistoryError::Closed(at))) if at == version(3)), "{earlier:?}");

    // Moved to another class, the record is closed at once, with its past, and does not say where it went.
    doctor.edit(&card, slot, EditClass::MoveTo(Class::MentalHealth), &record("five")).await?;
    let moved = history(&stranger, &patient, slot).await;
    assert!(matches!(&moved, Err(ClientError::Read(ReadError::NoSuchRecord { .. }))), "{moved:?}");
    assert!(moved.is_err_and(|error| !error.to_string().contains("mental")));
    Ok(())
}

/// A node that omits, exchanges or forges versions is found out by the patient and by a reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_lying_node_is_found_out() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let stated = EditClass::Stated(Class::Laboratory);
    let mut slots = Vec::new();
    for text in ["potassium", "sodium"] {
        let slot = doctor.upload(&card, Class::Laboratory, &record(&format!("{text} 1"))).await?.slot;
        for number in [2, 3] {
            doctor.edit(&card, slot, stated, &record(&format!("{text} {number}"))).await?;
        }
        slots.push(slot);
    }
    scene.next_batch().await?;
    let (slot, account) = (slots[0], patient.account()?);
    let all = Revision::new(Revision::MAX)?;
    let other = patient.node().versions(account, slots[1], all).await?;
    drop((patient, doctor));
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    assert_eq!(history(&patient, &patient, slot).await?.entries.len(), 3);
    assert_eq!(history(&doctor, &patient, slot).await?.entries.len(), 3);

    type Lie = Box<dyn Fn(&mut Vec<RevisionView>) + Send>;
    let exchanged = other.clone();
    // What the node does, and whether a reader finds it too: a reader has no proof of times and of how long a record is.
    let lies: Vec<(&str, bool, Lie)> = vec![
        ("omits the newest", true, Box::new(|rows| _ = rows.remove(0))),
        // To a reader it may be a version of another class: it is listed as unproved from there on.
        ("omits one", false, Box::new(|rows| _ = rows.remove(1))),
        ("exchanges two", true, Box::new(|rows| rows.swap(1, 2))),
        ("lists nothing", true, Box::new(Vec::clear)),
        ("lists one twice", true, Box::new(|rows| rows.push(rows[2].clone()))),
        ("shows another record's version", true, Box::new(move |rows| rows[1] = exchanged.revisions[1].clone())),
        ("shows another record's history", true, Box::new(move |rows| rows.clone_from(&other.revisions))),
        ("forges an authorship", true, Box::new(|rows| rows[2].leaf.authored += Fr::one())),
        ("names another author", true, Box::new(move |rows| rows[2].leaf.author = account)),
        ("names other blocks", true, Box::new(|rows| rows[1].stored = rows[2].stored)),
        ("changes a time", false, Box::new(|rows| rows[2].time = UnixTime::ZERO)),
        ("names another author who signed", true, {
            Box::new(move |rows| (rows[2].leaf.author, rows[2].signer) = (account, account))
        }),
    ];
    for (what, also_reader, change) in lies {
        let path = format!("GET /v1/patients/{account}/records/{slot}/versions");
        proxy.set(lie(path, move |view: &mut RecordVersionsView| change(&mut view.revisions)));
        let found = history(&patient, &patient, slot).await;
        assert!(matches!(found, Err(ClientError::History(_))), "the patient: {what}: {found:?}");
        let found = history(&doctor, &patient, slot).await;
        assert_eq!(found.is_err(), also_reader, "the reader: {what}: {found:?}");
        let first = read(&patient, &patient, slot, 1).await;
        assert!(first.is_err(), "{what}: {first:?}");
        proxy.clear();
    }

    // Pages without end, a leaf that is not in the state, and an author that is not proved.
    let path = || format!("GET /v1/patients/{account}/records/{slot}/versions");
    proxy.set(lie(path(), move |view: &mut RecordVersionsView| view.next = Some(all)));
    let endless = history(&patient, &patient, slot).await;
    assert!(matches!(endless, Err(ClientError::History(HistoryError::Order))), "{endless:?}");
    proxy.set(lie(path(), |view: &mut RecordVersionsView| view.leaf.authored += Fr::one()));
    assert!(history(&patient, &patient, slot).await.is_err_and(|error| !error.is_temporary()));
    proxy.set(lie(path(), |view: &mut RecordVersionsView| view.authors.clear()));
    let unproved = history(&doctor, &patient, slot).await;
    assert!(matches!(unproved, Err(ClientError::History(HistoryError::Author(_)))), "{unproved:?}");
    Ok(())
}
