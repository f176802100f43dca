//! Starting and stopping.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use gramscale_proto::netmap::{Dns, Netmap, Settings};
use gramscale_proto::tailnet::write::{Meta, Write};
use gramscale_proto::tailnet::{Rules, Tailnet};
use gramscale_proto::wire::key::PrivateKey;
use gramscale_rt::{Signal, Signals, random, spawn, sys};

use super::control::Control;
use super::router::Router;
use super::state::{ClockTrust, State};
use crate::net::http;
use crate::net::listen::{self, Handler, Places};
use crate::store::Store;

pub struct Options {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub server_url: String,
    pub socket: PathBuf,
}

/// Serves until a signal says to stop.
pub fn run(options: Options) -> Result<(), String> {
    gramscale_rt::block_on(serve(options))
}

async fn serve(options: Options) -> Result<(), String> {
    let descriptors = sys::raise_descriptor_limit();
    std::fs::create_dir_all(&options.data_dir).map_err(|e| e.to_string())?;
    let (store, snapshot) = Store::open(&options.data_dir.join("gramscale.redb"), 128 * 1024)
        .map_err(|e| e.to_string())?;
    let noise_key = match snapshot.noise_key.clone() {
        Some(key) => key,
        None => {
            let key = new_key();
            let write = Write::PutMeta(Meta::NoiseKey(key.clone()));
            store.commit(vec![write]).await.map_err(|e| e.to_string())?;
            key
        }
    };
    let tailnet = Tailnet::new(Rules::default(), snapshot);
    let dns = Dns { magic: true, base_domain: "tail.internal".into(), ..Dns::default() };
    let netmap = Netmap::new(Settings { dns, taildrop: true, ..Settings::default() });
    let state = State::new(tailnet, netmap, store, ClockTrust::Always);
    let control = Control::new(state.clone(), noise_key, options.server_url.clone());
    let router: Rc<dyn http::Service> = Rc::new(Router {
        state: state.clone(),
        control,
        server_url: options.server_url.clone(),
        admin_allow: Vec::new(),
    });
    let places = Places::within(descriptors);
    let handler: Handler =
        Rc::new(move |connection| Box::pin(http::serve(connection, router.clone())));
    for listener in listen::tcp(options.listen).map_err(|e| e.to_string())? {
        spawn(listen::accept_tcp(listener, places.clone(), handler.clone())).detach();
    }
    let socket = listen::unix(&options.socket, 0o770).map_err(|e| e.to_string())?;
    spawn(listen::accept_unix(socket, Places::new(listen::LOCAL_CONNECTIONS), handler)).detach();
    spawn(state.clone().keep_time()).detach();
    let signals = Signals::new(&[Signal::Term, Signal::Int, Signal::Hup, Signal::Quit])
        .map_err(|e| e.to_string())?;
    loop {
        match signals.next().await.map_err(|e| e.to_string())? {
            Signal::Hup => {}
            _ => break,
        }
    }
    let unsaved = state.unsaved(true);
    state.store().commit(unsaved).await.map_err(|e| e.to_string())?;
    state.store().close().await.map_err(|e| e.to_string())
}

fn new_key() -> PrivateKey {
    let mut bytes = [0; 32];
    random(&mut bytes);
    PrivateKey::from_random(bytes)
}
