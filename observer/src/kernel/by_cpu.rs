//! Arrays with elements for each CPU, mapped into memory: to look at them at every tick takes no system call.

use std::{num::NonZeroUsize, os::fd::AsFd as _, ptr::NonNull};

use aya::{
    Pod,
    maps::{Map, MapData, MapError},
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use observer_common::hot::SLOTS;

use super::{Kernel, KernelError, element::cpus};

/// A map of this kind.
#[derive(Clone, Copy)]
pub(super) struct Spec {
    /// As the programs call it.
    pub(super) name: &'static str,
    /// How many elements there are for each CPU.
    of_each: usize,
}

pub(super) const HOT_ROWS: Spec = Spec { name: "HOT_ROWS", of_each: SLOTS };
pub(super) const LOADS_NEWS: Spec = Spec { name: "LOADS_NEWS", of_each: 1 };
pub(super) const FAILURES_NEWS: Spec = Spec { name: "FAILURES_NEWS", of_each: 1 };
/// Every one. The programs do not know how many CPUs there are, so this many elements are theirs to be given.
pub(super) const ALL: [Spec; 3] = [HOT_ROWS, LOADS_NEWS, FAILURES_NEWS];

impl Spec {
    /// How many elements there are on so many CPUs.
    pub(super) const fn length(self, cpus: usize) -> usize {
        self.of_each * cpus
    }
}

/// Elements of type `T` for each CPU, one CPU after the other. The programs write them at any time.
pub(super) struct ByCpu<T> {
    elements: NonNull<T>,
    length: usize,
    of_each: usize,
}

// SAFETY: the memory is nobody's but this one's until it is dropped, and is only read.
unsafe impl<T: Send> Send for ByCpu<T> {}

impl<T: Pod> ByCpu<T> {
    /// Maps a map of a loaded kernel side.
    pub(super) fn take(kernel: &mut Kernel, spec: Spec) -> Result<Self, KernelError> {
        let name = spec.name;
        let map = match kernel.ebpf.take_map(name) {
            Some(Map::Array(map)) => Ok(map),
            _ => Err(MapError::InvalidName { name: name.to_owned() }),
        };
        map.and_then(|map| Self::of(&map, spec)).map_err(|source| KernelError::Map { name, source })
    }

    fn of(map: &MapData, spec: Spec) -> Result<Self, MapError> {
        // The kernel lays them out at multiples of eight bytes.
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 8 && size_of::<T>() > 0) };
        let (info, length) = (map.info()?, spec.length(cpus().map_err(MapError::IoError)?));
        if info.value_size() as usize != size_of::<T>() {
            let (size, expected) = (info.value_size() as usize, size_of::<T>());
            return Err(MapError::InvalidValueSize { size, expected });
        }
        if info.max_entries() as usize != length {
            return Err(MapError::OutOfBounds { index: length as u32, max_entries: info.max_entries() });
        }
        let bytes = NonZeroUsize::new(length * size_of::<T>()).ok_or(MapError::ElementNotFound)?;
        // SAFETY: the kernel chooses where, so that nothing else is mapped over.
        let memory =
            unsafe { mmap(None, bytes, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, map.fd().as_fd(), 0) };
        let elements = memory.map_err(|errno| MapError::IoError(errno.into()))?.cast();
        Ok(Self { elements, length, of_each: spec.of_each })
    }

    /// The elements of that number of all CPUs, as they are now.
    pub(super) fn read(&self, number: usize) -> impl Iterator<Item = T> {
        assert!(number < self.of_each, "there are {} elements for each CPU", self.of_each);
        let elements = (number..self.length).step_by(self.of_each);
        // SAFETY: it is within what is mapped, page-aligned, for as long as `self` lives. `T` is Pod. That others write it is
        // why it is volatile.
        elements.map(|at| unsafe { self.elements.add(at).read_volatile() })
    }
}

impl<T> Drop for ByCpu<T> {
    fn drop(&mut self) {
        // SAFETY: it was mapped so long, and whoever reads it borrows `self`. That fails only where it was not mapped.
        let _ = unsafe { munmap(self.elements.cast(), self.length * size_of::<T>()) };
    }
}
