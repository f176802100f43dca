//! Joins a tailnet with an auth key and either echoes what TCP brings or talks to a peer that does.
//!
//! ```text
//! rust-client URL KEY NAME listen PORT
//! rust-client URL KEY NAME talk PEER PORT TEXT
//! ```
//! `listen` prints `listening ADDRESS:PORT` once it can be reached and runs until it is stopped; `talk` prints the
//! line that came back. The log goes to standard error (`RUST_LOG`).

use std::{error::Error, net::SocketAddr, time::Duration};

use tailscale::{AuthState, Config, Device};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long a peer may take to turn up in our map, and a dial to come through the relay.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Outcome<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();

    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [url, key, name, "listen", port] => echo(&join(url, key, name).await?, port.parse()?).await,
        [url, key, name, "talk", peer, port, text] => {
            let device = join(url, key, name).await?;
            println!("{}", talk(&device, peer, port.parse()?, text).await?);
            device.shutdown(Some(Duration::from_secs(3))).await;
            Ok(())
        }
        _ => Err("usage: rust-client URL KEY NAME (listen PORT | talk PEER PORT TEXT)".into()),
    }
}

async fn join(url: &str, key: &str, name: &str) -> Outcome<Device> {
    let config = Config {
        control_server_url: url.parse()?,
        requested_hostname: Some(name.to_owned()),
        ephemeral: true,
        ..Config::default()
    };
    let device = Device::new(&config, Some(key.to_owned())).await?;
    match device.is_authorized().await? {
        AuthState::Authorized => Ok(device),
        AuthState::NotAuthorized(url) => Err(format!("the key was not accepted; log in at {url}").into()),
    }
}

async fn echo(device: &Device, port: u16) -> Outcome<()> {
    let here = SocketAddr::from((device.ipv4_addr().await?, port));
    let listener = device.tcp_listen(here).await?;
    println!("listening {here}");
    loop {
        let stream = listener.accept().await?;
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(stream);
            // A peer that hangs up is the end of that conversation only.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
    }
}

async fn talk(device: &Device, peer: &str, port: u16, text: &str) -> Outcome<String> {
    let found = async {
        loop {
            if let Some(node) = device.peer_by_name(peer).await? {
                return Ok::<_, tailscale::Error>(node);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let node = tokio::time::timeout(PATIENCE, found).await.map_err(|_| format!("no peer is named {peer}"))??;
    let there = SocketAddr::from((node.tailnet_address.ipv4.addr(), port));
    let connected = async {
        loop {
            // The peer hears of us when we hear of it: the first dial may come before it is ready.
            match device.tcp_connect(there).await {
                Ok(stream) => return stream,
                Err(error) => eprintln!("{there}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let stream = tokio::time::timeout(PATIENCE, connected).await.map_err(|_| "no answer")?;
    let (from, mut to) = tokio::io::split(stream);
    to.write_all(format!("{text}\n").as_bytes()).await?;
    let mut line = String::new();
    tokio::time::timeout(PATIENCE, BufReader::new(from).read_line(&mut line)).await.map_err(|_| "no echo")??;
    Ok(line.trim_end().to_owned())
}
