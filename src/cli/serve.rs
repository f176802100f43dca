//! `serve`: starts the server.

use std::io::Write as _;

use argh::FromArgs;
use gramscale_rt::sys;

use super::Error;
use super::config::Source;
use crate::config::{Loaded, Problems, Settings};
use crate::serve::logger;
use crate::serve::{self, End, Options};

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
    /// begin with an empty tailnet though headscale's database is there
    #[argh(switch)]
    start_empty: bool,
}

impl Serve {
    #[inline(never)]
    pub(super) fn run(self, source: Source<'_>) -> Result<(), Error> {
        let uci = source.uci.is_some();
        let (settings, problems) = self.read(source)?;
        logger::start(settings.log_level, settings.log_format);
        let options = self.options(&settings, &problems)?;
        if uci {
            sys::spare_others();
        }
        let (file, uci_file) = (source.file.map(str::to_owned), source.uci.map(str::to_owned));
        let greeting = greeting(&options, self.data_dir.is_some());
        let reread = Box::new(move || {
            let source = Source { file: file.as_deref(), uci: uci_file.as_deref() };
            let read = self.read(source).and_then(|(s, problems)| self.options(&s, &problems));
            read.map_err(|error| error.to_string())
        });
        let ready = || {
            if uci {
                // Nobody reads a service's greeting.
                log::info!("serving{}", greeting.lines().nth(1).unwrap_or_default());
            } else {
                _ = std::io::stdout().write_all(greeting.as_bytes());
            }
        };
        match serve::run(options, reread, ready) {
            Ok(End::Stop) => Ok(()),
            // procd starts the new program; in its jail the old one is all that is to be seen.
            Ok(End::Again) if uci && sys::program_replaced() => Ok(()),
            Ok(End::Again) => Err(Error::Local(sys::begin_again().to_string())),
            Err(error) => Err(Error::Local(error.to_string())),
        }
    }

    /// Reads the settings; with them comes what is odd about them.
    fn read(&self, source: Source<'_>) -> Result<(Settings, Problems), Error> {
        let given = [
            ("data_dir", "--data-dir", &self.data_dir),
            ("listen_addr", "--listen", &self.listen),
            ("server_url", "--server-url", &self.server_url),
        ];
        let given: Vec<_> = given
            .iter()
            .filter_map(|(key, flag, value)| Some((*key, *flag, value.as_deref()?)))
            .collect();
        let Loaded { settings, problems, .. } = source.load(&given);
        if problems.is_fatal() {
            return Err(Error::Local(problems.to_string()));
        }
        Ok((settings, problems))
    }

    fn options(&self, settings: &Settings, problems: &Problems) -> Result<Options, Error> {
        for problem in &problems.0 {
            log::warn!("{problem}");
        }
        let mut options =
            Options::new(settings).map_err(|e| Error::Local(format!("server_url: {e}")))?;
        if self.start_empty {
            options.foreign = None;
        }
        Ok(options)
    }
}

/// Where everything is, and what to type next. Other commands do not know of a folder that was
/// `named` here.
fn greeting(options: &Options, named: bool) -> String {
    let listen: Vec<_> = options.listen.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "gramscale {} serves\n\
         \x20 control   {}  (listening on {})\n\
         \x20 state     {}\n\
         \x20 admin     {}\n",
        env!("CARGO_PKG_VERSION"),
        options.server_url,
        listen.join(", "),
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
    if let [listen] = options.listen.as_slice()
        && listen.ip().is_loopback()
        && let Some(addr) = serve::lan_address()
    {
        let port = listen.port();
        text += &format!(
            "For other machines of the network: gramscale serve --listen {addr}:{port} \
             --server-url http://{addr}:{port}\n"
        );
    }
    text += "Next: ";
    if let Some(folder) = options.store.parent().filter(|_| named) {
        text += &format!("export GRAMSCALE_DATA_DIR={}\n      ", folder.display());
    }
    text += "gramscale users create NAME\n      gramscale preauthkeys create --user NAME\n";
    text += &format!(
        "and on the machine: tailscale up --login-server {} --auth-key KEY\n",
        options.server_url
    );
    text
}
