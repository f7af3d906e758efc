# The versions of what builds and checks this project, in one place; scripts read it.
# What the product is made of is pinned by Cargo.lock, and what a step installs from
# Debian is what that has.

# The oldest Rust, of rustup's or Debian's; Cargo.toml has it as rust-version.
RUST_LEAST=1.93
# Debian 12's rustc-web, which makes what is released. Its archive keeps one version
# at a time, so another one is told about and not refused.
RUST_TRIED=1.96.0
# The C and C++ compiler of what is released, and what fits it to Cargo;
# requirements.txt has their digests.
ZIG=0.15.2
CARGO_ZIGBUILD=0.24.0
# The fuzzer, and the policy of deny.toml.
CARGO_FUZZ=0.13.2
CARGO_DENY=0.20.2
# The bindgen that grpcio-sys asks for; requirements-bindings.txt has its libclang.
BINDGEN=0.59.2
