//! Datagrams with the address of ours that they came to, so that the answer comes from there: a
//! machine with several addresses would else choose by its routes.

use std::io;
use std::mem::{size_of_val, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use crate::Async;

/// Room for control messages: one with an address of either family, and some to spare. In words,
/// as the kernel wants them aligned.
type Control = [u64; 10];

impl Async<UdpSocket> {
    /// Has [`Self::recv_at`] tell to which address of ours datagrams come.
    ///
    /// # Errors
    ///
    /// The kernel's, if it is older than the option.
    pub fn tell_destination(&self) -> io::Result<()> {
        let (level, option) = match self.get_ref().local_addr()? {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open, and the value is an int of the length that is told.
        let done = unsafe {
            libc::setsockopt(
                self.get_ref().as_raw_fd(),
                level,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The next datagram: its length, cut at that of `buf`, its sender, and the address of ours it
    /// was sent to, if the kernel says so.
    pub async fn recv_at(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
        self.read_with(|socket| recv_at(socket, buf)).await
    }

    /// Sends a datagram from one of our addresses, without waiting for room.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room, and the kernel's others.
    pub fn send_at(
        &self,
        datagram: &[u8],
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> io::Result<usize> {
        match from {
            Some(from) => send_from(self.get_ref(), datagram, to, from),
            None => self.get_ref().send_to(datagram, to),
        }
    }
}

fn recv_at(socket: &UdpSocket, buf: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    // SAFETY: all zeroes are a good address storage and message header.
    let (mut name, mut message): (libc::sockaddr_storage, libc::msghdr) =
        unsafe { (zeroed(), zeroed()) };
    let mut control: Control = [0; 10];
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header points to live buffers of the lengths it tells.
    let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    let from = address(&name).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((n, from, destination(&message)))
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name = ptr::from_ref(name);
    // SAFETY: the storage is as large and as aligned as each family's address, which the family
    // tells; any bytes are good ones.
    unsafe {
        match libc::c_int::from((*name).ss_family) {
            libc::AF_INET => {
                let v4 = &*name.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some((ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let v6 = &*name.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

fn destination(message: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel filled the control buffer up to the length in the header; the macros stay
    // within it, and the data of these two kinds is the structure of the same name, which may lie
    // unaligned.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = head.as_ref() {
            let data = libc::CMSG_DATA(head);
            match (found.cmsg_level, found.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => head = libc::CMSG_NXTHDR(message, head),
            }
        }
    }
    None
}

fn send_from(
    socket: &UdpSocket,
    datagram: &[u8],
    to: SocketAddr,
    from: IpAddr,
) -> io::Result<usize> {
    // SAFETY: all zeroes are good values of these structures.
    let (mut v4, mut v6, mut message): (libc::sockaddr_in, libc::sockaddr_in6, libc::msghdr) =
        unsafe { (zeroed(), zeroed(), zeroed()) };
    let mut control: Control = [0; 10];
    let mut part =
        libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
    match to {
        SocketAddr::V4(to) => {
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = to.port().to_be();
            v4.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
            message.msg_name = (&raw mut v4).cast();
            message.msg_namelen = size_of_val(&v4) as libc::socklen_t;
        }
        SocketAddr::V6(to) => {
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_port = to.port().to_be();
            v6.sin6_addr.s6_addr = to.ip().octets();
            v6.sin6_scope_id = to.scope_id();
            message.msg_name = (&raw mut v6).cast();
            message.msg_namelen = size_of_val(&v6) as libc::socklen_t;
        }
    }
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the control buffer has room for one message of either kind, aligned as it must be;
    // the header points to live buffers of the lengths it tells.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        let length = match from {
            IpAddr::V4(from) => {
                let mut info: libc::in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(from.octets());
                (*head).cmsg_level = libc::IPPROTO_IP;
                (*head).cmsg_type = libc::IP_PKTINFO;
                libc::CMSG_DATA(head).cast::<libc::in_pktinfo>().write_unaligned(info);
                size_of_val(&info)
            }
            IpAddr::V6(from) => {
                let mut info: libc::in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = from.octets();
                (*head).cmsg_level = libc::IPPROTO_IPV6;
                (*head).cmsg_type = libc::IPV6_PKTINFO;
                libc::CMSG_DATA(head).cast::<libc::in6_pktinfo>().write_unaligned(info);
                size_of_val(&info)
            }
        };
        (*head).cmsg_len = libc::CMSG_LEN(length as u32) as _;
        message.msg_controllen = libc::CMSG_SPACE(length as u32) as _;
        let n = libc::sendmsg(socket.as_raw_fd(), &raw const message, 0);
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{block_on, timeout};

    #[test]
    fn answers_come_from_where_questions_went() {
        block_on(async {
            // Linux answers from 127.0.0.1 by itself, whichever of them was asked.
            let server = Async::<UdpSocket>::bind(([0, 0, 0, 0], 0).into()).unwrap();
            server.tell_destination().unwrap();
            let port = server.get_ref().local_addr().unwrap().port();
            let client = Async::<UdpSocket>::bind(([127, 0, 0, 1], 0).into()).unwrap();
            for last in 1..4 {
                let asked = SocketAddr::from(([127, 0, 0, last], port));
                client.send_to(b"where", asked).await.unwrap();
                let mut buf = [0; 20];
                let got = timeout(Duration::from_secs(5), server.recv_at(&mut buf)).await.unwrap();
                let (n, from, at) = got.unwrap();
                assert_eq!((&buf[..n], at), (&b"where"[..], Some(asked.ip())));
                assert_eq!(from, client.get_ref().local_addr().unwrap());
                assert_eq!(server.send_at(b"here", from, at).unwrap(), 4);
                let got = timeout(Duration::from_secs(5), client.recv_from(&mut buf)).await;
                assert_eq!(got.unwrap().unwrap(), (4, asked));
            }
        });
    }

    #[test]
    fn the_other_family() {
        block_on(async {
            let Ok(server) = Async::<UdpSocket>::bind((Ipv6Addr::UNSPECIFIED, 0).into()) else {
                return;
            };
            server.tell_destination().unwrap();
            let asked = SocketAddr::from((
                Ipv6Addr::LOCALHOST,
                server.get_ref().local_addr().unwrap().port(),
            ));
            let client = Async::<UdpSocket>::bind((Ipv6Addr::LOCALHOST, 0).into()).unwrap();
            client.send_to(b"x", asked).await.unwrap();
            let mut buf = [0; 20];
            let got = timeout(Duration::from_secs(5), server.recv_at(&mut buf)).await.unwrap();
            let (n, from, at) = got.unwrap();
            assert_eq!((n, at), (1, Some(asked.ip())));
            server.send_at(b"yz", from, at).unwrap();
            let got = timeout(Duration::from_secs(5), client.recv_from(&mut buf)).await.unwrap();
            assert_eq!(got.unwrap(), (2, asked));
        });
    }
}
