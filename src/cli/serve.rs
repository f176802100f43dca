//! `serve`: starts the server.

use argh::FromArgs;

use super::Error;
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
        let data_dir = std::path::PathBuf::from(self.data_dir.unwrap_or_else(|| "data".into()));
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
            clock: ClockTrust::Synchronised,
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
        serve::run(options, || ()).map_err(|error| Error::Local(error.to_string()))
    }
}
