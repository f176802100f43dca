//! What goes on while the disk takes its time.

use std::rc::Rc;
use std::time::Duration;

use gramscale_proto::netmap::{Netmap, Settings};
use gramscale_proto::tailnet::record::NodeId;
use gramscale_proto::tailnet::{NewAuthKey, NewUser, Registered, Rules, Tailnet};
use gramscale_proto::wire::derp::Frame;
use gramscale_proto::wire::key::{MachineKey, NodeKey};
use gramscale_proto::wire::tailcfg::{MapRequest, RegisterRequest};
use gramscale_rt::{Notify, block_on, random, spawn, timeout};

use super::relay::Options;
use super::relay::tests::{Peer, relay};
use super::state::{ClockTrust, State};
use crate::store::{Memory, Store};

/// For what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn join(state: &Rc<State>, key: &str, machine: u8) -> NodeId {
    let node_key = NodeKey([machine; 32]);
    let body = format!(
        r#"{{"Version":113,"NodeKey":"{node_key}","Auth":{{"AuthKey":"{key}"}},"Hostinfo":{{}}}}"#
    );
    let request = RegisterRequest::parse(&mut body.into_bytes()).unwrap();
    let machine = MachineKey([machine; 32]);
    let registered =
        state.execute(|tailnet, now| tailnet.register(machine, &request, now, &mut random));
    match registered.await.unwrap() {
        Registered::Accepted(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn streams_and_relay_go_on_during_a_commit() {
    block_on(async {
        let disk = Memory::default();
        let (store, snapshot) = Store::open_memory(&disk).unwrap();
        let tailnet = Tailnet::new(Rules::default(), snapshot);
        let state =
            State::new(tailnet, Netmap::new(Settings::default()), store, ClockTrust::Always);
        let telling = spawn(state.clone().tell_news());
        let user = NewUser { name: "ann".into(), ..NewUser::default() };
        let user = state.execute(|tailnet, now| tailnet.create_user(user, now)).await.unwrap();
        let new = NewAuthKey { user: Some(user), reusable: true, ..NewAuthKey::default() };
        let made = state.execute(|tailnet, now| tailnet.create_auth_key(new, now, &mut random));
        let key = made.await.unwrap().1;
        let (moving, viewer) = (join(&state, &key, 1).await, join(&state, &key, 2).await);
        let wake = Rc::new(Notify::new());
        let stream = state.subscribe(viewer, NodeKey([2; 32]), 113, false, wake.clone());
        state.render(&stream).unwrap();
        let relay = relay(Options::default());
        let (mut a, mut b) = (Peer::login(&relay, 1).await, Peer::login(&relay, 2).await);

        // Until it is told otherwise, at the latest by a failure.
        struct Slow(Memory);
        impl Drop for Slow {
            fn drop(&mut self) {
                self.0.set_sync_time(Duration::ZERO);
            }
        }
        disk.set_sync_time(Duration::from_secs(3600));
        let slow = Slow(disk);
        let registering = spawn({
            let (state, key) = (state.clone(), key.clone());
            async move { join(&state, &key, 3).await }
        });
        for port in 1000..1100 {
            let body =
                format!(r#"{{"Version":113,"OmitPeers":true,"Endpoints":["192.0.2.1:{port}"]}}"#);
            let request = MapRequest::parse(&mut body.into_bytes()).unwrap();
            let taken = state.take_in(|tailnet, _| tailnet.update(moving, &request));
            timeout(PATIENCE, taken).await.expect("it waits for no disk").unwrap();
            let told = async {
                loop {
                    wake.notified().await;
                    let message = state.render(&stream).unwrap_or_default().concat();
                    if String::from_utf8_lossy(&message).contains(&format!("192.0.2.1:{port}")) {
                        break;
                    }
                }
            };
            timeout(PATIENCE, told).await.expect("the stream is told");
            a.packet(b.key, &[7; 1200]).await;
            b.expect(Frame::RecvPacket { src: a.key, data: &[7; 1200] }).await;
        }
        assert!(!registering.is_finished(), "nothing is visible before it is durable");
        drop(slow);
        let id = timeout(PATIENCE, registering).await.expect("the commit ends");
        assert!(state.read(|tailnet| tailnet.shown(id).is_some()));
        telling.cancel().await;
    });
}
