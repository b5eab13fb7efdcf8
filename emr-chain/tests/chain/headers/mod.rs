//! Which header is the newest, with Ethereum nodes that lie, are silent, slow or behind.

mod fake;
mod requests;

use std::time::{Duration, Instant};

use emr_chain::{
    header::{
        HeaderError, Newest,
        age::{HeaderAge, HeaderAgeError},
    },
    nodes::{EthereumNodes, NodesError},
};
use emr_core::UnixTime;
use emr_testkit::Outcome;

use fake::{Behaviour, FakeNode, chain, start, up_to};

/// Starts these nodes. More than half of them must agree.
async fn nodes(behaviours: impl IntoIterator<Item = Behaviour>) -> Outcome<(EthereumNodes, Vec<FakeNode>)> {
    let mut nodes = Vec::new();
    for behaviour in behaviours {
        nodes.push(start(behaviour).await?);
    }
    let endpoints: Vec<_> = nodes.iter().map(|node| node.endpoint.clone()).collect();
    Ok((EthereumNodes::of(&endpoints, None)?, nodes))
}

async fn newest(behaviours: impl IntoIterator<Item = Behaviour>) -> Outcome<Result<Newest, HeaderError>> {
    Ok(nodes(behaviours).await?.0.headers().newest().await)
}

#[tokio::test]
async fn one_of_three_lies_with_another_chains_header() -> Outcome {
    let honest = chain(1, 90, 100, 5);
    // Another chain of the same height; one that claims to be far ahead; one that claims to be far behind; and one that
    // claims false hashes.
    let mut invented = chain(2, 90, 101, 5);
    invented[101].number = u64::MAX;
    for lie in [
        Behaviour::showing(&chain(2, 90, 100, 5)),
        Behaviour::showing(&invented),
        Behaviour::showing(&up_to(&honest, 3)),
        Behaviour { false_hash: true, ..Behaviour::showing(&honest) },
        Behaviour::showing(&Vec::new()),
    ] {
        for place in 0..3 {
            let mut all = vec![Behaviour::showing(&honest), Behaviour::showing(&honest)];
            all.insert(place, lie.clone());
            assert_eq!(newest(all).await??.header.hash(), honest[100].hash_slow());
        }
    }
    Ok(())
}

