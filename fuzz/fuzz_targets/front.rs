//! Fuzzes the property of `tests/integration/properties/front.rs`.
#![no_main]

#[path = "../../tests/integration/properties/front.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
