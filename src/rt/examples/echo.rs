//! An echo server, to count system calls with: `strace -fc target/debug/examples/echo PORT`.
//!
//! 100 requests of 50 bytes on one connection, 20 ms apart, make 300 calls: for each one
//! `epoll_wait`, one read and one write.

use std::net::{Ipv4Addr, TcpListener};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use gramscale_rt::{Async, block_on, spawn};

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(7007);
    block_on(async {
        let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, port).into())?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let echo = async move {
                let mut buf = [0; 512];
                loop {
                    match stream.read(&mut buf).await {
                        Ok(n @ 1..) => stream.write_all(&buf[..n]).await?,
                        ended => return ended.map(|_| ()),
                    }
                }
            };
            spawn(echo).detach();
        }
    })
}
