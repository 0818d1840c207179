//! Headers as the specification shows them, and what may not pass for one.

use super::*;

fn pair(a: &str, b: &str) -> (SocketAddr, SocketAddr) {
    (a.parse().unwrap(), b.parse().unwrap())
}

#[test]
fn version_1() {
    let line = b"PROXY TCP4 255.255.255.255 192.0.2.1 65535 80\r\nGET";
    let header = parse(line).unwrap();
    assert_eq!(header, Header { addresses: Some(pair("255.255.255.255:65535", "192.0.2.1:80")), len: line.len() - 3 });
    assert_eq!(parse(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n").unwrap().addresses, Some(pair("[2001:db8::1]:1", "[::1]:2")));
    assert_eq!(parse(b"PROXY UNKNOWN ffff::1 whatever\r\n").unwrap().addresses, None);
    for cut in 1..40 {
        assert_eq!(parse(&line[..cut]), Err(ProxyError::Incomplete), "{cut}");
    }
}

#[test]
fn what_is_no_header() {
    for text in [
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY \r\n",
    ] {
        assert!(matches!(parse(text.as_bytes()), Err(ProxyError::Malformed(_))), "{text:?}: {:?}", parse(text.as_bytes()));
    }
    assert!(matches!(parse(&[b"PROXY ".to_vec(), vec![b'x'; 200]].concat()), Err(ProxyError::Malformed(_))));
    for text in ["GET / HTTP/1.1\r\n", "proxy TCP4", "\r\n\r\nX", "PROXYTCP4"] {
        assert_eq!(parse(text.as_bytes()), Err(ProxyError::Missing), "{text:?}");
    }
    let v2 = |tail: &[u8]| parse(&[&SIGNATURE[..], tail].concat());
    for tail in [
        &[0x31, 0x11, 0, 0][..],
        &[0x22, 0x11, 0, 0],
        &[0x21, 0x11, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x21, 0x51, 0, 0],
        &[0x21, 0x11, 0xff, 0xff],
    ] {
        assert!(matches!(v2(tail), Err(ProxyError::Malformed(_))), "{tail:?}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for (client, local) in [
        ("192.0.2.1:1234", "198.51.100.2:443"),
        ("[2001:db8::1]:1", "[2001:db8::2]:65535"),
        ("[::ffff:192.0.2.1]:5", "192.0.2.2:6"),
        ("192.0.2.1:5", "[2001:db8::2]:6"),
    ] {
        let (client, local) = pair(client, local);
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut bytes = write(version, Some(client), Some(local), false);
            let len = bytes.len();
            bytes.extend_from_slice(b"after");
            let header = parse(&bytes).unwrap();
            let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
            let (c, l) = header.addresses.unwrap();
            assert_eq!((canonical(c), canonical(l), header.len), (canonical(client), canonical(local), len), "{version:?}");
            for cut in 1..len {
                assert_eq!(parse(&bytes[..cut]), Err(ProxyError::Incomplete), "{version:?} cut at {cut}");
            }
        }
    }
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let bytes = write(version, None, None, false);
        assert_eq!(parse(&bytes), Ok(Header { addresses: None, len: bytes.len() }));
    }
    assert_eq!(write(ProxyVersion::V2, Some("1.2.3.4:5".parse().unwrap()), Some("1.2.3.4:6".parse().unwrap()), true)[13], 0x12);
}

#[test]
fn fields_after_the_addresses_are_skipped() {
    let mut bytes = write(ProxyVersion::V2, Some("1.2.3.4:5".parse().unwrap()), Some("6.7.8.9:10".parse().unwrap()), false);
    bytes[15] += 7;
    bytes.extend_from_slice(&[4, 0, 4, 0, 0, 0, 0]);
    let header = parse(&bytes).unwrap();
    assert_eq!((header.addresses.unwrap().0.port(), header.len), (5, bytes.len()));
}
