//! The two messages of the handshake (Tailscale `control/controlbase/handshake.go`, `messages.go`)
//! and the state that both ends build up alike (Noise specification, section 5.2).

use blake2::{Blake2s256, Digest};
use gramscale_aead::TAG_LEN;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::{INITIATION_LEN, NoiseError, Opener, RESPONSE_LEN, Sealer, Session};
use super::{TYPE_INITIATION, TYPE_RESPONSE};
use crate::wire::key::{KEY_LEN, MachineKey, PrivateKey};

const NAME: &[u8] = b"Noise_IK_25519_ChaChaPoly_BLAKE2s";
/// What stands before the decimal version in the prologue.
const PROLOGUE: &str = "Tailscale Control Protocol v";
/// Bytes of one BLAKE2s block, which HMAC is defined by.
const BLOCK_LEN: usize = 64;
/// A sealed public key.
const SEALED_KEY_LEN: usize = KEY_LEN + TAG_LEN;

/// The server's end.
#[derive(Clone, Debug)]
pub struct Responder {
    private: PrivateKey,
    public: [u8; KEY_LEN],
}

impl Responder {
    /// A responder with the server's key, which clients know beforehand.
    pub fn new(private: PrivateKey) -> Self {
        let public = private.public();
        Self { private, public }
    }

    /// The key that clients must know.
    pub fn public(&self) -> MachineKey {
        MachineKey(self.public)
    }

    /// Answers an initiation of [`INITIATION_LEN`] bytes.
    ///
    /// `ephemeral` is 32 random bytes that are used nowhere else.
    pub fn accept(
        &self,
        ephemeral: [u8; KEY_LEN],
        initiation: &[u8],
    ) -> Result<([u8; RESPONSE_LEN], Session), NoiseError> {
        let (version, re, sealed_key, tag) = read_initiation(initiation)?;
        let mut state = Symmetric::new(version, &self.public);
        state.mix_hash(re);
        state.mix_key(&agree(self.private.bytes(), re)?);
        let mut peer = [0; KEY_LEN];
        state.open(sealed_key, &mut peer)?;
        state.mix_key(&agree(self.private.bytes(), &peer)?);
        state.open(tag, &mut [])?;

        let e = x25519(ephemeral, X25519_BASEPOINT_BYTES);
        state.mix_hash(&e);
        state.mix_key(&agree(&ephemeral, re)?);
        state.mix_key(&agree(&ephemeral, &peer)?);
        let mut response = [0; RESPONSE_LEN];
        let (head, rest) = response.split_at_mut(super::HEADER_LEN);
        head.copy_from_slice(&super::header(TYPE_RESPONSE, rest.len()));
        let (key, tag) = rest.split_at_mut(KEY_LEN);
        key.copy_from_slice(&e);
        state.seal(&[], tag);

        let (theirs, ours) = state.split();
        let (seal, open) = (Sealer::new(ours), Opener::new(theirs));
        Ok((response, Session { peer: MachineKey(peer), version, seal, open }))
    }
}

/// The client's end, for tests and load generators.
#[derive(Debug)]
pub struct Initiator {
    state: Symmetric,
    machine: PrivateKey,
    ephemeral: [u8; KEY_LEN],
    server: MachineKey,
    version: u16,
}

impl Initiator {
    /// Begins a handshake with the server of that key; the bytes are for the server.
    ///
    /// `ephemeral` is 32 random bytes that are used nowhere else.
    pub fn start(
        machine: PrivateKey,
        server: MachineKey,
        ephemeral: [u8; KEY_LEN],
        version: u16,
    ) -> Result<(Self, [u8; INITIATION_LEN]), NoiseError> {
        let mut state = Symmetric::new(version, &server.0);
        let e = x25519(ephemeral, X25519_BASEPOINT_BYTES);
        let mut initiation = [0; INITIATION_LEN];
        let (head, rest) = initiation.split_at_mut(5);
        let len = rest.len() as u16;
        head[..2].copy_from_slice(&version.to_be_bytes());
        head[2] = TYPE_INITIATION;
        head[3..].copy_from_slice(&len.to_be_bytes());
        let (key, rest) = rest.split_at_mut(KEY_LEN);
        let (sealed_key, tag) = rest.split_at_mut(SEALED_KEY_LEN);
        key.copy_from_slice(&e);
        state.mix_hash(&e);
        state.mix_key(&agree(&ephemeral, &server.0)?);
        state.seal(&machine.public(), sealed_key);
        state.mix_key(&agree(machine.bytes(), &server.0)?);
        state.seal(&[], tag);
        Ok((Self { state, machine, ephemeral, server, version }, initiation))
    }

