//! A trace of movements: its lines, and the schedule that follows.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| samp_tests::fuzz::trace(data));
