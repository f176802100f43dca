//! `serve`: starts the server.

use argh::FromArgs;

use super::Error;

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
        let socket = data_dir.join("gramscale.sock");
        crate::serve::run(crate::serve::Options { data_dir, listen, server_url, socket })
            .map_err(Error::Local)
    }
}