    /// Finishes with the server's answer of [`RESPONSE_LEN`] bytes.
    pub fn finish(mut self, response: &[u8]) -> Result<Session, NoiseError> {
        let (head, rest) = response.split_first_chunk().ok_or(NoiseError::Malformed)?;
        let (re, tag) = rest.split_first_chunk::<KEY_LEN>().ok_or(NoiseError::Malformed)?;
        if *head != super::header(TYPE_RESPONSE, RESPONSE_LEN - super::HEADER_LEN) {
            return Err(NoiseError::Malformed);
        }
        self.state.mix_hash(re);
        self.state.mix_key(&agree(&self.ephemeral, re)?);
        self.state.mix_key(&agree(self.machine.bytes(), re)?);
        self.state.open(tag, &mut [])?;
        let (ours, theirs) = self.state.split();
        let (seal, open) = (Sealer::new(ours), Opener::new(theirs));
        Ok(Session { peer: self.server, version: self.version, seal, open })
    }
}

type Parts<'a> = (u16, &'a [u8; KEY_LEN], &'a [u8], &'a [u8]);

fn read_initiation(message: &[u8]) -> Result<Parts<'_>, NoiseError> {
    let message: &[u8; INITIATION_LEN] = message.try_into().map_err(|_| NoiseError::Malformed)?;
    let [v1, v0, kind, len1, len0, rest @ ..] = message;
    if *kind != TYPE_INITIATION || usize::from(u16::from_be_bytes([*len1, *len0])) != rest.len() {
        return Err(NoiseError::Malformed);
    }
    let (ephemeral, rest) = rest.split_first_chunk().ok_or(NoiseError::Malformed)?;
    let (sealed_key, tag) = rest.split_at(SEALED_KEY_LEN);
    Ok((u16::from_be_bytes([*v1, *v0]), ephemeral, sealed_key, tag))
}

/// X25519; an outcome of zeros is refused, as the clients' library does: the other key was chosen
/// to make the secret known.
fn agree(private: &[u8; KEY_LEN], public: &[u8; KEY_LEN]) -> Result<[u8; KEY_LEN], NoiseError> {
    let shared = x25519(*private, *public);
    if shared == [0; KEY_LEN] { Err(NoiseError::Handshake) } else { Ok(shared) }
}

/// Hash `h`, chaining key `ck` and cipher key `k`. Every `k` of this pattern seals one text only,
/// so its nonce is always zero.
struct Symmetric {
    h: [u8; 32],
    ck: [u8; 32],
    k: [u8; 32],
}

impl Symmetric {
    fn new(version: u16, server: &[u8; KEY_LEN]) -> Self {
        let h = hash(&[NAME]);
        let mut state = Self { h, ck: h, k: [0; 32] };
        let mut prologue = String::from(PROLOGUE);
        prologue.push_str(&version.to_string());
        state.mix_hash(prologue.as_bytes());
        state.mix_hash(server);
        state
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.h = hash(&[&self.h, data]);
    }

    fn mix_key(&mut self, secret: &[u8; 32]) {
        (self.ck, self.k) = derive(&self.ck, secret);
    }

    /// Seals `text` into `out`, which is longer by the tag.
    fn seal(&mut self, text: &[u8], out: &mut [u8]) {
        let (sealed, tag) = out.split_at_mut(text.len());
        sealed.copy_from_slice(text);
        tag.copy_from_slice(&gramscale_aead::seal(&self.k, &[0; 12], &self.h, sealed));
        self.mix_hash(out);
    }

    /// Opens `sealed` into `text`, which is shorter by the tag.
    fn open(&mut self, sealed: &[u8], text: &mut [u8]) -> Result<(), NoiseError> {
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(NoiseError::Malformed)?;
        if body.len() != text.len() {
            return Err(NoiseError::Malformed);
        }
        text.copy_from_slice(body);
        gramscale_aead::open(&self.k, &[0; 12], &self.h, text, tag)
            .map_err(|_| NoiseError::Handshake)?;
        self.mix_hash(sealed);
        Ok(())
    }

