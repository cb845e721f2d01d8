//! Multipart uploads on a real store.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use life::Life;
use objectd::xml::{self, Element};
use support::{Call, Client, Response};

const PART: usize = 5 << 20;

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

fn document(response: &Response, root: &str) -> Element {
    expect(response, 200);
    xml::parse(&response.body, root).unwrap()
}

async fn create(client: &Client, target: &str) -> String {
    let created =
        document(&client.post(&format!("{target}?uploads"), b"").await, "InitiateMultipartUploadResult");
    created.child_text("UploadId").unwrap().to_owned()
}

async fn part(client: &Client, target: &str, upload: &str, number: u32, data: &[u8]) -> Response {
    client.put(&format!("{target}?partNumber={number}&uploadId={upload}"), data).await
}

async fn complete(client: &Client, target: &str, upload: &str, parts: &[(u32, String)]) -> Response {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    client.post(&format!("{target}?uploadId={upload}"), body.as_bytes()).await
}

fn etag(response: &Response) -> String {
    expect(response, 200);
    response.header("etag").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_object() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let upload = create(&client, "/buc/big").await;
    let (first, last) = (vec![1; PART + 100], vec![2; 1000]);
    // Replaced before completion: only the second is in the object.
    expect(&part(&client, "/buc/big", &upload, 3, b"replaced").await, 200);
    let last_tag = etag(&part(&client, "/buc/big", &upload, 3, &last).await);
    let first_tag = etag(&part(&client, "/buc/big", &upload, 1, &first).await);
    let unused = etag(&part(&client, "/buc/big", &upload, 2, b"unused").await);
    let listed = document(&client.get(&format!("/buc/big?uploadId={upload}")).await, "ListPartsResult");
    let numbers: Vec<_> = listed.all("Part").filter_map(|part| part.child_text("PartNumber")).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    let uploads = document(&client.get("/buc?uploads").await, "ListMultipartUploadsResult");
    assert_eq!(uploads.child("Upload").and_then(|found| found.child_text("UploadId")), Some(upload.as_str()));
    expect(&client.head("/buc/big").await, 404);
    for (parts, code) in [
        (vec![(3, last_tag.clone()), (1, first_tag.clone())], "InvalidPartOrder"),
        (vec![(1, first_tag.clone()), (1, first_tag.clone())], "InvalidPartOrder"),
        (vec![(1, last_tag.clone())], "InvalidPart"),
        (vec![(4, last_tag.clone())], "InvalidPart"),
        (vec![(2, unused.clone()), (3, last_tag.clone())], "EntityTooSmall"),
        (vec![], "MalformedXML"),
    ] {
        let refused = complete(&client, "/buc/big", &upload, &parts).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, code));
    }
    let parts = [(1, first_tag), (3, last_tag)];
    let done = complete(&client, "/buc/big", &upload, &parts).await;
    let done = document(&done, "CompleteMultipartUploadResult");
    let tag = done.child_text("ETag").unwrap();
    assert!(tag.ends_with("-2\""), "{tag}");
    let got = client.get("/buc/big").await;
    assert!(got.body == [first.clone(), last.clone()].concat());
    assert_eq!(got.header("etag"), Some(tag));
    let second = client.get("/buc/big?partNumber=2").await;
    assert_eq!((second.status, second.header("x-amz-mp-parts-count")), (206, Some("2")));
    assert!(second.body == last);
    expect(&client.get("/buc/big?partNumber=3").await, 416);
    expect(&complete(&client, "/buc/big", &upload, &parts).await, 404);
    assert!(
        document(&client.get("/buc?uploads").await, "ListMultipartUploadsResult").child("Upload").is_none()
    );
    // A copy of it is one whole, with an MD5 for its tag.
    let headers = vec![("x-amz-copy-source".to_owned(), "/buc/big".to_owned())];
    let call = Call { method: "PUT", target: "/buc/copy".into(), headers, ..Call::default() };
    document(&client.call(&call).await, "CopyObjectResult");
    let copied = client.get("/buc/copy").await;
    assert!(copied.body == got.body && !copied.header("etag").unwrap().contains('-'));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_copied_from_objects() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let data: Vec<u8> = (0..PART + 5000).map(|at| (at / 777).to_le_bytes()[0]).collect();
    expect(&client.put("/buc/source", &data).await, 200);
    let upload = create(&client, "/buc/target").await;
    let mut parts = Vec::new();
    for (number, range) in [(1, format!("bytes=10-{}", PART + 9)), (2, "bytes=5-9".to_owned())] {
        let headers = vec![
            ("x-amz-copy-source".to_owned(), "buc/source".to_owned()),
            ("x-amz-copy-source-range".to_owned(), range),
        ];
        let target = format!("/buc/target?partNumber={number}&uploadId={upload}");
        let call = Call { method: "PUT", target, headers, ..Call::default() };
        let copied = document(&client.call(&call).await, "CopyPartResult");
        parts.push((number, copied.child_text("ETag").unwrap().to_owned()));
    }
    expect(&complete(&client, "/buc/target", &upload, &parts).await, 200);
    let got = client.get("/buc/target").await;
    assert!(got.body == [&data[10..PART + 10], &data[5..10]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_parts_and_aborts() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let upload = create(&client, "/buc/k").await;
    for number in [0, 10_001] {
        let refused = part(&client, "/buc/k", &upload, number, b"x").await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidArgument"), "{number}");
    }
    expect(&part(&client, "/buc/other", &upload, 1, b"x").await, 404);
    expect(&part(&client, "/buc/k", "0123", 1, b"x").await, 404);
    let tag = etag(&part(&client, "/buc/k", &upload, 1, &vec![9; 100_000]).await);
    let full = client.delete("/buc").await;
    assert_eq!((full.status, full.code().as_str()), (409, "BucketNotEmpty"));
    expect(&client.delete(&format!("/buc/k?uploadId={upload}")).await, 204);
    for gone in [
        part(&client, "/buc/k", &upload, 1, b"x").await,
        complete(&client, "/buc/k", &upload, &[(1, tag)]).await,
        client.delete(&format!("/buc/k?uploadId={upload}")).await,
    ] {
        assert_eq!((gone.status, gone.code().as_str()), (404, "NoSuchUpload"));
    }
    expect(&client.delete("/buc").await, 204);
}

/// Row 16 of the table of hostile input: 1,000 races.
const RACES: usize = 1000;
/// How many of them run beside each other.
const LANES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn abort_complete_and_part_race_to_one_outcome() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..LANES {
        let client = client.clone();
        lanes.spawn(async move {
            let mut completed = 0;
            for round in (lane..RACES).step_by(LANES) {
                completed += usize::from(race(&client, round).await);
            }
            completed
        });
    }
    let completed: usize = lanes.join_all().await.into_iter().sum();
    // Both outcomes must have come about, or nothing raced.
    assert!(completed > 0 && completed < RACES, "{completed} of {RACES} were completed");
    assert!(
        document(&client.get("/buc?uploads").await, "ListMultipartUploadsResult").child("Upload").is_none()
    );
    // What the winners hold, in whole blocks, and nothing else.
    store.wait_for_live(completed as u64 * 8192).await;
}

