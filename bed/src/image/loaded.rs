//! Which drivers are in memory: what an address belongs to, and what a driver that prints is called.
//!
//! A driver that was unloaded is still known: what runs in it or reads it is told as its.

use alloc::string::{String, ToString};
use core::fmt;

use spin::Once;

use super::{Image, stem};

/// A run has at most so many drivers; one that is loaded anew counts again.
pub(super) const MOST: usize = 64;

/// The drivers, in the order in which they were loaded. They are looked at in exceptions, so without a lock.
static LOADED: [Once<Image>; MOST] = [const { Once::new() }; MOST];

/// Adds a driver that was laid out; false if there are too many. The first processor loads them all.
pub(super) fn remember(image: &Image) -> bool {
    let free = LOADED.iter().find(|place| !place.is_completed());
    free.map(|place| place.call_once(|| image.clone())).is_some()
}

/// The driver that an address lies in.
fn at(address: usize) -> Option<&'static Image> {
    let mut all = LOADED.iter().map_while(Once::get);
    all.find(|image| (image.base..image.base + image.size).contains(&address))
}

/// Whether an address lies in a driver.
pub(crate) fn contains(address: usize) -> bool {
    at(address).is_some()
}

/// How far behind its driver's first byte an address in a driver lies.
pub(crate) fn offset(address: usize) -> u32 {
    at(address).map_or(0, |image| (address - image.base) as u32)
}

/// Name of the driver that prints, without its extension, by where it goes on after that. If that is not in a
/// driver, the call was a jump at a routine's end, and it is taken for the first driver's.
pub(crate) fn short_name(address: usize) -> String {
    let image = at(address).or_else(|| LOADED[0].get());
    image.map_or("a driver", |image| stem(&image.name)).to_string()
}

/// An address as "edu.sys+0x1234", or as the bed's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(u64);

/// Tells where an address lies.
pub(crate) const fn place(address: u64) -> Place {
    Place(address)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0 as usize;
        match at(address) {
            Some(Image { name, base, .. }) => write!(f, "{name}+{:#x}", address - base),
            None => write!(f, "the bed's {address:#x}"),
        }
    }
}
