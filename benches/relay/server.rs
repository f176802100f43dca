//! The relay in a process that counts its allocations, behind the HTTP server as in the product.

use std::rc::Rc;

use futures_lite::future::BoxedLocal;
use gramscale::net::http::{self, Reply, Request, Response, Service};
use gramscale::net::listen::{self, Handler};
use gramscale::net::places::Places;
use gramscale::net::tls::{Identity, Tls};
use gramscale::serve::relay::{self, Options, Relay};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::key::PrivateKey;

struct Site(Rc<Relay>);

impl Service for Site {
    fn body_limit(&self, _: &Head) -> usize {
        0
    }

    fn call(self: Rc<Self>, request: Request) -> BoxedLocal<Reply> {
        let reply = match request.head.path.as_str() {
            "/derp" => relay::http::enter(&self.0, &request),
            "/allocations" => {
                let stats = super::ALLOCATOR.stats();
                let count = stats.allocations + stats.reallocations;
                let live = stats.bytes_allocated - stats.bytes_deallocated;
                Response::text(200, format!("{count} {live}")).into()
            }
            _ => Response::empty(404).into(),
        };
        Box::pin(std::future::ready(reply))
    }
}

/// Serves until killed; prints its address first.
pub(super) fn serve(tls: bool) {
    let descriptors = gramscale_rt::sys::raise_descriptor_limit();
    gramscale_rt::block_on(async {
        let relay =
            Relay::new(PrivateKey::from_random([7; 32]), Options::default(), Rc::new(|_| true));
        let site = Rc::new(Site(relay));
        let tls = tls.then(|| {
            let identity = Identity::new("127.0.0.1", None).expect("it listens");
            Tls::pinned(&identity).expect("it listens")
        });
        let handler: Handler = Rc::new(move |connection| {
            let (site, tls) = (site.clone(), tls.clone());
            let opening = async move {
                match tls {
                    Some(tls) => tls.open(connection).await,
                    None => Some(connection),
                }
            };
            Box::pin(http::serve_opened(opening, site))
        });
        let mut listeners =
            listen::tcp("127.0.0.1:0".parse().expect("it listens")).expect("it listens");
        let listener = listeners.remove(0);
        println!("{}", listener.get_ref().local_addr().expect("it listens"));
        listen::accept_tcp(listener, Places::within(descriptors), handler).await;
    });
}
