//! The parts of C-core that go into the binary: those that a direct, unencrypted call over one
//! connected socket needs.
//!
//! C-core registers every load balancer, resolver and filter in one function,
//! `BuildCoreConfiguration`, so a program that links this function links them all. We define it
//! here: the linker takes our definition, leaves out the one in the archive, and with it
//! everything that no other code refers to. docs/footprint.md has the figures. The symbols are
//! C++ names of the C-core that `Cargo.lock` pins. If one is gone in another version, the program
//! does not link. If C-core calls another function by then, the binary grows, and the build of
//! the image fails on its size.
//!
//! We leave out the filter that ends calls at their deadline, because call.rs ends them; C-core
//! sends the deadline to the driver without that filter. C-core's timer thread sleeps until a
//! wall-clock time: set the clock back by an hour and a deadline comes an hour late. And when two
//! timers fire at once it starts a second thread, which never exits.
//!
//! We also leave out the function that puts an event engine into a channel's arguments. A channel
//! then has none, and unthreaded.rs provides none either, so call.rs must turn off everything that
//! would use it.
//!
//! Rejected: a copy of grpcio-sys with a shorter list, because we would have to keep hundreds of
//! thousands of lines up to date. Rejected: `GRPC_NO_RLS` and similar macros, because they leave
//! out only one of seven load balancers.

#![allow(unsafe_code, reason = "C++ symbols, see SAFETY at each")]

use std::ffi::c_void;

/// A `grpc_core::CoreConfiguration::Builder`, which this file only passes on.
type Builder = *mut c_void;

// SAFETY: each is `void (CoreConfiguration::Builder*)` in C-core 1.56.2.
unsafe extern "C" {
    /// Adds a memory quota to a channel's arguments.
    #[link_name = "_ZN9grpc_core21RegisterResourceQuotaEPNS_17CoreConfiguration7BuilderE"]
    fn register_resource_quota(builder: Builder);
    /// Sends `:authority`.
    #[link_name = "_ZN9grpc_core29RegisterClientAuthorityFilterEPNS_17CoreConfiguration7BuilderE"]
    fn register_authority(builder: Builder);
    /// Sends and checks gRPC's own headers.
    #[link_name = "_ZN9grpc_core19RegisterHttpFiltersEPNS_17CoreConfiguration7BuilderE"]
    fn register_http(builder: Builder);
    /// Refuses a message that is longer than its limit.
    #[link_name = "_ZN9grpc_core25RegisterMessageSizeFilterEPNS_17CoreConfiguration7BuilderE"]
    fn register_message_size(builder: Builder);
    /// Registers the filters that end each stack: that of the connection, and the lame channel's.
    #[link_name = "_ZN9grpc_core16RegisterBuiltinsEPNS_17CoreConfiguration7BuilderE"]
    fn register_builtins(builder: Builder);
}

/// `grpc_core::BuildCoreConfiguration`, which C-core calls once. The order of the calls is that of
/// the original, because it decides how filters are stacked.
// SAFETY: name, argument and result are those that C-core declares. In the archive the original is
// the only function of its object file.
#[unsafe(export_name = "_ZN9grpc_core22BuildCoreConfigurationEPNS_17CoreConfiguration7BuilderE")]
extern "C" fn build_core_configuration(builder: Builder) {
    // SAFETY: C-core passes a builder that outlives this call, and each function takes a builder.
    unsafe {
        register_authority(builder);
        register_http(builder);
        register_message_size(builder);
        register_resource_quota(builder);
        register_builtins(builder);
    }
}

/// `grpc_resolver_dns_ares_init`. C-core looks up no name for us, so we leave out its resolver
/// library, c-ares.
// SAFETY: the original has neither arguments nor a result, and it is empty, too, where C-core is
// built without c-ares.
#[unsafe(export_name = "_Z27grpc_resolver_dns_ares_initv")]
extern "C" fn dns_ares_init() {}

/// `grpc_resolver_dns_ares_shutdown`, likewise.
// SAFETY: as above.
#[unsafe(export_name = "_Z31grpc_resolver_dns_ares_shutdownv")]
extern "C" fn dns_ares_shutdown() {}
