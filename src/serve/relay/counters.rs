//! What the relay counts, and the names under which it is published: those of the reference relay.

use std::cell::Cell;

/// A number that only grows. Not atomic: one thread serves.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    pub(super) fn add(&self, n: usize) {
        self.0.set(self.0.get().wrapping_add(n as u64));
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What a packet is, for those who look: `disco` or `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path discovery message.
    Disco,
    /// Any other packet.
    Other,
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its receiver went while it waited.
    Gone,
    /// A newer packet needed its place.
    Head,
    /// There was no place for it.
    Tail,
    /// Nobody here has the key it was for.
    Unknown,
}

impl Loss {
    const ALL: [(Self, &str); 4] = [
        (Self::Gone, "gone_disconnected"),
        (Self::Head, "queue_head"),
        (Self::Tail, "queue_tail"),
        (Self::Unknown, "unknown_dest"),
    ];
}

/// Events since the start.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the names of the reference relay's metrics, made to be found")]
pub struct Counters {
    pub accepts: Count,
    pub bytes_received: Count,
    pub bytes_sent: Count,
    pub got_ping: Count,
    pub home_moves_in: Count,
    pub home_moves_out: Count,
    pub logins_failed: Count,
    pub packets_received_disco: Count,
    pub packets_received_other: Count,
    pub packets_sent: Count,
    pub peer_gone_disconnected_frames: Count,
    pub peer_gone_not_here_frames: Count,
    pub rate_limit_waited: Count,
    pub sclient_write_timeouts: Count,
    pub sent_pong: Count,
    pub total_dup_client_conns: Count,
    pub unknown_frames: Count,
    pub websocket_accepts: Count,
    dropped: [[(Count, Count); 2]; 4],
}

impl Counters {
    pub(super) fn received(&self, kind: Kind) {
        match kind {
            Kind::Disco => self.packets_received_disco.one(),
            Kind::Other => self.packets_received_other.one(),
        }
    }

    pub(super) fn dropped(&self, why: Loss, kind: Kind, packets: usize, bytes: usize) {
        let [gone, head, tail, unknown] = &self.dropped;
        let row = match why {
            Loss::Gone => gone,
            Loss::Head => head,
            Loss::Tail => tail,
            Loss::Unknown => unknown,
        };
        let [disco, other] = row;
        let cell = if kind == Kind::Disco { disco } else { other };
        cell.0.add(packets);
        cell.1.add(bytes);
    }

    /// Packets dropped for a reason.
    pub fn drops(&self, why: Loss) -> u64 {
        let row = Loss::ALL.iter().position(|(reason, _)| *reason == why);
        let cells = row.and_then(|row| self.dropped.get(row));
        cells.map_or(0, |cells| cells.iter().map(|cell| cell.0.get()).sum())
    }

    /// All of them, as `(name, labels, value)` in Prometheus' form, each a counter; those of one
    /// name follow one another.
    pub fn each(&self, emit: &mut dyn FnMut(&str, &str, u64)) {
        for (name, count) in [
            ("derp_accepts", &self.accepts),
            ("derp_bytes_received", &self.bytes_received),
            ("derp_bytes_sent", &self.bytes_sent),
            ("derp_got_ping", &self.got_ping),
            ("derp_home_moves_in", &self.home_moves_in),
            ("derp_home_moves_out", &self.home_moves_out),
            ("derp_logins_failed", &self.logins_failed),
            ("derp_packets_sent", &self.packets_sent),
            ("derp_peer_gone_disconnected_frames", &self.peer_gone_disconnected_frames),
            ("derp_peer_gone_not_here_frames", &self.peer_gone_not_here_frames),
            ("derp_rate_limit_per_client_waited", &self.rate_limit_waited),
            ("derp_sclient_write_timeouts", &self.sclient_write_timeouts),
            ("derp_sent_pong", &self.sent_pong),
            ("derp_total_dup_client_conns", &self.total_dup_client_conns),
            ("derp_unknown_frames", &self.unknown_frames),
            ("derp_websocket_accepts", &self.websocket_accepts),
        ] {
            emit(name, "", count.get());
        }
        let (disco, other) = (&self.packets_received_disco, &self.packets_received_other);
        emit("derp_packets_received", "", disco.get().wrapping_add(other.get()));
        emit("derp_packets_received_kind", "kind=\"disco\"", disco.get());
        emit("derp_packets_received_kind", "kind=\"other\"", other.get());
        for name in ["derp_packets_dropped", "derp_bytes_dropped"] {
            for ((_, reason), cells) in Loss::ALL.iter().zip(&self.dropped) {
                for (kind, (packets, bytes)) in ["disco", "other"].iter().zip(cells) {
                    let count = if name == "derp_packets_dropped" { packets } else { bytes };
                    emit(name, &format!("reason=\"{reason}\",kind=\"{kind}\""), count.get());
                }
            }
        }
    }
}

/// How things stand now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Connections that are logged in.
    pub connections: usize,
    /// Those of clients whose home relay this is.
    pub home: usize,
    /// Those of clients that would rather be elsewhere.
    pub not_ideal: usize,
    /// Different keys.
    pub keys: usize,
    /// Keys with several connections.
    pub dup_keys: usize,
    /// Connections of those.
    pub dup_connections: usize,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
}

impl Gauges {
    /// All of them, as `(name, value)` in Prometheus' form, each a gauge.
    pub fn each(&self, emit: &mut dyn FnMut(&str, u64)) {
        for (name, value) in [
            ("derp_clients_local", self.keys),
            ("derp_clients_remote", 0),
            ("derp_clients_total", self.keys),
            ("derp_current_connections", self.connections),
            ("derp_current_dup_client_conns", self.dup_connections),
            ("derp_current_dup_client_keys", self.dup_keys),
            ("derp_current_home_connections", self.home),
            ("derp_current_notideal_connections", self.not_ideal),
            ("derp_queued_bytes", self.queued_bytes),
        ] {
            emit(name, value as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published() {
        let counters = Counters::default();
        counters.accepts.one();
        counters.received(Kind::Disco);
        counters.received(Kind::Other);
        counters.dropped(Loss::Tail, Kind::Other, 2, 300);
        assert_eq!(counters.drops(Loss::Tail), 2);
        assert_eq!(counters.drops(Loss::Head), 0);
        let mut lines = Vec::new();
        counters.each(&mut |name, labels, value| {
            if value > 0 {
                lines.push(format!("{name}{{{labels}}} {value}"));
            }
        });
        assert_eq!(
            lines,
            [
                "derp_accepts{} 1",
                "derp_packets_received{} 2",
                "derp_packets_received_kind{kind=\"disco\"} 1",
                "derp_packets_received_kind{kind=\"other\"} 1",
                "derp_packets_dropped{reason=\"queue_tail\",kind=\"other\"} 2",
                "derp_bytes_dropped{reason=\"queue_tail\",kind=\"other\"} 300",
            ]
        );
    }
}
