//! Network namespaces without external programs: made, joined, and set up by system call.

use std::{
    ffi::{c_char, c_short, c_ulong, c_ushort, c_void},
    fs,
    net::Ipv4Addr,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    ptr, thread,
};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

/// Sources that no socket owns; [`route_spoofed`] sends answers to them nowhere.
pub const SPOOFED: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 0);
const SPOOFED_MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 0, 0);

nix::ioctl_write_ptr_bad!(
    /// SIOCSIFFLAGS of netdevice(7).
    set_interface_flags,
    libc::SIOCSIFFLAGS,
    libc::ifreq
);
nix::ioctl_write_ptr_bad!(
    /// SIOCSIFADDR of netdevice(7).
    set_interface_address,
    libc::SIOCSIFADDR,
    libc::ifreq
);
nix::ioctl_write_ptr_bad!(
    /// SIOCSIFNETMASK of netdevice(7).
    set_interface_mask,
    libc::SIOCSIFNETMASK,
    libc::ifreq
);
nix::ioctl_write_ptr_bad!(
    /// SIOCADDRT of route(8).
    add_route,
    libc::SIOCADDRT,
    RouteEntry
);

/// `struct rtentry` of `linux/route.h`, which the libc crate has for musl only.
#[repr(C)]
struct RouteEntry {
    pad1: c_ulong,
    dst: libc::sockaddr_in,
    gateway: libc::sockaddr_in,
    genmask: libc::sockaddr_in,
    flags: c_ushort,
    pad2: c_short,
    pad3: c_ulong,
    pad4: *const c_void,
    metric: c_short,
    dev: *const c_char,
    mtu: c_ulong,
    window: c_ulong,
    irtt: c_ushort,
}

/// Puts the calling thread into a new namespace of its own; `lo` is still down.
pub fn create() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace (needs root)")
}

/// Puts the calling thread into the namespace of `pid`.
pub fn join(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = fs::File::open(&path).with_context(|| format!("cannot open {path}"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot join {path} (needs root)"))
}

/// Does something in the namespace of `pid`, on a thread of its own.
pub fn inside<T: Send + 'static>(pid: u32, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let thread = thread::spawn(move || join(pid).and_then(|()| work()));
    thread.join().unwrap_or_else(|_| bail!("the thread in the network namespace of {pid} died"))
}

/// The inode number that names the namespace of `pid`.
pub fn inode(pid: u32) -> Result<u32> {
    let path = format!("/proc/{pid}/ns/net");
    let inode = fs::metadata(&path).with_context(|| format!("cannot stat {path}"))?.ino();
    Ok(u32::try_from(inode)?)
}

/// Writes a sysctl of the calling process's namespace, `name` with slashes: `net/ipv4/tcp_syncookies`.
pub fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).with_context(|| format!("cannot write {value:?} to {path}"))
}

/// Brings `lo` up.
pub fn loopback_up() -> Result<()> {
    up("lo")
}

/// Gives a device an address, and brings it up.
pub fn set_up(device: &str, ip: Ipv4Addr, mask: Ipv4Addr) -> Result<()> {
    let socket = control_socket()?;
    let mut request = request(device);
    request.ifr_ifru.ifru_addr = generic(address(ip));
    // SAFETY: SIOCSIFADDR reads one ifreq, which outlives the call.
    unsafe { set_interface_address(socket.as_raw_fd(), &raw const request) }
        .with_context(|| format!("cannot give {device} the address {ip}"))?;
    request.ifr_ifru.ifru_netmask = generic(address(mask));
    // SAFETY: SIOCSIFNETMASK reads one ifreq, which outlives the call.
    unsafe { set_interface_mask(socket.as_raw_fd(), &raw const request) }
        .with_context(|| format!("cannot give {device} the mask {mask}"))?;
    up(device)
}

fn up(device: &str) -> Result<()> {
    let mut request = request(device);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as c_short;
    let socket = control_socket()?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    unsafe { set_interface_flags(socket.as_raw_fd(), &raw const request) }
        .with_context(|| format!("cannot bring {device} up"))?;
    Ok(())
}

fn request(device: &str) -> libc::ifreq {
    // SAFETY: all fields of ifreq are integers, byte arrays and pointers, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.as_bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// The same bytes as the type in which requests carry addresses.
fn generic(address: libc::sockaddr_in) -> libc::sockaddr {
    // SAFETY: both are sixteen bytes of integers, and the kernel tells them apart by the family.
    unsafe { std::mem::transmute(address) }
}

/// Routes [`SPOOFED`] to `lo`: what is sent there is looped back, is for nobody, and is dropped without a
/// word, so a SYN from such a source stays half-open.
pub fn route_spoofed() -> Result<()> {
    add_spoofed(Ipv4Addr::UNSPECIFIED, libc::RTF_UP, c"lo".as_ptr()).context("cannot add a route to lo")
}

/// Routes [`SPOOFED`] to a router.
pub fn route_spoofed_through(router: Ipv4Addr) -> Result<()> {
    add_spoofed(router, libc::RTF_UP | libc::RTF_GATEWAY, ptr::null())
        .with_context(|| format!("cannot add a route through {router}"))
}

fn add_spoofed(gateway: Ipv4Addr, flags: c_ushort, dev: *const c_char) -> Result<()> {
    let route = RouteEntry {
        pad1: 0,
        dst: address(SPOOFED),
        gateway: address(gateway),
        genmask: address(SPOOFED_MASK),
        flags,
        pad2: 0,
        pad3: 0,
        pad4: ptr::null(),
        metric: 0,
        dev,
        mtu: 0,
        window: 0,
        irtt: 0,
    };
    let socket = control_socket()?;
    // SAFETY: SIOCADDRT reads one rtentry and the device name it points to, if any; both outlive the call.
    unsafe { add_route(socket.as_raw_fd(), &raw const route) }?;
    Ok(())
}

fn control_socket() -> Result<OwnedFd> {
    Ok(socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?)
}

fn address(ip: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
        sin_zero: [0; 8],
    }
}
