//! Which vectors devices get.

/// The vectors that devices were given.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    /// How many of each IRQL, of those that can be shared.
    few: [u32; 16],
    /// How many of each IRQL, of those that devices with many messages get.
    many: [u32; 16],
}

impl Vectors {
    /// So many on end.
    pub(super) fn successive(&mut self, irql: u8, count: u32) -> u32 {
        let next = &mut self.few[usize::from(irql)];
        // Round the 16 of this IRQL, so that a device that starts again gets others.
        if *next + count > 16 {
            assert!(count <= 16, "an IRQL has 16 vectors, not {count}");
            *next = 0;
        }
        let first = *next;
        *next += count;
        u32::from(irql) * 16 + first
    }

    /// One of those from 256 on.
    pub(super) const fn one_of_many(&mut self, irql: u8) -> u32 {
        let next = &mut self.many[irql as usize];
        let number = *next;
        // Round the 4,080 of this IRQL: 16 for each value of the vector's upper byte but 0.
        *next = (number + 1) % (255 * 16);
        ((1 + number / 16) << 8) | ((irql as u32) << 4) | (number % 16)
    }
}
