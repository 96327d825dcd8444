//! What a person calls the things in a trace.

use std::{format, string::String};

use crate::{
    hal::Event,
    nt::{
        CONNECT_FULLY_SPECIFIED, CONNECT_FULLY_SPECIFIED_GROUP, CONNECT_LINE_BASED,
        CONNECT_MESSAGE_BASED, CONNECT_MESSAGE_BASED_PASSIVE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE,
        IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_PNP, IRP_MJ_POWER, IRP_MJ_READ,
        IRP_MJ_SYSTEM_CONTROL, IRP_MJ_WRITE, IRP_MN_CANCEL_REMOVE_DEVICE,
        IRP_MN_CANCEL_STOP_DEVICE, IRP_MN_QUERY_POWER, IRP_MN_QUERY_REMOVE_DEVICE,
        IRP_MN_QUERY_STOP_DEVICE, IRP_MN_REMOVE_DEVICE, IRP_MN_SET_POWER, IRP_MN_START_DEVICE,
        IRP_MN_STOP_DEVICE, IRP_MN_SURPRISE_REMOVAL, NTSTATUS,
    },
};

/// The name of a request.
pub(super) fn request(major: u8, minor: u8) -> String {
    let name = match (u32::from(major), u32::from(minor)) {
        (IRP_MJ_CREATE, _) => "IRP_MJ_CREATE",
        (IRP_MJ_CLOSE, _) => "IRP_MJ_CLOSE",
        (IRP_MJ_CLEANUP, _) => "IRP_MJ_CLEANUP",
        (IRP_MJ_READ, _) => "IRP_MJ_READ",
        (IRP_MJ_WRITE, _) => "IRP_MJ_WRITE",
        (IRP_MJ_DEVICE_CONTROL, _) => "IRP_MJ_DEVICE_CONTROL",
        (IRP_MJ_SYSTEM_CONTROL, _) => "IRP_MJ_SYSTEM_CONTROL",
        (IRP_MJ_POWER, IRP_MN_SET_POWER) => "IRP_MN_SET_POWER",
        (IRP_MJ_POWER, IRP_MN_QUERY_POWER) => "IRP_MN_QUERY_POWER",
        (IRP_MJ_PNP, IRP_MN_START_DEVICE) => "IRP_MN_START_DEVICE",
        (IRP_MJ_PNP, IRP_MN_QUERY_STOP_DEVICE) => "IRP_MN_QUERY_STOP_DEVICE",
        (IRP_MJ_PNP, IRP_MN_CANCEL_STOP_DEVICE) => "IRP_MN_CANCEL_STOP_DEVICE",
        (IRP_MJ_PNP, IRP_MN_STOP_DEVICE) => "IRP_MN_STOP_DEVICE",
        (IRP_MJ_PNP, IRP_MN_QUERY_REMOVE_DEVICE) => "IRP_MN_QUERY_REMOVE_DEVICE",
        (IRP_MJ_PNP, IRP_MN_CANCEL_REMOVE_DEVICE) => "IRP_MN_CANCEL_REMOVE_DEVICE",
        (IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE) => "IRP_MN_REMOVE_DEVICE",
        (IRP_MJ_PNP, IRP_MN_SURPRISE_REMOVAL) => "IRP_MN_SURPRISE_REMOVAL",
        (major, minor) => return format!("IRP {major:#x}, minor {minor:#x}"),
    };
    name.into()
}

/// The name of a Version.
pub(super) const fn version(version: u32) -> &'static str {
    match version {
        CONNECT_FULLY_SPECIFIED => "CONNECT_FULLY_SPECIFIED",
        CONNECT_LINE_BASED => "CONNECT_LINE_BASED",
        CONNECT_MESSAGE_BASED => "CONNECT_MESSAGE_BASED",
        CONNECT_FULLY_SPECIFIED_GROUP => "CONNECT_FULLY_SPECIFIED_GROUP",
        CONNECT_MESSAGE_BASED_PASSIVE => "CONNECT_MESSAGE_BASED_PASSIVE",
        _ => "no version",
    }
}

/// A status as the headers write it.
pub(super) fn status(status: NTSTATUS) -> String {
    format!("{:#010x}", status.cast_unsigned())
}

/// By what a service routine is reached: `message 0`, `line`.
pub(super) fn source(message: Option<u32>) -> String {
    message.map_or_else(|| "line".into(), |number| format!("message {number}"))
}

/// What happened at one moment, if it is worth a mark of its own.
pub(super) fn moment(event: &Event) -> Option<String> {
    Some(match *event {
        Event::Connected { vector, irql, message } => {
            format!("connected: {}, vector {vector:#x}, IRQL {irql}", source(message))
        }
        Event::Disconnected { vector } => format!("disconnected: vector {vector:#x}"),
        Event::ReportedActive { vector } => format!("active: vector {vector:#x}"),
        Event::ReportedInactive { vector } => format!("inactive: vector {vector:#x}"),
        Event::DpcQueued { processor, .. } => format!("DPC queued to processor {processor}"),
        Event::DpcCoalesced { .. } => "DPC is queued already".into(),
        Event::DpcRemoved { .. } => "DPC removed".into(),
        Event::WorkItemQueued { .. } => "work item queued".into(),
        _ => return None,
    })
}
