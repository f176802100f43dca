//! What the server has told one node of its tailnet.

use gramscale_proto::wire::h2::client::GO_WINDOW;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use serde::Deserialize;

/// The ids that are counted: a new tailnet numbers its nodes from 1.
const IDS: usize = 1 << 14;

/// A node's picture of its peers.
#[derive(Default)]
pub(super) struct Told {
    /// Of a message, as long as it is partial.
    partial: Vec<u8>,
    peers: Vec<Peer>,
    online: usize,
    /// The node's own id, once told.
    pub(super) own: Option<u64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Peer {
    #[default]
    Unknown,
    Offline,
    Online,
}

/// What came with some bytes of a stream.
#[derive(Default)]
pub(super) struct News {
    /// Messages, without those that only say that the stream is alive.
    pub(super) messages: u64,
    /// New endpoints: whose, and the first one's port.
    pub(super) moved: Vec<(u64, u16)>,
}

impl Told {
    /// A new stream begins.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Peers that are known and online.
    pub(super) fn online(&self) -> usize {
        self.online
    }

    /// Takes the next bytes of a stream.
    pub(super) fn recv(&mut self, bytes: &[u8], decoder: &mut FrameDecoder) -> News {
        let mut news = News::default();
        self.partial.extend_from_slice(bytes);
        let mut partial = std::mem::take(&mut self.partial);
        let mut at = 0;
        while let Some((len, rest)) = partial.get(at..).and_then(|rest| rest.split_first_chunk()) {
            let len = u32::from_le_bytes(*len) as usize;
            assert!(len <= GO_WINDOW as usize * 4, "a message of {len} bytes");
            let Some(message) = rest.get(..len) else { break };
            self.message(&decode(message, decoder), &mut news);
            at += 4 + len;
        }
        partial.drain(..at);
        if partial.is_empty() {
            partial = Vec::new();
        }
        self.partial = partial;
        news
    }

    fn message(&mut self, text: &[u8], news: &mut News) {
        let message: Message<'_> = serde_json::from_slice(text).expect("a map response");
        if message.keep_alive {
            return;
        }
        news.messages += 1;
        if let Some(node) = message.node {
            self.own = Some(node.id);
        }
        for peer in message.peers.into_iter().chain(message.peers_changed).flatten() {
            self.set(peer.id, Some(peer.online.unwrap_or(false)));
            news.moved.extend(moved(peer.id, peer.endpoints));
        }
        for id in message.peers_removed.into_iter().flatten() {
            self.set(id, None);
        }
        for patch in message.peers_changed_patch.into_iter().flatten() {
            if let Some(online) = patch.online {
                self.set(patch.id, Some(online));
            }
            news.moved.extend(moved(patch.id, patch.endpoints));
        }
    }

    fn set(&mut self, id: u64, online: Option<bool>) {
        let id = id as usize;
        assert!(id < IDS, "node {id}: more than this counts");
        if self.peers.len() <= id {
            self.peers.resize(id + 1, Peer::Unknown);
        }
        let peer = match online {
            None => Peer::Unknown,
            Some(false) => Peer::Offline,
            Some(true) => Peer::Online,
        };
        self.online -= usize::from(self.peers[id] == Peer::Online);
        self.online += usize::from(peer == Peer::Online);
        self.peers[id] = peer;
    }
}

/// A message is any number of zstd frames.
fn decode(mut frames: &[u8], decoder: &mut FrameDecoder) -> Vec<u8> {
    let mut text = Vec::new();
    while !frames.is_empty() {
        decoder.reset(&mut frames).expect("a zstd frame");
        decoder.decode_blocks(&mut frames, BlockDecodingStrategy::All).expect("zstd blocks");
        decoder.collect_to_writer(&mut text).expect("memory takes everything");
    }
    text
}

fn moved(id: u64, endpoints: Option<Vec<&str>>) -> Option<(u64, u16)> {
    let port = endpoints?.first()?.rsplit(':').next()?.parse().ok()?;
    Some((id, port))
}

/// What is looked at of `tailcfg.MapResponse`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Message<'a> {
    keep_alive: bool,
    node: Option<Own>,
    #[serde(borrow)]
    peers: Option<Vec<Node<'a>>>,
    #[serde(borrow)]
    peers_changed: Option<Vec<Node<'a>>>,
    peers_removed: Option<Vec<u64>>,
    #[serde(borrow)]
    peers_changed_patch: Option<Vec<Patch<'a>>>,
}

#[derive(Deserialize)]
struct Own {
    #[serde(rename = "ID")]
    id: u64,
}

#[derive(Deserialize)]
struct Node<'a> {
    #[serde(rename = "ID")]
    id: u64,
    #[serde(rename = "Online")]
    online: Option<bool>,
    #[serde(rename = "Endpoints", borrow)]
    endpoints: Option<Vec<&'a str>>,
}

#[derive(Deserialize)]
struct Patch<'a> {
    #[serde(rename = "NodeID")]
    id: u64,
    #[serde(rename = "Online")]
    online: Option<bool>,
    #[serde(rename = "Endpoints", borrow)]
    endpoints: Option<Vec<&'a str>>,
}
