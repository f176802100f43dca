//! The opening of a connection, until the client is known and admitted.

use std::future::poll_fn;
use std::pin::Pin;

use futures_lite::AsyncWriteExt as _;
use gramscale_proto::wire::derp::login::{Login, NONCE_LEN, ServerInfo};
use gramscale_proto::wire::derp::{Frame, Reader};
use gramscale_proto::wire::key::NodeKey;

use super::{End, Io, READ_BYTES, Relay};

/// Bytes read at once from somebody who is not yet known; what comes behind the login is kept.
const READ: usize = 1024;

/// A client that may stay.
pub(super) struct Admitted {
    pub(super) key: NodeKey,
    /// The `ServerInfo` frame, which ends the login.
    pub(super) welcome: Vec<u8>,
    /// What came behind the login: clients do not wait for its end.
    pub(super) early: Vec<u8>,
}

pub(super) async fn login(relay: &Relay, io: &mut Box<dyn Io>) -> Result<Admitted, End> {
    let mut hello = Vec::new();
    Frame::ServerKey(relay.public_key()).emit(&mut hello);
    io.write_all(&hello).await?;
    io.flush().await?;
    drop(hello);
    let mut reader = Reader::default();
    loop {
        let n = poll_fn(|context| {
            let mut scratch = relay.scratch.borrow_mut();
            if scratch.is_empty() {
                scratch.resize(READ_BYTES, 0);
            }
            let room = scratch.get_mut(..READ).unwrap_or_default();
            Pin::new(&mut **io).poll_read(context, room)
        })
        .await?;
        if n == 0 {
            return Err(End::Closed);
        }
        if let Some(admitted) = take_in(relay, &mut reader, n)? {
            return Ok(admitted);
        }
    }
}

/// Looks at the `n` bytes just read.
fn take_in(relay: &Relay, reader: &mut Reader, n: usize) -> Result<Option<Admitted>, End> {
    let scratch = relay.scratch.borrow();
    let mut input = scratch.get(..n).unwrap_or_default();
    loop {
        match reader.next(&mut input)? {
            Some(Frame::ClientInfo { key, sealed }) => {
                let login = Login::new(&relay.key, &key);
                // What it says of itself changes nothing yet: all speak version 2.
                login.open(sealed)?;
                if !(relay.admit)(&key) {
                    return Err(End::Refused);
                }
                let mut nonce = [0; NONCE_LEN];
                gramscale_rt::random(&mut nonce);
                let welcome = login.seal(&ServerInfo { rate: relay.options.rate }, nonce);
                return Ok(Some(Admitted { key, welcome, early: input.to_vec() }));
            }
            Some(Frame::Unknown(_)) => {}
            Some(_) => return Err(End::NoLogin),
            None => return Ok(None),
        }
    }
}
