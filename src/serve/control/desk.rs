//! Between a connection and the tasks that answer its requests.

use std::cell::RefCell;
use std::rc::Rc;

use gramscale_proto::wire::key::MachineKey;
use gramscale_rt::Notify;

use super::super::state::MapStream;

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Client {
    /// The machine, proved by the handshake.
    pub(super) machine: MachineKey,
    /// The client's capability version as it was in the handshake.
    pub(super) version: u16,
}

/// Where tasks that answer requests leave their answers.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) wake: Rc<Notify>,
    answers: RefCell<Vec<Answer>>,
}

/// The answer to a request.
pub(super) struct Answer {
    pub(super) stream: u32,
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Body,
}

impl Answer {
    /// A status and a sentence, which may be empty.
    pub(super) fn text(stream: u32, status: u16, text: &str) -> Self {
        let kind = if text.is_empty() { "" } else { "text/plain; charset=utf-8" };
        Self { stream, status, kind, body: Body::Whole(text.as_bytes().to_vec()) }
    }

    /// A document.
    pub(super) fn json(stream: u32, json: impl Into<Vec<u8>>) -> Self {
        Self { stream, status: 200, kind: "application/json", body: Body::Whole(json.into()) }
    }
}

/// What follows the head of an answer.
pub(super) enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// Some parts, and then the end.
    Parts(Vec<Rc<[u8]>>),
    /// Messages of a map stream, until that is over.
    Map(Rc<MapStream>),
}

impl Desk {
    /// Hands in an answer.
    pub(super) fn answer(&self, answer: Answer) {
        self.answers.borrow_mut().push(answer);
        self.wake.notify();
    }

    /// The answers handed in since the last time.
    pub(super) fn take(&self) -> Vec<Answer> {
        self.answers.take()
    }
}
