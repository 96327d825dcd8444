//! What is sent and how answers are judged, against devices that are made up.

use std::cell::RefCell;

use edu_client::{Device, Failure, RAISED, factorial, play, raise, statistics};
use edu_interface::{
    BadRequest, Connection, FACTORIAL, FactorialReply, RAISE, Request, STATISTICS, Statistics,
};

/// How a made-up device differs from what is documented.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    WrongFactorial,
    AnotherNumber,
    ShortReply,
    TakesAnyNumber,
    RefusesWithAnotherStatus,
    ForgetsToCountComputations,
    MissesInterrupts,
    NeverRunsTheDeferredHalf,
    MissesTheRaisedBit,
    CountsTheLine,
    IsReconnected,
    ForgetsItsConnection,
}

/// A device that answers as `edu.sys` is documented to, but for its flaw. It reads requests with the code that
/// the driver reads them with.
struct MadeUp {
    flaw: Flaw,
    statistics: RefCell<Statistics>,
    sent: RefCell<Vec<(u32, Vec<u8>, usize)>>,
}

/// An NTSTATUS.
type Status = i32;

impl MadeUp {
    const fn with(flaw: Flaw) -> Self {
        let statistics = Statistics {
            connection: Connection::Messages(1),
            claimed: 3,
            not_mine: 0,
            line: 0,
            messages: [3, 0, 0, 0],
            deferred_runs: 3,
            computed: 3,
            cancelled: 0,
            status_seen: 1,
            pending: 0,
        };
        Self { flaw, statistics: RefCell::new(statistics), sent: RefCell::new(Vec::new()) }
    }

    fn interrupt(&self, bits: u32) {
        let mut statistics = self.statistics.borrow_mut();
        if self.flaw != Flaw::MissesInterrupts {
            statistics.claimed += 1;
            statistics.messages[0] += 1;
        }
        if self.flaw != Flaw::NeverRunsTheDeferredHalf {
            statistics.deferred_runs += 1;
        }
        if self.flaw == Flaw::CountsTheLine {
            statistics.line += 1;
        }
        if bits & RAISED == 0 || self.flaw != Flaw::MissesTheRaisedBit {
            statistics.status_seen |= bits;
        }
        if self.flaw == Flaw::IsReconnected {
            statistics.connection = Connection::Line;
        }
    }

    fn reply(&self, number: u32) -> FactorialReply {
        self.interrupt(1);
        if self.flaw != Flaw::ForgetsToCountComputations {
            self.statistics.borrow_mut().computed += 1;
        }
        let right: u32 = (1..=number.min(12)).product();
        match self.flaw {
            Flaw::WrongFactorial if number == 7 => FactorialReply { number, factorial: right - 1 },
            Flaw::AnotherNumber if number == 7 => FactorialReply { number: 6, factorial: 720 },
            _ => FactorialReply { number, factorial: right },
        }
    }
}

impl Device for MadeUp {
    type Error = Status;

    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status> {
        self.sent.borrow_mut().push((code, input.to_vec(), output.len()));
        let answer = match Request::decode(code, input, output.len()) {
            Ok(Request::Factorial(request)) => self.reply(request.number()).to_bytes().to_vec(),
            Err(BadRequest::OutOfRange) if self.flaw == Flaw::TakesAnyNumber => {
                vec![0; output.len()]
            }
            Err(_) if self.flaw == Flaw::RefusesWithAnotherStatus => {
                return Err(BadRequest::UnknownCode.status());
            }
            Err(bad) => return Err(bad.status()),
            Ok(Request::Raise(request)) => {
                self.interrupt(request.bits());
                Vec::new()
            }
            Ok(Request::Statistics) => {
                let mut bytes = self.statistics.borrow().to_bytes().to_vec();
                if self.flaw == Flaw::ForgetsItsConnection {
                    bytes[0] = 0;
                }
                bytes
            }
        };
        let written = answer.len() - usize::from(self.flaw == Flaw::ShortReply);
        output[..written].copy_from_slice(&answer[..written]);
        Ok(written)
    }

    fn is_invalid_parameter(error: &Status) -> bool {
        *error == BadRequest::OutOfRange.status()
    }
}

