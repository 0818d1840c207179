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

/// The longest line that can be cut, in bytes. Engines build lines in a buffer of 16 KB (`tune.bufsize`).
pub const LONGEST: usize = u16::MAX as usize;
/// Parts of a line that are found at most; the engines' lines have far fewer.
pub const MOST_PARTS: usize = ROOM - 9;
const ROOM: usize = 1 << 10;

/// Where the parts of a line between separators end. Kept from line to line.
pub struct Cuts {
    /// The first is one before the line, so that a part is between two of them; the next `len` are of this line.
    ends: Box<[u16; ROOM]>,
    len: usize,
}

/// One byte before the line: it wraps to 0.
const BEFORE: u16 = u16::MAX;

impl Default for Cuts {
    fn default() -> Self {
        Self { ends: Box::new([BEFORE; ROOM]), len: 0 }
    }
}

impl Cuts {
    /// Parts that were found.
    pub fn count(&self) -> usize {
        self.len
    }

    /// Finds at least the first `wanted` parts of `text`, but no more than [`MOST_PARTS`], and looks no further than
    /// [`LONGEST`].
    ///
    /// Parts are short and many, so what costs is to guess wrong how many come next. The separators of eight bytes become
    /// the bits of one, which says where they are: eight places are written at once, however many there are (Langdale and
    /// Lemire, "Parsing gigabytes of JSON per second", 2019, do the same).
    pub fn cut<const SEPARATOR: u8>(&mut self, text: &[u8], wanted: usize) {
        let text = text.get(..LONGEST).unwrap_or(text);
        let (words, tail) = text.as_chunks::<8>();
        let wanted = wanted.min(MOST_PARTS);
        let (mut count, mut at) = (0, 0u16);
        for word in words {
            count = self.write(count, at, separators::<SEPARATOR>(*word));
            if count >= wanted {
                self.len = count.min(MOST_PARTS);
                return;
            }
            at = at.wrapping_add(8); // no line is that long
        }
        let mut last = [!SEPARATOR; 8];
        if let Some(begin) = last.get_mut(..tail.len()) {
            begin.copy_from_slice(tail);
        }
        self.len = self.write(count, at, separators::<SEPARATOR>(last)).min(MOST_PARTS);
        self.push(text.len() as u16);
    }

    /// As [`Cuts::cut`], for parts that are cut elsewhere.
    pub fn push(&mut self, end: u16) {
        if let Some(place) = self.ends.get_mut(self.len + 1).filter(|_| self.len < MOST_PARTS) {
            *place = end;
            self.len += 1;
        }
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Writes the places of the bits behind the first `count`; how many there are then. What is written behind the last
    /// is not looked at.
    #[inline]
    fn write(&mut self, count: usize, at: u16, (bits, more): (u8, usize)) -> usize {
        let places = &PLACES[usize::from(bits)];
        if let Some(room) = self.ends.get_mut(count + 1..).and_then(<[u16]>::first_chunk_mut::<8>) {
            *room = places.map(|place| at.wrapping_add(place));
        }
        count + more
    }

    /// Part `index` of the line that was cut; empty where there is none.
    #[inline]
    pub fn part<'t>(&self, text: &'t [u8], index: usize) -> &'t [u8] {
        if index >= self.len {
            return b"";
        }
        let Some([before, end]) = self.ends.get(index..).and_then(<[u16]>::first_chunk::<2>) else { return b"" };
        text.get(usize::from(before.wrapping_add(1))..usize::from(*end)).unwrap_or_default()
    }
}

/// The places of the bits of each byte, as wide as they are written: then eight are one load, one sum and one store.
static PLACES: [[u16; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut bits = 0;
    while bits < 256 {
        let (mut place, mut next) = (0, 0);
        while place < 8 {
            if bits >> place & 1 == 1 {
                table[bits][next] = place;
                next += 1;
            }
            place += 1;
        }
        bits += 1;
    }
    table
};

/// A bit for each byte that is the separator, and how many there are.
#[inline]
fn separators<const SEPARATOR: u8>(word: [u8; 8]) -> (u8, usize) {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    // Sums the bytes in the highest one.
    const SUM: u64 = u64::from_ne_bytes([1; 8]);
    // Gathers the lowest bit of each byte in the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    // The high bit of each byte that is the separator (exact, no false hits).
    let x = u64::from_le_bytes(word) ^ u64::from_ne_bytes([SEPARATOR; 8]);
    let hits = !(((x & LOW) + LOW) | x | LOW) >> 7;
    ((hits.wrapping_mul(GATHER) >> 56) as u8, (hits.wrapping_mul(SUM) >> 56) as usize)
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

    fn parts<const SEPARATOR: u8>(text: &[u8], wanted: usize) -> Vec<&[u8]> {
        let mut cuts = Cuts::default();
        cuts.cut::<SEPARATOR>(b"what,was before,,,", usize::MAX);
        cuts.cut::<SEPARATOR>(text, wanted);
        (0..cuts.count()).map(|i| cuts.part(text, i)).collect()
    }

    #[test]
    fn lines_are_cut_at_every_separator() {
        for length in [0, 1, 7, 8, 63, 64, 65, 127, 128, 129, 500] {
            for every in [1, 2, 3, 5, 64, 200] {
                let text: Vec<u8> = (0..length).map(|i| if i % every == 0 { b',' } else { b'a' + (i % 23) as u8 }).collect();
                let expected: Vec<&[u8]> = text.split(|b| *b == b',').collect();
                assert_eq!(parts::<b','>(&text, usize::MAX), expected, "{length} {every}");
                let some = parts::<b','>(&text, 3);
                assert!(some.len() >= expected.len().min(3) && expected.starts_with(&some));
            }
        }
        // Bytes that differ from a separator in one bit.
        assert_eq!(parts::<b','>(b"-\xac.,(\x0c$", usize::MAX), [&b"-\xac."[..], b"(\x0c$"]);
        assert_eq!(parts::<b' '>(&[b' '; 5000], usize::MAX).len(), MOST_PARTS, "no more than there is room for");
    }

    #[test]
    fn clean_keeps_plain_text_and_shows_the_rest() {
        assert!(matches!(clean(b"L7OK/200"), Cow::Borrowed("L7OK/200")));
        assert_eq!(clean(b"a\x1b]0;x\x07"), "a\\x1b]0;x\\x07");
        assert_eq!(clean(b"\xff\x01"), "\u{fffd}\\x01");
        assert_eq!(clean("gr\u{fc}n".as_bytes()), "grün");
    }
}
