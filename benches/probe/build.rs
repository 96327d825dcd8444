//! Takes over the WDK configuration of the workspace, and links the library as a driver.

fn main() -> Result<(), wdk_build::ConfigError> {
    wdk_build::configure_wdk_binary_build()
}
