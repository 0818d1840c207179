//! What an executable says of itself in its ELF header: enough to know where it runs before it is sent anywhere.
//!
//! Source: System V ABI, chapters 4 and 5 (ELF header, program header). Reads at most the headers; every offset is checked.

use serde::{Deserialize, Serialize};

const MAGIC: &[u8] = b"\x7fELF";
/// Segment that names the program which loads shared libraries.
const PT_INTERP: u32 = 3;
/// Executable, and position-independent executable.
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

/// An executable for Linux.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elf {
    /// As `uname -m` names it; `ELF machine N` where it has no name here.
    pub machine: String,
    /// Needs no shared library of the node.
    pub is_static: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    #[error("not an ELF executable")]
    NotElf,
    #[error("the file ends within its own headers")]
    Cut,
    #[error("an ELF file that cannot be executed (a library's object or a core)")]
    NotExecutable,
}

/// Little- or big-endian numbers at checked places.
struct Reader<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Reader<'_> {
    fn number(&self, at: u64, width: usize) -> Result<u64, ElfError> {
        let at = usize::try_from(at).map_err(|_| ElfError::Cut)?;
        let bytes = at.checked_add(width).and_then(|end| self.bytes.get(at..end)).ok_or(ElfError::Cut)?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Ok(if self.little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
    }
}

/// Reads the headers of a file's bytes.
pub fn parse(bytes: &[u8]) -> Result<Elf, ElfError> {
    let (class, data) = match bytes {
        [0x7f, b'E', b'L', b'F', class, data, ..] => (*class, *data),
        _ => return Err(if MAGIC.starts_with(bytes) && !bytes.is_empty() { ElfError::Cut } else { ElfError::NotElf }),
    };
    let (wide, little) = match (class, data) {
        (1, 1) => (false, true),
        (1, 2) => (false, false),
        (2, 1) => (true, true),
        (2, 2) => (true, false),
        _ => return Err(ElfError::NotElf),
    };
    let reader = Reader { bytes, little };
    let kind = reader.number(16, 2)?;
    if kind != u64::from(ET_EXEC) && kind != u64::from(ET_DYN) {
        return Err(ElfError::NotExecutable);
    }
    let machine = machine(reader.number(18, 2)?, wide, little);
    let (table, size, count) = if wide {
        (reader.number(32, 8)?, reader.number(54, 2)?, reader.number(56, 2)?)
    } else {
        (reader.number(28, 4)?, reader.number(42, 2)?, reader.number(44, 2)?)
    };
    let mut is_static = true;
    for n in 0..count {
        let at = n.checked_mul(size).and_then(|o| o.checked_add(table)).ok_or(ElfError::Cut)?;
        is_static &= reader.number(at, 4)? != u64::from(PT_INTERP);
    }
    Ok(Elf { machine, is_static })
}

fn machine(number: u64, wide: bool, little: bool) -> String {
    match (number, wide, little) {
        (3, false, true) => "i686".into(),
        (62, true, true) => "x86_64".into(),
        (40, false, true) => "arm".into(),
        (183, true, true) => "aarch64".into(),
        (21, true, true) => "ppc64le".into(),
        (22, true, false) => "s390x".into(),
        (243, true, true) => "riscv64".into(),
        (258, true, true) => "loongarch64".into(),
        (number, ..) => format!("ELF machine {number}"),
    }
}

/// Whether an executable of `binary` runs on a node whose `uname -m` is `node`.
pub fn runs_on(binary: &str, node: &str) -> bool {
    binary == node
        || (binary == "arm" && node.starts_with("arm"))
        || (binary == "i686" && (node == "x86_64" || (node.starts_with('i') && node.ends_with("86"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header and one program header, little-endian, 64 bits.
    fn sample(machine: u16, segment: u32) -> Vec<u8> {
        let mut b = vec![0u8; 120];
        b[..6].copy_from_slice(b"\x7fELF\x02\x01");
        b[16..18].copy_from_slice(&ET_DYN.to_le_bytes());
        b[18..20].copy_from_slice(&machine.to_le_bytes());
        b[32..40].copy_from_slice(&64u64.to_le_bytes());
        b[54..56].copy_from_slice(&56u16.to_le_bytes());
        b[56..58].copy_from_slice(&1u16.to_le_bytes());
        b[64..68].copy_from_slice(&segment.to_le_bytes());
        b
    }

    #[test]
    fn machine_and_linkage_are_read() {
        assert_eq!(parse(&sample(62, 1)), Ok(Elf { machine: "x86_64".into(), is_static: true }));
        assert_eq!(parse(&sample(183, PT_INTERP)), Ok(Elf { machine: "aarch64".into(), is_static: false }));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(parse(&own).unwrap().machine, nix::sys::utsname::uname().unwrap().machine().to_str().unwrap());
    }

    #[test]
    fn what_is_no_executable_is_refused() {
        assert_eq!(parse(b"#!/bin/sh\n"), Err(ElfError::NotElf));
        assert_eq!(parse(b""), Err(ElfError::NotElf));
        let whole = sample(62, 1);
        for cut in 1..68 {
            assert!(parse(&whole[..cut]).is_err(), "{cut} bytes");
        }
        let mut core = sample(62, 1);
        core[16] = 4;
        assert_eq!(parse(&core), Err(ElfError::NotExecutable));
    }

    #[test]
    fn names_of_machines_meet() {
        assert!(runs_on("x86_64", "x86_64") && runs_on("arm", "armv7l") && runs_on("i686", "x86_64"));
        assert!(!runs_on("x86_64", "aarch64") && !runs_on("aarch64", "armv7l"));
    }
}
