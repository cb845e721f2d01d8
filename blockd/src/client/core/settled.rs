//! Which versions every in-sync member has: the contiguous part is *settled*.

use proto::Version;
use std::collections::VecDeque;

/// Counts the versions a writer gives out, and up to which all of them are acked by all.
#[derive(Debug)]
pub(super) struct Settled {
    settled: Version,
    last: Version,
    /// Whether each version above `settled` and up to `last` is acked by all; bounded by the window of
    /// writes, since a version is given out when its write starts.
    acked: VecDeque<bool>,
}

impl Settled {
    /// Everything up to `version` is settled.
    pub fn at(version: Version) -> Self {
        Self { settled: version, last: version, acked: VecDeque::new() }
    }

    /// The next version, or `None` when the epoch's are used up.
    pub fn next(&mut self) -> Option<Version> {
        self.last = self.last.next()?;
        self.acked.push_back(false);
        Some(self.last)
    }

    /// Every in-sync member has `version`, which `next` gave and nobody reported before.
    pub fn ack(&mut self, version: Version) {
        let at = usize::try_from(version.0 - self.settled.0 - 1).expect("bounded by the window of writes");
        self.acked[at] = true;
        while self.acked.front() == Some(&true) {
            self.acked.pop_front();
            self.settled.0 += 1;
        }
    }

    /// The highest version that was given out.
    pub fn last(&self) -> Version {
        self.last
    }

    pub fn settled(&self) -> Version {
        self.settled
    }

    /// How many versions lie between the oldest that is not settled and the newest.
    pub fn span(&self) -> usize {
        self.acked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::VolumeEpoch;

    #[test]
    fn only_the_contiguous_part_is_settled() {
        let mut settled = Settled::at(Version::first_of(VolumeEpoch(3)));
        let versions: Vec<_> = (0..4).map(|_| settled.next().unwrap()).collect();
        settled.ack(versions[1]);
        settled.ack(versions[2]);
        assert_eq!((settled.settled(), settled.span()), (Version::first_of(VolumeEpoch(3)), 4));
        settled.ack(versions[0]);
        assert_eq!((settled.settled(), settled.span()), (versions[2], 1));
        settled.ack(versions[3]);
        assert_eq!((settled.settled(), settled.span()), (versions[3], 0));
    }
}
