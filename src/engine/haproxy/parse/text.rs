//! Bytes of a reply as text and numbers.

use std::borrow::Cow;

use crate::model::sanitize;

/// Text that may be shown: invalid UTF-8 replaced, control characters made visible. Borrowed where nothing had to change.
pub fn clean(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        // Nearly all names and words are printable ASCII, which needs no look at each character.
        Ok(text) if bytes.iter().all(|b| (b' '..=b'~').contains(b)) => Cow::Borrowed(text),
        Ok(text) => sanitize(text),
        Err(_) => Cow::Owned(sanitize(&String::from_utf8_lossy(bytes)).into_owned()),
    }
}

/// A decimal number; None where it is empty, has other characters or does not fit.
pub fn number(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [] => None,
        [digit @ b'0'..=b'9'] => Some(u64::from(digit - b'0')),
        _ => bytes.iter().try_fold(0u64, |sum, b| match b {
            b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(b - b'0')),
            _ => None,
        }),
    }
}

/// A decimal number of a narrower type.
pub fn narrow<T: TryFrom<u64>>(bytes: &[u8]) -> Option<T> {
    number(bytes).and_then(|n| T::try_from(n).ok())
}

/// Finds where the parts of `text` between separators end, at least the first `wanted` of them: eight bytes at a time,
/// because parts are short and many.
pub fn cut<const SEPARATOR: u8>(text: &[u8], wanted: usize, ends: &mut Vec<u32>) {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let pattern = u64::from_ne_bytes([SEPARATOR; 8]);
    let (words, tail) = text.as_chunks::<8>();
    let mut at = 0u32;
    for word in words {
        // The high bit of each byte that is the separator (exact, no false hits).
        let x = u64::from_le_bytes(*word) ^ pattern;
        let mut hits = !(((x & LOW) + LOW) | x | LOW);
        while hits != 0 {
            ends.push(at + (hits.trailing_zeros() >> 3));
            hits &= hits - 1;
        }
        if ends.len() >= wanted {
            return;
        }
        at += 8;
    }
    for b in tail {
        if *b == SEPARATOR {
            ends.push(at);
        }
        at += 1;
    }
    ends.push(at);
}

/// Part `index` of what [`cut`] found; empty where there is none.
#[inline]
pub fn part<'t>(text: &'t [u8], ends: &[u32], index: usize) -> &'t [u8] {
    let Some(end) = ends.get(index) else { return b"" };
    let start = match index.checked_sub(1) {
        Some(before) => ends.get(before).map_or(0, |e| *e as usize + 1),
        None => 0,
    };
    text.get(start..*end as usize).unwrap_or_default()
}

/// Whole lines, without their ends: a last line without its line feed was cut and is not given.
pub struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    pub fn of(text: &'a [u8]) -> Self {
        Self { rest: text, number: 0 }
    }
    /// What has not been given yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
    /// Number of the line that was given last, from 1.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (line, rest) = self.rest.split_at(memchr::memchr(b'\n', self.rest)?);
        self.rest = rest.get(1..).unwrap_or_default();
        self.number += 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_nothing() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"18446744073709551616", b"-1", b"1a", b" 1", b"0x1"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
        assert_eq!(narrow::<u16>(b"65536"), None);
    }

    #[test]
    fn clean_keeps_plain_text_and_shows_the_rest() {
        assert!(matches!(clean(b"L7OK/200"), Cow::Borrowed("L7OK/200")));
        assert_eq!(clean(b"a\x1b]0;x\x07"), "a\\x1b]0;x\\x07");
        assert_eq!(clean(b"\xff\x01"), "\u{fffd}\\x01");
        assert_eq!(clean("gr\u{fc}n".as_bytes()), "grün");
    }
}
