#![no_main]

#[expect(dead_code, reason = "the targets share one file, and each uses its own")]
#[path = "../../tests/it/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::replacement(bytes));
