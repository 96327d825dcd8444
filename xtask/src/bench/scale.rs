//! What connecting costs a message, and an ISR, among few messages and among many.
//!
//! QEMU has no device with 2,048 messages, so the bed imagines one: the resources of START name as many, and messages
//! are served as if they had come. The driver is as it would be for a real one.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::memory;
use super::regions::{Pass, Regions, Subject};
use crate::qemu::Interrupt;

/// How many messages the device has: the last is the most that MSI-X allows.
pub(super) const ALL: &[u64] = &[1, 5, 64, 512, 2048];

/// As many as are enough to see something grow, in a tenth of the time.
pub(super) const FEW: &[u64] = &[1, 5, 512];

/// Connecting a message may cost so much more among the most than among five.
const GROWTH: f64 = 1.05;

/// What one message more costs.
type Each = fn(&Point, &Point) -> Option<f64>;

/// What was counted for a number of messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) messages: u64,
    /// Connecting all, each with a handler and a deferred half of its own; and disconnecting.
    pub(super) connect: u64,
    pub(super) disconnect: u64,
    /// Connecting all with one handler.
    pub(super) connect_one_handler: u64,
    /// The ISR of one.
    pub(super) isr: u64,
    /// Nonpaged pool of all.
    pub(super) bytes: u64,
}

/// The costs for all numbers of messages.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale(pub(super) Vec<Point>);

/// Boots the probe with each number of messages.
pub(super) fn measure(probe: Subject<'_>, numbers: &[u64]) -> Result<Scale> {
    let mut points = Vec::new();
    for &messages in numbers {
        let command = format!("bench scale interrupt=imagined messages={messages}");
        let boot = probe.boot(Interrupt::Message, &command, true)?;
        let regions =
            Regions::of(&Pass::all(&boot)).with_context(|| format!("with {messages} messages"))?;
        let own = |name: &str| regions.get(name).map(|count| count.own);
        let marker = own("nothing")?;
        points.push(Point {
            messages,
            connect: own("connect each")? - marker,
            disconnect: own("disconnect each")? - marker,
            connect_one_handler: own("connect")? - marker,
            isr: own("ISR, message")?,
            bytes: memory::stated(&boot, "connected each")?,
        });
    }
    Ok(Scale(points))
}

impl Point {
    /// What one message more costs, by what so many cost more than one.
    fn each(&self, one: &Self, cost: fn(&Self) -> u64) -> Option<f64> {
        let more = self.messages.checked_sub(one.messages).filter(|more| *more > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "instructions, millions at most")]
        let ratio = (cost(self) as f64 - cost(one) as f64) / more as f64;
        Some(ratio)
    }

    /// Instructions of connecting one message more.
    pub(super) fn connect_each(&self, one: &Self) -> Option<f64> {
        self.each(one, |point| point.connect)
    }

    /// Instructions of disconnecting one message more.
    pub(super) fn disconnect_each(&self, one: &Self) -> Option<f64> {
        self.each(one, |point| point.disconnect)
    }

    /// Bytes of one message more.
    pub(super) fn bytes_each(&self, one: &Self) -> Option<f64> {
        self.each(one, |point| point.bytes)
    }
}

impl Scale {
    pub(super) fn text(&self) -> String {
        let heading = "messages  ISR  connect  a message more  disconnect  a message more  one handler: connect  pool bytes";
        let mut text = format!(
            "Of a device with as many messages (imagined by the bed), in Rust:\n{heading}\n"
        );
        for point in &self.0 {
            let each = |cost: Option<f64>| {
                cost.map_or_else(|| "-".to_owned(), |cost| format!("{cost:.2}"))
            };
            let line = format!(
                "{:>8} {:>4} {:>8} {:>15} {:>11} {:>15} {:>21} {:>11}\n",
                point.messages,
                point.isr,
                point.connect,
                each(self.one().and_then(|one| point.connect_each(one))),
                point.disconnect,
                each(self.one().and_then(|one| point.disconnect_each(one))),
                point.connect_one_handler,
                point.bytes
            );
            text += &line;
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let json = |point: &Point| {
            json!({
                "messages": point.messages,
                "isr": point.isr,
                "connect": point.connect,
                "connect_a_message_more": self.one().and_then(|one| point.connect_each(one)),
                "disconnect": point.disconnect,
                "disconnect_a_message_more": self.one().and_then(|one| point.disconnect_each(one)),
                "connect_one_handler": point.connect_one_handler,
                "pool_bytes": point.bytes,
            })
        };
        self.0.iter().map(json).collect()
    }

    fn one(&self) -> Option<&Point> {
        self.0.first()
    }

    /// Fails if a cost grows with the number of messages.
    pub(super) fn check(&self) -> Result<()> {
        let [one, few, .., most] = &self.0[..] else {
            bail!("{} numbers of messages are too few to see anything grow", self.0.len());
        };
        for point in &self.0 {
            if (point.isr, point.connect_one_handler) != (one.isr, one.connect_one_handler) {
                bail!(
                    "with {} messages an ISR takes {} instructions, and connecting one handler {}; with {} it were {} \
                     and {}",
                    point.messages,
                    point.isr,
                    point.connect_one_handler,
                    one.messages,
                    one.isr,
                    one.connect_one_handler
                );
            }
        }
        let costs: [(&str, Each); 3] = [
            ("connecting takes {} instructions a message", Point::connect_each),
            ("disconnecting takes {} instructions a message", Point::disconnect_each),
            ("a message takes {} bytes", Point::bytes_each),
        ];
        for (sentence, each) in costs {
            let (few_each, most_each) = each(few, one)
                .zip(each(most, one))
                .context("two numbers of messages are the same")?;
            if most_each > few_each * GROWTH {
                bail!(
                    "{} among {}, and {few_each:.1} among {}",
                    sentence.replace("{}", &format!("{most_each:.1}")),
                    most.messages,
                    few.messages
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What connecting would cost if each message cost `each`, and the `n`th `growth * n` more.
    fn scale(each: u64, growth: u64) -> Scale {
        let point = |messages| Point {
            messages,
            connect: 300 + each * messages + growth * messages * messages / 2,
            disconnect: 200 + each * messages,
            connect_one_handler: 150,
            isr: 20,
            bytes: 64 + 128 * messages,
        };
        Scale(ALL.iter().copied().map(point).collect())
    }

    #[test]
    fn a_cost_that_is_the_same_for_each_message_does_not_grow() {
        assert!(scale(60, 0).check().is_ok());
    }

    #[test]
    fn a_search_among_all_messages_for_each_is_noticed() {
        let outcome = scale(60, 1).check().map_err(|error| error.to_string());
        assert!(outcome.is_err_and(|text| text.starts_with("connecting takes ")));
    }

    #[test]
    fn an_isr_that_takes_longer_among_many_is_noticed() {
        let mut scale = scale(60, 0);
        scale.0[4].isr += 1;
        let outcome = scale.check().map_err(|error| error.to_string());
        assert!(outcome.is_err_and(|text| text.contains("an ISR takes 21 instructions")));
    }
}
