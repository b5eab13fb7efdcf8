//! Two submissions at once: each was admitted on the state before the other.

use super::*;

impl World {
    fn admit(&self, signed: SignedOperation) -> Test<Admission> {
        let admitted = self.engine.admit(&submission(signed), None);
        admitted.map_err(|error| format!("refused: {:?}", error.kind).into())
    }
}

/// Both operations were admitted on one state. The writer applies the first. It does not trust the second one's check,
/// which was on a state that is over, and stores nothing.
#[test]
fn an_admission_on_an_earlier_state_is_not_trusted() -> Test {
    let world = world(1)?;
    let first = world.sign(HONEST, 1, put(HONEST, 0)?)?;
    let second = world.sign(HONEST, 2, put(HONEST, 0)?)?;
    let (admitted_first, admitted_second) = (world.admit(first)?, world.admit(second)?);

    assert!(world.keep(first, admitted_first)?.is_ok());
    let before = world.engine.state().soft.trees().root();
    assert_eq!(world.keep(second, admitted_second)?, Err(RequestErrorKind::Stale));
    assert_eq!(world.engine.state().soft.trees().root(), before);
    assert!(world.engine.mempool.operation(second.id(world.domain))?.is_none(), "nothing is stored");
    assert_eq!(world.engine.state().open.len(), 1);
    Ok(())
}

/// The admission of one operation does not admit another.
#[test]
fn an_admission_is_for_its_operation() -> Test {
    let world = world(1)?;
    let good = world.sign(HONEST, 1, put(HONEST, 0)?)?;
    let forged = Operation { salt: Fr::from(2), ..good.operation }.sign(world.domain, &key(DOCTOR), None);
    let admission = world.admit(good)?;
    assert_eq!(world.keep(forged, admission)?, Err(RequestErrorKind::Refused));
    assert_eq!(world.engine.state().open.len(), 0);
    Ok(())
}
