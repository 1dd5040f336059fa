//! Datagrams to a SIP server, one after the other.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| samp_tests::fuzz::server(data));
