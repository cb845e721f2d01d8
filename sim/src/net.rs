//! Which machine can reach which, and how fast.

use crate::rng::SimRng;
use crate::world::MILLISECOND;

/// A process's place in the network.
pub type Node = u32;

pub const CONTROL: Node = 1000;
const WRITERS: Node = 2000;

pub fn server_node(server: usize) -> Node {
    Node::try_from(server).expect("a few servers")
}

pub fn writer_node(writer: usize) -> Node {
    WRITERS + Node::try_from(writer).expect("a few thousand writers")
}

/// Who is meant by a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    One(Node),
    All,
}

impl Side {
    fn has(self, node: Node) -> bool {
        self == Self::All || self == Self::One(node)
    }
}

/// Nothing passes this way until a moment.
#[derive(Debug, Clone, Copy)]
struct Cut {
    from: Side,
    to: Side,
    until: u64,
}

#[derive(Debug, Default)]
pub struct Net {
    cuts: Vec<Cut>,
    slow: Vec<(Node, u64)>,
}

impl Net {
    /// Nothing passes from one side to the other until then. The other way is another cut's.
    pub fn cut(&mut self, from: Side, to: Side, until: u64) {
        self.cuts.push(Cut { from, to, until });
    }

    /// Everything to and from the node takes long until then.
    pub fn slow(&mut self, node: Node, until: u64) {
        self.slow.push((node, until));
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
        self.slow.clear();
    }

    /// When something sent now may pass, if it may not now.
    pub fn blocked_until(&self, from: Node, to: Node, now: u64) -> Option<u64> {
        if from == to {
            return None;
        }
        let cuts = self.cuts.iter().filter(|cut| cut.from.has(from) && cut.to.has(to));
        cuts.map(|cut| cut.until).max().filter(|&until| until > now)
    }

    /// Whether both hear each other.
    pub fn connects(&self, a: Node, b: Node, now: u64) -> bool {
        self.blocked_until(a, b, now).is_none() && self.blocked_until(b, a, now).is_none()
    }

    /// Forgets what is over.
    pub fn tidy(&mut self, now: u64) {
        self.cuts.retain(|cut| cut.until > now);
        self.slow.retain(|(_, until)| *until > now);
    }

    /// How long a message takes.
    pub fn delay(&self, rng: &mut SimRng, from: Node, to: Node, now: u64) -> u64 {
        let most = rng.pick(&[50_000, 50_000, 200_000, 3 * MILLISECOND]);
        let delay = 10_000 + rng.below(most);
        let slow = self.slow.iter().any(|&(node, until)| (node == from || node == to) && until > now);
        if slow { delay * 100 } else { delay }
    }
}
