# The program is built already.
RUST_ARCH_DEPENDS :=
CARGO_PKG_ARGS :=
RustBinPackage :=
