//! The public definition: codes, layouts, and every way in which a request can be bad.

use edu_interface::{
    BadRequest, Connection, DEVICE_INTERFACE, FACTORIAL, FactorialReply, FactorialRequest, RAISE,
    RaiseRequest, Request, STATISTICS, Statistics,
};

const fn statistics() -> Statistics {
    Statistics {
        connection: Connection::Messages(1),
        claimed: 2,
        not_mine: 3,
        line: 4,
        messages: [5, 6, 7, 8],
        deferred_runs: 9,
        computed: 10,
        cancelled: 11,
        status_seen: 12,
        pending: 13,
    }
}

#[test]
fn codes_are_what_ctl_code_makes_of_them() {
    // CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + n, METHOD_BUFFERED, access), worked out by hand.
    assert_eq!(FACTORIAL, 0x0022_E000);
    assert_eq!(RAISE, 0x0022_A004);
    assert_eq!(STATISTICS, 0x0022_6008);
}

#[test]
fn no_code_can_be_used_on_a_handle_without_access() {
    for code in [FACTORIAL, RAISE, STATISTICS] {
        assert_ne!(code >> 14 & 3, 0, "{code:#x} asks for no access");
    }
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
    assert_eq!(text, "E405C0F4-2E44-41CA-9BA90F88FD728799");
}

#[test]
fn good_requests_are_read() {
    let factorial = FactorialRequest::new(12).unwrap();
    let raise = RaiseRequest::new(0x22).unwrap();
    let cases: [(u32, &[u8], usize, Request); 4] = [
        (FACTORIAL, &factorial.to_bytes(), FactorialReply::SIZE, Request::Factorial(factorial)),
        (RAISE, &raise.to_bytes(), 0, Request::Raise(raise)),
        (STATISTICS, &[], Statistics::SIZE, Request::Statistics),
        // Longer buffers than needed do no harm.
        (STATISTICS, &[1, 2, 3], Statistics::SIZE + 1, Request::Statistics),
    ];
    for (code, input, output_length, request) in cases {
        assert_eq!(Request::decode(code, input, output_length), Ok(request));
    }
}

#[test]
fn bad_requests_are_told_apart() {
    let twelve = 12_u32.to_ne_bytes();
    let thirteen = 13_u32.to_ne_bytes();
    let cases: [(u32, &[u8], usize, BadRequest); 13] = [
        (0, &[], 0, BadRequest::UnknownCode),
        // The right function, another method.
        (FACTORIAL | 3, &twelve, 8, BadRequest::UnknownCode),
        // The right function, no access asked for.
        (FACTORIAL & !(3 << 14), &twelve, 8, BadRequest::UnknownCode),
        (FACTORIAL, &[], 8, BadRequest::InputTooShort),
        (FACTORIAL, &twelve[..3], 8, BadRequest::InputTooShort),
        (FACTORIAL, &twelve, 7, BadRequest::OutputTooShort),
        (FACTORIAL, &thirteen, 8, BadRequest::OutOfRange),
        (FACTORIAL, &u32::MAX.to_ne_bytes(), 8, BadRequest::OutOfRange),
        (RAISE, &twelve[..3], 0, BadRequest::InputTooShort),
        (RAISE, &0_u32.to_ne_bytes(), 0, BadRequest::OutOfRange),
        (RAISE, &0x003_u32.to_ne_bytes(), 0, BadRequest::OutOfRange),
        (RAISE, &0x102_u32.to_ne_bytes(), 0, BadRequest::OutOfRange),
        (STATISTICS, &[], Statistics::SIZE - 1, BadRequest::OutputTooShort),
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
fn the_largest_number_is_the_last_whose_factorial_fits() {
    let factorial = |number: u32| (1..=number).try_fold(1_u32, u32::checked_mul);
    assert!(factorial(FactorialRequest::MAX).is_some());
    assert!(factorial(FactorialRequest::MAX + 1).is_none());
}

#[test]
fn replies_come_back_as_they_were_sent() {
    let reply = FactorialReply { number: 5, factorial: 120 };
    assert_eq!(FactorialReply::from_bytes(&reply.to_bytes()), Some(reply));
    assert_eq!(FactorialReply::from_bytes(&reply.to_bytes()[1..]), None);

    let by_message = statistics();
    let by_line = Statistics { connection: Connection::Line, ..by_message };
    for statistics in [by_message, by_line] {
        assert_eq!(Statistics::from_bytes(&statistics.to_bytes()), Some(statistics));
        assert_eq!(Statistics::from_bytes(&statistics.to_bytes()[1..]), None);
    }
}

#[test]
fn the_statistics_lie_without_gaps_in_the_documented_order() {
    let bytes = statistics().to_bytes();
    assert_eq!(bytes.len(), 96);
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let counter = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((word(0), word(4)), (2, 1));
    let counters: Vec<u64> = (0..10).map(|index| counter(8 + 8 * index)).collect();
    assert_eq!(counters, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!((word(88), word(92)), (12, 13));
}
