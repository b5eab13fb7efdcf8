//! A bug makes a writer panic. After that the state may be behind the file, so the node promises nothing.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_panic_nothing_is_promised_until_the_state_is_derived_again() -> Test {
    let world = world(1)?;
    let sequencer = &world.sequencer;
    let signed = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    let receipt = world.taken(signed)?;
    let principal = sequencer.state().principal(signed.operation.signer).ok_or("an account")?;
    let again = || sequencer.submit(principal, Submission { signed, stored: None, epoch: None, directory: None });
    assert_eq!(again().await.map_err(|refusal| refusal.kind), Ok(receipt.clone()));
    let state = sequencer.state().clone();

    // No caller waits for the writer that panics.
    let writing = tokio::spawn({
        let sequencer = Arc::clone(sequencer);
        async move {
            let bug = |_: &Sequencer| {
                std::thread::sleep(Duration::from_millis(200));
                panic!("a bug");
            };
            sequencer.write::<()>(bug).await
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    writing.abort();
    let next = sequencer.write(|_| ()).await.expect_err("refused");
    assert!(next.kind == RefusalKind::Unavailable && next.problem().message.contains("bug"), "{next}");
    assert!(sequencer.halted().is_some_and(|reason| reason.contains("start the node again")));
    // A known Revoke is refused too: its receipt would say that it counts at this node.
    assert_eq!(again().await.map_err(|refusal| refusal.kind), Err(RefusalKind::Unavailable));

    // Work that fails does not clear the panic.
    assert_eq!(sequencer.write_anew(|_| Err::<(), _>("no space")).await?, Err("no space"));
    assert!(sequencer.has_panicked());
    let derived = move |sequencer: &Sequencer| {
        sequencer.replace(state);
        Ok::<_, SealError>(())
    };
    sequencer.write_anew(derived).await??;
    assert!(!sequencer.has_panicked() && sequencer.halted().is_none());
    assert_eq!(again().await.map_err(|refusal| refusal.kind), Ok(receipt));
    sequencer.write(|_| ()).await?;
    Ok(())
}
