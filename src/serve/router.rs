//! Which request goes where.

use std::cell::RefCell;
use std::rc::Rc;

use futures_lite::future::BoxedLocal;
use gramscale_proto::tailnet::{Now, Tailnet};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::prefix::Prefix;
use gramscale_rt::{random, sys};

use super::admin::{self, Admin, Call, PolicySource, Problem, Vitals};
use super::control::Control;
use super::derp::Derp;
use super::pages::{self, Pages};
use super::state::State;
use crate::net::http::{Reply, Request, Response, Service};
use crate::store;

/// Bytes of a body where none is expected, or a very small one.
const SMALL_BODY: usize = pages::VERIFY_LIMIT;

/// Answers the requests of all listeners.
pub(super) struct Router {
    pub(super) state: Rc<State>,
    pub(super) control: Rc<Control>,
    pub(super) derp: Rc<Derp>,
    /// The URL of this server, without a slash at its end.
    pub(super) server_url: String,
    /// Where it listens, and where it answers STUN, for the status.
    pub(super) listen: Vec<String>,
    pub(super) stun: String,
    /// Who may use the admin interface over TCP; everybody with a key, if empty.
    pub(super) admin_allow: Rc<RefCell<Vec<Prefix>>>,
    /// Whose word about the address of a client is believed.
    pub(super) proxies: Vec<Prefix>,
}

impl Service for Router {
    fn body_limit(&self, head: &Head) -> usize {
        if head.path.starts_with(admin::ROOT) { admin::BODY_LIMIT } else { SMALL_BODY }
    }

    fn proxies(&self) -> &[Prefix] {
        &self.proxies
    }

    fn call(self: Rc<Self>, request: Request) -> BoxedLocal<Reply> {
        Box::pin(async move {
            let head = &request.head;
            match (head.method.as_str(), head.path.as_str()) {
                ("GET" | "POST", "/ts2021") => self.control.upgrade(head),
                ("GET", "/key") => self.control.key(head).into(),
                (_, path) if path.starts_with(admin::ROOT) => {
                    pages::secured(self.admin(&request).await).into()
                }
                _ => match self.derp.reply(&request) {
                    Some(reply) => reply,
                    None => pages::secured(self.page(&request)).into(),
                },
            }
        })
    }
}

impl Router {
    async fn admin(&self, request: &Request) -> Response {
        let peer = request.peer.addr.map(|addr| addr.ip());
        if peer.is_some_and(|ip| !admin::is_allowed(&self.admin_allow.borrow(), ip)) {
            let detail = "this address may not use the admin interface: see admin_allow";
            return Problem::new(403, detail).response();
        }
        let local = peer.is_none();
        let call = Call { head: &request.head, local, body: &request.body };
        let answer = |tailnet: &mut Tailnet, now: Now| {
            let file = self.state.policy_file();
            let policy = match &*file {
                Some((path, text)) => PolicySource::File { path, text },
                None => PolicySource::Store,
            };
            let (well, vitals) = (self.state.store().is_well(), &|| self.vitals());
            let mut admin = Admin { tailnet, now, random: &mut random, policy, well, vitals };
            let response = admin.answer(&call);
            if response.status < 400 { Ok(response) } else { Err(response) }
        };
        let done = match request.head.method.as_str() {
            "GET" => self.state.consult(answer).await,
            _ => self.state.attempt(answer).await,
        };
        match done {
            Ok(Ok(response) | Err(response)) => response,
            Err(error) => Problem::new(503, error.to_string()).response(),
        }
    }

    fn vitals(&self) -> Vitals {
        let store = self.state.store();
        let figures = store.figures();
        Vitals {
            server_url: self.server_url.clone(),
            listen: self.listen.clone(),
            stun: self.stun.clone(),
            memory: sys::resident_bytes().unwrap_or(0),
            database: store.size().unwrap_or(0),
            written: (figures.written, figures.written_on(store::today())),
            failed: figures.failed,
        }
    }

    fn page(&self, request: &Request) -> Response {
        let page = self.state.read(|tailnet| {
            let well = self.state.store().is_well();
            let pages = Pages { tailnet, server_url: &self.server_url, well };
            pages.answer(&request.head, &request.body)
        });
        page.unwrap_or_else(|| Response::text(404, "there is nothing at this path\n"))
    }
}