#[test]
fn a_round_asks_for_all_that_can_be_asked() {
    let device = MadeUp::with(Flaw::None);
    let round = play(&device).unwrap();
    assert_eq!(round.factorials[..6], [1, 1, 2, 6, 24, 120]);
    assert_eq!(round.factorials[12], 479_001_600);
    assert_eq!(round.interrupts(), 15);
    let sent = device.sent.into_inner();
    let mut expected = vec![(STATISTICS, vec![], 96)];
    // The last is refused; then a bit is raised, and one more factorial asked for.
    expected.extend((0..=13_u8).map(|number| (FACTORIAL, vec![number, 0, 0, 0], 8)));
    expected.push((RAISE, vec![2, 0, 0, 0], 0));
    expected.push((FACTORIAL, vec![12, 0, 0, 0], 8));
    expected.push((STATISTICS, vec![], 96));
    assert_eq!(sent, expected);
}

#[test]
fn what_a_round_says_is_for_a_person() {
    let round = play(&MadeUp::with(Flaw::None)).unwrap();
    let lines = round.to_string();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[0], "connected   by message (1 of them)");
    assert!(lines[1].starts_with("factorials  0! = 1, 1! = 1, 2! = 2, 3! = 6, "), "{}", lines[1]);
    assert!(lines[1].ends_with(", 12! = 479001600"), "{}", lines[1]);
    assert_eq!(lines[2], "refused     13!, as it must be");
    assert_eq!(
        lines[3],
        "interrupts  15 claimed, 0 not the device's; 15 runs of the deferred half; status bits seen 0x3"
    );
    assert_eq!(lines.len(), 4);
}

#[test]
fn every_flaw_is_noticed_and_named() {
    let reply = |number, factorial| FactorialReply { number, factorial };
    let fewer = "the driver counted fewer computations or interrupts than there were";
    let table = [
        (Flaw::WrongFactorial, Failure::Wrong { asked: 7, reply: reply(7, 5_039) }),
        (Flaw::AnotherNumber, Failure::Wrong { asked: 7, reply: reply(6, 720) }),
        (Flaw::ShortReply, Failure::Length { request: "STATISTICS", written: 95, documented: 96 }),
        (Flaw::TakesAnyNumber, Failure::Accepted("FACTORIAL of 13")),
        (
            Flaw::RefusesWithAnotherStatus,
            Failure::Refused {
                request: "FACTORIAL of 13",
                error: BadRequest::UnknownCode.status(),
            },
        ),
        (Flaw::ForgetsToCountComputations, Failure::Counted(fewer)),
        (Flaw::MissesInterrupts, Failure::Counted(fewer)),
        (Flaw::NeverRunsTheDeferredHalf, Failure::Counted(fewer)),
        (
            Flaw::MissesTheRaisedBit,
            Failure::Counted("the service routine has not seen the status bit that was raised"),
        ),
        (
            Flaw::CountsTheLine,
            Failure::Counted(
                "the interrupts by line and by message are not those that were claimed",
            ),
        ),
        (
            Flaw::IsReconnected,
            Failure::Counted("the interrupt was connected in another way meanwhile"),
        ),
        (Flaw::ForgetsItsConnection, Failure::Meaningless("STATISTICS")),
    ];
    for (flaw, failure) in table {
        assert_eq!(play(&MadeUp::with(flaw)), Err(failure), "{flaw:?}");
    }
}

#[test]
fn an_interrupt_by_the_way_that_is_not_connected_is_noticed() {
    let swapped = |connection, line, message| {
        let device = MadeUp::with(Flaw::None);
        device.statistics.replace_with(|statistics| Statistics {
            connection,
            claimed: line + message,
            line,
            messages: [message, 0, 0, 0],
            ..*statistics
        });
        play(&device).map(drop)
    };
    assert_eq!(swapped(Connection::Messages(1), 0, 5), Ok(()));
    assert_eq!(
        swapped(Connection::Messages(1), 1, 4),
        Err(Failure::Counted("an interrupt came by line, and messages are connected"))
    );
    // The made-up device goes on by message.
    assert_eq!(
        swapped(Connection::Line, 5, 0),
        Err(Failure::Counted("an interrupt came by message, and the line is connected"))
    );
}

#[test]
fn what_must_not_be_asked_is_not_sent() {
    let device = MadeUp::with(Flaw::None);
    assert_eq!(factorial(&device, 13), Err(Failure::BadRequest(BadRequest::OutOfRange)));
    assert_eq!(raise(&device, 1), Err(Failure::BadRequest(BadRequest::OutOfRange)));
    assert!(device.sent.borrow().is_empty());
}

#[test]
fn a_failure_says_which_request_and_what() {
    let device = MadeUp::with(Flaw::ShortReply);
    let failure = statistics(&device).unwrap_err();
    assert_eq!(failure.to_string(), "STATISTICS returned 95 bytes; 96 are documented");
    let failure: Failure<&str> = Failure::Refused { request: "RAISE", error: "gone" };
    assert_eq!(failure.to_string(), "RAISE failed: gone");
}
