//! Random requests and answers in random pieces, through random windows, some cancelled. The
//! property test and a fuzz target share it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use futures_lite::future;
use gramscale_proto::wire::h2::{Connection, Event, Part, Request};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Enough for all bodies at once, so that no stream is refused.
const BODY_LIMIT: usize = 4 << 20;

/// A connection with some requests at once. `choices` decides about everything.
pub(crate) fn exchange(choices: &[u8]) {
    let mut dice = Dice::new(choices);
    // Through a tiny window comes little: it takes a window update for every few bytes, and the
    // server takes many of these for an attack.
    let (window, count, most) = match dice.below(4) {
        0 => (1 + dice.below(100), 4, 30),
        _ => (4096 + dice.size(300_000), 40, 90_000),
    };
    let count = 1 + dice.below(count);
    let plans: Rc<Vec<_>> = Rc::new((0..count).map(|_| Plan::roll(&mut dice, most)).collect());
    let capacity = 300 + dice.size(200_000);
    let (client_end, server_end) = tokio::io::duplex(capacity);
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window as u32);
    builder.initial_connection_window_size(65_535 + dice.size(300_000) as u32);
    // Until our limit is known, the client would open a hundred, of which we refuse most.
    builder.initial_max_send_streams(32);
    builder.max_frame_size(16_384 + dice.size(60_000) as u32);
    let server = serve(server_end, plans.clone(), dice);
    let client = ask(builder, client_end, plans);
    let (connection, ()) = future::block_on(future::zip(server, client));
    assert_eq!(connection.open_streams(), 0, "streams are left over");
}

/// What one request asks, and what it is answered; both ends know it by the path.
#[derive(Clone, Debug)]
struct Plan {
    method: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: bool,
    status: u16,
    answer: Vec<Part>,
    /// After how many bytes of the answer the client has enough.
    cancel: Option<usize>,
}

impl Plan {
    /// `most` is the size of a part of an answer.
    fn roll(dice: &mut Dice, most: usize) -> Self {
        let name = |dice: &mut Dice| format!("x-{}", dice.below(6));
        let mut headers = Vec::new();
        for _ in 0..dice.below(6) {
            headers.push((name(dice), dice.value(600)));
        }
        let len = if dice.below(3) == 0 { 0 } else { dice.size(120_000) };
        let mut answer: Vec<Part> = Vec::new();
        for _ in 0..dice.below(6) {
            let len = dice.size(most);
            let bytes = dice.bytes(len);
            answer.push(if dice.below(2) == 0 { bytes.into() } else { Part::Shared(bytes.into()) });
        }
        Self {
            method: ["GET", "POST", "PUT"][dice.below(3)],
            headers,
            body: dice.bytes(len),
            trailers: dice.below(4) == 0,
            status: [200, 204, 400, 418, 500][dice.below(5)],
            answer,
            cancel: (dice.below(6) == 0).then(|| dice.size(60_000)),
        }
    }

    fn whole_answer(&self) -> Vec<u8> {
        self.answer.iter().flat_map(|part| part.bytes().to_vec()).collect()
    }

    fn check(&self, request: &Request) {
        assert_eq!(request.method, self.method);
        assert_eq!(request.authority, "control:1");
        assert!(request.body == self.body, "{} {}", request.body.len(), self.body.len());
        // Fields of one name keep their order; the client sends them grouped.
        for n in 0..6 {
            let name = format!("x-{n}");
            let of = |all: &[(String, String)]| {
                let values = all.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone());
                values.collect::<Vec<_>>()
            };
            assert_eq!(of(&request.headers), of(&self.headers));
        }
    }
}

/// Answers by the plans until the client closes; answers go on when the last part has drained.
async fn serve(mut io: DuplexStream, plans: Rc<Vec<Plan>>, mut dice: Dice) -> Connection {
    let mut connection = Connection::new(BODY_LIMIT);
    let mut unsent = HashMap::new();
    let mut out: Vec<u8> = Vec::new();
    let mut closed = false;
    let mut space = vec![0; 40_000];
    poll_fn(|cx| {
        loop {
            let mut progress = false;
            if out.is_empty() {
                connection.take_output(&mut out, dice.size(70_000));
            }
            if !out.is_empty() && !closed {
                let len = 1 + dice.below(out.len());
                match Pin::new(&mut io).poll_write(cx, &out[..len]) {
                    Poll::Ready(Ok(len)) => {
                        out.drain(..len);
                        progress = true;
                    }
                    Poll::Ready(Err(_)) => closed = true,
                    Poll::Pending => {}
                }
            }
            let len = 1 + dice.size(space.len());
            let mut buffer = ReadBuf::new(&mut space[..len]);
            match Pin::new(&mut io).poll_read(cx, &mut buffer) {
                Poll::Ready(result) => {
                    result.unwrap();
                    if buffer.filled().is_empty() {
                        return Poll::Ready(());
                    }
                    connection.recv(buffer.filled()).unwrap();
                    progress = true;
                }
                Poll::Pending => {}
            }
            while let Some(event) = connection.next_event() {
                progress = true;
                act(&mut connection, event, &plans, &mut unsent, &mut dice);
            }
            if !progress {
                // What is queued but was not asked for, as little was taken.
                if out.is_empty() && connection.has_output() && !closed {
                    continue;
                }
                return Poll::Pending;
            }
        }
    })
    .await;
    connection
}

