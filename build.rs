//! On a Windows host: hands the WDK's configuration to the compiler, as every crate that is built
//! on `wdk-sys` does. Elsewhere there is nothing to do, because `wdk-build` needs a Windows host.

#[cfg(windows)]
fn main() -> Result<(), wdk_build::ConfigError> {
    // With the model as back end no WDK is needed.
    if std::env::var_os("CARGO_FEATURE_MODEL").is_some() {
        return Ok(());
    }
    wdk_build::configure_wdk_library_build()
}

#[cfg(not(windows))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
