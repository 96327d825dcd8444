//! How Windows is asked: which devices there are (`setupapi.dll`), opening one, requests
//! (`DeviceIoControl`), disabling and enabling (`cfgmgr32.dll`).

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::ptr;

use edu_client::Device;
use edu_interface::DEVICE_INTERFACE;
use windows_sys::Win32::Devices::DeviceAndDriverInstallation::{
    CM_DISABLE_UI_NOT_OK, CM_Disable_DevNode, CM_Enable_DevNode, CM_LOCATE_DEVNODE_NORMAL,
    CM_Locate_DevNodeW, CM_MapCrToWin32Err, CONFIGRET, CR_REMOVE_VETOED, CR_SUCCESS,
    DIGCF_DEVICEINTERFACE, DIGCF_PRESENT, HDEVINFO, MAX_DEVICE_ID_LEN, SP_DEVICE_INTERFACE_DATA,
    SP_DEVICE_INTERFACE_DETAIL_DATA_W, SP_DEVINFO_DATA, SPINT_ACTIVE, SetupDiDestroyDeviceInfoList,
    SetupDiEnumDeviceInterfaces, SetupDiGetClassDevsW, SetupDiGetDeviceInstanceIdW,
    SetupDiGetDeviceInterfaceDetailW,
};
use windows_sys::Win32::Foundation::{
    ERROR_GEN_FAILURE, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_PARAMETER, ERROR_NO_MORE_ITEMS,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::core::GUID;

use crate::session::System;

/// The interface class of `edu.sys`, as the system's type.
const INTERFACE: GUID = GUID {
    data1: DEVICE_INTERFACE.data1,
    data2: DEVICE_INTERFACE.data2,
    data3: DEVICE_INTERFACE.data3,
    data4: DEVICE_INTERFACE.data4,
};

/// The Windows that this program runs on.
#[derive(Debug)]
pub(crate) struct Windows;

/// A device is named by its instance ID, as the Device Manager and `pnputil` name it.
impl System for Windows {
    type Device = Handle;

    fn devices(&self) -> io::Result<Vec<String>> {
        Ok(started()?.into_iter().map(|device| device.instance).collect())
    }

    fn open(&self, device: &str) -> io::Result<Handle> {
        let found = started()?.into_iter().find(|found| found.instance == device);
        let path = found.ok_or(io::ErrorKind::NotFound)?.path;
        OpenOptions::new().read(true).write(true).open(path).map(Handle)
    }

    fn disable(&self, device: &str) -> io::Result<()> {
        let node = locate(device)?;
        // Without CM_DISABLE_PERSIST: a restart of the system brings the device back, whatever happens here.
        // SAFETY: a call with two integers, of which the first is a device node of this machine.
        let answer = unsafe { CM_Disable_DevNode(node, CM_DISABLE_UI_NOT_OK) };
        check(answer)
    }

    fn enable(&self, device: &str) -> io::Result<()> {
        let node = locate(device)?;
        // SAFETY: a call with two integers, of which the first is a device node of this machine.
        let answer = unsafe { CM_Enable_DevNode(node, 0) };
        check(answer)
    }
}

/// An open device.
#[derive(Debug)]
pub(crate) struct Handle(File);

impl Device for Handle {
    type Error = io::Error;

    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        // SAFETY:
        // - the handle is open while `self` is, and was opened without FILE_FLAG_OVERLAPPED, so no buffer
        //   is in use any more when the call returns;
        // - both buffers are as long as is said, and `written` is a `u32`.
        let done = unsafe {
            DeviceIoControl(
                self.0.as_raw_handle(),
                code,
                input.as_ptr().cast(),
                length(input)?,
                output.as_mut_ptr().cast(),
                length(output)?,
                &raw mut written,
                ptr::null_mut(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(written as usize) }
    }

    fn is_invalid_parameter(error: &io::Error) -> bool {
        is(error, ERROR_INVALID_PARAMETER)
    }
}

fn length(buffer: &[u8]) -> io::Result<u32> {
    u32::try_from(buffer.len()).map_err(io::Error::other)
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error().map(i32::cast_unsigned) == Some(code)
}

/// A device whose interface is enabled.
struct Started {
    instance: String,
    /// What it is opened by.
    path: OsString,
}

/// The devices whose interface is enabled: those that are started.
fn started() -> io::Result<Vec<Started>> {
    let set = DeviceSet::of_interface()?;
    let mut found = Vec::new();
    for index in 0.. {
        match set.interface(index) {
            Ok(interface) if interface.Flags & SPINT_ACTIVE != 0 => {
                let (path, device) = set.detail(&interface)?;
                found.push(Started { instance: set.instance(&device)?, path });
            }
            Ok(_) => {}
            Err(error) if is(&error, ERROR_NO_MORE_ITEMS) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A device information set.
///
/// # Invariants
///
/// The set exists until this is dropped.
struct DeviceSet(HDEVINFO);

impl DeviceSet {
    /// The present devices that have the interface.
    fn of_interface() -> io::Result<Self> {
        const INVALID: HDEVINFO = -1;
        // SAFETY: the class is a GUID in static memory; there is no enumerator and no window.
        let set = unsafe {
            SetupDiGetClassDevsW(
                &INTERFACE,
                ptr::null(),
                ptr::null_mut(),
                DIGCF_PRESENT | DIGCF_DEVICEINTERFACE,
            )
        };
        // INVARIANT: it was made just now.
        if set == INVALID { Err(io::Error::last_os_error()) } else { Ok(Self(set)) }
    }

    /// The interface number `index`.
    fn interface(&self, index: u32) -> io::Result<SP_DEVICE_INTERFACE_DATA> {
        let mut interface = SP_DEVICE_INTERFACE_DATA {
            cbSize: size::<SP_DEVICE_INTERFACE_DATA>(),
            ..Default::default()
        };
        // SAFETY: the set exists; `interface` says its size.
        let done = unsafe {
            SetupDiEnumDeviceInterfaces(self.0, ptr::null(), &INTERFACE, index, &raw mut interface)
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(interface) }
    }

    /// What the device is opened by, and the device.
    fn detail(
        &self,
        interface: &SP_DEVICE_INTERFACE_DATA,
    ) -> io::Result<(OsString, SP_DEVINFO_DATA)> {
        let mut needed = 0;
        // SAFETY: the set exists, and the interface is of it; a missing buffer has the length 0.
        let done = unsafe {
            SetupDiGetDeviceInterfaceDetailW(
                self.0,
                interface,
                ptr::null_mut(),
                0,
                &raw mut needed,
                ptr::null_mut(),
            )
        };
        let error = io::Error::last_os_error();
        if done == 0 && !is(&error, ERROR_INSUFFICIENT_BUFFER) {
            return Err(error);
        }
        // Four bytes at a time, because the structure is aligned to four; its first member is its size.
        let mut buffer = vec![0_u32; (needed as usize).div_ceil(4).max(2)];
        buffer[0] = size::<SP_DEVICE_INTERFACE_DETAIL_DATA_W>();
        let mut device =
            SP_DEVINFO_DATA { cbSize: size::<SP_DEVINFO_DATA>(), ..Default::default() };
        // SAFETY: as above; the buffer has at least `needed` bytes, and both structures say their sizes.
        let done = unsafe {
            SetupDiGetDeviceInterfaceDetailW(
                self.0,
                interface,
                buffer.as_mut_ptr().cast(),
                needed,
                ptr::null_mut(),
                &raw mut device,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        // What follows the size is the path, ended by a zero.
        let path = buffer[1..].iter().flat_map(|pair| {
            let [first, second, third, fourth] = pair.to_ne_bytes();
            [u16::from_ne_bytes([first, second]), u16::from_ne_bytes([third, fourth])]
        });
        let path: Vec<u16> = path.take_while(|&unit| unit != 0).collect();
        Ok((OsString::from_wide(&path), device))
    }

    /// The instance ID of a device.
    fn instance(&self, device: &SP_DEVINFO_DATA) -> io::Result<String> {
        let mut buffer = [0_u16; MAX_DEVICE_ID_LEN as usize];
        // SAFETY: the set exists, and the device is of it; the buffer is as long as is said.
        let done = unsafe {
            SetupDiGetDeviceInstanceIdW(
                self.0,
                device,
                buffer.as_mut_ptr(),
                MAX_DEVICE_ID_LEN,
                ptr::null_mut(),
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(char::decode_utf16(buffer.into_iter().take_while(|&unit| unit != 0))
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect())
    }
}

impl Drop for DeviceSet {
    fn drop(&mut self) {
        // SAFETY: the set exists, and nobody uses it any more.
        unsafe { SetupDiDestroyDeviceInfoList(self.0) };
    }
}

fn size<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

/// The device node of a device that is present, started or not.
fn locate(instance: &str) -> io::Result<u32> {
    let name: Vec<u16> = instance.encode_utf16().chain([0]).collect();
    let mut node = 0;
    // SAFETY: the name ends with a zero, and `node` is a `u32`.
    let answer =
        unsafe { CM_Locate_DevNodeW(&raw mut node, name.as_ptr(), CM_LOCATE_DEVNODE_NORMAL) };
    check(answer).map(|()| node)
}

/// The configuration manager's answer as an error of the system.
fn check(answer: CONFIGRET) -> io::Result<()> {
    match answer {
        CR_SUCCESS => Ok(()),
        CR_REMOVE_VETOED => {
            Err(io::Error::other("refused (CR_REMOVE_VETOED): another program has the device open"))
        }
        _ => {
            // SAFETY: a call with two integers.
            let code = unsafe { CM_MapCrToWin32Err(answer, ERROR_GEN_FAILURE) };
            Err(io::Error::from_raw_os_error(code.cast_signed()))
        }
    }
}
