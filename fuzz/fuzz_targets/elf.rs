#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lbdeck_fuzz::elf(bytes));
