//! What planted bugs do to messages on their way.

use crate::fault::SimFault;
use crate::world::World;
use bytes::{Bytes, BytesMut};
use proto::checksum::crc32;
use proto::message::{BlockState, ReadBlock, Reply, ReplyBody};
use proto::units::BLOCK_LEN;

impl World {
    /// Makes bad blocks look good to a scrub, or some good ones bad.
    pub fn mislead(&self, blocks: &mut [ReadBlock]) {
        for block in blocks {
            match (self.fault, block.state) {
                (SimFault::ScrubIsBlind, BlockState::Corrupt) => block.state = BlockState::Data,
                (SimFault::ScrubSeesGhosts, BlockState::Data) if block.crc.is_multiple_of(16) => {
                    block.state = BlockState::Corrupt;
                }
                _ => {}
            }
        }
    }

    /// Makes bad blocks look good.
    pub fn whitewash(reply: &mut Reply) {
        let ReplyBody::Read { blocks, data, .. } = &mut reply.body else { return };
        let mut held = data.iter().flat_map(|part| part.chunks_exact(BLOCK_LEN));
        let mut all = BytesMut::new();
        for block in blocks.iter_mut() {
            if block.state == BlockState::Corrupt {
                let zeros = [0; BLOCK_LEN];
                (block.state, block.crc) = (BlockState::Data, crc32(&zeros));
                all.extend_from_slice(&zeros);
            } else if block.state == BlockState::Data {
                all.extend_from_slice(held.next().unwrap_or_default());
            }
        }
        let all: Bytes = all.freeze();
        *data = vec![all];
    }
}
