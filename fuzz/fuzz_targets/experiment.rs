//! An experiment file: parser, validation, schedule.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| samp_tests::fuzz::experiment(data));
