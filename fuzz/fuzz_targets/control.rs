//! A packet of a lab's control sockets.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| samp_tests::fuzz::control(data));
