use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use gramscale_rt::block_on;

use super::*;

/// A server that gives each connection the next answer; returns its address.
fn server(answers: &[&str]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answers: Vec<String> = answers.iter().map(|text| text.replace("HERE", &address)).collect();
    thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let n = socket.read(&mut request).unwrap();
            assert!(request[..n].ends_with(b"\r\n\r\n"));
            socket.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn fetch(answers: &[&str], limits: Limits) -> Result<String, String> {
    let url = format!("http://{}/map?x=1", server(answers));
    let body = block_on(get(&url, limits));
    body.map(|body| String::from_utf8(body).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn bodies() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let limits = Limits { size: 5, ..Limits::default() };
        assert_eq!(fetch(&[answer], limits).as_deref(), Ok("hello"), "{answer}");
        let limits = Limits { size: 4, ..Limits::default() };
        assert_eq!(fetch(&[answer], limits), Err(FetchError::Size.to_string()), "{answer}");
    }
}

#[test]
fn redirects() {
    let hop = "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n";
    let away = "HTTP/1.1 301 Moved\r\nLocation: http://HERE/y\r\n\r\n";
    let end = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(fetch(&[hop, away, end], Limits::default()).as_deref(), Ok("ok"));
    let endless = fetch(&[hop; 6], Limits::default());
    assert_eq!(endless, Err(FetchError::Redirect.to_string()));
    let nowhere = fetch(&["HTTP/1.1 302 Found\r\n\r\n"], Limits::default());
    assert_eq!(nowhere, Err(FetchError::Redirect.to_string()));
}

#[test]
fn failures() {
    let status = fetch(&["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], Limits::default());
    assert_eq!(status, Err("the server answered with status 404".into()));
    for cut in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"] {
        let error = fetch(&[cut], Limits::default()).unwrap_err();
        assert_eq!(error, "the answer cannot be read: it breaks off", "{cut}");
    }
    assert!(fetch(&["SSH-2.0-x\r\n"], Limits::default()).is_err());
    assert!(matches!(block_on(get("gopher://x", Limits::default())), Err(FetchError::Url)));
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let error = block_on(get(&format!("http://{closed}/"), Limits::default()));
    assert!(matches!(error, Err(FetchError::Connect(..))));
}

#[test]
fn a_silent_server_is_left() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let limits = Limits { time: Duration::from_millis(50), ..Limits::default() };
    let start = Instant::now();
    assert!(matches!(block_on(get(&url, limits)), Err(FetchError::Time)));
    assert!(start.elapsed() < Duration::from_secs(5));
}
