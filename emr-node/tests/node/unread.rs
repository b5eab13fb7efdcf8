//! Clients that do not read the answers to their requests.

use std::time::Duration;

use emr_core::cid::Codec;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

use crate::stage::*;

/// More connections than an account may have requests in progress.
const CONNECTIONS: usize = 100;
/// More answers of a megabyte than the buffers of a connection hold.
const ON_EACH: usize = 8;

/// Asks for a block several times on one connection, and reads nothing.
async fn ask(port: u16, request: &str) -> Outcome<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // The smallest buffer, so that the answers stay with the node.
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
    stream.write_all(request.repeat(ON_EACH).as_bytes()).await?;
    Ok(stream)
}

/// An answer that is not read keeps its place, so that one account cannot fill the node's memory with answers. Others
/// are served.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_read_use_up_an_accounts_places() -> Outcome {
    let scene = World::populated().await?;
    let port = scene.node.url().port().ok_or("a port")?;
    let doctor = &scene.doctor;
    let cid = doctor.put_block(Codec::Raw, &vec![7; emr_ipfs::MAX_BLOCK_BYTES]).await?;
    let token = doctor.token.clone().ok_or("a token")?;
    let request = format!("GET /v1/blocks/{cid} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let used_up = |answer: Answer<Vec<u8>>| {
        answer.is_err_and(|refused| refused.code == "too-many" && refused.message.contains("requests are at work"))
    };
    let mut unread = Vec::new();
    while !used_up(doctor.block(&cid).await) {
        assert!(unread.len() < CONNECTIONS, "the node keeps any number of answers");
        unread.push(ask(port, &request).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The places stay taken until the answers are read or the connections end.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(used_up(doctor.block(&cid).await));
    scene.patient.view(scene.accounts.patient).await?;
    drop(unread);
    until(|| async { doctor.block(&cid).await.is_ok() }).await?;
    scene.node.shutdown().await;
    Ok(())
}
