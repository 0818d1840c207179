//! HTTP/2 frame by frame: trailers, resets, flow control.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use lbdeck::agent::relay::http::site::Http2Limits;
use lbdeck::agent::relay::http::upstream::ServerAddress;
use tokio::net::{TcpListener, TcpStream};

use super::servers::{Scripted, read_head};
use crate::support::relay::{Relay, Setting, target};

type Client = (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>);

async fn client(relay: &Relay) -> Client {
    let tcp = TcpStream::connect(relay.address).await.unwrap();
    let (send, connection) = h2::client::handshake(tcp).await.unwrap();
    (send.ready().await.unwrap(), tokio::spawn(connection))
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://h{path}")).body(()).unwrap()
}

/// A server of HTTP/2 that echoes bodies and ends with trailers, as gRPC does.
async fn grpc_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(tcp).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let te = request.headers().get("te").cloned();
                        let mut body = request.into_body();
                        let mut send = respond.send_response(Response::new(()), false).unwrap();
                        while let Some(Ok(data)) = body.data().await {
                            let _ = body.flow_control().release_capacity(data.len());
                            send.send_data(data, false).unwrap();
                        }
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        if let Some(te) = te {
                            trailers.insert("seen-te", te);
                        }
                        if let Ok(Some(sent)) = body.trailers().await {
                            trailers.extend(sent);
                        }
                        send.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn grpc_streams_both_ways_with_trailers() {
    let mut to = target(ServerAddress::Tcp(grpc_server().await));
    to.http2 = true;
    let relay = Setting::to(vec![to]).start();
    let (mut send, _connection) = client(&relay).await;
    let request =
        Request::post("http://h/svc/Call").header("te", "trailers").header("content-type", "application/grpc").body(()).unwrap();
    let (response, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"one"), false).unwrap();
    // The response begins and flows while the request is still open.
    let mut answer = response.await.unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), "one");
    body.send_data(Bytes::from_static(b"two"), false).unwrap();
    assert_eq!(answer.data().await.unwrap().unwrap(), "two");
    body.send_trailers([("x-end", "1")].iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect()).unwrap();
    assert!(answer.data().await.is_none());
    let trailers = answer.trailers().await.unwrap().unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["seen-te"], &trailers["x-end"]),
        (&"0".parse().unwrap(), &"trailers".parse().unwrap(), &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_body_that_the_server_cut_off_resets_the_stream_and_no_other() {
    let server = Scripted::start(|stream, seen| {
        use std::io::Write;
        while read_head(stream, seen) {
            if seen.lock().unwrap().windows(4).any(|w| w == b"/cut") {
                seen.lock().unwrap().clear();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").unwrap();
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    let relay = Setting::to(vec![server.target()]).start();
    let (mut send, _connection) = client(&relay).await;
    let mut error = None;
    match send.send_request(get("/cut"), true).unwrap().0.await {
        Err(e) => error = Some(e),
        Ok(cut) => {
            let mut cut = cut.into_body();
            // A stream that was reset answers with its error for ever.
            while error.is_none()
                && let Some(data) = cut.data().await
            {
                error = data.err();
            }
        }
    }
    assert!(error.is_some_and(|e| e.is_reset()));
    let mut whole = send.send_request(get("/whole"), true).unwrap().0.await.unwrap().into_body();
    assert_eq!(whole.data().await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn who_resets_streams_in_a_row_is_cut_off() {
    let server = Scripted::start(|stream, seen| while read_head(stream, seen) {});
    let setting = Setting { http2: Http2Limits { streams: 100, resets: 10 }, ..Setting::to(vec![server.target()]) };
    let relay = setting.start();
    let (send, connection) = client(&relay).await;
    let resetting = async {
        loop {
            let Ok(mut send) = send.clone().ready().await else { return };
            let Ok((_, mut stream)) = send.send_request(get("/"), true) else { return };
            // Long enough for the relay to have taken the stream up.
            tokio::time::sleep(Duration::from_millis(2)).await;
            stream.send_reset(h2::Reason::CANCEL);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), resetting).await.unwrap();
    let error = connection.await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_the_server_back() {
    let (sent, mut written) = tokio::sync::watch::channel(0usize);
    let server = Scripted::start(move |stream, seen| {
        use std::io::Write;
        if read_head(stream, seen) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
            while stream.write_all(&[0; 65_536]).is_ok() {
                sent.send_modify(|n| *n += 65_536);
            }
        }
    });
    let relay = Setting::to(vec![server.target()]).start();
    let (mut send, _connection) = client(&relay).await;
    let response = send.send_request(get("/"), true).unwrap().0.await.unwrap();
    // It stalls at what sockets and windows hold, far from the whole body.
    while tokio::time::timeout(Duration::from_millis(500), written.changed()).await.is_ok() {}
    let stalled = *written.borrow();
    assert!(stalled < 50_000_000, "{stalled} bytes were taken from the server");
    drop(response);
}
