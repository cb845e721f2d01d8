//! Encrypted objects on a real store: what is asked for is what is kept, and it comes back only to whom it should.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;
#[path = "support/tls.rs"]
mod tls;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use life::{Life, POOL_KEY};
use md5::{Digest as _, Md5};
use meta::sealing::PoolKeyRecord;
use objectd::sse::key_file::KeyFile;
use objectd::xml;
use rt::rng::SystemRng;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use support::{Call, Client, Response};
use tls::Secure;

const SSE: &str = "x-amz-server-side-encryption";
const POOL: (&str, &str) = (SSE, "AES256");
const SEGMENT: usize = 65_520;
const PART: usize = 5 << 20;
const SETTING: &str = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
    <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

fn shown(response: &Response) -> Option<&str> {
    response.header(SSE)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_to_be_encrypted_comes_back_whole_and_in_ranges() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    for size in [0, 1, 3072, 3073, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 77, (1 << 20) + 5] {
        let body = text(size);
        let put = client.send_with("PUT", "/buc/k", &[POOL], &body).await;
        expect(&put, 200);
        let etag = format!("\"{}\"", hex::encode(Md5::digest(&body)));
        assert_eq!((shown(&put), put.header("etag")), (Some("AES256"), Some(&*etag)), "{size}");
        let got = client.get("/buc/k").await;
        expect(&got, 200);
        assert_eq!((shown(&got), got.header("etag")), (Some("AES256"), Some(&*etag)), "{size}");
        assert!(got.body == body, "{size}");
        let head = client.head("/buc/k").await;
        assert_eq!((shown(&head), head.header("content-length")), (Some("AES256"), Some(&*size.to_string())));
        for (from, to) in [(0, 0), (SEGMENT - 1, SEGMENT), (SEGMENT, 2 * SEGMENT), (size / 2, size)] {
            if from < size {
                let range = format!("bytes={from}-{to}");
                let part = client.send_with("GET", "/buc/k", &[("range", &range)], b"").await;
                expect(&part, 206);
                assert!(part.body == body[from..size.min(to + 1)], "{size} {range}");
            }
        }
    }
    let list = client.get("/buc?list-type=2").await;
    assert!(list.text().contains(&format!("<Size>{}</Size>", (1 << 20) + 5)), "{}", list.text());
    // What says nothing is kept in clear, as before.
    expect(&client.put("/buc/k", b"plain").await, 200);
    assert_eq!(shown(&client.get("/buc/k").await), None);
    for (header, code) in [("aws:kms", 501), ("aws:kms:dsse", 501), ("none", 400)] {
        expect(&client.send_with("PUT", "/buc/k", &[(SSE, header)], b"x").await, code);
    }
    expect(&client.send_with("GET", "/buc/k", &[POOL], b"").await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_s_setting_is_for_what_says_nothing() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let none = client.get("/buc?encryption").await;
    assert_eq!((none.status, none.code().as_str()), (404, "ServerSideEncryptionConfigurationNotFoundError"));
    assert_eq!(shown(&client.put("/buc/clear", b"x").await), None);
    assert!(!store.folder.path().join(POOL_KEY).exists(), "nothing needed a key so far");
    expect(&client.put("/buc?encryption", SETTING.as_bytes()).await, 200);
    let kms = SETTING.replace("AES256", "aws:kms");
    expect(&client.put("/buc?encryption", kms.as_bytes()).await, 501);
    let found =
        xml::parse(&client.get("/buc?encryption").await.body, "ServerSideEncryptionConfiguration").unwrap();
    assert_eq!(found.children[0].child_text("BucketKeyEnabled"), Some("false"));
    assert_eq!(shown(&client.put("/buc/k", b"x").await), Some("AES256"));
    assert_eq!(shown(&client.get("/buc/k").await), Some("AES256"));
    assert_eq!(shown(&client.get("/buc/clear").await), None, "what was there stays as it was");
    let copied = client.send_with("PUT", "/buc/c", &[("x-amz-copy-source", "/buc/clear")], b"").await;
    assert_eq!((shown(&copied), client.get("/buc/c").await.body), (Some("AES256"), b"x".to_vec()));
    expect(&client.delete("/buc?encryption").await, 204);
    assert_eq!(shown(&client.put("/buc/k", b"x").await), None);
    // A copy of what is encrypted isn't kept in clear because nobody spoke of it.
    let copied = client.send_with("PUT", "/buc/d", &[("x-amz-copy-source", "/buc/c")], b"").await;
    assert_eq!((shown(&copied), shown(&client.head("/buc/d").await)), (Some("AES256"), Some("AES256")));
}

async fn upload(send: impl AsyncFn(Call) -> Response, headers: &[(&str, &str)], parts: &[&[u8]]) -> Response {
    let created = send(Call::new("POST", "/buc/m?uploads", headers, b"")).await;
    expect(&created, 200);
    let id = created.element("UploadId").unwrap();
    let with_key: Vec<(&str, &str)> = headers.iter().copied().filter(|(name, _)| *name != SSE).collect();
    let mut list = String::new();
    for (number, part) in (1..).zip(parts) {
        let target = format!("/buc/m?partNumber={number}&uploadId={id}");
        // The first is put twice: what it was before is not what it is.
        let former: &[u8] = &[7; PART];
        let bodies = if number == 1 { vec![former, *part] } else { vec![*part] };
        for body in bodies {
            let put = send(Call::new("PUT", &target, &with_key, body)).await;
            expect(&put, 200);
            let etag = put.header("etag").unwrap();
            if body == *part {
                list.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
            }
            assert_eq!(shown(&put), shown(&created));
        }
    }
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let done = send(Call::new("POST", &format!("/buc/m?uploadId={id}"), &[], body.as_bytes())).await;
    expect(&done, 200);
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_encrypted_each_by_itself_and_read_as_one() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let whole = text(2 * PART + 100_000);
    let parts = [&whole[..PART], &whole[PART..2 * PART], &whole[2 * PART..]];
    let done = upload(async |call| client.call(&call).await, &[POOL], &parts).await;
    assert_eq!(shown(&done), Some("AES256"));
    assert!(client.get("/buc/m").await.body == whole);
    for (from, to) in
        [(PART - 3, PART + 3), (0, 10), (PART + SEGMENT - 1, 2 * PART + 1), (whole.len() - 1, whole.len())]
    {
        let range = format!("bytes={from}-{}", to - 1);
        let got = client.send_with("GET", "/buc/m", &[("range", &range)], b"").await;
        assert!(got.body == whole[from..to], "{range}");
    }
    let second = client.get("/buc/m?partNumber=2").await;
    assert!(second.body == parts[1]);
    // A part that is copied out of it, and the whole, as clear as the header's absence can't make it.
    let copied = client.send_with("PUT", "/buc/n", &[("x-amz-copy-source", "/buc/m")], b"").await;
    assert_eq!(shown(&copied), Some("AES256"));
    assert!(client.get("/buc/n").await.body == whole);
    let created = client.send_with("POST", "/buc/o?uploads", &[], b"").await;
    let id = created.element("UploadId").unwrap();
    let of_part = [("x-amz-copy-source", "/buc/m"), ("x-amz-copy-source-range", "bytes=5242870-5242890")];
    let part = client.send_with("PUT", &format!("/buc/o?partNumber=1&uploadId={id}"), &of_part, b"").await;
    expect(&part, 200);
    let etag = part.element("ETag").unwrap();
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    expect(&client.post(&format!("/buc/o?uploadId={id}"), list.as_bytes()).await, 200);
    let got = client.get("/buc/o").await;
    assert_eq!((shown(&got), &got.body[..]), (None, &whole[5_242_870..=5_242_890]));
    let keys = store.meta.pool_keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.uses).collect::<Vec<_>>(), [2]);
}

