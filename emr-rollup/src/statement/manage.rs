//! What a delegate may do: an account that manages grants for a patient, under a grant with MANAGE.

use emr_core::Rights;

use super::{Clause, GrantFields, OperationWitness, Violation, number, require};
use crate::{primitive::field::Fr, version::CircuitVersion};

/// The highest rights that a delegate gives or takes: no MANAGE, so delegates have no delegates and do not end each other's grants.
pub(crate) const MANAGED: Rights = Rights::READ.union(Rights::WRITE);

/// Checks a SetGrant or Revoke that a delegate signs, under `witness.authority`. It is live and has MANAGE.
///
/// A delegate acts within their own grant: in its classes, and not beyond its end. They neither grant to themselves or their hospital, nor
/// change the key directory, which holds the keys of all classes.
pub(super) fn check(version: &CircuitVersion, witness: &OperationWitness) -> Result<(), Violation> {
    let OperationWitness { authority, signer, old_grant: old, new_grant: new, message, .. } = witness;
    let header = &message.header;
    let bounded = |holds, detail| require(holds, Clause::GrantAllows, detail);
    bounded(authority.grantee == header.signer, "a delegate acts under a grant to themselves")?;
    for grant in [old, new] {
        bounded(number(&grant.rights) <= u64::from(MANAGED.bits()), "beyond the rights that a delegate manages")?;
        bounded(covers(authority, grant), "beyond the delegate's classes")?;
    }
    bounded(number(&new.not_after) <= number(&authority.not_after), "beyond the end of the delegate's grant")?;
    let to_themselves = new.grantee == header.signer || new.grantee == signer.org;
    bounded(new.grantee == Fr::zero() || !to_themselves, "a delegate's grant to themselves")?;
    require(number(&header.slot) >= version.first_ordinary_grant(), Clause::NewLeafAllowed, "a slot of break-glass")?;
    // Else a delegate could use up a slot's versions, so that nobody can grant or revoke there.
    require(number(&old.version) == number(&header.expected), Clause::TargetExpected, "a delegate names the version")?;
    let kept = message.directory_after == message.directory_before;
    require(kept, Clause::NewLeafAllowed, "a delegate keeps the key directory")
}

/// Whether every class of `part` is a class of `whole`.
fn covers(whole: &GrantFields, part: &GrantFields) -> bool {
    let classes = number(&whole.scope);
    number(&part.scope) & classes == number(&part.scope)
}
