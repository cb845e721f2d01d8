//! One front end's session: the vhost-user messages, from the connection to its end.
//!
//! The handler keeps what the messages configure and tells the data task what runs. Any error it returns
//! ends the session; the crate that decodes the messages has checked their sizes and descriptors' counts.

use crate::config_space::{self, EVENT_IDX, FLUSH, LOG_ALL, MemorySlots, PROTOCOL_FEATURES};
use crate::data::{Command, DataLink, EngineAsk};
use crate::dirty::DirtyLog;
use crate::engine::{Enabled, Logging, WriteCache};
use crate::error::{Error, ErrorKind};
use crate::inflight::{Record, Shape};
use crate::limits::{CONFIG_SPACE_BYTES, MAX_MEMORY_REGIONS};
use crate::mem::{GuestRam, RegionPlace};
use crate::vring::{RingPlace, VringSetup, nonblocking};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error as ProtocolError, GpuBackend, Result, VhostUserBackendReqHandlerMut};

type RegionBase = u64;

/// What a device offers every session.
#[derive(Debug, Clone)]
pub struct Offer {
    /// It grows while sessions run.
    pub size_bytes: Arc<AtomicU64>,
    pub num_queues: u16,
    pub max_queue_size: u16,
    pub memory_slots: MemorySlots,
}

/// A session's configuration so far.
pub struct Session {
    offer: Offer,
    data: DataLink,
    features: u64,
    protocol_features: u64,
    ram: Arc<GuestRam>,
    record: Option<Arc<Record>>,
    queues: Vec<Setup>,
}

#[derive(Default)]
struct Setup {
    size: Option<u16>,
    place: Option<RingPlace>,
    log_addr: Option<u64>,
    base: u16,
    call: Option<File>,
    is_enabled: bool,
    is_running: bool,
}

impl Session {
    pub fn new(offer: Offer, data: DataLink) -> Self {
        let queues = (0..offer.num_queues).map(|_| Setup::default()).collect();
        Self {
            offer,
            data,
            features: 0,
            protocol_features: 0,
            ram: Arc::new(GuestRam::empty()),
            record: None,
            queues,
        }
    }

    /// Takes the descriptor of SET_LOG_FD, which the protocol crate does not know.
    pub fn set_log_call(&mut self, call: File) -> Result<()> {
        if !self.has(VhostUserProtocolFeatures::LOG_SHMFD) {
            return Err(ProtocolError::InactiveOperation(VhostUserProtocolFeatures::LOG_SHMFD));
        }
        let call = nonblocking(eventfd(call)?).map_err(refused)?;
        self.data.send(Command::Engine(EngineAsk::SetLogCall(call))).map_err(refused)
    }

    /// Whether the front end may ask for replies that a message does not have by itself.
    pub fn has_reply_ack(&self) -> bool {
        self.has(VhostUserProtocolFeatures::REPLY_ACK)
    }

    fn has(&self, feature: VhostUserProtocolFeatures) -> bool {
        self.protocol_features & feature.bits() != 0
    }

    fn queue(&mut self, index: usize) -> Result<&mut Setup> {
        self.queues.get_mut(index).ok_or(ProtocolError::InvalidParam)
    }

    /// A queue that is not running: only then may its size and place change.
    fn idle_queue(&mut self, index: u32) -> Result<&mut Setup> {
        let queue = self.queue(index as usize)?;
        if queue.is_running {
            return Err(ProtocolError::InvalidOperation("the queue is running"));
        }
        Ok(queue)
    }

    fn is_running(&self) -> bool {
        self.queues.iter().any(|queue| queue.is_running)
    }

    /// The shape of an in-flight record that a front end asks for or hands over.
    fn shape(&self, inflight: &VhostUserInflight) -> Result<Shape> {
        let VhostUserInflight { num_queues, queue_size, .. } = *inflight;
        if num_queues > self.offer.num_queues || queue_size > self.offer.max_queue_size {
            return Err(ProtocolError::InvalidParam);
        }
        Ok(Shape { num_queues, queue_size })
    }

    fn set_ram(&mut self, ram: GuestRam) -> Result<()> {
        let ram = Arc::new(ram);
        self.data.ask(|reply| Command::SetRam(Arc::clone(&ram), reply)).map_err(refused)?;
        self.ram = ram;
        Ok(())
    }

