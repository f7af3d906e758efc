//! Which of C-core's parts go into the binary: what a direct, unencrypted call
//! over one connected socket needs, and nothing else.
//!
//! C-core registers every load balancer, resolver and filter that it has in one
//! function, `BuildCoreConfiguration`, and so links them all. That function is
//! defined here instead: the linker takes ours, leaves out the archive's, and
//! with it everything that only it names. `docs/footprint.md` has the figures.
//! The names are C++'s, of the C-core that `Cargo.lock` pins. One that is gone
//! in another version does not link; should this function no longer be the one,
//! the binary grows, which the build of the image refuses.
//!
//! The filter that ends calls at their deadline is left out, too; call.rs ends them.
//! C-core's timers sleep until a moment of the wall clock, and where that is set back
//! they oversleep by as much. And one that fires while another is at it starts a
//! thread that never ends. The driver is told the deadline without that filter.
//!
//! What puts the event engine into a channel's arguments is left out, too, so a channel has
//! none, and unthreaded.rs gives none: call.rs must turn off all that would use it.
//!
//! Rejected: a copy of grpcio-sys with a shorter list in it, which would be
//! hundreds of thousands of lines to keep up to date, and `GRPC_NO_RLS` and the
//! like, which take out one balancer of seven.

#![allow(unsafe_code, reason = "C++ symbols, see SAFETY at each")]

use std::ffi::c_void;

/// A `grpc_core::CoreConfiguration::Builder`, only ever passed on.
type Builder = *mut c_void;

// SAFETY: each is `void (CoreConfiguration::Builder*)` in C-core 1.56.2.
unsafe extern "C" {
    /// Puts the memory quota there.
    #[link_name = "_ZN9grpc_core21RegisterResourceQuotaEPNS_17CoreConfiguration7BuilderE"]
    fn register_resource_quota(builder: Builder);
    /// Sends `:authority`.
    #[link_name = "_ZN9grpc_core29RegisterClientAuthorityFilterEPNS_17CoreConfiguration7BuilderE"]
    fn register_authority(builder: Builder);
    /// Sends and checks gRPC's own headers.
    #[link_name = "_ZN9grpc_core19RegisterHttpFiltersEPNS_17CoreConfiguration7BuilderE"]
    fn register_http(builder: Builder);
    /// Refuses a message beyond the limit.
    #[link_name = "_ZN9grpc_core25RegisterMessageSizeFilterEPNS_17CoreConfiguration7BuilderE"]
    fn register_message_size(builder: Builder);
    /// The ends of each filter stack: the connection, and the lame channel.
    #[link_name = "_ZN9grpc_core16RegisterBuiltinsEPNS_17CoreConfiguration7BuilderE"]
    fn register_builtins(builder: Builder);
}

/// `grpc_core::BuildCoreConfiguration`, which C-core calls once. The order is
/// that of the function it stands for: it decides how filters are stacked.
// SAFETY: the name, the argument and the result are those of the function that
// C-core declares; its archive's definition is in an object with nothing else.
#[unsafe(export_name = "_ZN9grpc_core22BuildCoreConfigurationEPNS_17CoreConfiguration7BuilderE")]
extern "C" fn build_core_configuration(builder: Builder) {
    // SAFETY: C-core hands over a builder that lives for the whole of this call,
    // and each function takes just that.
    unsafe {
        register_authority(builder);
        register_http(builder);
        register_message_size(builder);
        register_resource_quota(builder);
        register_builtins(builder);
    }
}

/// `grpc_resolver_dns_ares_init`: no name is looked up by C-core, so its resolver
/// library, c-ares, is left out.
// SAFETY: takes and gives nothing, as the function it stands for, which does
// nothing either where C-core is built without c-ares.
#[unsafe(export_name = "_Z27grpc_resolver_dns_ares_initv")]
extern "C" fn dns_ares_init() {}

/// `grpc_resolver_dns_ares_shutdown`, likewise.
// SAFETY: as above.
#[unsafe(export_name = "_Z31grpc_resolver_dns_ares_shutdownv")]
extern "C" fn dns_ares_shutdown() {}
