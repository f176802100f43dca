//! The relay as a part of this server: its key, its region, its paths on the listener.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::BoxedLocal;
use gramscale_proto::tailnet::write::{DerpMapText, Meta, Write};
use gramscale_proto::wire::derpmap::{DerpMap, Form, Own, Region};
use gramscale_proto::wire::json::{self, Json};
use gramscale_proto::wire::key::PrivateKey;
use gramscale_proto::wire::sorted::Map;
use serde_json::Value;

use super::derpmap::{DerpMaps, Hooks, MAX_DOCUMENT, SourceError, Sources};
use super::options::{Options, RelayOptions};
use super::outside::{self, Public};
use super::relay::{self, Relay, http as paths};
use super::state::State;
use crate::net::fetch::{self, Limits};
use crate::net::http::{Reply, Request};

/// How long the fetch of a DERP map may take.
const FETCH_TIME: Duration = Duration::from_secs(30);

/// The relay, and the map of relays.
pub(super) struct Derp {
    relay: Option<Rc<Relay>>,
    maps: Rc<DerpMaps>,
}

impl Derp {
    /// With the relay that `options` ask for, whose certificate clients check by `pin`.
    pub(super) fn new(
        state: &Rc<State>,
        options: &Options,
        key: PrivateKey,
        pin: Option<[u8; 32]>,
        kept: Map<String, DerpMapText>,
    ) -> Result<Rc<Self>, SourceError> {
        let relay = options.relay.as_ref().map(|relay| {
            let admitting = state.clone();
            let verify = relay.verify_clients;
            let admit = move |node: &_| {
                !verify
                    || admitting.read(|tailnet| {
                        tailnet.node_by_key(node).is_some_and(|member| !member.expired)
                    })
            };
            let options = relay::Options {
                rate: relay.rate,
                max_connections: relay.max_connections,
                max_queued: relay.max_queued,
                ..relay::Options::default()
            };
            Relay::new(key, options, Rc::new(admit))
        });
        if let Some(relay) = &relay {
            let relay = relay.clone();
            state.on_revoked(Rc::new(move || relay.recheck()));
        }
        let hooks = Rc::new(MapHooks { state: state.clone(), kept: RefCell::new(kept) });
        let maps = DerpMaps::open(sources(options, pin, outside::look(options).public), hooks)?;
        let derp = Rc::new(Self { relay, maps });
        show(state, &derp.maps.map());
        Ok(derp)
    }

    /// The relay, if this server is one.
    pub(super) fn relay(&self) -> Option<&Relay> {
        self.relay.as_deref()
    }

    /// The map of relays.
    pub(super) fn maps(&self) -> &Rc<DerpMaps> {
        &self.maps
    }

    /// Tells clients to come back soon, and lets them go.
    pub(super) fn stop(&self) {
        if let Some(relay) = &self.relay {
            relay.restart(Duration::from_secs(1), Duration::from_secs(30));
        }
    }

    /// Answers a request for one of the relay's paths; `None` if it is for none.
    pub(super) fn reply(&self, request: &Request) -> Option<Reply> {
        let head = &request.head;
        let relay = self.relay.as_ref()?;
        match head.path.as_str() {
            "/derp" => Some(paths::enter(relay, request)),
            "/derp/probe" | "/derp/latency-check" => Some(paths::probe(head).into()),
            "/generate_204" => Some(paths::generate_204(head).into()),
            "/bootstrap-dns" => Some(paths::bootstrap_dns(head, &self.maps.map()).into()),
            _ => None,
        }
    }
}

/// Where the map comes from, this server's own region included.
pub(super) fn sources(options: &Options, pin: Option<[u8; 32]>, public: Public) -> Sources {
    Sources { own: own(options, pin, public), ..options.derp.clone() }
}

/// This server's own region, with the public addresses that were found.
pub(super) fn own(
    options: &Options,
    pin: Option<[u8; 32]>,
    public: Public,
) -> Option<(u16, Region)> {
    let relay = options.relay.as_ref().filter(|relay| relay.in_map)?;
    let mut own = own_region(options, relay, pin);
    own.ipv4 = public.0.map(IpAddr::V4).or(own.ipv4);
    own.ipv6 = public.1.map(IpAddr::V6).or(own.ipv6);
    Some((relay.region, own.region(relay.region)))
}

fn own_region(options: &Options, relay: &RelayOptions, pin: Option<[u8; 32]>) -> Own {
    // The unspecified IPv6 address stands for both families.
    let v4 = |addr: &SocketAddr| addr.is_ipv4() || addr.ip().is_unspecified();
    let listens = (options.listen.iter().any(v4), options.listen.iter().any(SocketAddr::is_ipv6));
    Own {
        code: relay.code.clone(),
        name: relay.name.clone(),
        host: options.server_url.host.clone(),
        port: options.server_url.port,
        stun_port: relay.stun.map(|addr| addr.port()),
        pin,
        ipv4: relay.ipv4,
        ipv6: relay.ipv6,
        listens,
    }
}

/// Renders the map for viewers, and tells them if it is another.
fn show(state: &State, map: &DerpMap) {
    let forms = Form::ALL.map(|(form, from)| {
        let mut out = Vec::new();
        map.write(&mut Json::new(&mut out), form);
        (from, out)
    });
    if state.with_netmap(|netmap| netmap.set_derp_map(forms.into())) {
        state.publish_settings(false, true);
    }
}

/// What the map asks of the server around it.
struct MapHooks {
    state: Rc<State>,
    kept: RefCell<Map<String, DerpMapText>>,
}

impl Hooks for MapHooks {
    fn fetch(&self, url: &str) -> BoxedLocal<Result<Vec<u8>, String>> {
        let url = url.to_owned();
        let clock = self.state.now().trusted;
        Box::pin(async move {
            let limits =
                Limits { time: FETCH_TIME, size: MAX_DOCUMENT, clock, ..Limits::default() };
            fetch::get(&url, limits).await.map_err(|error| error.to_string())
        })
    }

    fn yaml(&self, text: &str) -> Result<Value, String> {
        #[cfg(feature = "yaml")]
        let text = &crate::config::yaml_to_json(text)?;
        json::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    fn keep(&self, url: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        let map = DerpMapText { text, at: self.state.now().wall };
        self.state.store().commit_soft(vec![Write::PutMeta(Meta::DerpMap(url.to_owned(), map))]);
    }

    fn kept(&self, url: &str) -> Option<Vec<u8>> {
        self.kept.borrow_mut().remove(url).map(|map| map.text.into_bytes())
    }

    fn changed(&self, map: &Rc<DerpMap>) {
        show(&self.state, map);
    }
}
