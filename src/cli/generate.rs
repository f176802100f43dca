//! `generate`: fresh keys.

use argh::FromArgs;
use gramscale_proto::wire::key::PrivateKey;

use super::Error;
use super::dialect::object;
use super::output::{self, Format};

/// Make keys
#[derive(FromArgs)]
#[argh(subcommand, name = "generate")]
pub(super) struct Generate {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    PrivateKey(Private),
}

/// Make a private key for a server
#[derive(FromArgs)]
#[argh(subcommand, name = "private-key")]
struct Private {}

impl Generate {
    pub(super) fn run(self, format: Format) -> Result<(), Error> {
        let Verb::PrivateKey(_) = self.verb;
        let mut seed = [0; 32];
        gramscale_rt::random(&mut seed);
        let text = PrivateKey::from_random(seed).to_text();
        let value = object([("private_key", text.as_str().into())]);
        output::print(&format.render(&value, &text))
    }
}
