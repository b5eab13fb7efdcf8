//! A bug makes a writer panic. After that the state may be behind the file, so the node promises nothing.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_panic_nothing_is_promised_until_the_state_is_derived_again() -> Test {
    let world = world(1)?;
    let engine = &world.engine;
    let signed = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    let receipt = world.taken(signed)?;
    let principal = engine.state().principal(signed.operation.signer).ok_or("an account")?;
    let again = || engine.submit(principal, Submission { signed, stored: None, epoch: None, directory: None });
    assert_eq!(again().await.map_err(|error| error.kind), Ok(receipt.clone()));
    let state = engine.state().clone();

    // No caller waits for the writer that panics.
    let writing = tokio::spawn({
        let engine = Arc::clone(engine);
        async move {
            let bug = |_: &Engine| {
                std::thread::sleep(Duration::from_millis(200));
                panic!("a bug");
            };
            engine.write::<()>(bug).await
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    writing.abort();
    let next = engine.write(|_| ()).await.expect_err("refused");
    assert!(next.kind == RequestErrorKind::Unavailable && next.problem().message.contains("bug"), "{next}");
    assert!(engine.halted().is_some_and(|reason| reason.contains("start the node again")));
    // A known Revoke is refused too: its receipt would say that it counts at this node.
    assert_eq!(again().await.map_err(|error| error.kind), Err(RequestErrorKind::Unavailable));

    // Work that fails does not clear the panic.
    assert_eq!(engine.recover(|_| Err::<(), _>("no space")).await?, Err("no space"));
    assert!(engine.has_panicked());
    let derived = move |engine: &Engine| {
        engine.replace(state);
        Ok::<_, SealError>(())
    };
    engine.recover(derived).await??;
    assert!(!engine.has_panicked() && engine.halted().is_none());
    assert_eq!(again().await.map_err(|error| error.kind), Ok(receipt));
    engine.write(|_| ()).await?;
    Ok(())
}
