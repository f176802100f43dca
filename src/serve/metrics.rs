//! `/metrics`, on a listener of its own: figures of this server as Prometheus reads them.

use std::fmt::Write as _;
use std::rc::Rc;

use futures_lite::future::BoxedLocal;
use gramscale_proto::wire::http1::Head;
use gramscale_rt::sys;

use super::control::Control;
use super::derp::Derp;
use super::state::State;
use super::stun;
use crate::net::http::{Reply, Request, Response, Service};
use crate::net::places::Places;

/// Answers on the metrics listener.
pub(super) struct Metrics {
    pub(super) state: Rc<State>,
    pub(super) control: Rc<Control>,
    pub(super) derp: Rc<Derp>,
    pub(super) stun: Rc<stun::Counters>,
    pub(super) places: Rc<Places>,
}

impl Service for Metrics {
    fn body_limit(&self, _: &Head) -> usize {
        0
    }

    fn call(self: Rc<Self>, request: Request) -> BoxedLocal<Reply> {
        let head = &request.head;
        let response = match (head.method.as_str(), head.path.as_str()) {
            ("GET" | "HEAD", "/metrics") => Response::text(200, self.text()),
            _ => Response::text(404, "only /metrics is here\n"),
        };
        Box::pin(async move { response.into() })
    }
}

impl Metrics {
    fn text(&self) -> String {
        let mut page = Page::default();
        let mut gauge = |name, value: usize| page.add("gauge", name, "", value as u64);
        let (nodes, online, users) = self.state.read(|tailnet| {
            let online = tailnet.nodes().filter(|member| member.online).count();
            (tailnet.nodes().count(), online, tailnet.users().count())
        });
        gauge("gramscale_nodes", nodes);
        gauge("gramscale_nodes_online", online);
        gauge("gramscale_users", users);
        gauge("gramscale_map_streams", self.state.stream_count());
        let places = self.places.counts();
        gauge("gramscale_connections", places.open);
        page.add("gauge", "process_resident_memory_bytes", "", sys::resident_bytes().unwrap_or(0));
        page.add("counter", "gramscale_connections_evicted", "", places.evicted.into());
        page.add("counter", "gramscale_connections_refused", "", places.refused.into());
        let store = self.state.store().figures();
        page.add("counter", "gramscale_store_commits", "", store.commits);
        page.add("counter", "gramscale_store_commits_failed", "", store.failed);
        page.add("counter", "gramscale_store_written_bytes", "", store.written);
        self.control.counters().each(&mut |name, value| page.add("counter", name, "", value));
        if let Some(relay) = self.derp.relay() {
            relay.gauges().each(&mut |name, value| page.add("gauge", name, "", value));
            let counters = relay.counters();
            counters.each(&mut |name, labels, value| page.add("counter", name, labels, value));
        }
        self.stun.each(&mut |name, labels, value| page.add("counter", name, labels, value));
        page.text
    }
}

/// The text, and the name that its last line is about.
#[derive(Default)]
struct Page {
    text: String,
    last: String,
}

impl Page {
    fn add(&mut self, kind: &str, name: &str, labels: &str, value: u64) {
        if self.last != name {
            _ = writeln!(self.text, "# TYPE {name} {kind}");
            name.clone_into(&mut self.last);
        }
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        _ = writeln!(self.text, "{name}{open}{labels}{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut page = Page::default();
        page.add("gauge", "a", "", 1);
        page.add("counter", "b", "x=\"1\"", 2);
        page.add("counter", "b", "x=\"2\"", 3);
        assert_eq!(
            page.text,
            "# TYPE a gauge\na 1\n# TYPE b counter\nb{x=\"1\"} 2\nb{x=\"2\"} 3\n"
        );
    }
}
