# The program is built already.
RUST_ARCH_DEPENDS :=
CARGO_PKG_ARGS := --locked
CARGO_PKG_PROFILE := release
RustBinPackage :=
