//! What clients can ask over their connection (`tailcfg` and `controlclient` of the client).

use std::rc::Rc;

use gramscale_proto::netmap::PROBE_PATH;
use gramscale_proto::tailnet::Probe;
use gramscale_proto::tailnet::record::NodeId;
use gramscale_proto::wire::h2::Request;

use super::desk::{Answer, Client, Desk};
use super::{Control, map, register, ssh};

/// Bytes of a request's body. Registrations and map requests are of 1 to 10 KB; somebody with
/// many services and routes needs more.
pub(super) const BODY_LIMIT: usize = 128 * 1024;

/// Answers a request.
pub(super) async fn answer(
    control: &Rc<Control>,
    desk: &Desk,
    client: Client,
    mut request: Request,
) -> Answer {
    let stream = request.stream;
    let path = request.path.split('?').next().unwrap_or_default().to_owned();
    let reply = |status, text: &str| Answer::text(stream, status, text);
    match (request.method.as_str(), path.as_str()) {
        ("POST", "/machine/register") => {
            register::answer(control, client, stream, &mut request.body).await
        }
        ("POST", "/machine/map") => {
            map::answer(control, desk, client, stream, &mut request.body).await
        }
        ("HEAD", path) if path.starts_with(PROBE_PATH) => {
            answer_probe(control, client, path);
            reply(200, "")
        }
        ("GET", "/machine/whoami") => reply(200, &whoami(control, client)),
        ("GET", path) if path.starts_with(ssh::PATH) => {
            ssh::answer(control, client, stream, &request.path).await
        }
        ("POST", "/machine/update-health") => reply(204, ""),
        ("POST", "/machine/audit-log") => {
            let text = String::from_utf8_lossy(&request.body);
            log::info!("audit log of {}: {}", client.machine.short(), text.escape_debug());
            reply(200, "")
        }
        ("POST", "/machine/feature/query") => Answer::json(
            stream,
            "{\"Complete\":false,\"Text\":\"This server does not offer this feature.\\n\",\
             \"URL\":\"\",\"ShouldWait\":false}",
        ),
        ("POST", "/machine/set-dns") => {
            reply(501, "this server publishes no DNS records: HTTPS certificates are not available")
        }
        ("POST", "/machine/id-token") => reply(501, "this server issues no id tokens"),
        ("PATCH", "/machine/set-device-attr") => {
            reply(501, "this server keeps no device attributes")
        }
        (_, path) if path.starts_with("/machine/tka/") => {
            reply(501, "this server has no tailnet lock")
        }
        (_, path) if path.starts_with("/machine/webclient/") => {
            reply(501, "this server has no check mode for the web client")
        }
        _ => reply(404, "there is nothing at this path"),
    }
}

/// A node of this machine answers that it is there.
fn answer_probe(control: &Control, client: Client, path: &str) {
    let rest = path.strip_prefix(PROBE_PATH).and_then(|rest| rest.split_once('/'));
    let Some((node, probe)) = rest else { return };
    let (Ok(node), Ok(probe)) = (node.parse().map(NodeId), probe.parse().map(Probe)) else {
        return;
    };
    control.state.update(|tailnet, _| {
        if tailnet.node(node).is_some_and(|member| member.node.machine == client.machine) {
            tailnet.answer_probe(node, probe);
        }
    });
}

/// What `tailscale debug ts2021` shows.
fn whoami(control: &Control, client: Client) -> String {
    let node = control.state.read(|tailnet| {
        let member = tailnet.nodes().find(|member| member.node.machine == client.machine)?;
        Some(format!("node {} ({})", member.node.id, member.node.name))
    });
    let node = node.as_deref().unwrap_or("not registered");
    format!("{}\ncapability version {}\n{node}\n", client.machine, client.version)
}
