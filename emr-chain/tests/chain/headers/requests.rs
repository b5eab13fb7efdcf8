//! What is not proved, over several Ethereum nodes.

use std::sync::atomic::Ordering;

use alloy::{
    primitives::{Address, B256, Bytes},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use emr_testkit::Outcome;
use serde_json::{Value, json};

use super::{Behaviour, chain, nodes};

fn says(word: &str) -> Value {
    json!(format!("0x{}", word.repeat(32)))
}

/// Who owns an account is read by a call of the contract: one node must not say it alone.
#[tokio::test]
async fn one_of_three_answers_calls_with_a_lie() -> Outcome {
    let honest = || Behaviour::answering(&[("eth_call", says("aa")), ("eth_chainId", json!("0x1"))]);
    for place in 0..3 {
        for lie in [
            Behaviour::answering(&[("eth_call", says("bb")), ("eth_chainId", json!("0x2"))]),
            Behaviour::answering(&[]),
            Behaviour::silent(),
        ] {
            let mut all = vec![honest(), honest()];
            all.insert(place, lie);
            let (three, _running) = nodes(all).await?;
            let provider = three.connect(None);
            assert_eq!(provider.call(TransactionRequest::default()).await?, Bytes::from([0xaa; 32]));
            three.expect_chain_id(&provider, 1).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn calls_on_which_too_few_agree_have_no_answer() -> Outcome {
    let all = ["aa", "bb", "cc"].map(|word| Behaviour::answering(&[("eth_call", says(word))]));
    let (three, _running) = nodes(all).await?;
    let refused = three.connect(None).call(TransactionRequest::default()).await;
    let text = refused.expect_err("believed one").to_string();
    assert!(text.contains("eth_call") && text.contains("0xaaaa") && text.contains("0xcccc"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_transaction_goes_to_all_nodes() -> Outcome {
    let hash = B256::repeat_byte(3);
    let takes = || Behaviour::answering(&[("eth_sendRawTransaction", json!(hash))]);
    let (three, running) = nodes([Behaviour::silent(), Behaviour::answering(&[]), takes()]).await?;
    let sent = three.connect(None).send_raw_transaction(&[1, 2, 3]).await?;
    assert_eq!(*sent.tx_hash(), hash);
    assert!(running.iter().all(|node| node.asked.load(Ordering::SeqCst) > 0));

    let (two, _running) = nodes([Behaviour::answering(&[]), Behaviour::answering(&[])]).await?;
    let refused = two.connect(None).send_raw_transaction(&[1, 2, 3]).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("no such method")));
    Ok(())
}

/// Other requests are answered by one node. A node that is silent, refuses or knows nothing is passed over.
#[tokio::test]
async fn the_first_node_with_an_answer_gives_it() -> Outcome {
    let nonce = |number: &str| Behaviour::answering(&[("eth_getTransactionCount", json!(number))]);
    let unknown = Behaviour::answering(&[("eth_getTransactionCount", Value::Null)]);
    for without in [Behaviour::silent(), Behaviour::answering(&[]), unknown] {
        let (three, _running) = nodes([without, nonce("0x7"), nonce("0x9")]).await?;
        let provider = three.connect(None);
        assert_eq!(provider.get_transaction_count(Address::ZERO).await?, 7);
        assert_eq!(provider.get_transaction_count(Address::ZERO).await?, 7);
    }

    // A node that showed another chain is asked last.
    let (honest, invented) = (chain(1, 5, 10, 5), chain(2, 5, 10, 5));
    let node = |chain, number| Behaviour { chain, ..nonce(number) };
    let (three, _running) = nodes([node(invented, "0x9"), node(honest.clone(), "0x7"), node(honest, "0x7")]).await?;
    assert_eq!(three.connect(None).get_transaction_count(Address::ZERO).await?, 9);
    three.headers().newest().await?;
    assert_eq!(three.connect(None).get_transaction_count(Address::ZERO).await?, 7);
    Ok(())
}
