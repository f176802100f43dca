//! `POST /machine/map`.

use std::rc::Rc;

use gramscale_proto::netmap::View;
use gramscale_proto::tailnet::Refusal;
use gramscale_proto::wire::tailcfg::{MapRequest, OLDEST_VERSION};

use super::desk::{Answer, Body, Client, Desk};
use super::{Control, too_old};

pub(super) async fn answer(
    control: &Rc<Control>,
    desk: &Desk,
    client: Client,
    stream: u32,
    body: &mut [u8],
) -> Answer {
    let request = match MapRequest::parse(body) {
        Ok(request) => request,
        Err(error) => return Answer::text(stream, 400, &error.to_string()),
    };
    if request.version < OLDEST_VERSION {
        return Answer::text(stream, 400, &too_old(request.version));
    }
    let state = &control.state;
    let Some(key) = request.nodekey else {
        return Answer::text(stream, 400, "the request has no NodeKey");
    };
    let node = match state.read(|tailnet| tailnet.asking(&client.machine, &key)) {
        Ok(node) => node,
        Err(Refusal::NoNode(_)) if request.stream || !request.omitpeers => {
            // A refusal would be tried again for ever; this makes the client ask for a login.
            log::debug!("map request of {}, which is no node", client.machine.short());
            let parts = state.with_netmap(|netmap| netmap.farewell(&key, request.wants_zstd()));
            return Answer { stream, status: 200, kind: "", body: Body::Parts(parts) };
        }
        Err(refusal) => return Answer::text(stream, 404, &refusal.to_string()),
    };
    if !request.readonly {
        let updated = state.take_in(|tailnet, _| tailnet.update(node, &request)).await;
        if let Err(failure) = updated {
            return Answer::text(stream, 500, &failure.to_string());
        }
    }
    let (version, zstd) = (request.version, request.wants_zstd());
    if request.stream {
        let map = state.subscribe(node, key, version, zstd, desk.wake.clone());
        return Answer { stream, status: 200, kind: "", body: Body::Map(map) };
    }
    if request.omitpeers {
        return Answer::text(stream, 200, "");
    }
    let message = state.render_once(View::new(node, key, version, zstd));
    Answer { stream, status: 200, kind: "", body: Body::Parts(message.unwrap_or_default()) }
}
