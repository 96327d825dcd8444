//! The table: rows of Rust beside C, each with its goal, for people and as JSON.

use serde_json::{Value, json};

/// How a row was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// The driver's own instructions, one by one.
    Steps,
    /// Two rows of the kind above, added.
    Sum,
    /// Bytes of stack, seen at each instruction.
    Stack,
    /// Bytes of device extension and pool.
    Memory,
    /// Bytes of the file, or of a section.
    File,
}

impl Method {
    const fn heading(self) -> &'static str {
        match self {
            Self::Steps => "the driver's own instructions, stepped through one by one",
            Self::Sum => "sums of these",
            Self::Stack => "bytes of stack, with the kernel's share where it calls back",
            Self::Memory => "nonpaged bytes",
            Self::File => "bytes of the image",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Sum => "sum of steps",
            Self::Stack => "stack pointer at each step",
            Self::Memory => "pool and device extension",
            Self::File => "file",
        }
    }
}

/// What a row is to come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// Nothing is asked of it.
    None,
    /// At most so many times C's.
    Times(f64),
    /// At most so much, for a reason.
    AtMost(u64, &'static str),
}

/// Something measured of both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) rust: u64,
    /// Nothing of C's corresponds to some.
    pub(super) c: Option<u64>,
    pub(super) goal: Goal,
}

impl Row {
    pub(super) fn new(
        name: impl Into<String>,
        method: Method,
        rust: u64,
        c: u64,
        goal: Goal,
    ) -> Self {
        Self { name: name.into(), method, rust, c: Some(c), goal }
    }

    /// The most that the goal allows.
    fn limit(&self) -> Option<u64> {
        match self.goal {
            Goal::None => None,
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "sizes and counts, far below 2^52"
            )]
            Goal::Times(times) => self.c.map(|c| (c as f64 * times).floor() as u64),
            Goal::AtMost(limit, _) => Some(limit),
        }
    }

    /// Whether the goal is met; nothing is said where there is none.
    pub(super) fn met(&self) -> Option<bool> {
        self.limit().map(|limit| self.rust <= limit)
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes and counts, far below 2^52")]
    fn ratio(&self) -> Option<f64> {
        self.c.filter(|c| *c > 0).map(|c| self.rust as f64 / c as f64)
    }

    /// The goal and what became of it, in words.
    fn verdict(&self) -> String {
        let (Some(limit), Some(met)) = (self.limit(), self.met()) else {
            return String::new();
        };
        let asked = match self.goal {
            Goal::Times(times) if times > 1.0 => format!("at most {limit}, {times} times C's"),
            Goal::Times(_) | Goal::None => "at most C's".to_owned(),
            Goal::AtMost(_, reason) => format!("at most {limit}, {reason}"),
        };
        if met {
            format!("met: {asked}")
        } else {
            format!("MISSED by {}: {asked}", self.rust - limit)
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "method": self.method.name(),
            "rust": self.rust,
            "c": self.c,
            "ratio": self.ratio(),
            "goal_at_most": self.limit(),
            "met": self.met(),
        })
    }
}

/// All rows, in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table(pub(super) Vec<Row>);

impl Table {
    /// How many goals are missed.
    pub(super) fn missed(&self) -> usize {
        self.0.iter().filter(|row| row.met() == Some(false)).count()
    }

    /// The table as it is printed.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{:40} {:>8} {:>8} {:>6}  goal\n", "", "Rust", "C", "ratio");
        let mut shown = None;
        for row in &self.0 {
            if shown.replace(row.method) != Some(row.method) {
                text += row.method.heading();
                text.push('\n');
            }
            let c = row.c.map_or_else(|| "-".to_owned(), |c| c.to_string());
            let ratio = row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let line =
                format!("  {:38} {:>8} {c:>8} {ratio:>6}  {}", row.name, row.rust, row.verdict());
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        self.0.iter().map(Row::json).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rust: u64, c: u64, goal: Goal) -> Row {
        Row::new("connect", Method::Steps, rust, c, goal)
    }

    #[test]
    fn a_goal_in_times_of_c_is_met_up_to_it() {
        assert_eq!(row(105, 100, Goal::Times(1.05)).met(), Some(true));
        assert_eq!(row(106, 100, Goal::Times(1.05)).met(), Some(false));
        assert_eq!(row(31, 31, Goal::Times(1.0)).met(), Some(true));
        assert_eq!(row(32, 31, Goal::Times(1.0)).met(), Some(false));
    }

    #[test]
    fn a_goal_in_absolute_numbers_says_what_it_comes_from() {
        let missed = row(30, 13, Goal::AtMost(18, "C's with the check"));
        assert_eq!(missed.met(), Some(false));
        assert_eq!(missed.verdict(), "MISSED by 12: at most 18, C's with the check");
    }

    #[test]
    fn a_row_without_a_goal_is_neither_met_nor_missed() {
        let table = Table(vec![row(900, 1, Goal::None), row(2, 1, Goal::Times(1.0))]);
        assert_eq!(table.0[0].met(), None);
        assert_eq!(table.missed(), 1);
    }

    #[test]
    fn rows_of_one_method_stand_under_one_heading() {
        let table = Table(vec![row(3, 3, Goal::None), row(4, 4, Goal::None)]);
        let text = table.text();
        assert_eq!(text.matches("stepped through").count(), 1);
        assert_eq!(text.lines().count(), 4);
    }
}
