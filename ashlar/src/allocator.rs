//! The process's allocator, and in builds with debug assertions the count of what it is asked for.
//!
//! The data path makes and drops a few small buffers a request on each thread, and hands some of them to
//! other threads; the C library's allocator took 9 % of the device thread with that.

use crate::fleet::Metric;
use mimalloc::MiMalloc;

#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Debug builds count: the tests that bound allocations run on those, and a release build pays nothing.
#[cfg(debug_assertions)]
#[global_allocator]
static ALLOCATOR: rt::allocations::Counting<MiMalloc> = rt::allocations::Counting::new(MiMalloc);

/// What this process was given, where it is counted.
#[cfg(debug_assertions)]
pub fn metrics() -> Vec<Metric> {
    let allocated = ALLOCATOR.allocated();
    let metric = |name: &str, help: &str, value: u64| Metric {
        name: name.into(),
        kind: "counter".into(),
        help: help.into(),
        samples: vec![(String::new(), value)],
    };
    vec![
        metric("ashlar_process_allocations_total", "Allocations of memory.", allocated.allocations),
        metric("ashlar_process_allocated_bytes_total", "Memory asked for.", allocated.bytes),
    ]
}

#[cfg(not(debug_assertions))]
pub fn metrics() -> Vec<Metric> {
    Vec::new()
}
