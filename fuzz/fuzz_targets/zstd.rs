//! Whatever is compressed, another decoder reads as it was.
#![no_main]

use std::io::Read as _;

use gramscale_proto::wire::zstd;
use libfuzzer_sys::fuzz_target;
use ruzstd::decoding::StreamingDecoder;

fuzz_target!(|input: (Vec<u8>, u8)| {
    let (text, times) = input;
    // Long texts come rarely by themselves.
    let text = text.repeat(usize::from(times) + 1);
    let mut frame = Vec::new();
    zstd::frame(&text, &mut frame);
    assert!(frame.len() <= text.len() + 12 + 3 * (text.len() / 0xffff));
    let mut decoded = Vec::new();
    StreamingDecoder::new(&frame[..]).unwrap().read_to_end(&mut decoded).unwrap();
    assert_eq!(decoded, text);
});
