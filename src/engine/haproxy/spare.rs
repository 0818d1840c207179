//! Buffers of replies, used again. A console that reads a thousand nodes a second would otherwise have all that memory taken
//! from the system and given back every second: allocators return what is free for long.

use std::sync::{Mutex, PoisonError};

/// Kept in all, in bytes: what half a large fleet's readings take.
const MOST: usize = 32 << 20;
/// A larger buffer is not worth keeping: so large a reply is rare.
const LARGEST: usize = 1 << 20;

#[derive(Debug)]
struct Spare {
    buffers: Vec<Vec<u8>>,
    /// Their capacity in all.
    bytes: usize,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare { buffers: Vec::new(), bytes: 0 });

/// An empty buffer with at least this capacity.
pub fn take(capacity: usize) -> Vec<u8> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(buffer) = spare.buffers.pop() else { return Vec::with_capacity(capacity) };
    spare.bytes -= buffer.capacity();
    drop(spare);
    // One of a small node's is of no use to a large one; it is freed, and the large one's stays from now on.
    if buffer.capacity() < capacity { Vec::with_capacity(capacity) } else { buffer }
}

/// Keeps the buffer for somebody else, if there is room.
pub fn give(mut buffer: Vec<u8>) {
    let capacity = buffer.capacity();
    if capacity == 0 || capacity > LARGEST {
        return;
    }
    buffer.clear();
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    if spare.bytes + capacity <= MOST {
        spare.bytes += capacity;
        spare.buffers.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_large_enough() {
        let mut one = Vec::with_capacity(4096);
        one.push(7);
        give(one);
        for capacity in [1, 4096, 8192, LARGEST] {
            let buffer = take(capacity);
            assert!(buffer.is_empty() && buffer.capacity() >= capacity);
            give(buffer);
        }
        give(Vec::with_capacity(LARGEST + 1));
        assert!(SPARE.lock().unwrap().buffers.iter().all(|b| b.capacity() <= LARGEST));
    }
}
