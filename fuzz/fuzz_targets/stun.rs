//! Nothing that comes as a datagram makes the STUN parsers panic, and what they accept round-trips.
#![no_main]

use gramscale_proto::wire::stun;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    if let Ok(id) = stun::parse_request(datagram) {
        assert_eq!(stun::parse_request(&stun::request(id)), Ok(id));
    }
    if let Ok((id, addr)) = stun::parse_response(datagram) {
        let again = stun::parse_response(&stun::Response::new(id, addr));
        assert_eq!(again.map(|(id, addr)| (id, addr.port())), Ok((id, addr.port())));
    }
});
