//! Ids of requests: taken from trusted proxies, else made here as UUIDs of version 7 (RFC 9562), which sort by time.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest id that is accepted, in bytes.
const MAX_LEN: usize = 128;

/// Header that carries the id unless the configuration says otherwise.
pub const DEFAULT_HEADER: &str = "X-Request-Id";

/// An id of the relay's own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 36]);

impl RequestId {
    /// `random`: uniform bits, of which 74 are used.
    pub fn new(now: SystemTime, random: u128) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let millis = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let bits = (millis & 0xffff_ffff_ffff) << 80
            | 0x7 << 76
            | (random >> 64 & 0xfff) << 64
            | 0b10 << 62
            | random & (u128::MAX >> 66);
        let mut text = [b'-'; 36];
        let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
        for (digit, at) in places.enumerate() {
            let nibble = usize::try_from(bits >> (124 - 4 * digit) & 0xf).unwrap_or(0);
            if let (Some(place), Some(hex)) = (text.get_mut(at), HEX.get(nibble)) {
                *place = *hex;
            }
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An id that a trusted proxy sent, if it is one that can go into headers and logs: letters, digits and `-._:+/=@`.
pub fn accept(value: &[u8]) -> Option<&str> {
    let fine = |b: &u8| b.is_ascii_alphanumeric() || b"-._:+/=@".contains(b);
    let good = !value.is_empty() && value.len() <= MAX_LEN && value.iter().all(fine);
    good.then(|| std::str::from_utf8(value).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 9562, A.6.
        let now = UNIX_EPOCH + Duration::from_millis(0x017F_22E2_79B0);
        let random = 0xCC3_u128 << 64 | 0x18C4_DC0C_0C07_398F;
        assert_eq!(RequestId::new(now, random).as_str(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    }

    #[test]
    fn ids_of_others_are_looked_at() {
        assert_eq!(accept(b"0192a-b.c:d+e/f=@"), Some("0192a-b.c:d+e/f=@"));
        for bad in [&b""[..], b"a b", b"a\"b", b"a\nb", b"\xff", &[b'a'; 129]] {
            assert_eq!(accept(bad), None);
        }
    }
}