/// Whether a text is anywhere in the files below a folder.
fn holds(folder: &Path, canary: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holds(&path, canary));
            continue;
        }
        let (mut file, mut buffer, mut kept) = (File::open(&path).unwrap(), vec![0; 1 << 20], 0);
        loop {
            let read = file.read(&mut buffer[kept..]).unwrap();
            if read == 0 {
                break;
            }
            let end = kept + read;
            if memchr::memmem::find(&buffer[..end], canary).is_some() {
                found.push(path.display().to_string());
                break;
            }
            kept = canary.len().min(end);
            buffer.copy_within(end - kept..end, 0);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_on_the_disks_in_clear() {
    let store = Life::create(128 << 20).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let body = |canary: &str, size: usize| canary.repeat(size / canary.len() + 1).into_bytes();
    let small = body("a small canary that sings. ", 200);
    let large = body("a large canary that sings. ", 1 << 20);
    expect(&client.send_with("PUT", "/buc/small", &[POOL], &small).await, 200);
    expect(&client.send_with("PUT", "/buc/large", &[POOL], &large).await, 200);
    upload(async |call| client.call(&call).await, &[POOL], &[&body("a canary in parts. ", PART)]).await;
    // Those in clear are found, so that finding none means something.
    expect(&client.put("/buc/plain", &body("a plain small canary. ", 200)).await, 200);
    expect(&client.put("/buc/clear", &body("a plain large canary. ", 1 << 20)).await, 200);
    assert!(client.get("/buc/small").await.body == small && client.get("/buc/large").await.body == large);
    let folder = store.stop().await;
    for canary in ["small canary that sings", "large canary that sings", "canary in parts"] {
        assert_eq!(holds(folder.path(), canary.as_bytes()), Vec::<String>::new(), "{canary}");
    }
    for canary in ["plain small canary", "plain large canary"] {
        assert!(!holds(folder.path(), canary.as_bytes()).is_empty(), "{canary}");
    }
    // The pool's key is in its own file alone.
    let keys = KeyFile::read(&folder.path().join(POOL_KEY)).unwrap().unwrap();
    for secret in [hex::encode(keys.newest().secret()).into_bytes(), keys.newest().secret().to_vec()] {
        let found = holds(folder.path(), &secret);
        assert!(found.iter().all(|path| path.ends_with(POOL_KEY)), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_wrong_key_file_is_told_and_never_made_anew() {
    let store = Life::create(128 << 20).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    expect(&client.send_with("PUT", "/buc/k", &[POOL], b"secret").await, 200);
    let folder = store.stop().await;
    let path = folder.path().join(POOL_KEY);
    let kept = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (why, folder) = Life::try_open(folder).await.err().unwrap();
    assert!(why.contains("pool.key is missing") && !path.exists(), "{why}");
    KeyFile::new(&"0".repeat(32), &mut SystemRng).create(&path).unwrap();
    let (why, folder) = Life::try_open(folder).await.err().unwrap();
    assert!(why.contains("lacks keys"), "{why}");
    std::fs::write(&path, kept.replace(&"0".repeat(32), &"1".repeat(32))).unwrap();
    let (why, folder) = Life::try_open(folder).await.err().unwrap();
    assert!(why.contains("of the pool 111"), "{why}");
    std::fs::write(&path, kept.replace("key ", "kez ")).unwrap();
    let (why, folder) = Life::try_open(folder).await.err().unwrap();
    assert!(why.contains("damaged") || why.contains("can't be used"), "{why}");
    std::fs::write(&path, kept).unwrap();
    let store = Life::open(folder).await;
    assert_eq!(store.client().get("/buc/k").await.body, b"secret");
}

/// The headers of a customer's key, of an object's own or of a copy's source.
fn customer(prefix: &'static str, key: &[u8; 32]) -> [(String, String); 3] {
    let name = |end: &str| format!("x-amz-{prefix}server-side-encryption-customer-{end}");
    [
        (name("algorithm"), "AES256".to_owned()),
        (name("key"), BASE64.encode(key)),
        (name("key-md5"), BASE64.encode(Md5::digest(key))),
    ]
}

struct Shop {
    store: Life,
    secure: Secure,
    client: Client,
}

impl Shop {
    async fn open() -> Self {
        let (secure, https) = Secure::bind().await;
        let store = Life::create_with(1 << 30, Some(https)).await;
        let client = store.client();
        expect(&client.put("/buc", b"").await, 200);
        Self { store, secure, client }
    }

    async fn call(
        &self,
        method: &'static str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Response {
        let call = Call { headers: headers.to_vec(), ..Call::new(method, target, &[], body) };
        self.secure.call(&self.client, &call).await
    }
}

const A: &[u8; 32] = b"the first of two customers' keys";
const B: &[u8; 32] = b"the other of two customers' keys";
const MD5: &str = "x-amz-server-side-encryption-customer-key-md5";

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_s_key_opens_what_it_sealed_and_no_other_does() {
    let shop = Shop::open().await;
    let (a, b) = (customer("", A), customer("", B));
    for size in [20, 200_000] {
        let body = text(size);
        let put = shop.call("PUT", "/buc/c", &a, &body).await;
        expect(&put, 200);
        assert_eq!((put.header(MD5), shown(&put)), (Some(&*a[2].1), None));
        let got = shop.call("GET", "/buc/c", &a, b"").await;
        expect(&got, 200);
        assert!(got.body == body && got.header(MD5) == Some(&*a[2].1));
        expect(&shop.call("HEAD", "/buc/c", &a, b"").await, 200);
        let attributes = [("x-amz-object-attributes".to_owned(), "ObjectSize".to_owned())];
        expect(&shop.call("GET", "/buc/c?attributes", &[&a[..], &attributes].concat(), b"").await, 200);
        for (method, target) in [("GET", "/buc/c"), ("HEAD", "/buc/c")] {
            expect(&shop.call(method, target, &[], b"").await, 400);
            expect(&shop.call(method, target, &b, b"").await, 403);
        }
        expect(&shop.call("GET", "/buc/c?attributes", &attributes, b"").await, 400);
        let wrong = shop.call("GET", "/buc/c", &b, b"").await;
        assert_eq!(wrong.code(), "AccessDenied");
        let missing = shop.call("GET", "/buc/c", &[], b"").await;
        assert_eq!(missing.code(), "InvalidRequest");
    }
    let clear =
        shop.client.call(&Call { headers: a.to_vec(), ..Call::new("PUT", "/buc/x", &[], b"x") }).await;
    assert_eq!((clear.status, clear.code().as_str()), (400, "InvalidRequest"));
    assert!(clear.text().contains("must be made over a secure connection"), "{}", clear.text());
    // A key for what needs none.
    expect(&shop.call("PUT", "/buc/p", &[], b"x").await, 200);
    let needless = shop.call("GET", "/buc/p", &a, b"").await;
    assert_eq!((needless.status, needless.code().as_str()), (400, "InvalidRequest"));
    // Deleting, and what is said of an object, needs no key.
    expect(&shop.call("DELETE", "/buc/c", &[], b"").await, 204);
    let keys: Vec<PoolKeyRecord> = shop.store.meta.pool_keys().await.unwrap();
    assert!(keys.is_empty(), "no pool key was needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn customer_s_keys_are_for_uploads_and_copies_too() {
    let shop = Shop::open().await;
    let (a, b) = (customer("", A), customer("", B));
    let borrowed: Vec<(&str, &str)> = a.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let whole = text(PART + 70_000);
    let parts = [&whole[..PART], &whole[PART..]];
    upload(async |call| shop.secure.call(&shop.client, &call).await, &borrowed, &parts).await;
    assert!(shop.call("GET", "/buc/m", &a, b"").await.body == whole);
    expect(&shop.call("GET", "/buc/m", &b, b"").await, 403);
    let created = shop.call("POST", "/buc/u?uploads", &a, b"").await;
    let id = created.element("UploadId").unwrap();
    let target = format!("/buc/u?partNumber=1&uploadId={id}");
    for headers in [&[][..], &b] {
        let refused = shop.call("PUT", &target, headers, b"part").await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidRequest"));
    }
    let source = [("x-amz-copy-source".to_owned(), "/buc/m".to_owned())];
    let with = |parts: &[&[(String, String)]]| parts.concat();
    let of_source = customer("copy-source-", A);
    let part = shop.call("PUT", &target, &with(&[&source, &of_source, &a]), b"").await;
    expect(&part, 200);
    // A copy: with the source's key to clear, to a pool key's and to another customer's.
    let refused = shop.call("PUT", "/buc/x", &source, b"").await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidRequest"));
    let refused = shop.call("PUT", "/buc/x", &with(&[&source, &customer("copy-source-", B)]), b"").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "AccessDenied"));
    let copied = shop.call("PUT", "/buc/x", &with(&[&source, &of_source]), b"").await;
    assert_eq!((copied.status, shown(&copied)), (200, Some("AES256")), "not in clear");
    assert!(shop.call("GET", "/buc/x", &[], b"").await.body == whole);
    expect(&shop.call("PUT", "/buc/y", &with(&[&source, &of_source, &b]), b"").await, 200);
    assert!(shop.call("GET", "/buc/y", &b, b"").await.body == whole);
    expect(&shop.call("GET", "/buc/y", &a, b"").await, 403);
    // To itself, with another key: that is a change.
    let itself = [("x-amz-copy-source".to_owned(), "/buc/y".to_owned())];
    expect(&shop.call("PUT", "/buc/y", &with(&[&itself, &customer("copy-source-", B), &a]), b"").await, 200);
    assert!(shop.call("GET", "/buc/y", &a, b"").await.body == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_loses_nothing() {
    let store = Life::create(512 << 20).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    expect(&client.put("/buc?encryption", SETTING.as_bytes()).await, 200);
    let path = store.folder.path().join(POOL_KEY);
    let mut written: Vec<(String, Vec<u8>)> = Vec::new();
    let (mut round, mut rotated) = (0usize, false);
    loop {
        for writer in 0..3usize {
            let body = text(1000 + (round * 7919 + writer * 30_011) % 150_000);
            let name = format!("/buc/{round}-{writer}");
            expect(&client.put(&name, &body).await, 200);
            written.push((name, body));
        }
        round += 1;
        if round == 3 {
            let mut file = KeyFile::read(&path).unwrap().unwrap();
            file.rotate(&mut SystemRng);
            file.replace(&path).unwrap();
        }
        let keys = store.meta.pool_keys().await.unwrap();
        if rotated && keys[1].uses > 5 {
            break;
        }
        rotated |= keys.len() == 2;
        if round > 10 && !rotated {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(round < 400, "the new key was never used");
    }
    let keys = store.meta.pool_keys().await.unwrap();
    assert!(keys.iter().all(|key| key.uses > 0), "{keys:?}");
    assert_eq!(keys.iter().map(|key| key.uses).sum::<u64>(), written.len() as u64);
    let folder = store.stop().await;
    let store = Life::open(folder).await;
    for (name, body) in &written {
        assert!(store.client().get(name).await.body == *body, "{name}");
    }
    // A file without the former key is of no use to the next start.
    let folder = store.stop().await;
    let both = KeyFile::read(&path).unwrap().unwrap();
    let without = |rewrap: bool| KeyFile { keys: both.keys[1..].to_vec(), rewrap, ..both.clone() };
    without(false).replace(&path).unwrap();
    let (why, folder) = Life::try_open(folder).await.err().unwrap();
    assert!(why.contains("lacks keys"), "{why}");
    KeyFile { rewrap: true, ..both.clone() }.replace(&path).unwrap();
    let store = Life::open(folder).await;
    rewrapped(&store, &mut written).await;
    // Until the objects' keys were encrypted anew: then it is all that is needed.
    let folder = store.stop().await;
    without(true).replace(&path).unwrap();
    let store = Life::open(folder).await;
    for (name, body) in &written {
        assert!(store.client().get(name).await.body == *body, "{name}");
    }
}

/// Goes on writing until the former key opens nothing.
async fn rewrapped(store: &Life, written: &mut Vec<(String, Vec<u8>)>) {
    for round in 0.. {
        let keys = store.meta.pool_keys().await.unwrap();
        if keys[0].uses == 0 {
            assert_eq!(keys[1].uses, written.len() as u64);
            return;
        }
        assert!(round < 400, "{keys:?}");
        // Over what is there, and beside it.
        for name in [format!("/buc/{}-0", round % 3), format!("/buc/late-{round}")] {
            let body = text(2000 + round * 997);
            expect(&store.client().put(&name, &body).await, 200);
            match written.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = body,
                None => written.push((name, body)),
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
