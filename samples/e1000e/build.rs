//! Takes over the WDK configuration of the workspace, links the library as a driver, and gives it its version.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    // wdk-build asks for /DRIVER, which says nothing of the driver's model.
    println!("cargo::rustc-cdylib-link-arg=/DRIVER:WDM");
    let part = |name: &str| env::var(format!("CARGO_PKG_VERSION_{name}"));
    let (major, minor, patch) = (part("MAJOR")?, part("MINOR")?, part("PATCH")?);
    embed_resource::compile_for_cdylib(
        "e1000e.rc",
        [
            format!("DRIVER_VERSION={major},{minor},{patch},0"),
            format!("DRIVER_VERSION_TEXT=\"{major}.{minor}.{patch}.0\""),
        ],
    )
    .manifest_required()?;
    wdk_build::configure_wdk_binary_build()?;
    Ok(())
}
