//! The audit chain as FHIR AuditEvents.

use std::collections::BTreeSet;

use emr_client::{client::Client, verify::audit::Verified};
use emr_core::{
    RecordSlot,
    fhir::audit_event::{self, AuditedObject, AuditedOperation, Interaction, ProvedChain},
};
use emr_rollup::{
    operation::Kind,
    primitive::field::{self, Fr},
    state::leaf::{AuditEntry, AuditTarget},
};

use crate::{consent, failure::Failure, report::text};

/// What an entry did in the words of REST. `known` are the records that earlier entries wrote.
fn interaction(entry: &AuditEntry, known: &mut BTreeSet<RecordSlot>) -> Interaction {
    match (entry.kind, entry.target) {
        (Kind::PutRecord, AuditTarget::Record(slot)) if known.insert(slot) => Interaction::Create,
        (Kind::SetGrant | Kind::BreakGlass, _) => Interaction::Create,
        (Kind::RequestAccess, _) => Interaction::Read,
        (Kind::Tombstone, _) => Interaction::Delete,
        // A record's next version, a record under new keys, and a grant that ends.
        _ => Interaction::Update,
    }
}

const fn object(target: AuditTarget) -> AuditedObject {
    match target {
        AuditTarget::Grant(slot) => AuditedObject::Grant(slot),
        AuditTarget::Record(slot) => AuditedObject::Record(slot),
        AuditTarget::AllGrants => AuditedObject::AllGrants,
    }
}

/// The entries of a whole chain, oldest first, each with its head. Also returns the last head.
fn operations(entries: &[AuditEntry]) -> (Vec<AuditedOperation<'static>>, Fr) {
    let (mut head, mut known) = (Fr::default(), BTreeSet::new());
    let of = |(before, entry): (usize, &AuditEntry)| {
        head = entry.extend(head);
        AuditedOperation {
            number: before as u64 + 1,
            entry: field::to_bytes(&entry.hash()),
            head: field::to_bytes(&head),
            kind: entry.kind.name(),
            interaction: interaction(entry, &mut known),
            emergency: entry.kind == Kind::BreakGlass,
            signer: entry.signer,
            object: object(entry.target),
            purpose: entry.purpose,
            time: entry.time,
        }
    };
    let operations = entries.iter().enumerate().map(of).collect();
    (operations, head)
}

/// Prints the whole chain as a Bundle of AuditEvents. `entries` are all entries, which the check has proved.
///
/// # Errors
/// Fails if this identity has no account, or if stdout is closed.
pub(crate) fn print(client: &Client, verified: &Verified, entries: &[AuditEntry]) -> Result<(), Failure> {
    let (operations, head) = operations(entries);
    let state = verified.leaves().state();
    let chain = ProvedChain {
        patient: consent::own_account(client)?,
        batches: state.batches(),
        state_root: state.root(),
        time: state.time(),
        block: state.block_number(),
        head: field::to_bytes(&head),
    };
    text(&audit_event::bundle(&chain, &operations))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use emr_core::{AccountIndex, GrantSlot, UnixTime};
    use emr_rollup::state::leaf::LeafHash;

    use super::*;

    #[test]
    fn each_entry_has_its_place_and_its_head() -> Result<(), Box<dyn std::error::Error>> {
        let (record, grant) = (RecordSlot::new(3)?, GrantSlot::new(64)?);
        let entry = |kind, target: AuditTarget| -> Result<_, emr_core::OutOfRange> {
            let (signer, time) = (AccountIndex::new(2)?, UnixTime::new(7)?);
            let new_leaf = LeafHash::from(Fr::from(5));
            Ok(AuditEntry { kind, signer, target, purpose: None, time, new_leaf, salt: Fr::from(6) })
        };
        let (record, grant) = (AuditTarget::Record(record), AuditTarget::Grant(grant));
        let kinds = [
            (Kind::SetGrant, grant, Interaction::Create),
            (Kind::PutRecord, record, Interaction::Create),
            (Kind::PutRecord, record, Interaction::Update),
            (Kind::Rekey, record, Interaction::Update),
            (Kind::RequestAccess, grant, Interaction::Read),
            (Kind::BreakGlass, grant, Interaction::Create),
            (Kind::Tombstone, record, Interaction::Delete),
            (Kind::Revoke, grant, Interaction::Update),
            (Kind::ForcedRevoke, AuditTarget::AllGrants, Interaction::Update),
        ];
        let entries = kinds.iter().map(|(kind, target, _)| entry(*kind, *target)).collect::<Result<Vec<_>, _>>()?;
        let (operations, head) = operations(&entries);
        let heads: BTreeMap<u64, [u8; 32]> = operations.iter().map(|one| (one.number, one.head)).collect();
        assert_eq!((heads.len(), heads.get(&9)), (9, Some(&field::to_bytes(&head))));
        assert_eq!(heads.get(&1), Some(&field::to_bytes(&entries[0].extend(Fr::default()))));
        for (operation, (_, _, interaction)) in operations.iter().zip(kinds) {
            assert_eq!(operation.interaction, interaction, "{operation:?}");
        }
        assert_eq!(operations.iter().filter(|operation| operation.emergency).count(), 1);
        assert_eq!(super::operations(&[]).1, Fr::default());
        Ok(())
    }
}
