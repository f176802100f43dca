//! Starting, reloading and stopping.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use gramscale_proto::netmap::Netmap;
use gramscale_proto::tailnet::NewUser;
use gramscale_proto::tailnet::write::{Meta, Snapshot, Write};
use gramscale_proto::tailnet::{Refusal, Tailnet};
use gramscale_proto::wire::key::PrivateKey;
use gramscale_proto::wire::prefix::Prefix;
use gramscale_rt::{Signal, Signals, random, spawn, sys, timeout};

use super::control::Control;
use super::derp::{self, Derp};
use super::derpmap::SourceError;
use super::metrics::Metrics;
use super::options::{Foreign, Options, PolicySource};
use super::outside::{self, Public};
use super::records::{self, RecordsError};
use super::router::Router;
use super::secure::{Secure, SecureError};
use super::state::{Failure, State};
use super::stun;
use crate::net::http;
use crate::net::listen::{self, BindError, Handler};
use crate::net::places::{self, Places};
use crate::store::{Store, StoreError};

/// How long stopping may take: what is being stored is finished, everything else is dropped.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Reads the settings again at SIGHUP; what is wrong with them.
pub type Reread = Box<dyn Fn() -> Result<Options, String>>;

/// Why the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A signal said so.
    Stop,
    /// It is to start anew: what was changed can't change while it runs.
    Again,
}

/// Serves until a signal says to stop. `ready` is called once everything listens.
pub fn run(options: Options, reread: Reread, ready: impl FnOnce()) -> Result<End, StartError> {
    gramscale_rt::block_on(async {
        let server = Server::start(options, reread).await?;
        ready();
        server.serve().await
    })
}

/// A server that listens.
struct Server {
    /// As they were read; in force are those of the last reload that was good.
    options: RefCell<Options>,
    reread: Reread,
    admin_allow: Rc<RefCell<Vec<Prefix>>>,
    state: Rc<State>,
    derp: Rc<Derp>,
    secure: Secure,
    signals: Signals,
}

impl Server {
    async fn start(mut options: Options, reread: Reread) -> Result<Self, StartError> {
        let read = options.clone();
        let signals = [Signal::Term, Signal::Int, Signal::Quit, Signal::Hup];
        let signals = Signals::new(&signals).map_err(StartError::Signals)?;
        let descriptors = sys::raise_descriptor_limit();
        if let Some(folder) = options.store.parent() {
            std::fs::create_dir_all(folder).map_err(|e| StartError::Folder(folder.into(), e))?;
        }
        let (store, mut snapshot) = Store::open(&options.store, options.cache)?;
        let there = |foreign: &Foreign| match foreign {
            Foreign::Postgres(_) => true,
            Foreign::Sqlite(path) => path.exists(),
        };
        if let Some(foreign) = options.foreign.take().filter(there)
            && snapshot.is_empty()
        {
            return Err(StartError::Foreign(foreign));
        }
        if let Some(path) = &options.records {
            options.maps.dns.records = records::read(path)?;
        }
        let stored = snapshot.noise_key.take();
        let noise_key = key(&store, options.noise_key.as_deref(), stored, Meta::NoiseKey).await?;
        let relay_file = options.relay.as_ref().and_then(|relay| relay.key.as_deref());
        let relay_key = key(&store, relay_file, snapshot.relay_key.take(), Meta::RelayKey).await?;
        let secure = Secure::new(&options, &store, snapshot.pinned.take()).await?;
        let kept = std::mem::take(&mut snapshot.derp_maps);
        let state = tailnet(&options, store, snapshot).await?;
        let derp = Derp::new(&state, &options, relay_key, secure.pin(), kept)?;
        let admin_allow = Rc::new(RefCell::new(options.admin_allow.clone()));
        let options = RefCell::new(read);
        let server = Self { options, reread, admin_allow, state, derp, secure, signals };
        server.listen(noise_key, descriptors)?;
        server.look_outside();
        let users = server.options.borrow().users.clone();
        server.make_users(users).await;
        Ok(server)
    }

