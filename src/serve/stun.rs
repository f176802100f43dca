//! The STUN server: tells clients from which address their datagrams come.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use gramscale_proto::wire::stun::{MAX_REQUEST, Response, parse_request};
use gramscale_rt::{Async, sleep, sys};

use crate::net::listen::BindError;

/// How long nothing is read after the kernel reported an error, so that one that stays does not
/// keep the thread busy.
const PAUSE: Duration = Duration::from_millis(100);

/// What a server has seen since its start.
#[derive(Debug, Default)]
pub struct Counters {
    success: Cell<u64>,
    not_stun: Cell<u64>,
    read_error: Cell<u64>,
    write_error: Cell<u64>,
    ipv4: Cell<u64>,
    ipv6: Cell<u64>,
}

impl Counters {
    /// All of them, as `(name, labels, value)` in Prometheus' form, each a counter; those of one
    /// name follow one another.
    pub fn each(&self, emit: &mut dyn FnMut(&str, &str, u64)) {
        for (labels, count) in [
            ("disposition=\"success\"", &self.success),
            ("disposition=\"not_stun\"", &self.not_stun),
            ("disposition=\"read_error\"", &self.read_error),
            ("disposition=\"write_error\"", &self.write_error),
        ] {
            emit("stun_requests", labels, count.get());
        }
        emit("stun_addrfamily", "family=\"ipv4\"", self.ipv4.get());
        emit("stun_addrfamily", "family=\"ipv6\"", self.ipv6.get());
    }
}

/// A socket on which requests are answered.
#[derive(Debug)]
pub struct Stun {
    socket: Async<UdpSocket>,
    counters: Rc<Counters>,
}

/// Sockets at `addr`; for the unspecified IPv6 address, one for each family that the machine has.
pub fn bind(addr: SocketAddr, counters: &Rc<Counters>) -> Result<Vec<Stun>, BindError> {
    let one = |addr| {
        let socket = Async::<UdpSocket>::bind(addr)?;
        socket.tell_destination()?;
        Ok(Stun { socket, counters: counters.clone() })
    };
    let fail = |error: io::Error| BindError::Tcp(addr, error);
    if addr.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return Ok(vec![one(addr).map_err(fail)?]);
    }
    let v6 = one(addr);
    let port = v6.as_ref().ok().and_then(|v6| v6.addr().ok()).unwrap_or(addr).port();
    match (v6, one((Ipv4Addr::UNSPECIFIED, port).into())) {
        (Ok(v6), Ok(v4)) => Ok(vec![v6, v4]),
        (Err(error), Ok(v4)) if sys::no_such_family(&error) => Ok(vec![v4]),
        (Ok(v6), Err(error)) if sys::no_such_family(&error) => Ok(vec![v6]),
        (Err(error), _) | (_, Err(error)) => Err(fail(error)),
    }
}

impl Stun {
    /// Where requests come in.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Answers requests, for ever. All else gets no answer.
    pub async fn serve(self) {
        // One byte more than a request may have, so that a longer one is seen to be longer.
        let mut datagram = [0; MAX_REQUEST + 1];
        loop {
            match self.socket.recv_at(&mut datagram).await {
                Ok((n, from, at)) => self.answer(datagram.get(..n).unwrap_or_default(), from, at),
                Err(error) => {
                    log::debug!("STUN: {error}");
                    count(&self.counters.read_error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn answer(&self, datagram: &[u8], from: SocketAddr, at: Option<IpAddr>) {
        let Ok(id) = parse_request(datagram) else { return count(&self.counters.not_stun) };
        let counters = &self.counters;
        count(if from.is_ipv4() { &counters.ipv4 } else { &counters.ipv6 });
        // Not waited for: if the kernel has no room, the client asks again. Clients and NATs want
        // the answer from where they asked.
        match self.socket.send_at(&Response::new(id, from), from, at) {
            Ok(_) => count(&counters.success),
            Err(_) => count(&counters.write_error),
        }
    }
}

fn count(cell: &Cell<u64>) {
    cell.set(cell.get().wrapping_add(1));
}

#[cfg(test)]
mod tests {
    use gramscale_proto::wire::stun::{TransactionId, parse_response, request};
    use gramscale_rt::{block_on, spawn, timeout};

    use super::*;

    fn counted(counters: &Counters) -> Vec<String> {
        let mut lines = Vec::new();
        counters.each(&mut |name, labels, value| {
            if value > 0 {
                lines.push(format!("{name}{{{labels}}} {value}"));
            }
        });
        lines
    }

    async fn asks(server: SocketAddr, client: &str) {
        let client = Async::<UdpSocket>::bind(client.parse().unwrap()).unwrap();
        let here = client.get_ref().local_addr().unwrap();
        for n in 0..50 {
            let id = TransactionId([n; 12]);
            // Garbage, a response, and one that is too long come first and get no answer.
            let long = [&request(id)[..], &[0; 300]].concat();
            for noise in [b"hello", &Response::new(id, server)[..], &long, b""] {
                client.send_to(noise, server).await.unwrap();
            }
            client.send_to(&request(id), server).await.unwrap();
            let mut buf = [0; 100];
            let received = timeout(Duration::from_secs(5), client.recv_from(&mut buf));
            let (len, from) = received.await.expect("no answer").unwrap();
            assert_eq!(from, server);
            assert_eq!(parse_response(&buf[..len]), Ok((id, here)));
        }
    }

    #[test]
    fn both_families() {
        block_on(async {
            let counters = Rc::new(Counters::default());
            let stuns = bind("[::]:0".parse().unwrap(), &counters).unwrap();
            let mut expected = vec![];
            for stun in stuns {
                let addr = stun.addr().unwrap();
                spawn(stun.serve()).detach();
                if addr.is_ipv4() {
                    asks(([127, 0, 0, 1], addr.port()).into(), "127.0.0.1:0").await;
                    expected.push("stun_addrfamily{family=\"ipv4\"} 50".to_owned());
                } else {
                    asks((Ipv6Addr::LOCALHOST, addr.port()).into(), "[::1]:0").await;
                    expected.push("stun_addrfamily{family=\"ipv6\"} 50".to_owned());
                }
            }
            let families = expected.len();
            assert!(families > 0);
            expected.sort();
            expected
                .insert(0, format!("stun_requests{{disposition=\"success\"}} {}", families * 50));
            expected
                .insert(1, format!("stun_requests{{disposition=\"not_stun\"}} {}", families * 200));
            assert_eq!(counted(&counters), expected);
        });
    }

    #[test]
    fn a_port_in_use_is_told() {
        block_on(async {
            let counters = Rc::default();
            let first = bind("127.0.0.1:0".parse().unwrap(), &counters).unwrap();
            let error = bind(first[0].addr().unwrap(), &counters).unwrap_err();
            assert!(error.to_string().contains("is in use by another program"), "{error}");
        });
    }
}