fn act(
    connection: &mut Connection,
    event: Event,
    plans: &[Plan],
    unsent: &mut HashMap<u32, Vec<Part>>,
    dice: &mut Dice,
) {
    match event {
        Event::Request(request) => {
            let plan = &plans[request.path[1..].parse::<usize>().unwrap()];
            plan.check(&request);
            let id = request.stream;
            let headers = [("content-type", "a/b"), ("x-custom", "value")];
            if plan.answer.is_empty() && dice.below(2) == 0 {
                return connection.respond(id, plan.status, &headers, true).unwrap();
            }
            connection.respond(id, plan.status, &headers, false).unwrap();
            let mut parts = plan.answer.clone();
            if dice.below(2) == 0 {
                for part in parts.drain(..) {
                    connection.send(id, part, false).unwrap();
                }
                return connection.send(id, Vec::new().into(), true).unwrap();
            }
            parts.reverse();
            unsent.insert(id, parts);
            next_part(connection, id, unsent);
        }
        Event::Drained { stream } => {
            assert_eq!(connection.queued(stream), 0);
            next_part(connection, stream, unsent);
        }
        Event::Cancelled { stream } => {
            assert_eq!(connection.queued(stream), 0);
            unsent.remove(&stream);
        }
        Event::Pong => {}
    }
}

fn next_part(connection: &mut Connection, stream: u32, unsent: &mut HashMap<u32, Vec<Part>>) {
    let Some(parts) = unsent.get_mut(&stream) else { return };
    let part = parts.pop().unwrap_or(Vec::new().into());
    let end = parts.is_empty();
    let empty = part.bytes().is_empty();
    connection.send(stream, part, end).unwrap();
    if end {
        unsent.remove(&stream);
    } else if empty {
        // Nothing will drain.
        next_part(connection, stream, unsent);
    }
}

/// Sends all requests at once, as far as the server's limit allows, and checks the answers.
async fn ask(builder: h2::client::Builder, io: DuplexStream, plans: Rc<Vec<Plan>>) {
    let (sender, mut connection) = builder.handshake::<_, Bytes>(io).await.unwrap();
    let mut ping = connection.ping_pong().unwrap();
    let executor = async_executor::LocalExecutor::new();
    let running = executor.spawn(connection);
    let work = async {
        let tasks: Vec<_> = (0..plans.len())
            .map(|n| executor.spawn(one_request(sender.clone(), n, plans.clone())))
            .collect();
        for task in tasks {
            task.await;
        }
        // Whatever was cancelled has reached the server after this.
        ping.ping(h2::Ping::opaque()).await.unwrap();
    };
    executor.run(work).await;
    drop(ping);
    drop(sender);
    executor.run(running).await.unwrap();
}

async fn one_request(sender: h2::client::SendRequest<Bytes>, n: usize, plans: Rc<Vec<Plan>>) {
    let plan = &plans[n];
    let uri = format!("https://control:1/{n}");
    let mut request = http::Request::builder().method(plan.method).uri(uri);
    for (name, value) in &plan.headers {
        request = request.header(name, value);
    }
    let none = plan.body.is_empty() && !plan.trailers;
    if n.is_multiple_of(2) && !none {
        request = request.header("content-length", plan.body.len());
    }
    let request = request.body(()).unwrap();
    let mut ready = sender.ready().await.unwrap();
    let (answer, mut body) = ready.send_request(request, none).unwrap();
    if !none {
        send_body(&mut body, plan).await;
    }
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), plan.status);
    assert_eq!(answer.headers()["x-custom"], "value");
    let mut answer = answer.into_body();
    let mut received = Vec::new();
    while let Some(data) = answer.data().await {
        let data = data.unwrap();
        received.extend_from_slice(&data);
        if plan.cancel.is_some_and(|at| received.len() >= at) {
            body.send_reset(h2::Reason::CANCEL);
            return;
        }
        answer.flow_control().release_capacity(data.len()).unwrap();
    }
    let whole = plan.whole_answer();
    assert!(received == whole, "{} of {} bytes", received.len(), whole.len());
}

async fn send_body(stream: &mut h2::SendStream<Bytes>, plan: &Plan) {
    let mut rest = Bytes::from(plan.body.clone());
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let len = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        let piece = rest.split_to(len.min(rest.len()));
        stream.send_data(piece, rest.is_empty() && !plan.trailers).unwrap();
    }
    if plan.trailers {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    } else if plan.body.is_empty() {
        stream.send_data(Bytes::new(), true).unwrap();
    }
}

/// Random numbers, the same in every run with the same choices.
struct Dice {
    state: u64,
    /// Bytes that steer the numbers; a fuzzer changes them.
    choices: Vec<u8>,
}

impl Dice {
    fn new(choices: &[u8]) -> Self {
        let choices = choices.iter().rev().copied().collect();
        Self { state: 0x9e37_79b9_7f4a_7c15, choices }
    }

    fn next(&mut self) -> u64 {
        if let Some(choice) = self.choices.pop() {
            self.state = (self.state ^ u64::from(choice) << 11).max(1);
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Below `limit`: mostly small, sometimes near it.
    fn size(&mut self, limit: usize) -> usize {
        let bits = self.below(limit.ilog2() as usize + 1);
        self.below(limit.min(2 << bits))
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let from = self.next() as usize;
        (0..len).map(|i| (from.wrapping_add(i).wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
    }

    /// A header value: any characters that are allowed, so any Huffman codes.
    fn value(&mut self, limit: usize) -> String {
        let len = self.size(limit);
        (0..len).map(|_| (b'!' + self.below(94) as u8) as char).collect()
    }
}
