//! Numbers as text without the machinery of formatting, for what is written once a request.

/// The decimal digits of a number; `room` holds them.
pub fn digits(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    room.get(at..).unwrap_or_default()
}

/// Appends them.
pub fn put(out: &mut Vec<u8>, number: impl Into<u64>) {
    out.extend_from_slice(digits(number.into(), &mut [0; 20]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 65_535, u64::MAX] {
            let mut out = b"x".to_vec();
            put(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }
}
