//! The one piece of memory that all processes of a gateway share: counters, and nothing that a worker acts on.
#![allow(unsafe_code)]

use std::{
    io,
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use backendai::telemetry::{CountersMap, SLOTS_MAX, map_words};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// A new map, all zero, that forked processes go on sharing. It lives as long as the process.
///
/// Memory is taken page by page as slots are used, so room for every slot that there could be costs nothing.
///
/// # Errors
/// The kernel refuses the mapping.
pub fn counters_map() -> io::Result<CountersMap> {
    let words = map_words(SLOTS_MAX).unwrap_or_default();
    let bytes = NonZeroUsize::new(words * size_of::<AtomicU64>()).ok_or(io::ErrorKind::InvalidInput)?;
    let (access, kind) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE);
    // SAFETY: an anonymous mapping at an address of the kernel's choice replaces nothing.
    let start = unsafe { mmap_anonymous(None, bytes, access, kind) }?;
    // SAFETY: the mapping is page-aligned, zeroed, `words` words long, never unmapped, and only ever seen as atomics.
    let words = unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<AtomicU64>(), words) };
    debug_assert!(words.first().is_none_or(|word| word.load(Relaxed) == 0));
    Ok(CountersMap::new(words))
}
