//! Takes the header off a new connection, and no byte that follows it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Header, ProxyError, V2_MAX, parse};

#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error(transparent)]
    Header(#[from] ProxyError),
    #[error("no PROXY protocol header came in time")]
    Timeout,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whether a peer must begin with a header: networks that are listed must, others must not.
pub fn is_expected(from: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    from.iter().any(|net| net.contains(&peer))
}

/// Who the client is and where it connected to. The header is read first where the peer is of a trusted network; the
/// bytes of everybody else are left alone, so that nobody can lie about who they are.
pub async fn addresses(
    tcp: &mut TcpStream,
    from: &[IpNet],
    peer: SocketAddr,
    local: SocketAddr,
    timeout: Duration,
) -> Result<(SocketAddr, SocketAddr), AcceptError> {
    if !is_expected(from, peer.ip()) {
        return Ok((peer, local));
    }
    let header = tokio::time::timeout(timeout, read(tcp)).await.map_err(|_| AcceptError::Timeout)??;
    Ok(header.addresses.unwrap_or((peer, local)))
}

/// Reads as little at a time as the header is sure to have: what follows it belongs to whoever reads next.
async fn read(tcp: &mut TcpStream) -> Result<Header, AcceptError> {
    let mut seen = vec![0; V2_MAX];
    let mut have = 0;
    loop {
        // A peek shows what is there without taking it.
        let room = seen.get_mut(have..).unwrap_or_default();
        if room.is_empty() {
            return Err(ProxyError::Malformed("too long").into());
        }
        let peeked = tcp.peek(room).await?;
        if peeked == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match parse(seen.get(..have + peeked).unwrap_or_default()) {
            Ok(header) => {
                let rest = seen.get_mut(have..header.len).unwrap_or_default();
                tcp.read_exact(rest).await?;
                return Ok(header);
            }
            // All of it belongs to the header, so it may be taken: the next peek then waits for more.
            Err(ProxyError::Incomplete) => {
                let part = seen.get_mut(have..have + peeked).unwrap_or_default();
                tcp.read_exact(part).await?;
                have += peeked;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn the_header_is_taken_off_however_it_is_cut() {
        let net: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap()];
        for cut in [1, 5, 12, 20, 39, 40] {
            let (mut client, mut server) = pair().await;
            let (peer, local) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
            let bytes = b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\nhello";
            let sending = async {
                client.set_nodelay(true).unwrap();
                client.write_all(&bytes[..cut]).await.unwrap();
                tokio::task::yield_now().await;
                client.write_all(&bytes[cut..]).await.unwrap();
            };
            let reading = addresses(&mut server, &net, peer, local, Duration::from_secs(5));
            let ((), found) = futures::future::join(sending, reading).await;
            assert_eq!(found.unwrap(), ("192.0.2.1:1234".parse().unwrap(), "192.0.2.2:80".parse().unwrap()));
            let mut rest = [0; 5];
            server.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"hello");
        }
    }

    #[tokio::test]
    async fn trusted_peers_must_send_one_and_others_are_not_believed() {
        let (mut client, mut server) = pair().await;
        let (peer, local) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let all: Vec<IpNet> = vec!["127.0.0.1/32".parse().unwrap()];
        let error = addresses(&mut server, &all, peer, local, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, AcceptError::Header(ProxyError::Missing)), "{error}");
        let (mut client, mut server) = pair().await;
        let (peer, local) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
        client.write_all(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n").await.unwrap();
        let found = addresses(&mut server, &["10.0.0.0/8".parse().unwrap()], peer, local, Duration::from_secs(5)).await;
        assert_eq!(found.unwrap(), (peer, local));
        let error = addresses(&mut pair().await.1, &all, peer, local, Duration::from_millis(10)).await.unwrap_err();
        assert!(matches!(error, AcceptError::Io(_) | AcceptError::Timeout), "{error}");
    }
}
