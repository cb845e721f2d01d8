//! Volumes that are made larger while they are used.

use crate::oracle::stamp;
use crate::scenario::Run;
use crate::tenant::{Tenant, What};
use crate::world::{Violation, violation};
use blockd::client::{Holes, VolumeOp};
use meta::command::{Command, Response};

/// What a volume grows by, and to at most.
const STEP: u64 = 4 << 20;
const MOST: u64 = 28 << 20;

impl Tenant {
    pub fn may_grow(&self) -> bool {
        self.writer.is_some() && self.opening.is_none() && self.size_bytes < MOST
    }
}

impl Run {
    /// The volume grows: what was past its end is its own from then on and empty, and it never gets smaller.
    pub fn grow(&mut self, number: usize) -> Result<(), Violation> {
        let tenant = &self.tenants[number];
        let (Some(writer), true) = (tenant.writer, tenant.may_grow()) else { return Ok(()) };
        let (name, old) = (tenant.name.clone(), tenant.size_bytes);
        let past = VolumeOp::Read { offset: old, len: 4096, holes: Holes::Zeros };
        self.start(number, writer, What::Past, past);
        // Half of it would fit.
        let data = stamp(self.next_id, old / 512 - 8, 16);
        self.start(number, writer, What::Past, VolumeOp::Write { offset: old - 4096, data });
        let smaller = Command::ResizeVolume { name: name.clone(), size_bytes: old - STEP };
        if self.world.control.run(smaller).is_ok() {
            return violation("size", format!("volume '{name}' could be made smaller"));
        }
        let size_bytes = old + STEP;
        let larger = Command::ResizeVolume { name: name.clone(), size_bytes };
        match self.world.control.run(larger) {
            Ok(Response::Volume(volume)) if volume.size_bytes == size_bytes => {}
            other => return violation("size", format!("volume '{name}' was to grow: {other:?}")),
        }
        self.world.trace.say(self.world.now, || format!("volume '{name}' grows to {size_bytes}"));
        self.world.writers[writer].core.set_size(size_bytes);
        let tenant = &mut self.tenants[number];
        tenant.size_bytes = size_bytes;
        let op = VolumeOp::Read { offset: old, len: 8192, holes: Holes::Zeros };
        self.start(number, writer, What::Read { first: old / 512 }, op);
        self.start_write(number, writer, (old / 512 - 4, 12), false, |id| VolumeOp::Write {
            offset: old - 2048,
            data: stamp(id, old / 512 - 4, 12),
        });
        Ok(())
    }
}
