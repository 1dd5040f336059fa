//! What a member of the ring says to another.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| samp_tests::fuzz::overlay(data));
