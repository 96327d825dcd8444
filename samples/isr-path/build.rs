//! Takes over the WDK configuration of the workspace, and links the library as a driver.

fn main() -> Result<(), wdk_build::ConfigError> {
    // The linker's map beside the driver says where each routine is.
    println!("cargo::rustc-cdylib-link-arg=/MAP");
    wdk_build::configure_wdk_binary_build()
}
