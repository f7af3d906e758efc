//! Tests of the real binary over real sockets. Each claim that the documents make about it is
//! a test here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic"
)]

mod support;

mod addresses;
mod bad_start;
mod bad_values;
mod c_core;
mod chaos;
mod command_line;
mod deploy;
mod documents;
mod end_of_call;
mod environment;
mod environment_variables;
mod faults;
mod faulty_driver;
mod flood;
mod footprint;
mod guard;
mod host_names;
mod hostile;
mod http;
mod image;
mod interop;
mod logs;
mod memcheck;
mod messages;
mod metadata;
mod metrics;
mod monitoring;
mod no_entropy;
mod once;
mod packaging;
mod periodic;
mod properties;
mod readme;
mod release;
mod security;
mod services;
mod several;
mod sharing;
mod shipped;
mod signals;
mod soak;
mod socket_life;
mod vex;
mod watchdog;
mod workspace;
