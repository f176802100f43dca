//! Our server's end of HTTP/2 against the `h2` crate's client, which shares no code with it.

mod oracle;

#[test]
fn random_exchanges() {
    for seed in 0_u32..40 {
        eprintln!("seed {seed}");
        oracle::exchange(&seed.to_be_bytes());
    }
}