/// Whether it was completed.
async fn race(client: &Client, round: usize) -> bool {
    let target = format!("/buc/race-{round}");
    let upload = create(client, &target).await;
    let tag = etag(&part(client, &target, &upload, 1, &[1; 5000]).await);
    let (parts, whole, other) = ([(1, tag)], format!("{target}?uploadId={upload}"), [2; 5000]);
    // None of the three is always the first to be sent.
    let delay = |turn: usize| async move {
        for _ in 0..(round / 3 + turn) % 3 * 40 {
            tokio::task::yield_now().await;
        }
    };
    let (completed, aborted, replaced) = tokio::join!(
        async {
            delay(0).await;
            complete(client, &target, &upload, &parts).await
        },
        async {
            delay(1).await;
            client.delete(&whole).await
        },
        async {
            delay(2).await;
            part(client, &target, &upload, 1, &other).await
        },
    );
    assert!(matches!(replaced.status, 200 | 404), "{}", replaced.text());
    let got = client.get(&target).await;
    match completed.status {
        200 => assert!(aborted.status == 404 && got.body == [1; 5000], "{}", aborted.status),
        400 => assert!(aborted.status == 204 && got.status == 404, "{}", completed.text()),
        404 => assert!(aborted.status == 204 && got.status == 404),
        other => panic!("{other}: {}", completed.text()),
    }
    completed.status == 200
}
