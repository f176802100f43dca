//! Being told when addresses or routes of this machine change (rtnetlink(7)).

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink};

use crate::Async;

/// The groups `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR` and
/// `RTMGRP_IPV6_ROUTE` (`linux/rtnetlink.h`).
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

/// Tells that addresses or routes changed, not how.
#[derive(Debug)]
pub struct AddressChanges(Async<OwnedFd>);

impl AddressChanges {
    /// Begins to listen to the kernel.
    ///
    /// # Errors
    ///
    /// The kernel's, where it has no netlink.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::DGRAM;
        // The protocol that is no number, 0, is `NETLINK_ROUTE`.
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, None)?;
        rustix::net::bind(&fd, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
        Async::from_nonblocking(fd).map(Self)
    }

    /// Returns after the next change; what else was queued counts as the same one.
    ///
    /// # Errors
    ///
    /// None are known of; they would be the kernel's.
    pub async fn next(&self) -> io::Result<()> {
        let mut message = [0; 64];
        let read = |fd: &OwnedFd| match rustix::io::read(fd, &mut message) {
            // The rest of a message is thrown away, and one that was lost was a change as well.
            Ok(_) | Err(Errno::NOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        };
        self.0.read_with(read).await?;
        while rustix::io::read(self.0.get_ref(), &mut message).is_ok() {}
        Ok(())
    }
}
