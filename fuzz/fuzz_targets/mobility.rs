//! A datagram with a Mobility Header.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| samp_tests::fuzz::mobility(data));