    fn listen(&self, noise_key: PrivateKey, descriptors: usize) -> Result<(), StartError> {
        let Self { options, state, derp, secure, .. } = self;
        let options = &*options.borrow();
        let server_url = options.server_url.to_string();
        let control = Control::new(state.clone(), noise_key, server_url.clone());
        let router: Rc<dyn http::Service> = Rc::new(Router {
            state: state.clone(),
            control: control.clone(),
            derp: derp.clone(),
            server_url,
            listen: options.listen.iter().map(SocketAddr::to_string).collect(),
            stun: options
                .relay
                .as_ref()
                .and_then(|relay| relay.stun)
                .map_or_else(String::new, |addr| addr.to_string()),
            admin_allow: self.admin_allow.clone(),
            proxies: options.proxies.clone(),
        });
        let places = Places::within(descriptors);
        let (service, secure) = (router.clone(), secure.clone());
        let handler: Handler = Rc::new(move |connection| {
            let (service, secure) = (service.clone(), secure.clone());
            let opening = async move { secure.open(connection).await };
            Box::pin(http::serve_opened(opening, service))
        });
        for addr in &options.listen {
            for listener in listen::tcp(*addr)? {
                spawn(listen::accept_tcp(listener, places.clone(), handler.clone())).detach();
            }
        }
        let local: Handler =
            Rc::new(move |connection| Box::pin(http::serve(connection, router.clone())));
        let socket = listen::unix(&options.socket, options.socket_mode)?;
        let local_places = Places::new(places::LOCAL_CONNECTIONS);
        spawn(listen::accept_unix(socket, local_places, local)).detach();
        let stun = Rc::new(stun::Counters::default());
        if let Some(addr) = options.relay.as_ref().and_then(|relay| relay.stun) {
            for socket in stun::bind(addr, &stun)? {
                spawn(socket.serve()).detach();
            }
        }
        if let Some(addr) = options.metrics {
            let (state, derp) = (state.clone(), derp.clone());
            let metrics: Rc<dyn http::Service> =
                Rc::new(Metrics { state, control, derp, stun, places });
            let handler: Handler =
                Rc::new(move |connection| Box::pin(http::serve(connection, metrics.clone())));
            for listener in listen::tcp(addr)? {
                let places = Places::new(places::LOCAL_CONNECTIONS);
                spawn(listen::accept_tcp(listener, places, handler.clone())).detach();
            }
        }
        spawn(derp.maps().clone().keep_up()).detach();
        spawn(state.clone().keep_time()).detach();
        spawn(state.clone().tell_news()).detach();
        if let Some(path) = &options.records {
            spawn(records::follow(state.clone(), path.clone())).detach();
        }
        Ok(())
    }

    async fn serve(self) -> Result<End, StartError> {
        let server = Rc::new(self);
        let weak = Rc::downgrade(&server);
        let look = move || _ = weak.upgrade().map(|server| server.look_outside());
        spawn(outside::follow(Rc::new(look))).detach();
        server.until_told().await
    }

    async fn until_told(&self) -> Result<End, StartError> {
        let mut end = End::Stop;
        while self.signals.next().await.map_err(StartError::Signals)? == Signal::Hup {
            if self.reload().await {
                end = End::Again;
                break;
            }
        }
        log::info!("{}", if end == End::Again { "starting anew" } else { "stopping" });
        self.derp.stop();
        let store = self.state.store();
        let last = async {
            store.commit(self.state.unsaved(true)).await?;
            store.close().await
        };
        timeout(STOP_TIME, last).await.unwrap_or(Ok(()))?;
        Ok(end)
    }

    /// Reads again what may change while the server runs. What can't be read stays as it was.
    /// Whether the server has to start anew, for settings or for a program that was replaced.
    async fn reload(&self) -> bool {
        let options = match (self.reread)() {
            Ok(options) => options,
            Err(wrong) => {
                // A wrong configuration would stop a new start as well.
                wrong.lines().for_each(|line| log::error!("{line}"));
                log::error!("all settings stay as they were");
                return false;
            }
        };
        if sys::program_replaced() || self.options.borrow().needs_start(&options) {
            // Routers are told of a certificate before there is one.
            let Err(error) = Secure::look(&options) else { return true };
            log::error!("{error}");
            log::error!("all settings stay as they were");
            return false;
        }
        log::set_max_level(options.log_level);
        *self.admin_allow.borrow_mut() = options.admin_allow.clone();
        self.state.update(|tailnet, _| tailnet.set_rules(options.rules.clone()));
        if let PolicySource::File(Some(path)) = &options.policy {
            match load_policy(&self.state, path, Tailnet::reload_policy).await {
                Ok(()) => log::info!("the policy of {} is in force", path.display()),
                Err(error) => log::error!("the policy stays as it was: {error}"),
            }
        }
        if let Some(files) = &options.tls {
            match self.secure.reload(&options) {
                Ok(()) => log::info!("the certificate of {} is in use", files.chain.display()),
                Err(error) => log::error!("the certificate stays as it was: {error}"),
            }
        }
        self.make_users(options.users.clone()).await;
        self.options.replace(options);
        self.reload_maps(&self.options.borrow());
        log::info!("the settings were read again");
        false
    }

