//! Space and durability: deletions give it back, a full pool says so, restarts lose nothing, crashed uploads
//! leave nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use life::{Life, TOKEN};
use rt::clock::{Clock, SystemClock};
use std::time::Duration;
use support::{Call, Client, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DISK: u64 = 1 << 30;

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

async fn filled(client: &Client) {
    expect(&client.put("/buc", b"").await, 200);
    expect(&client.put("/buc/kept", &[1; 8192]).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_replaced_or_failed_gives_its_space_back() {
    let store = Life::create(DISK).await;
    let client = store.client();
    filled(&client).await;
    store.wait_for_live(8192).await;
    for _ in 0..3 {
        expect(&client.put("/buc/replaced", &vec![2; 100_000]).await, 200);
    }
    store.wait_for_live(8192 + 102_400).await;
    expect(&client.delete("/buc/replaced").await, 204);
    store.wait_for_live(8192).await;
    // An upload whose checksum is wrong, one that is cut off, and one whose condition fails.
    let call = |headers: Vec<(String, String)>| Call {
        method: "PUT",
        target: "/buc/kept".into(),
        headers,
        body: vec![3; 3 << 20],
        ..Call::default()
    };
    let md5 = vec![("content-md5".to_owned(), "AAAAAAAAAAAAAAAAAAAAAA==".to_owned())];
    expect(&client.call(&call(md5)).await, 400);
    let mut cut = client.prepare(&call(vec![]));
    cut.body.truncate(2 << 20);
    let _ = cut.send(store.gateway.addr()).await;
    expect(&client.call(&call(vec![("if-none-match".into(), "*".into())])).await, 412);
    store.wait_for_live(8192).await;
    let upload = client.post("/buc/parts?uploads", b"").await.element("UploadId").unwrap();
    expect(&client.put(&format!("/buc/parts?partNumber=1&uploadId={upload}"), &[4; 5000]).await, 200);
    store.wait_for_live(16_384).await;
    expect(&client.delete(&format!("/buc/parts?uploadId={upload}")).await, 204);
    store.wait_for_live(8192).await;
    for _ in 0..300 {
        if store.garbage().await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(store.garbage().await, 0);
    assert_eq!(client.get("/buc/kept").await.body, [1; 8192]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_outlives_its_object() {
    let store = Life::create(DISK).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let data: Vec<u8> = (0..24_u32 << 20).map(|at| (at / 1000).to_le_bytes()[0]).collect();
    expect(&client.put("/buc/k", &data).await, 200);
    let request = client.prepare(&Call { target: "/buc/k".into(), ..Call::default() });
    let mut connection = TcpStream::connect(store.gateway.addr()).await.unwrap();
    connection.write_all(&request.to_bytes()).await.unwrap();
    let mut got = vec![0; 1000];
    connection.read_exact(&mut got).await.unwrap();
    expect(&client.delete("/buc/k").await, 204);
    expect(&client.get("/buc/k").await, 404);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(store.garbage().await > 0, "what is being read was trimmed");
    connection.read_to_end(&mut got).await.unwrap();
    assert!(got.ends_with(&data), "the download was cut or changed");
    store.wait_for_live(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_says_so_and_deleting_makes_room() {
    let store = Life::create(96 << 20).await;
    let client = store.client();
    filled(&client).await;
    let piece = vec![5; 8 << 20];
    let mut stored = 0;
    let refused = loop {
        let put = client.put(&format!("/buc/fill-{stored}"), &piece).await;
        if put.status != 200 {
            break put;
        }
        stored += 1;
        assert!(stored < 12, "more was stored than the disks hold");
    };
    assert_eq!((refused.status, refused.code().as_str()), (507, "InsufficientStorage"));
    assert!(stored > 2, "only {stored} objects fitted");
    expect(&client.head(&format!("/buc/fill-{stored}")).await, 404);
    assert_eq!(client.get("/buc/kept").await.body, [1; 8192]);
    for number in 0..stored {
        assert!(client.get(&format!("/buc/fill-{number}")).await.body == piece, "fill-{number}");
    }
    for number in 0..stored {
        expect(&client.delete(&format!("/buc/fill-{number}")).await, 204);
    }
    store.wait_for_live(8192).await;
    for _ in 0..100 {
        // The cleaner needs a moment to make room of what is dead.
        let put = client.put("/buc/again", &piece).await;
        if put.status == 200 {
            assert!(client.get("/buc/again").await.body == piece);
            return;
        }
        assert_eq!(put.status, 507, "{}", put.text());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("there is no room although all was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_lose_nothing_and_crashed_uploads_leave_nothing() {
    let store = Life::create(DISK).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let objects = [("inline", 100), ("small", 8192), ("large", 3 << 20)];
    let body = |key: &str, len: usize| vec![key.as_bytes()[0]; len];
    for (key, len) in objects {
        expect(&client.put(&format!("/buc/{key}"), &body(key, len)).await, 200);
    }
    let live = 8192 + (3 << 20);
    crash_in_an_upload(&store).await;
    store.wait_for_live(live + 65_536).await;
    let mut store = Life::open(store.kill()).await;
    for round in 0..3 {
        for (key, len) in objects {
            assert!(
                store.client().get(&format!("/buc/{key}")).await.body == body(key, len),
                "{key} in {round}"
            );
        }
        store.wait_for_live(live).await;
        let folder = if round == 0 { store.stop().await } else { store.kill() };
        store = Life::open(folder).await;
    }
}

/// Leaves what a gateway leaves that dies in an upload: data in its log that nothing names.
async fn crash_in_an_upload(store: &Life) {
    let volume = store.log_volume().await;
    let lease = store.meta.open_volume(volume).await.unwrap();
    let range = store.meta.reserve_log(volume, lease.epoch, 1 << 20).await.unwrap();
    let client = proto::ClientId([9; 16]);
    let config = blockd::client::VolumeConfig {
        lease,
        token: TOKEN,
        client,
        on_full: blockd::client::OnFull::Fail,
        control: None,
    };
    let log = blockd::client::Volume::open(config).await.unwrap();
    log.write(range.offset, vec![7; 65_536].into()).await.unwrap();
    log.flush().await.unwrap();
    log.close().await;
}

/// Of HOSTILE 18: half of them have not sent their heads, half send bodies, all of them a byte at a time.
const SLOW: usize = 5000;
/// The two ends of each are in this process, and the store needs some itself.
const DESCRIPTORS: u64 = 2 * SLOW as u64 + 1000;

/// HOSTILE 18. How long the others' requests take is told, and not judged: on a machine that does other things it says
/// more about those than about the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn slow_sockets_hurt_nobody_and_their_descriptors_come_back() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let allowed: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(u64::MAX);
    if allowed < DESCRIPTORS {
        let why = format!("{allowed} descriptors are allowed, and it needs {DESCRIPTORS} (ulimit -n)");
        return skip("slow_sockets_hurt_nobody_and_their_descriptors_come_back", &why);
    }
    let store = Life::create(DISK).await;
    let client = store.client();
    filled(&client).await;
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut idle = Vec::new();
    for _ in 0..GETS {
        idle.push(get_seconds(&client).await);
    }

    let body = vec![7; 8192];
    let put = Call { method: "PUT", target: "/buc/slow".into(), body: body.clone(), ..Call::default() };
    let whole = client.prepare(&put).to_bytes();
    let head = whole.len() - body.len();
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let mut socket = TcpStream::connect(store.gateway.addr()).await.unwrap();
        let sent = if number % 2 == 0 { 40 } else { head + 1 };
        socket.write_all(&whole[..sent]).await.unwrap();
        slow.push((socket, sent));
    }
    let mut beside = Vec::new();
    for round in 0..GETS {
        // A byte each: a part of them between two requests.
        for (socket, sent) in slow.iter_mut().skip(round).step_by(GETS / 4) {
            let _ = socket.write_all(&whole[*sent..*sent + 1]).await;
            *sent += 1;
        }
        beside.push(get_seconds(&client).await);
    }
    let (idle, beside) = (median(idle), median(beside));
    eprintln!(
        "a GET takes {:.1} ms beside {SLOW} slow sockets, and {:.1} ms without",
        beside * 1e3,
        idle * 1e3
    );
    drop(slow);
    for _ in 0..300 {
        if store.metric("ashlar_s3_connections") == "0" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(store.metric("ashlar_s3_connections"), "0");
    assert!(descriptors() <= before + 50, "{} descriptors, {before} before", descriptors());
    let gets = format!("{}", 2 * GETS);
    assert_eq!(store.metric("ashlar_s3_requests_total{operation=\"GetObject\",class=\"2xx\"}"), gets);
    // Nothing of theirs is stored.
    expect(&client.head("/buc/slow").await, 404);
    store.wait_for_live(8192).await;
}

/// Requests of one measurement.
const GETS: usize = 60;

async fn get_seconds(client: &Client) -> f64 {
    let begun = SystemClock.now();
    assert_eq!(client.get("/buc/kept").await.body, [1; 8192]);
    SystemClock.now().since(begun).as_secs_f64()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Says that a test did not run, where the CI counts it.
fn skip(test: &str, why: &str) {
    use std::io::Write;
    let line = format!("test {test}: {why}\n");
    let _ = write!(std::io::stderr(), "SKIPPED {line}");
    if let Some(path) = std::env::var_os("ASHLAR_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
