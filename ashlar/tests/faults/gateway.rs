//! A gateway that is killed while it takes objects in: each is there whole or not at all, and what was written of the
//! others is given back.

use std::time::Duration;
use tokio::runtime::Runtime;
use trial::fleet::{Fleet, Network};
use trial::harness::{Random, eventually, noise, seed, sleep};
use trial::s3_client::{Answer, S3Client, runtime};
use trial::w2::{self, Objects};

const MINUTE: Duration = Duration::from_secs(60);
const TURNS: u64 = 4;
const PART: usize = 5 << 20;
const LAST_PART: usize = 100_000;
const LARGE: usize = 8 << 20;
/// What may lie on each disk when every object is gone: blocks that are waited for, the gateways' notes.
const LEFT_BYTES: u64 = 1 << 20;

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn between<'a>(text: &'a str, tag: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let parts: Vec<&str> = text.split(open.as_str()).skip(1).collect();
    parts.into_iter().filter_map(move |part| part.split(close.as_str()).next())
}

/// An upload with both parts there.
struct Upload {
    key: String,
    id: String,
    complete: String,
    whole: Vec<u8>,
}

impl Upload {
    async fn begin(s3: &S3Client, turn: u64) -> Self {
        let key = format!("/bucket/upload{turn}");
        let begun = s3.send("POST", &format!("{key}?uploads"), Vec::new()).await.unwrap();
        assert_eq!(begun.status, 200, "{}", text(&begun));
        let id = between(&text(&begun), "UploadId").next().unwrap().to_owned();
        let whole = noise(turn, PART + LAST_PART);
        for (number, part) in [&whole[..PART], &whole[PART..]].into_iter().enumerate() {
            let path = format!("{key}?partNumber={}&uploadId={id}", number + 1);
            let answer = s3.put(&path, part.to_vec()).await.unwrap();
            assert_eq!(answer.status, 200, "{}", text(&answer));
        }
        let parts = s3.get(&format!("{key}?uploadId={id}")).await.unwrap();
        let parts = text(&parts);
        let tags = between(&parts, "ETag").enumerate();
        let parts: String = tags
            .map(|(at, tag)| format!("<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>", at + 1))
            .collect();
        let complete = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        Self { key, id, complete, whole }
    }

    async fn complete(&self, s3: &S3Client) -> Option<Answer> {
        s3.send("POST", &format!("{}?uploadId={}", self.key, self.id), self.complete.clone().into_bytes())
            .await
    }
}

/// Row 11.
#[test]
fn a_killed_gateway_leaves_whole_objects_only_and_nothing_else() {
    let seed = seed();
    let mut random = Random(seed);
    let mut fleet = Fleet::start("1G", Network::Plain, seed).unwrap();
    fleet.wait_whole(MINUTE);
    let (runtime, s3) = (runtime(), fleet.s3());
    assert_eq!(runtime.block_on(s3.put("/bucket", Vec::new())).unwrap().status, 200);
    let mut objects = Objects::default();
    let mut cut_short = 0;
    for turn in 0..TURNS {
        let before = objects.puts;
        let load = w2::Load::start(&runtime, &s3, "bucket", objects, random.next());
        let upload = runtime.block_on(Upload::begin(&s3, turn));
        eventually("some PUTs", MINUTE, || (load.puts() > before + 20).then_some(()));
        let large = format!("/bucket/large{turn}");
        let (client, key) = (s3.clone(), large.clone());
        let putting = runtime.spawn(async move { client.put(&key, noise(turn, LARGE)).await });
        let client = s3.clone();
        sleep(Duration::from_millis(random.below(40)));
        let completing = runtime.spawn(async move { (upload.complete(&client).await, upload) });
        sleep(Duration::from_millis(random.below(40)));
        fleet.kill_gateway();
        objects = load.finish(&runtime);
        let put = runtime.block_on(putting).unwrap();
        let (completed, upload) = runtime.block_on(completing).unwrap();
        cut_short += u64::from(put.is_none()) + u64::from(completed.is_none());
        fleet.start_gateway();
        objects = objects.verify(&runtime, &s3);
        objects.assert_whole(seed);

        whole_or_not_there(&runtime, &s3, &large, put, &noise(turn, LARGE));
        if !whole_or_not_there(&runtime, &s3, &upload.key, completed, &upload.whole) {
            // Then it is still an upload, and can be completed.
            let again = runtime.block_on(upload.complete(&s3)).unwrap();
            assert_eq!(again.status, 200, "seed {seed}: {}", text(&again));
            assert!(whole_or_not_there(&runtime, &s3, &upload.key, Some(again), &upload.whole));
        }
    }
    assert!(cut_short > 0 && objects.retries > 0, "seed {seed}: no request was cut short");
    delete_all(&runtime, &s3);
    eventually("the room of everything deleted and everything cut short", 2 * MINUTE, || {
        sleep(Duration::from_millis(200));
        let status = fleet.status()?;
        let used: Vec<u64> =
            status["disks"].as_array()?.iter().filter_map(|d| d["used_bytes"].as_u64()).collect();
        (!used.is_empty() && used.iter().all(|used| *used < LEFT_BYTES)).then_some(())
    });
}

/// Whether it is there. What was answered with success is.
#[track_caller]
fn whole_or_not_there(
    runtime: &Runtime,
    s3: &S3Client,
    key: &str,
    answered: Option<Answer>,
    whole: &[u8],
) -> bool {
    let seen = runtime.block_on(s3.get(key)).unwrap();
    let promised = answered.is_some_and(|answer| answer.status == 200);
    match seen.status {
        200 => assert!(seen.body == whole, "{key} is not whole: {} bytes", seen.body.len()),
        404 => assert!(!promised, "{key} was answered with success and is not there"),
        other => panic!("{key}: {other}: {}", text(&seen)),
    }
    seen.status == 200
}

fn delete_all(runtime: &Runtime, s3: &S3Client) {
    loop {
        let list = text(&runtime.block_on(s3.get("/bucket?list-type=2")).unwrap());
        let keys: Vec<&str> = between(&list, "Key").collect();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            let answer = runtime.block_on(s3.send("DELETE", &format!("/bucket/{key}"), Vec::new())).unwrap();
            assert_eq!(answer.status, 204, "{}", text(&answer));
        }
    }
}