    /// What shows in maps: DNS, what clients may do, addresses outside, relays.
    fn reload_maps(&self, options: &Options) {
        let before = self.state.with_netmap(|netmap| netmap.settings().clone());
        let mut maps = options.maps.clone();
        if options.records.is_some() {
            maps.dns.records = before.dns.records.clone();
        }
        if maps != before {
            let dns = self.state.with_netmap(|netmap| netmap.set_settings(maps));
            self.state.publish_settings(dns, false);
            // Names and capabilities of all nodes may be others.
            self.state.refresh();
        }
        if let Some(path) = &options.records {
            records::reload(&self.state, path);
        }
        let maps = self.derp.maps().clone();
        let public = self.take_place(options);
        if let Err(error) = maps.reload(derp::sources(options, self.secure.pin(), public)) {
            log::error!("the DERP map stays as it was: {error}");
        }
        spawn(async move { _ = maps.update().await }).detach();
    }

    /// Tells clients where this machine stands, if that has changed.
    fn look_outside(&self) {
        let options = self.options.borrow();
        let public = self.take_place(&options);
        let own = derp::own(&options, self.secure.pin(), public);
        if let Err(error) = self.derp.maps().set_own(own) {
            log::error!("the relay's addresses stay as they were: {error}");
        }
    }

    /// Looks where this machine stands. What that means for nodes is told at once; the addresses
    /// for the relay are returned.
    fn take_place(&self, options: &Options) -> Public {
        let place = outside::look(options);
        self.state.update(|tailnet, _| tailnet.set_outside(place.outside));
        place.public
    }

    /// Makes those users of the settings that are not there.
    async fn make_users(&self, names: Vec<String>) {
        for name in names {
            if self.state.read(|tailnet| tailnet.users().any(|user| user.name == name)) {
                continue;
            }
            let new = NewUser { name: name.clone(), ..NewUser::default() };
            let made = self.state.execute(|tailnet, now| tailnet.create_user(new, now)).await;
            if let Err(failure) = made {
                log::error!("the user {name} of the settings can't be made: {failure}");
            }
        }
    }
}

/// The tailnet that is stored, with its policy in force.
async fn tailnet(
    options: &Options,
    store: Store,
    snapshot: Snapshot,
) -> Result<Rc<State>, StartError> {
    let stored_policy = snapshot.policy.clone();
    let mut tailnet = Tailnet::new(options.rules.clone(), snapshot);
    if cfg!(feature = "yaml") {
        tailnet.read_yaml_policies();
    }
    let netmap = Netmap::new(options.maps.clone());
    let state = State::new(tailnet, netmap, store, options.clock);
    match &options.policy {
        PolicySource::File(None) => state.set_policy_file("", String::new()),
        PolicySource::File(Some(path)) => {
            load_policy(&state, path, Tailnet::load_policy).await?;
        }
        PolicySource::Database => {
            let Some(policy) = stored_policy else { return Ok(state) };
            let restored = state.execute(|tailnet, _| tailnet.restore_policy(&policy)).await;
            if let Err(failure) = restored {
                log::error!(
                    "the stored policy can't be put in force, so nothing is allowed until \
                     `gramscale policy set` gives a good one: {failure}"
                );
                state.update(|tailnet, _| tailnet.close_policy());
            }
        }
    }
    // Not an error: what it tests, the tailnet, may have changed since it was put in force.
    if let Err(failed) = state.read(Tailnet::test_policy) {
        log::warn!("the policy is in force, but does not do what it expects of itself: {failed}");
    }
    Ok(state)
}