    fn start_queue(&mut self, index: usize, kick: Option<File>) -> Result<()> {
        let has_event_idx = self.features & EVENT_IDX != 0;
        let starts_enabled = self.features & PROTOCOL_FEATURES == 0;
        let max_size = self.offer.max_queue_size;
        let record = self.record.clone().map(|record| (record, index));
        let queue = self.queue(index)?;
        let place = queue.place.ok_or(ProtocolError::InvalidOperation("the queue has no address"))?;
        queue.is_enabled |= starts_enabled;
        let setup = VringSetup {
            size: queue.size.unwrap_or(max_size),
            place,
            next_avail: queue.base,
            has_event_idx,
            call: duplicate(queue.call.as_ref())?,
            record,
            log_addr: queue.log_addr,
        };
        let enabled = enabled(queue.is_enabled);
        self.data
            .ask(|reply| Command::Start { queue: index, setup, kick, enabled, reply })
            .map_err(refused)?;
        self.queue(index)?.is_running = true;
        Ok(())
    }

    fn stop_queue(&mut self, index: usize) -> Result<u16> {
        let queue = self.queue(index)?;
        if !queue.is_running {
            return Ok(queue.base);
        }
        queue.is_running = false;
        let base = self.data.ask(|reply| Command::Stop { queue: index, reply }).map_err(refused)?;
        let queue = self.queue(index)?;
        queue.base = base;
        queue.call = None;
        Ok(base)
    }
}

