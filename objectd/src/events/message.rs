//! What a webhook is told, in AWS's words ("Event message structure").

use crate::auth::uri::uri_encode;
use crate::http_date;
use meta::event::{EventKind, EventRow};
use serde_json::{Value, json};

/// The body of the request that tells a webhook of an event.
pub fn body(row: &EventRow, region: &str) -> String {
    let Some((name, version)) = named(row.kind) else { return test(row).to_string() };
    let mut object = json!({ "key": encoded(&row.key), "sequencer": format!("{:016X}", row.seq) });
    if let Value::Object(object) = &mut object {
        let version_id = row.version.map(|version| version.to_string());
        let optional = [
            ("size", row.size.map(Value::from)),
            ("eTag", row.etag.clone().map(Value::from)),
            ("versionId", version_id.map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        }
    }
    let record = json!({
        "eventVersion": version,
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": http_date::iso(row.time_ms),
        "eventName": name,
        "userIdentity": { "principalId": row.by.principal },
        "requestParameters": { "sourceIPAddress": row.by.source },
        "responseElements": { "x-amz-request-id": row.by.request, "x-amz-id-2": row.by.host },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": row.configuration,
            "bucket": {
                "name": row.bucket,
                "ownerIdentity": { "principalId": row.owner },
                "arn": format!("arn:aws:s3:::{}", row.bucket),
            },
            "object": object,
        },
    });
    json!({ "Records": [record] }).to_string()
}

fn test(row: &EventRow) -> Value {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": http_date::iso(row.time_ms),
        "Bucket": row.bucket,
        "RequestId": row.by.request,
        "HostId": row.by.host,
    })
}

/// An event's name, and the version of its message; none of a test.
fn named(kind: EventKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        EventKind::CreatedPut => ("ObjectCreated:Put", "2.1"),
        EventKind::CreatedPost => ("ObjectCreated:Post", "2.1"),
        EventKind::CreatedCopy => ("ObjectCreated:Copy", "2.1"),
        EventKind::CreatedComplete => ("ObjectCreated:CompleteMultipartUpload", "2.1"),
        EventKind::RemovedDelete => ("ObjectRemoved:Delete", "2.1"),
        EventKind::RemovedMarker => ("ObjectRemoved:DeleteMarkerCreated", "2.1"),
        EventKind::TaggingPut => ("ObjectTagging:Put", "2.3"),
        EventKind::TaggingDelete => ("ObjectTagging:Delete", "2.3"),
        EventKind::ExpiredDelete => ("LifecycleExpiration:Delete", "2.3"),
        EventKind::ExpiredMarker => ("LifecycleExpiration:DeleteMarkerCreated", "2.3"),
        EventKind::AclPut => ("ObjectAcl:Put", "2.3"),
        EventKind::Test => return None,
    })
}

/// As a form's value: a space is a plus sign ("red flower.jpg becomes red+flower.jpg"); slashes stay.
fn encoded(key: &str) -> String {
    uri_encode(key.as_bytes(), true).replace("%20", "+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::event::EventBy;
    use meta::object::VersionRef;

    fn row(kind: EventKind) -> EventRow {
        EventRow {
            seq: 0x1f,
            kind,
            configuration: "c".into(),
            bucket: "buc".into(),
            owner: "111122223333".into(),
            key: "red flower+é/x.jpg".into(),
            version: Some(VersionRef::Null),
            size: Some(7),
            etag: Some("e".into()),
            time_ms: 1_000,
            by: EventBy {
                principal: "AWS:AIDA".into(),
                source: "10.0.0.1".into(),
                request: "R".into(),
                host: "h".into(),
            },
        }
    }

    #[test]
    fn events_have_the_documented_shape() {
        let said: Value = serde_json::from_str(&body(&row(EventKind::CreatedPut), "ashlar-1")).unwrap();
        let expected = json!({ "Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "ashlar-1",
            "eventTime": "1970-01-01T00:00:01.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": { "principalId": "AWS:AIDA" },
            "requestParameters": { "sourceIPAddress": "10.0.0.1" },
            "responseElements": { "x-amz-request-id": "R", "x-amz-id-2": "h" },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "c",
                "bucket": {
                    "name": "buc",
                    "ownerIdentity": { "principalId": "111122223333" },
                    "arn": "arn:aws:s3:::buc",
                },
                "object": {
                    "key": "red+flower%2B%C3%A9/x.jpg",
                    "size": 7,
                    "eTag": "e",
                    "versionId": "null",
                    "sequencer": "000000000000001F",
                },
            },
        }] });
        assert_eq!(said, expected);
        let gone = EventRow { version: None, size: None, etag: None, ..row(EventKind::ExpiredDelete) };
        let said: Value = serde_json::from_str(&body(&gone, "r")).unwrap();
        let record = &said["Records"][0];
        assert_eq!(
            (&record["eventName"], &record["eventVersion"]),
            (&json!("LifecycleExpiration:Delete"), &json!("2.3"))
        );
        assert_eq!(record["s3"]["object"].as_object().unwrap().len(), 2);
    }

    #[test]
    fn tests_are_told_as_such() {
        let said: Value = serde_json::from_str(&body(&row(EventKind::Test), "r")).unwrap();
        assert_eq!(
            (&said["Event"], &said["Bucket"], &said["Service"]),
            (&json!("s3:TestEvent"), &json!("buc"), &json!("Amazon S3"))
        );
        assert!(said.get("Records").is_none());
    }
}
