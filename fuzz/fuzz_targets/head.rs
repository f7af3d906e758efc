//! Fuzzes the property of `tests/integration/properties/head.rs`.
#![no_main]

#[path = "../../tests/integration/properties/head.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