impl VhostUserBackendReqHandlerMut for Session {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        // Deprecated by the protocol; what is left of it is that all rings stop.
        (0..self.queues.len()).try_for_each(|index| self.stop_queue(index).map(|_| ()))
    }

    fn reset_device(&mut self) -> Result<()> {
        unsupported("reset is not offered")
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(config_space::features())
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !config_space::features() != 0 {
            return Err(ProtocolError::FeatureMismatch);
        }
        // A migration begins and ends while queues run; nothing else may change then.
        if self.is_running() && (features ^ self.features) & !LOG_ALL != 0 {
            return Err(ProtocolError::InvalidOperation("a queue is running"));
        }
        self.features = features;
        let cache = if features & FLUSH != 0 { WriteCache::Back } else { WriteCache::Through };
        let logging = if features & LOG_ALL != 0 { Logging::On } else { Logging::Off };
        self.data
            .ask(|reply| Command::Engine(EngineAsk::SetFeatures { cache, logging, reply }))
            .map_err(refused)
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<RegionBase>>> {
        let mut ram = GuestRam::empty();
        for (region, file) in regions.iter().zip(files) {
            ram = ram.with_region(place(region), file).map_err(refused)?;
        }
        self.set_ram(ram).map(|()| None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let max = self.offer.max_queue_size;
        let size = u16::try_from(num).ok().filter(|size| size.is_power_of_two() && *size <= max);
        self.idle_queue(index)?.size = Some(size.ok_or(ProtocolError::InvalidParam)?);
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        log: u64,
    ) -> Result<()> {
        let at = |user_addr| self.ram.guest_addr(user_addr).ok_or(ProtocolError::InvalidParam);
        let place = RingPlace { descriptors: at(descriptor)?, available: at(available)?, used: at(used)? };
        let log_addr = flags.contains(VhostUserVringAddrFlags::VHOST_VRING_F_LOG).then_some(log);
        let queue = self.queue(index as usize)?;
        if queue.is_running && queue.place != Some(place) {
            return Err(ProtocolError::InvalidOperation("the queue is running"));
        }
        (queue.place, queue.log_addr) = (Some(place), log_addr);
        if !queue.is_running {
            return Ok(());
        }
        // A migration that begins or ends.
        let queue = index as usize;
        self.data
            .ask(|reply| Command::Engine(EngineAsk::SetLogAddr { queue, addr: log_addr, reply }))
            .map_err(refused)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| ProtocolError::InvalidParam)?;
        self.idle_queue(index)?.base = base;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let base = self.stop_queue(index as usize)?;
        Ok(VhostUserVringState::new(index, u32::from(base)))
    }

    fn set_vring_kick(&mut self, index: u8, kick: Option<File>) -> Result<()> {
        let kick = kick.map(eventfd).transpose()?;
        let index = usize::from(index);
        if self.queue(index)?.is_running {
            return Err(ProtocolError::InvalidOperation("the queue is running"));
        }
        self.start_queue(index, kick)
    }

    fn set_vring_call(&mut self, index: u8, call: Option<File>) -> Result<()> {
        let call = call.map(eventfd).transpose()?;
        let index = usize::from(index);
        let queue = self.queue(index)?;
        queue.call = duplicate(call.as_ref())?;
        if !queue.is_running {
            return Ok(());
        }
        self.data.send(Command::SetCall { queue: index, call }).map_err(refused)
    }

    fn set_vring_err(&mut self, index: u8, _error: Option<File>) -> Result<()> {
        // The session ends on every error, which says more than this descriptor could.
        self.queue(usize::from(index)).map(|_| ())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(config_space::protocol_features(self.offer.memory_slots))
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        if features & !config_space::protocol_features(self.offer.memory_slots).bits() != 0 {
            return Err(ProtocolError::FeatureMismatch);
        }
        self.protocol_features = features;
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(u64::from(self.offer.num_queues))
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let queue = self.queue(index as usize)?;
        queue.is_enabled = enable;
        if !queue.is_running {
            return Ok(());
        }
        self.data
            .send(Command::Engine(EngineAsk::Enable { queue: index as usize, enabled: enabled(enable) }))
            .map_err(refused)
    }

    fn get_config(&mut self, offset: u32, size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        let space =
            config_space::config_space(self.offer.size_bytes.load(Ordering::Acquire), self.offer.num_queues);
        let end = offset.checked_add(size).filter(|&end| end as usize <= CONFIG_SPACE_BYTES);
        let end = end.ok_or(ProtocolError::InvalidParam)?;
        Ok(space[offset as usize..end as usize].to_vec())
    }

    fn set_config(&mut self, _offset: u32, _bytes: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        unsupported("nothing in the config space can be written")
    }

    fn set_gpu_socket(&mut self, _backend: GpuBackend) -> Result<()> {
        unsupported("this is a disk")
    }

    fn get_shared_object(&mut self, _object: VhostUserSharedMsg) -> Result<File> {
        unsupported("shared objects are not offered")
    }

    fn get_inflight_fd(&mut self, inflight: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        let shape = self.shape(inflight)?;
        let file = Record::create(shape).map_err(refused)?;
        Ok((VhostUserInflight::new(shape.len(), 0, shape.num_queues, shape.queue_size), file))
    }

    fn set_inflight_fd(&mut self, inflight: &VhostUserInflight, file: File) -> Result<()> {
        let shape = self.shape(inflight)?;
        if self.is_running() {
            return Err(ProtocolError::InvalidOperation("a queue is running"));
        }
        if inflight.mmap_size < shape.len() {
            return Err(ProtocolError::InvalidParam);
        }
        let record = Record::adopt(file, inflight.mmap_offset, shape).map_err(refused)?;
        self.record = Some(Arc::new(record));
        Ok(())
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MAX_MEMORY_REGIONS as u64)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<RegionBase>> {
        let ram = self.ram.with_region(place(region), file).map_err(refused)?;
        self.set_ram(ram).map(|()| None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        let ram = self.ram.without_region(place(region)).map_err(refused)?;
        self.set_ram(ram)
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        unsupported("device state is not offered")
    }

    fn check_device_state(&mut self) -> Result<()> {
        unsupported("device state is not offered")
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        unsupported("shared memory is not offered")
    }

    fn set_log_base(&mut self, log: &VhostUserLog, file: File) -> Result<()> {
        let log = Arc::new(DirtyLog::new(file, log.mmap_offset, log.mmap_size).map_err(refused)?);
        self.data.ask(|reply| Command::Engine(EngineAsk::SetLog(log, reply))).map_err(refused)
    }
}

fn unsupported<T>(why: &'static str) -> Result<T> {
    Err(ProtocolError::InvalidOperation(why))
}

/// An error of this crate as one of the protocol crate.
pub fn refused(error: Error) -> ProtocolError {
    ProtocolError::ReqHandlerError(std::io::Error::other(error))
}

fn enabled(is_enabled: bool) -> Enabled {
    if is_enabled { Enabled::Yes } else { Enabled::No }
}

fn place(region: &VhostUserMemoryRegion) -> RegionPlace {
    RegionPlace {
        guest_addr: region.guest_phys_addr,
        user_addr: region.user_addr,
        len: region.memory_size,
        file_offset: region.mmap_offset,
    }
}

fn duplicate(file: Option<&File>) -> Result<Option<File>> {
    file.map(File::try_clone).transpose().map_err(ProtocolError::ReqHandlerError)
}

/// Refuses what is no eventfd: a file that can always be read would keep the data task busy for ever.
fn eventfd(file: File) -> Result<File> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    match link {
        Ok(link) if link.to_string_lossy().starts_with("anon_inode:[eventfd") => Ok(file),
        _ => Err(refused(Error::new(ErrorKind::Protocol, "a queue's kick or call is no eventfd"))),
    }
}