    /// The keys of the records: of those to the server, and of those to the client.
    fn split(&self) -> ([u8; 32], [u8; 32]) {
        derive(&self.ck, &[])
    }
}

impl std::fmt::Debug for Symmetric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Symmetric")
    }
}

/// HKDF with two outputs, as the Noise specification defines it (section 4.3).
fn derive(chaining: &[u8; 32], input: &[u8]) -> ([u8; 32], [u8; 32]) {
    let temporary = hmac(chaining, &[input]);
    let first = hmac(&temporary, &[&[1]]);
    let second = hmac(&temporary, &[&first, &[2]]);
    (first, second)
}

#[inline(never)]
fn hmac(key: &[u8; 32], data: &[&[u8]]) -> [u8; 32] {
    let (mut inner, mut outer) = ([0x36; BLOCK_LEN], [0x5c; BLOCK_LEN]);
    for ((i, o), k) in inner.iter_mut().zip(&mut outer).zip(key) {
        *i ^= k;
        *o ^= k;
    }
    let mut digest = Blake2s256::new_with_prefix(inner);
    data.iter().for_each(|part| digest.update(part));
    hash(&[&outer, &digest.finalize()])
}

#[inline(never)]
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Blake2s256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::key::from_hex;

    // Computed with an implementation that an independent client accepts: the private keys are
    // bytes that count from 1, 0x21, 0x41 and 0x61.
    const INITIATION: &str = concat!(
        "00910100605869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b822e8514e6",
        "389169bdfd10afecae5bded9cda3f0157ac1d03cd3620b3bb73a8622af140d231efc6396f1c80598dc72",
        "89c50e831342d4c8605e6d5bccc41fba65",
    );
    const RESPONSE: &str = concat!(
        "020030244fe3b963e899dd295baffce248d3530f3a9a7479ba063002680ebfe7adad497cc147989eb247",
        "56280c2216d1f9d8e5",
    );

    fn counting(from: u8) -> [u8; 32] {
        std::array::from_fn(|i| from + i as u8)
    }

    fn responder() -> Responder {
        Responder::new(counting(0x41).into())
    }

    #[test]
    fn vector() {
        let (initiator, initiation) =
            Initiator::start(counting(1).into(), responder().public(), counting(0x21), 145)
                .unwrap();
        assert_eq!(Some(initiation), from_hex(INITIATION));
        let (response, mut server) = responder().accept(counting(0x61), &initiation).unwrap();
        assert_eq!(Some(response), from_hex(RESPONSE));
        assert_eq!(server.version, 145);
        assert_eq!(
            server.peer.to_string(),
            "mkey:07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"
        );
        let mut client = initiator.finish(&response).unwrap();
        assert_eq!(client.peer, responder().public());

        let mut down = Vec::new();
        server.seal.seal(b"hello", &mut down).unwrap();
        server.seal.seal(b"world", &mut down).unwrap();
        let expected: [u8; 48] = from_hex(concat!(
            "040015f151e3d25a25eba7acb91362c6038c29237a5ab23e",
            "040015c23fb070da1e95ac64fa4e919bae496221e97e31b6",
        ))
        .unwrap();
        assert_eq!(down, expected);
        let mut up = Vec::new();
        client.seal.seal(b"hello", &mut up).unwrap();
        let expected: [u8; 24] =
            from_hex("04001507243be7982fab9bbb554647607dd6488c8e819717").unwrap();
        assert_eq!(up, expected);
    }

    #[test]
    fn damage_is_refused() {
        let good: [u8; INITIATION_LEN] = from_hex(INITIATION).unwrap();
        for at in 0..INITIATION_LEN {
            let mut bad = good;
            bad[at] ^= 1;
            let expected =
                if (2..5).contains(&at) { NoiseError::Malformed } else { NoiseError::Handshake };
            assert_eq!(responder().accept(counting(0x61), &bad).unwrap_err(), expected, "{at}");
        }
        for len in [0, 1, 4, 5, 100] {
            let error = responder().accept(counting(0x61), &good[..len]).unwrap_err();
            assert_eq!(error, NoiseError::Malformed);
        }
        let other = Responder::new(counting(0x42).into());
        assert_eq!(other.accept(counting(0x61), &good).unwrap_err(), NoiseError::Handshake);
    }

    /// With an ephemeral key of zeros anyone knows the first secret, which is zero as well.
    #[test]
    fn points_of_low_order_are_refused() {
        let machine = PrivateKey::from(counting(1));
        let server = responder().public().0;
        let mut state = Symmetric::new(145, &server);
        state.mix_hash(&[0; 32]);
        state.mix_key(&[0; 32]);
        let mut initiation = [0; INITIATION_LEN];
        initiation[..5].copy_from_slice(&[0, 145, TYPE_INITIATION, 0, 96]);
        state.seal(&machine.public(), &mut initiation[37..85]);
        state.mix_key(&agree(machine.bytes(), &server).unwrap());
        state.seal(&[], &mut initiation[85..]);
        let error = responder().accept(counting(0x61), &initiation).unwrap_err();
        assert_eq!(error, NoiseError::Handshake);
    }

    #[test]
    fn answers_that_do_not_verify() {
        let good: [u8; RESPONSE_LEN] = from_hex(RESPONSE).unwrap();
        let finish = |response: &[u8]| {
            let server = responder().public();
            let (initiator, _) =
                Initiator::start(counting(1).into(), server, counting(0x21), 145).unwrap();
            initiator.finish(response).unwrap_err()
        };
        for at in 0..RESPONSE_LEN {
            let mut bad = good;
            bad[at] ^= 0x80;
            let header = at < super::super::HEADER_LEN;
            let expected = if header { NoiseError::Malformed } else { NoiseError::Handshake };
            // The top bit of a public key means nothing to X25519, but it is hashed.
            assert_eq!(finish(&bad), expected, "{at}");
        }
        assert_eq!(finish(&good[..50]), NoiseError::Malformed);
        assert_eq!(finish(b"\x03\x00\x07too old"), NoiseError::Malformed);
    }

    /// The same pattern driven by an implementation that knows nothing of ours.
    #[test]
    fn oracle() {
        let initiate = |version: u16, server: &[u8; 32]| {
            let prologue = format!("{PROLOGUE}{version}");
            let (machine, ephemeral) = (counting(7), counting(77));
            let mut oracle = snow::Builder::with_resolver(
                "Noise_IK_25519_ChaChaPoly_BLAKE2s".parse().unwrap(),
                Box::new(Primitives),
            )
            .local_private_key(&machine)
            .unwrap()
            .remote_public_key(server)
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&ephemeral)
            .prologue(prologue.as_bytes())
            .unwrap()
            .build_initiator()
            .unwrap();
            let mut message = [0; INITIATION_LEN];
            message[..2].copy_from_slice(&version.to_be_bytes());
            message[2..5].copy_from_slice(&[1, 0, 96]);
            assert_eq!(oracle.write_message(&[], &mut message[5..]).unwrap(), 96);
            (oracle, message)
        };
        for version in [0, 39, 115, 148, u16::MAX] {
            let (mut oracle, message) = initiate(version, &responder().public().0);
            let (response, session) = responder().accept(counting(99), &message).unwrap();
            oracle.read_message(&response[3..], &mut []).unwrap();
            let (up, down) = oracle.dangerously_get_raw_split();
            assert_eq!((Sealer::new(down), Opener::new(up)), (session.seal, session.open));
        }
    }

    /// The oracle's own primitives; it refuses to start without a source of randomness.
    struct Primitives;

    impl snow::resolvers::CryptoResolver for Primitives {
        fn resolve_rng(&self) -> Option<Box<dyn snow::types::Random>> {
            Some(Box::new(Self))
        }

        fn resolve_dh(&self, choice: &snow::params::DHChoice) -> Option<Box<dyn snow::types::Dh>> {
            snow::resolvers::DefaultResolver.resolve_dh(choice)
        }

        fn resolve_hash(
            &self,
            choice: &snow::params::HashChoice,
        ) -> Option<Box<dyn snow::types::Hash>> {
            snow::resolvers::DefaultResolver.resolve_hash(choice)
        }

        fn resolve_cipher(
            &self,
            choice: &snow::params::CipherChoice,
        ) -> Option<Box<dyn snow::types::Cipher>> {
            snow::resolvers::DefaultResolver.resolve_cipher(choice)
        }
    }

    impl snow::types::Random for Primitives {
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), snow::Error> {
            Err(snow::Error::Rng)
        }
    }
}
