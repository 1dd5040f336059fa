//! A topology file: parser, validation, plan.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| samp_tests::fuzz::topology(data));
