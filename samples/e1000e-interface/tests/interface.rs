//! The public definition: codes, layouts, and every way in which a request can be bad.

use e1000e_interface::{
    BadRequest, CAUSES, COUNTS, Connection, Counts, DEVICE_INTERFACE, MessageCounts, RAISE,
    RaiseRequest, Request, message_of,
};

/// Counts in which every number is another one.
fn counts() -> Counts {
    let mut next = 0;
    let mut number = || {
        next += 1;
        next
    };
    let messages = std::array::from_fn(|_| MessageCounts {
        serviced: number(),
        not_mine: number(),
        processors: number(),
        causes: number(),
        deferred_runs: number(),
    });
    Counts { connection: Connection::Messages(5), messages }
}

#[test]
fn codes_are_what_ctl_code_makes_of_them() {
    // CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + n, METHOD_BUFFERED, access), worked out by hand.
    assert_eq!(RAISE, 0x0022_A000);
    assert_eq!(COUNTS, 0x0022_6004);
}

#[test]
fn the_interface_class_has_the_bytes_of_its_text() {
    let guid = DEVICE_INTERFACE;
    let text = format!(
        "{:08X}-{:04X}-{:04X}-{}",
        guid.data1,
        guid.data2,
        guid.data3,
        guid.data4.map(|byte| format!("{byte:02X}")).concat()
    );
    assert_eq!(text, "B59C0D0E-5B6B-4E53-8B4382574E1000E5");
}

#[test]
fn good_requests_are_read() {
    let all = RaiseRequest::new(RaiseRequest::ALL).unwrap();
    assert_eq!(Request::decode(RAISE, &all.to_bytes(), 0), Ok(Request::Raise(all)));
    // Longer buffers than needed do no harm.
    assert_eq!(Request::decode(COUNTS, &[1, 2, 3], Counts::SIZE + 1), Ok(Request::Counts));
}

#[test]
fn bad_requests_are_told_apart() {
    let one = 1_u32.to_ne_bytes();
    let cases: [(u32, &[u8], usize, BadRequest); 7] = [
        (0, &one, 0, BadRequest::UnknownCode),
        // The right function, another method.
        (RAISE | 3, &one, 0, BadRequest::UnknownCode),
        // The right function, no access asked for.
        (COUNTS & !(3 << 14), &[], Counts::SIZE, BadRequest::UnknownCode),
        (RAISE, &one[..3], 0, BadRequest::InputTooShort),
        (RAISE, &0_u32.to_ne_bytes(), 0, BadRequest::OutOfRange),
        (RAISE, &(RaiseRequest::ALL + 1).to_ne_bytes(), 0, BadRequest::OutOfRange),
        (COUNTS, &[], Counts::SIZE - 1, BadRequest::OutputTooShort),
    ];
    for (code, input, output_length, bad) in cases {
        assert_eq!(
            Request::decode(code, input, output_length),
            Err(bad),
            "{code:#x} {input:?} {output_length}"
        );
        assert!(bad.status() < 0, "{bad} is not a failure");
    }
}

#[test]
fn counts_come_back_as_they_were_sent() {
    let by_message = counts();
    let by_line = Counts { connection: Connection::Line, ..by_message };
    for counts in [by_message, by_line] {
        assert_eq!(Counts::from_bytes(&counts.to_bytes()), Some(counts));
        assert_eq!(Counts::from_bytes(&counts.to_bytes()[1..]), None);
    }
}

#[test]
fn counts_lie_without_gaps_in_the_documented_order() {
    let bytes = counts().to_bytes();
    assert_eq!(bytes.len(), 208);
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(4)), (2, 5));
    let counters: Vec<u64> = bytes[8..]
        .chunks_exact(8)
        .map(|counter| u64::from_ne_bytes(counter.try_into().unwrap()))
        .collect();
    assert_eq!(counters, (1..=25).collect::<Vec<u64>>());
}

#[test]
fn every_cause_has_a_message_and_every_message_a_cause() {
    for messages in 1..=CAUSES {
        let by: std::collections::BTreeSet<_> =
            (0..CAUSES).map(|cause| message_of(cause, messages)).collect();
        assert_eq!(by, (0..messages).collect());
    }
}
