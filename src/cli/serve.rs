//! `serve`: starts the server.

use std::io::Write as _;
use std::path::PathBuf;

use argh::FromArgs;
use log::LevelFilter;

use super::Error;
use crate::serve::logger::{self, LogFormat};
use crate::serve::options::{PolicySource, RelayOptions, UrlError};
use crate::serve::state::ClockTrust;
use crate::serve::{self, Options};
use gramscale_proto::netmap::{Dns, Settings};
use gramscale_proto::tailnet::Rules;

/// Run the server
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
pub(super) struct Serve {
    /// where the state is kept
    #[argh(option, arg_name = "folder")]
    data_dir: Option<String>,
    /// address and port of the listener
    #[argh(option, arg_name = "addr")]
    listen: Option<String>,
    /// the URL by which clients reach this server
    #[argh(option, arg_name = "url")]
    server_url: Option<String>,
    /// take the settings from this UCI file
    #[argh(option, arg_name = "file")]
    uci: Option<String>,
    /// begin with an empty tailnet though headscale's database is there
    #[argh(switch)]
    start_empty: bool,
}

impl Serve {
    pub(super) fn run(self, config: Option<&str>) -> Result<(), Error> {
        let _ = (config, self.uci, self.start_empty);
        logger::start(LevelFilter::Info, LogFormat::Text);
        let data_dir = self.data_dir.map_or_else(default_data_dir, PathBuf::from);
        let listen = self.listen.as_deref().unwrap_or("127.0.0.1:8080");
        let listen: std::net::SocketAddr =
            listen.parse().map_err(|_| Error::Local(format!("{listen} is no address")))?;
        let server_url = self.server_url.unwrap_or_else(|| format!("http://{listen}"));
        let server_url = server_url.parse().map_err(|e: UrlError| Error::Local(e.to_string()))?;
        let options = Options {
            store: data_dir.join("gramscale.redb"),
            cache: 128 * 1024,
            listen,
            server_url,
            tls: None,
            socket: data_dir.join("gramscale.sock"),
            socket_mode: 0o770,
            noise_key: None,
            admin_allow: Vec::new(),
            rules: Rules::default(),
            maps: Settings {
                dns: Dns { magic: true, base_domain: "tail.internal".into(), ..Dns::default() },
                taildrop: true,
                ..Settings::default()
            },
            records: None,
            policy: PolicySource::Database,
            clock: ClockTrust::Always,
            relay: Some(RelayOptions {
                region: 999,
                code: "gramscale".into(),
                name: "gramscale".into(),
                verify_clients: true,
                in_map: true,
                stun: Some(([0, 0, 0, 0], 3478).into()),
                key: None,
                ipv4: None,
                ipv6: None,
                rate: None,
            }),
            derp: Default::default(),
        };
        let greeting = greeting(&options);
        let ready = || _ = std::io::stdout().write_all(greeting.as_bytes());
        serve::run(options, ready).map_err(|error| Error::Local(error.to_string()))
    }
}

/// Where the state is kept if nothing says otherwise.
fn default_data_dir() -> PathBuf {
    let home = std::env::var("HOME").unwrap_or_default();
    PathBuf::from(home).join(".local/share/gramscale")
}

/// Where everything is, and what to type next.
fn greeting(options: &Options) -> String {
    let mut text = format!(
        "gramscale {} serves\n\
         \x20 control   {}  (listening on {})\n\
         \x20 state     {}\n\
         \x20 admin     {}\n",
        env!("CARGO_PKG_VERSION"),
        options.server_url,
        options.listen,
        options.store.display(),
        options.socket.display(),
    );
    if let Some(relay) = &options.relay {
        text += &format!("  relay     region {} on the same port", relay.region);
        if let Some(stun) = relay.stun {
            text += &format!(", STUN on UDP {}", stun.port());
        }
        text += "\n";
    }
    if !options.server_url.tls {
        text += "  The first connection of a client trusts what it finds at this http URL.\n";
    }
    if options.listen.ip().is_loopback()
        && let Some(addr) = serve::lan_address()
    {
        let port = options.listen.port();
        text += &format!(
            "For other machines of the network: gramscale serve --listen {addr}:{port} \
             --server-url http://{addr}:{port}\n"
        );
    }
    text += "Next: gramscale users create NAME\n      gramscale preauthkeys create --user NAME\n";
    text += &format!(
        "and on the machine: tailscale up --login-server {} --auth-key KEY\n",
        options.server_url
    );
    text
}