/// Puts the policy of a file in force by the command `how`.
async fn load_policy(
    state: &Rc<State>,
    path: &Path,
    how: fn(&mut Tailnet, &str) -> Result<(), Refusal>,
) -> Result<(), StartError> {
    let text = std::fs::read_to_string(path).map_err(|e| StartError::PolicyFile(path.into(), e))?;
    let loaded = state.execute(|tailnet, _| how(tailnet, &text)).await;
    loaded.map_err(|failure| match failure {
        Failure::Refused(refusal) => StartError::Policy(path.into(), refusal),
        Failure::Store(error) => StartError::Store(error),
    })?;
    for note in state.read(Tailnet::policy_notes) {
        log::warn!("{}: {note}", path.display());
    }
    state.set_policy_file(&path.display().to_string(), text);
    Ok(())
}

/// A key of the server: from its file, if one is named, else from the database; made if it is
/// nowhere yet.
async fn key(
    store: &Store,
    file: Option<&Path>,
    stored: Option<PrivateKey>,
    meta: impl FnOnce(PrivateKey) -> Meta,
) -> Result<PrivateKey, StartError> {
    match (file, stored) {
        (Some(path), stored) => key_file(path, stored),
        (None, Some(key)) => Ok(key),
        (None, None) => {
            let key = new_key();
            store.commit(vec![Write::PutMeta(meta(key.clone()))]).await?;
            Ok(key)
        }
    }
}

fn key_file(path: &Path, stored: Option<PrivateKey>) -> Result<PrivateKey, StartError> {
    let fail = |error| StartError::KeyFile(path.into(), error);
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|error: gramscale_proto::wire::key::KeyError| {
            fail(io::Error::new(io::ErrorKind::InvalidData, error))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The file may be named later than the key was made.
            let key = stored.unwrap_or_else(new_key);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(fail)?;
            }
            sys::with_umask(0o077, || std::fs::write(path, key.to_text())).map_err(fail)?;
            Ok(key)
        }
        Err(error) => Err(fail(error)),
    }
}

fn new_key() -> PrivateKey {
    let mut bytes = [0; 32];
    random(&mut bytes);
    PrivateKey::from_random(bytes)
}

/// The address by which other machines of the network would reach this one, if there is one.
pub fn lan_address() -> Option<IpAddr> {
    outside::source_v4().map(IpAddr::V4)
}

/// Why the server does not start, or stops.
#[derive(Debug)]
pub enum StartError {
    /// A listener.
    Bind(BindError),
    /// The DERP map.
    Derp(SourceError),
    /// The folder of the database can't be made.
    Folder(PathBuf, io::Error),
    /// headscale's database is there, and ours is empty.
    Foreign(Foreign),
    /// A key file.
    KeyFile(PathBuf, io::Error),
    /// The policy in a file.
    Policy(PathBuf, Refusal),
    /// The file of the policy.
    PolicyFile(PathBuf, io::Error),
    /// The DNS records in a file.
    Records(String),
    /// TLS.
    Secure(SecureError),
    /// Signals can't be received.
    Signals(io::Error),
    /// The database.
    Store(StoreError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Derp(error) => error.fmt(f),
            Self::Folder(path, error) => {
                write!(f, "cannot make the folder {} for the database: {error}", path.display())
            }
            Self::Foreign(foreign) => write!(
                f,
                "{foreign} is configured and this server's own is empty, so that all clients \
                 would lose their login: import it, or begin anew with `serve --start-empty`"
            ),
            Self::KeyFile(path, error) => write!(f, "the key file {}: {error}", path.display()),
            Self::Policy(path, error) => write!(f, "the policy file {}: {error}", path.display()),
            Self::PolicyFile(path, error) => {
                write!(f, "cannot read the policy file {}: {error}", path.display())
            }
            Self::Records(error) => write!(f, "the DNS records: {error}"),
            Self::Secure(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot wait for signals: {error}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<RecordsError> for StartError {
    fn from(error: RecordsError) -> Self {
        Self::Records(error.to_string())
    }
}

impl From<SourceError> for StartError {
    fn from(error: SourceError) -> Self {
        Self::Derp(error)
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<SecureError> for StartError {
    fn from(error: SecureError) -> Self {
        Self::Secure(error)
    }
}
