//! A run: tenants work through hours of bad days, the checkers look on, and in the end all must be well.

use crate::clock::HOUR;
use crate::council;
use crate::deleter::Grave;
use crate::fault::SimFault;
use crate::hog::{self, Hog};
use crate::tenant::Tenant;
use crate::world::{Due, Event, MILLISECOND, SECOND, Totals, VOLUME_BYTES, Violation, World, violation};
use blockd::ClientError;
use blockd::client::OnFull;
use blockd::client::scrub::ScrubReport;
use bytes::Bytes;

/// How long anything may take after faults have ended.
const PATIENCE: u64 = 120 * SECOND;

/// Chunk servers: three for a group's members, and one to take a lost one's place.
const DISKS: usize = 4;

/// How long it may take until lost disks are replaced, the last thing to be well.
const LONG_PATIENCE: u64 = 2 * HOUR;

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub hours: u64,
    pub fault: SimFault,
    /// Who is told what happens.
    pub tell: Option<fn(&str)>,
}

pub struct Run {
    pub world: World,
    pub tenants: Vec<Tenant>,
    /// Volumes that were deleted.
    pub graves: Vec<Grave>,
    pub hog: Option<Hog>,
    pub next_id: u64,
    /// Until then trouble explains what is late.
    pub trouble_until: u64,
    /// No more trouble: the run comes to its end.
    pub calm: bool,
    /// Nobody works any more, and nothing is taken away.
    pub is_finale: bool,
    pub last_scrub: Option<ScrubReport>,
    /// Answers that a planted bug holds back.
    pub held: Vec<(usize, u64, Result<Option<Bytes>, ClientError>)>,
}

/// Runs one seed. `Err` is a broken promise.
pub fn run(seed: u64, options: Options) -> Result<Totals, Violation> {
    let council = council::run(seed, options.hours, options.fault, options.tell)?;
    let mut run = Run::new(seed, options);
    let end = options.hours * HOUR;
    while run.world.now < end {
        run.step()?;
    }
    run.settle()?;
    let totals = &mut run.world.totals;
    (totals.simulated_ns, totals.trace) = (run.world.now, run.world.trace.hash());
    totals.add(&council);
    Ok(run.world.totals)
}

impl Run {
    fn new(seed: u64, options: Options) -> Self {
        let mut world = World::new(seed, options.fault, DISKS, options.tell);
        let mut tenants = Vec::new();
        for number in 0..2 {
            let name = format!("volume-{number}");
            let volume = world.control.create_volume(name.clone(), VOLUME_BYTES);
            let on_full = world.rng.pick(&[OnFull::Wait, OnFull::Fail]);
            tenants.push(Tenant::new(name, volume, VOLUME_BYTES, on_full));
        }
        let mut run = Self {
            world,
            tenants,
            graves: Vec::new(),
            hog: None,
            next_id: 1,
            trouble_until: 0,
            calm: false,
            is_finale: false,
            last_scrub: None,
            held: Vec::new(),
        };
        for number in 0..run.tenants.len() {
            run.tenant_after(number, number as u64 * MILLISECOND);
        }
        run.world.due(10 * SECOND, Due::Trouble);
        run.world.due(100 * SECOND, Due::Scrub);
        if hog::is_due(seed) {
            let wait = run.world.rng.below(HOUR / 2);
            run.world.due(wait, Due::Fill);
        }
        run
    }

    /// Lets the next thing happen, and looks at what came of it.
    pub fn step(&mut self) -> Result<(), Violation> {
        let Some(due) = self.world.step() else {
            return violation("liveness", "nothing is left that could ever happen");
        };
        if std::mem::take(&mut self.world.struck) {
            self.disk_struck();
        }
        if let Some(broken) = self.world.broken.take() {
            return Err(broken);
        }
        match due {
            Due::Nothing => {}
            Due::Tenant(number) => self.tenant_due(number)?,
            Due::Trouble => {
                self.check_waiting()?;
                self.trouble_due();
            }
            Due::Scrap(server) => self.scrap(server),
            Due::Grow(number) => self.grow(number)?,
            Due::Fill => self.start_hog(),
            Due::Hog => self.hog_due(),
            Due::HogGoes => self.hog_goes(),
            Due::Scrub => self.scrub_due(),
            Due::Scrubbed => self.scrubbed()?,
            Due::EndOfZombie(writer) => self.end_of_zombie(writer),
        }
        self.let_go()?;
        self.bury();
        while let Some(writer) = self.world.ready.pop() {
            if self.world.writers[writer].alive {
                self.watch(writer)?;
            }
        }
        Ok(())
    }

    /// Nothing waits for ever.
    fn check_waiting(&self) -> Result<(), Violation> {
        // A full pool's stalls last until something is deleted.
        let tenants = if self.hog.is_some() { &[] } else { self.tenants.as_slice() };
        for tenant in tenants {
            for (id, doing) in &tenant.doing {
                if doing.at.max(self.trouble_until) + PATIENCE < self.world.now {
                    return violation("liveness", format!("operation {id} is not done: {doing:?}"));
                }
            }
        }
        Ok(())
    }

    pub fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        let deadline = self.world.now + LONG_PATIENCE;
        while !done(self) {
            if self.world.now > deadline {
                let doing: Vec<_> = self.tenants.iter().map(|tenant| &tenant.doing).collect();
                return violation("liveness", format!("waited too long for {what}: {doing:?}"));
            }
            self.step()?;
        }
        Ok(())
    }

    /// All trouble ends: everything comes back, is read once more, and all replicas are the same.
    fn settle(&mut self) -> Result<(), Violation> {
        self.calm = true;
        self.world.trace.say(self.world.now, || "the faults end".into());
        self.world.net.heal();
        self.world.control.down_until = self.world.now;
        let now = self.world.now;
        for server in 0..self.world.servers.len() {
            let state = &mut self.world.servers[server];
            state.slow_until = now;
            state.full_until = if self.world.fault == SimFault::FullForEver { state.full_until } else { now };
            state.disk.disarm();
            self.world.after(SECOND, Event::Restart(server));
        }
        for tenant in &mut self.tenants {
            tenant.burst = 0;
        }
        self.hog_goes();
        self.trouble_until = self.trouble_until.max(now + 60 * SECOND);
        self.until("all to be whole", |run| run.world.is_well())?;
        self.until("all deletions", |run| run.world.deleter.is_idle())?;
        self.until("all operations", |run| run.tenants.iter().all(Tenant::is_quiet))?;
        for number in 0..self.tenants.len() {
            let writer = self.tenants[number].writer.expect("the tenants are quiet");
            self.end_writer(number, writer);
        }
        self.until("the last opens", |run| run.tenants.iter().all(|tenant| tenant.writer.is_some()))?;
        self.until("the last reads", |run| {
            run.tenants.iter().all(|tenant| tenant.is_quiet() && tenant.burst == 0)
        })?;
        for number in 0..self.tenants.len() {
            let writer = self.tenants[number].writer.expect("the tenants are quiet");
            self.flush(number, writer);
        }
        self.until("the last flushes", |run| run.tenants.iter().all(Tenant::is_quiet))?;
        self.until("all to be whole again", |run| run.world.is_well())?;
        self.is_finale = true;
        self.check_deleted()?;
        self.check_converged()?;
        self.prove_scrub()?;
        self.prove_all_bad()?;
        self.check_converged()?;
        if !self.world.control.replays() {
            return violation("control", "the control plane's log, applied again, gives another state");
        }
        for writer in 0..self.world.writers.len() {
            self.world.kill_writer(writer);
        }
        Ok(())
    }
}
