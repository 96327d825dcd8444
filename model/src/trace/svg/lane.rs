//! What one processor does in a scene: what there is to draw, and how high that is.

use std::{vec, vec::Vec};

use super::scene::Scene;
use crate::{
    hal::Event,
    trace::timeline::{Kind, Slice, Step, Timeline},
};

/// The height of a slice with the room above it.
pub(super) const ROW: f64 = 15.0;

/// Where an IRQL is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Band {
    Passive,
    Dispatch,
    Device,
}

impl Band {
    pub(super) const ALL: [Self; 3] = [Self::Passive, Self::Dispatch, Self::Device];

    pub(super) const fn of(irql: u8) -> Self {
        match irql {
            0 => Self::Passive,
            1 | 2 => Self::Dispatch,
            _ => Self::Device,
        }
    }
}

/// What one processor does in a scene.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) processor: u32,
    /// The slices, with the row of their band that each is in: what is inside another is above it.
    pub(super) slices: Vec<(usize, usize)>,
    /// The IRQL at the start, and whenever it changes.
    pub(super) irql: Vec<(u64, u8)>,
    /// How many rows each band has; none, if the processor is never there.
    rows: [usize; 3],
}

impl Lane {
    pub(super) fn new(timeline: &Timeline<'_>, scene: &Scene, processor: u32) -> Self {
        let mut lane =
            Self { processor, slices: Vec::new(), irql: vec![(scene.start, 0)], rows: [1, 0, 0] };
        let shown = |slice: &Slice| {
            slice.processor == processor && slice.start < scene.end && slice.end > scene.start
        };
        let mut open: [Vec<u64>; 3] = Default::default();
        for (number, slice) in timeline.slices.iter().enumerate().filter(|it| shown(it.1)) {
            let band = Band::of(slice.irql) as usize;
            open[band].retain(|end| *end > slice.start);
            lane.slices.push((number, open[band].len()));
            open[band].push(slice.end);
            lane.rows[band] = lane.rows[band].max(open[band].len());
        }
        for (step, time) in &timeline.steps {
            let Step::Irql(record) = *step else { continue };
            let record = &timeline.trace.records[record];
            let Event::Irql { to, .. } = record.event else { continue };
            if record.processor != processor || *time >= scene.end {
                continue;
            }
            if *time <= scene.start {
                lane.irql = vec![(scene.start, to)];
            } else {
                lane.irql.push((*time, to));
            }
        }
        for (_, irql) in &lane.irql {
            let rows = &mut lane.rows[Band::of(*irql) as usize];
            *rows = (*rows).max(1);
        }
        lane
    }

    /// Whether it is at something, besides being in a dispatch routine, which waits most of the time.
    pub(super) fn is_busy(&self, timeline: &Timeline<'_>, time: u64) -> bool {
        let slices = self.slices.iter().map(|(number, _)| &timeline.slices[*number]);
        let mut others = slices.filter(|slice| slice.kind != Kind::Request);
        others.any(|slice| slice.start <= time && time < slice.end)
    }

    /// Whether the processor does nothing.
    pub(super) const fn is_idle(&self) -> bool {
        self.slices.is_empty()
    }

    pub(super) fn height(&self) -> f64 {
        Band::ALL.iter().map(|band| self.band_height(*band)).sum()
    }

    /// The line that what is in a band stands on, from the lane's top.
    pub(super) fn ground(&self, band: Band) -> f64 {
        Band::ALL.iter().filter(|it| **it >= band).map(|it| self.band_height(*it)).sum()
    }

    /// The times at which something changes.
    pub(super) fn moments(&self, timeline: &Timeline<'_>) -> Vec<u64> {
        let slices = self.slices.iter().map(|(number, _)| &timeline.slices[*number]);
        let ends = slices.flat_map(|slice| [slice.start, slice.end]);
        // The first is what the IRQL was before the scene.
        ends.chain(self.irql.iter().skip(1).map(|(time, _)| *time)).collect()
    }

    /// The bands that there are, from the lowest, each with the highest IRQL that it stands for.
    pub(super) fn bands(&self) -> impl Iterator<Item = (Band, u8)> {
        Band::ALL.into_iter().filter(|band| self.rows[*band as usize] > 0).map(|band| {
            let levels = self.irql.iter().map(|(_, irql)| *irql);
            let inside = || levels.clone().filter(|irql| Band::of(*irql) == band);
            // Above the devices there are the bed's own interrupts, which are nobody's business.
            let highest = inside().filter(|irql| *irql <= 12).max().or_else(|| inside().max());
            (band, highest.unwrap_or(0))
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "there are a handful of rows")]
    fn band_height(&self, band: Band) -> f64 {
        self.rows[band as usize] as f64 * ROW
    }
}
