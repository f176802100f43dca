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
        let _ = (config, self.data_dir, self.listen, self.server_url, self.uci, self.start_empty);
        Err(Error::Local("the server is not part of this build".into()))
    }
}
