//! What a connection asks for, and what the answer must be.

use super::bodies::Body;
use anyhow::{Result, bail};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    MakeBucket,
    Put { key: String, body: Body },
    Get { key: String, body: Body },
    Delete { key: String },
    List(List),
}

/// What kind of request it is; latencies are kept apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Put,
    Get,
    List,
    Delete,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Put, Self::Get, Self::List, Self::Delete];

    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Get => "GET",
            Self::List => "LIST",
            Self::Delete => "DELETE",
        }
    }
}

/// A page of a bucket (`ListObjectsV2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    pub prefix: String,
    pub start_after: String,
    pub order: Order,
    pub max_keys: u64,
    /// What the page must hold.
    pub page: Page,
}

/// Whether keys are folded at slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Flat,
    Delimiter,
}

/// The ends of a page, and how many entries it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub entries: u64,
    pub first: String,
    pub last: String,
}

impl Ask {
    pub fn kind(&self) -> Kind {
        match self {
            Self::MakeBucket | Self::Put { .. } => Kind::Put,
            Self::Get { .. } => Kind::Get,
            Self::Delete { .. } => Kind::Delete,
            Self::List(_) => Kind::List,
        }
    }

    pub fn method(&self) -> &'static str {
        match self {
            Self::MakeBucket | Self::Put { .. } => "PUT",
            Self::Get { .. } | Self::List(_) => "GET",
            Self::Delete { .. } => "DELETE",
        }
    }

    pub fn path(&self, bucket: &str) -> String {
        match self {
            Self::MakeBucket | Self::List(_) => format!("/{bucket}"),
            Self::Put { key, .. } | Self::Get { key, .. } | Self::Delete { key } => {
                format!("/{bucket}/{key}")
            }
        }
    }

    /// The query in the order that signatures want.
    pub fn query(&self) -> String {
        match self {
            Self::List(list) => list.query(),
            _ => String::new(),
        }
    }

    /// What is sent.
    pub fn upload(&self) -> Option<Body> {
        match self {
            Self::Put { body, .. } => Some(*body),
            _ => None,
        }
    }

    /// What must come, if that is known byte by byte.
    pub fn download(&self) -> Option<Body> {
        match self {
            Self::Get { body, .. } => Some(*body),
            _ => None,
        }
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::Delete { .. } => 204,
            _ => 200,
        }
    }

    /// Checks a whole answer that was not compared as it came in.
    pub fn check(&self, answer: &[u8]) -> Result<()> {
        match self {
            Self::List(list) => list.check(answer),
            _ => Ok(()),
        }
    }
}

impl List {
    fn query(&self) -> String {
        let mut query = String::with_capacity(96);
        if self.order == Order::Delimiter {
            query.push_str("delimiter=%2F&");
        }
        query.push_str(&format!("list-type=2&max-keys={}", self.max_keys));
        for (name, value) in [("prefix", &self.prefix), ("start-after", &self.start_after)] {
            if !value.is_empty() {
                query.push_str(&format!("&{name}={}", value.replace('/', "%2F")));
            }
        }
        query
    }

    fn check(&self, answer: &[u8]) -> Result<()> {
        if !answer.ends_with(b"</ListBucketResult>") && !answer.ends_with(b"</ListBucketResult>\n") {
            bail!(
                "a page does not end as a page: {}",
                String::from_utf8_lossy(&answer[answer.len().saturating_sub(80)..])
            );
        }
        let (open, close): (&[u8], &[u8]) = match self.order {
            Order::Flat => (b"<Key>", b"</Key>"),
            Order::Delimiter => (b"<CommonPrefixes><Prefix>", b"</Prefix>"),
        };
        let entry = |at: usize| {
            let rest = &answer[at + open.len()..];
            let end = memchr::memmem::find(rest, close).unwrap_or(0);
            String::from_utf8_lossy(&rest[..end]).into_owned()
        };
        let (mut entries, mut ends) = (0, None);
        for at in memchr::memmem::find_iter(answer, open) {
            entries += 1;
            ends = Some((ends.map_or(at, |(first, _)| first), at));
        }
        let (first, last) = ends.map_or_else(Default::default, |(first, last)| (entry(first), entry(last)));
        let found = Page { entries, first, last };
        if found != self.page {
            bail!("a page after {:?} holds {found:?} and not {:?}", self.start_after, self.page);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(order: Order, page: Page) -> List {
        List { prefix: String::new(), start_after: "0001/000002".into(), order, max_keys: 1000, page }
    }

    fn page(entries: u64, first: &str, last: &str) -> Page {
        Page { entries, first: first.into(), last: last.into() }
    }

    #[test]
    fn queries_are_in_order_and_escaped() {
        assert_eq!(
            Ask::List(list(Order::Flat, page(2, "a", "b"))).query(),
            "list-type=2&max-keys=1000&start-after=0001%2F000002"
        );
        let folded = List { prefix: "a/".into(), ..list(Order::Delimiter, page(1, "1/", "1/")) };
        assert_eq!(
            Ask::List(folded).query(),
            "delimiter=%2F&list-type=2&max-keys=1000&prefix=a%2F&start-after=0001%2F000002"
        );
        assert_eq!(Ask::Delete { key: "a/b".into() }.path("bench"), "/bench/a/b");
    }

    #[test]
    fn pages_are_checked() {
        let page =
            |entries, first: &str, last: &str| Page { entries, first: first.into(), last: last.into() };
        let flat = b"<ListBucketResult><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents></ListBucketResult>";
        list(Order::Flat, page(2, "a", "b")).check(flat).unwrap();
        for wrong in [page(3, "a", "b"), page(2, "a", "c"), page(2, "0", "b"), page(0, "", "")] {
            assert!(list(Order::Flat, wrong.clone()).check(flat).is_err(), "{wrong:?}");
        }
        assert!(list(Order::Flat, page(2, "a", "b")).check(&flat[..60]).is_err(), "cut off");
        let folded = b"<ListBucketResult><Prefix></Prefix><CommonPrefixes><Prefix>1/</Prefix></CommonPrefixes></ListBucketResult>";
        list(Order::Delimiter, page(1, "1/", "1/")).check(folded).unwrap();
        list(Order::Delimiter, page(0, "", "")).check(flat).unwrap();
    }
}
