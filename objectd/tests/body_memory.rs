//! How much memory bodies hold on their way: bounded however many there are, and however slow their clients.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use life::Life;
use objectd::limits::{OWN_PIECE_BYTES, OWN_PIECES, SHARED_PIECE_BYTES};
use std::net::SocketAddr;
use std::time::Duration;
use support::{Call, Prepared, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;
const CONNECTIONS: usize = 24;
/// What a client that stops in the middle has not sent yet.
const WITHHELD: usize = 1000;

fn body(len: usize) -> Vec<u8> {
    (0u32..).flat_map(|number| (number.wrapping_mul(0x9e37_79b9)).to_le_bytes()).take(len).collect()
}

/// The most that `connections` bodies may hold.
fn most(connections: usize) -> usize {
    SHARED_PIECE_BYTES + connections * OWN_PIECES * OWN_PIECE_BYTES
}

fn held(life: &Life) -> usize {
    life.metric("ashlar_s3_body_memory_bytes").parse().unwrap()
}

/// Waits until nothing changes any more, and gives the most that was seen meanwhile and what it is then.
async fn settled(life: &Life) -> (usize, usize) {
    let (mut peak, mut last, mut same) = (0, usize::MAX, 0);
    while same < 20 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let now = held(life);
        same = if now == last { same + 1 } else { 0 };
        (peak, last) = (peak.max(now), now);
    }
    (peak, last)
}

async fn begin(to: SocketAddr, bytes: Vec<u8>) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream, method: &'static str) -> Response {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    Response::parse(&answer, method).unwrap()
}

async fn all<T: Send + 'static>(
    each: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    each.collect::<JoinSet<T>>().join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_hold_no_more_than_is_allowed_and_get_all_in_the_end() {
    let life = Life::create(1 << 30).await;
    let client = life.client();
    assert_eq!(client.put("/bucket", b"").await.status, 200);
    let data = body(6 * MIB + 12_345);
    assert_eq!(client.put("/bucket/large", &data).await.status, 200);
    let ask = client.prepare(&Call { target: "/bucket/large".into(), ..Call::default() }).to_bytes();
    let addr = life.gateway.addr();
    let waiting = all((0..CONNECTIONS).map(|_| begin(addr, ask.clone()))).await;
    let (peak, stuck) = settled(&life).await;
    assert!(peak <= most(CONNECTIONS), "{peak} bytes");
    assert!(stuck >= CONNECTIONS * OWN_PIECE_BYTES, "each holds something: {stuck} bytes");
    // Who comes now is served: nobody has to wait for those.
    assert_eq!(client.get("/bucket/large").await.body, data);
    for answer in all(waiting.into_iter().map(|stream| rest(stream, "GET"))).await {
        assert_eq!(answer.status, 200);
        assert!(answer.body == data);
    }
    assert_eq!(settled(&life).await.1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stop_sending_hold_no_more_than_is_allowed_and_are_stored_in_the_end() {
    let life = Life::create(1 << 30).await;
    let client = life.client();
    assert_eq!(client.put("/bucket", b"").await.status, 200);
    let data = body(3 * MIB + MIB / 2);
    let put = |number: usize| {
        let target = format!("/bucket/{number}");
        client.prepare(&Call { method: "PUT", target, body: data.clone(), ..Call::default() })
    };
    let asks = (0..CONNECTIONS).map(put).map(|ask: Prepared| ask.to_bytes()).collect::<Vec<_>>();
    let addr = life.gateway.addr();
    let begun = all(asks.into_iter().map(|mut bytes| {
        let last = bytes.split_off(bytes.len() - WITHHELD);
        async move { (begin(addr, bytes).await, last) }
    }));
    let waiting = begun.await;
    let (peak, stuck) = settled(&life).await;
    assert!(peak <= most(CONNECTIONS), "{peak} bytes");
    assert!(stuck >= CONNECTIONS * WITHHELD, "each holds something: {stuck} bytes");
    // Who comes now is served: nobody has to wait for those.
    assert_eq!(client.put("/bucket/late", &data).await.status, 200);
    let ended = all(waiting.into_iter().map(|(mut stream, last)| async move {
        stream.write_all(&last).await.unwrap();
        rest(stream, "PUT").await.status
    }));
    assert!(ended.await.iter().all(|&status| status == 200));
    for number in [0, CONNECTIONS / 2, CONNECTIONS - 1] {
        assert!(client.get(&format!("/bucket/{number}")).await.body == data, "{number}");
    }
    assert_eq!(settled(&life).await.1, 0);
}