#[tokio::test]
async fn two_of_three_lie_and_nothing_is_believed() -> Outcome {
    let (honest, one, other) = (chain(1, 90, 100, 5), chain(2, 90, 100, 5), chain(3, 90, 102, 5));
    let all = [&one, &honest, &other].map(Behaviour::showing);
    let Err(error) = newest(all).await? else { return Err("believed a lie".into()) };
    assert!(matches!(error, HeaderError::Disagree { agree: 2, .. }), "{error}");
    let text = error.to_string();
    // The nodes are compared at the highest block that two of them have, and said to differ where they still do.
    for node in ["block 9", "127.0.0.1", "--rpc"] {
        assert!(text.contains(node), "{text}");
    }
    for chain in [&one, &honest] {
        assert!(chain[95..].iter().any(|header| text.contains(&header.hash_slow().to_string())), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_behind_holds_nobody_back() -> Outcome {
    let honest = chain(1, 0, 300, 5);
    let behind = || Behaviour::showing(&up_to(&honest, 100));
    let found = newest([behind(), Behaviour::showing(&honest), Behaviour::showing(&honest)]).await??;
    assert_eq!(found.header.number(), 300);
    assert_eq!(HeaderAge::Checked.check(found.header.timestamp(), &found.answers, UnixTime::now()), Ok(()));

    // If two are 40 minutes behind, the newest block on which two agree is too old. The error names all three.
    let found = newest([behind(), Behaviour::showing(&honest), behind()]).await??;
    assert_eq!(found.header.number(), 100);
    let refused = HeaderAge::Checked.check(found.header.timestamp(), &found.answers, UnixTime::now());
    let Err(error @ HeaderAgeError::Old { .. }) = refused else { return Err("an old block is accepted".into()) };
    let text = error.to_string();
    assert!(text.contains("40 minutes old") && text.contains("block 300") && text.contains("block 100"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_silent_node_stops_nobody() -> Outcome {
    let honest = chain(1, 0, 100, 5);
    let showing = || Behaviour::showing(&honest);
    let began = Instant::now();
    assert_eq!(newest([Behaviour::silent(), showing(), showing()]).await??.header.number(), 100);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());

    // Two are needed, so without the second one there is no answer; but there is an end.
    let began = Instant::now();
    let refused = newest([Behaviour::silent(), showing(), Behaviour::silent()]).await?;
    let Err(error @ HeaderError::TooFew { agree: 2, .. }) = refused else { return Err(format!("{refused:?}").into()) };
    assert!(error.to_string().contains("no answer in 5 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    Ok(())
}

/// A liar that answers at once does not win against an honest node that needs three seconds.
#[tokio::test]
async fn a_slow_node_is_waited_for_if_it_is_needed() -> Outcome {
    let honest = chain(1, 90, 100, 5);
    let slow = Behaviour { pause: Duration::from_secs(3), ..Behaviour::showing(&honest) };
    for fast in [chain(2, 90, 100, 5), up_to(&honest, 80), up_to(&honest, 3)] {
        let all = [Behaviour::showing(&fast), Behaviour::showing(&honest), slow.clone()];
        assert_eq!(newest(all).await??.header.hash(), honest[100].hash_slow());
    }
    Ok(())
}

#[tokio::test]
async fn honest_nodes_may_be_some_blocks_apart_or_on_a_short_fork() -> Outcome {
    let honest = chain(1, 90, 102, 5);
    let at = |number| Behaviour::showing(&up_to(&honest, number));
    assert_eq!(newest([at(100), at(102), at(101)]).await??.header.number(), 101);
    assert_eq!(newest([at(102), at(100)]).await??.header.number(), 100);
    let (one, other) = (chain(1, 100, 101, 5), chain(2, 100, 101, 5));
    let found = newest([Behaviour::showing(&one), Behaviour::showing(&other)]).await??.header;
    assert_eq!((found.number(), found.hash()), (97, one[97].hash_slow()));
    Ok(())
}

#[tokio::test]
async fn what_one_node_calls_final_is_not_final() -> Outcome {
    let honest = chain(1, 90, 100, 5);
    let node = |finalized| Behaviour { finalized, ..Behaviour::showing(&honest) };
    let (three, _running) = nodes([node(Some(100)), node(Some(60)), node(Some(64))]).await?;
    assert_eq!(three.headers().finalized().await?.map(|header| header.number()), Some(64));
    // A node that says that nothing is final does not take the others' final block away.
    let (three, _running) = nodes([node(None), node(Some(64)), node(Some(64))]).await?;
    assert_eq!(three.headers().finalized().await?.map(|header| header.number()), Some(64));
    let (three, _running) = nodes([node(None), node(Some(64)), node(None)]).await?;
    assert_eq!(three.headers().finalized().await?, None);

    // A block by its number needs the same agreement.
    let liar = Behaviour::showing(&chain(2, 40, 100, 5));
    let (three, _running) = nodes([liar.clone(), node(None), node(None)]).await?;
    assert_eq!(three.headers().at(50).await?.hash(), honest[50].hash_slow());
    let (two, _running) = nodes([liar, node(None)]).await?;
    assert!(matches!(two.headers().at(50).await, Err(HeaderError::Disagree { agree: 2, .. })));
    assert!(matches!(two.headers().at(500).await, Err(HeaderError::TooFew { agree: 2, .. })));
    Ok(())
}

#[tokio::test]
async fn one_node_is_believed() -> Outcome {
    let only = chain(1, 0, 100, 2_400);
    let found = newest([Behaviour::showing(&only)]).await??;
    assert_eq!(found.header.hash(), only[100].hash_slow());
    let refused = HeaderAge::Checked.check(found.header.timestamp(), &found.answers, UnixTime::now());
    assert!(refused.is_err_and(|error| error.to_string().contains("40 minutes old")));
    let lies = newest([Behaviour { false_hash: true, ..Behaviour::showing(&only) }]).await?;
    assert!(matches!(lies, Err(HeaderError::Proof(_))), "{lies:?}");
    Ok(())
}

#[test]
fn half_of_the_nodes_do_not_decide() -> Outcome {
    let endpoints: Vec<_> =
        (1..=4).map(|port| format!("http://127.0.0.1:{port}/key").parse()).collect::<Result<_, _>>()?;
    for (nodes, agree, needed) in [(1, None, 1), (2, None, 2), (3, None, 2), (4, None, 3), (4, Some(4), 4)] {
        assert_eq!(EthereumNodes::of(&endpoints[..nodes], agree)?.agree(), needed);
    }
    for (nodes, agree) in [(1, 0), (1, 2), (2, 1), (3, 1), (3, 4), (4, 2)] {
        let refused = EthereumNodes::of(&endpoints[..nodes], Some(agree));
        assert!(matches!(refused, Err(NodesError::Agree { .. })), "{agree} of {nodes}");
    }
    assert!(matches!(EthereumNodes::of(&[], None), Err(NodesError::None)));
    let twice = [endpoints[0].clone(), endpoints[1].clone(), endpoints[0].clone()];
    let Err(error) = EthereumNodes::of(&twice, None) else { return Err("counted twice".into()) };
    assert!(matches!(error, NodesError::Twice(_)) && !error.to_string().contains("key"), "{error}");
    Ok(())
}

/// geth answers with an error where others answer `null`. An error about anything else is not taken for that.
#[tokio::test]
async fn a_node_may_say_in_words_that_nothing_is_final() -> Outcome {
    let honest = chain(1, 90, 100, 5);
    let node = |words| Behaviour { no_block: Some(words), ..Behaviour::showing(&honest) };
    for words in ["finalized block not found", "Unknown block"] {
        let (one, _running) = nodes([node(words)]).await?;
        assert_eq!(one.headers().finalized().await?, None, "{words}");
        let (three, _running) = nodes([node(words), node(words), Behaviour::silent()]).await?;
        assert_eq!(three.headers().finalized().await?, None, "{words}");
    }
    let (one, _running) = nodes([node("database is closed")]).await?;
    assert!(one.headers().finalized().await.is_err());
    Ok(())
}
