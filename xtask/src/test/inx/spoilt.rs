//! The samples' INF files, each spoilt in one place, and what is said of that.

use super::*;

const EDU: &str = include_str!("../../../../inf/edu.inx");

/// What is replaced by what, and what must be said.
const CASES: [(&str, &str, &str); 52] = [
    // What the file is.
    (r#""$WINDOWS NT$""#, r#""$CHICAGO$""#, "Signature"),
    ("Class       = System", "Class       = Net", "Class = Net"),
    ("{4D36E97D-", "{4D36E972-", "ClassGuid"),
    ("CatalogFile = edu.cat", "CatalogFile = other.cat", "edu.cat is needed"),
    ("CatalogFile = edu.cat", "", "has no CatalogFile"),
    ("PnpLockdown = 1", "PnpLockdown = 0", "PnpLockdown"),
    ("PnpLockdown = 1", "", "has no PnpLockdown"),
    ("DriverVer   =", "DriverVer   = 01/01/2026,1.0.0.0", "must be left to the packaging"),
    (r#"ProviderName      = "wdm-interrupt""#, r#"ProviderName      = """#, "no name"),
    // From the manufacturer to the install section.
    ("[Manufacturer]", "[Manufacturers]", "no section [Manufacturer]"),
    (
        "Edu_Models,NT$ARCH$.10.0...19041",
        "Edu_Models,NT$ARCH$.10.0...16299",
        "19041 alone is needed",
    ),
    ("Edu_Models,NT$ARCH$.10.0...19041", "Edu_Models,NT.10.0...19041", "19041 alone is needed"),
    (
        "Edu_Models,NT$ARCH$.10.0...19041",
        "Edu_Models,NTamd64.10.0...19041",
        "19041 alone is needed",
    ),
    ("Edu_Models,NT$ARCH$", "Edu_Model,NT$ARCH$", "no section [Edu_Model."),
    ("[Edu_Models.NT$ARCH$.10.0...19041]", "[Edu_Models]", "no section [Edu_Models.NT"),
    ("DEV_11E8", "DEV_11E9", r"no model PCI\VEN_1234&DEV_11E8"),
    (r"PCI\VEN_1234&DEV_11E8", r"PCI\VEN_1234&DEV_11E8,PCI\VEN_1234", "other devices"),
    ("[Edu_Device.NT]", "[Edu_Device.NTx86]", "no section [Edu_Device.NT]"),
    // Files.
    ("DefaultDestDir = 13", "DefaultDestDir = 12", "folder 12, and 13"),
    ("CopyFiles = Edu_Files", "CopyFiles = Edu_File", "no section [Edu_File]"),
    ("[Edu_Files]\nedu.sys", "[Edu_Files]\nother.sys", "files that are copied"),
    ("[SourceDisksFiles]\nedu.sys = 1", "[SourceDisksFiles]\nother.sys = 1", "has no edu.sys"),
    ("[SourceDisksFiles]\nedu.sys = 1", "[SourceDisksFiles]\nedu.sys = 2", "has no 2"),
    // Security.
    ("AddReg = Edu_Security,Edu_Interrupt", "AddReg = Edu_Interrupt", "sets no Security"),
    ("(A;;GRGW;;;BU)", "(A;;GA;;;WD)", "gives GA to WD"),
    ("(A;;GRGW;;;BU)", "(A;;GRGW;;;WD)", "gives GRGW to WD"),
    ("(A;;GRGW;;;BU)", "(A;;GA;;;BU)", "gives GA to BU"),
    ("D:P(", "D:(", "no protected list"),
    // Interrupts.
    ("[Edu_Device.NT.HW]", "[Edu_Device.NT.Hardware]", "no section [Edu_Device.NT.HW]"),
    ("AddReg = Edu_Security,Edu_Interrupt", "AddReg = Edu_Security", "MSISupported"),
    ("MSISupported,0x00010001,1", "MSISupported,0x00010001,0", "MSISupported is not 1"),
    ("MSISupported,0x00010001,1", "MSISupported,0x00000000,1", "REG_DWORD"),
    ("MessageSignaledInterruptProperties\",MSISupported", "MSI\",MSISupported", "MSISupported"),
    (
        "MessageNumberLimit,0x00010001,1",
        "MessageNumberLimit,0x00010001,2",
        "MessageNumberLimit is 2",
    ),
    ("MessageNumberLimit,0x00010001,1", "MessageNumberLimit,0x00010001,many", "MessageNumberLimit"),
    ("DevicePolicy,0x00010001,0", "DevicePolicy,0x00010001,4", "AssignmentSetOverride"),
    ("DevicePolicy,0x00010001,0", "DevicePolicy,0x00010001,9", "DevicePolicy 9"),
    ("CopyFiles =", "AddReg = Edu_Interrupt\nCopyFiles =", "interrupt keys belong under"),
    (
        "ServiceType   = 1",
        "AddReg = Edu_Interrupt\nServiceType   = 1",
        "interrupt keys belong under",
    ),
    (
        r#"HKR,"Interrupt Management",,0x00000010"#,
        r#"HKLM,"Interrupt Management",,0x00000010"#,
        "below HKLM",
    ),
    // The service.
    ("AddService = edu,0x00000002", "AddService = edu,0x00000000", "not the device's service"),
    ("AddService = edu,", "AddService = other,", "not the device's service"),
    ("ServiceType   = 1", "ServiceType   = 16", "ServiceType = 16"),
    ("StartType     = 3", "StartType     = 0", "StartType = 0"),
    (r"%13%\edu.sys", r"%12%\edu.sys", r"%13%\edu.sys is needed"),
    ("[Edu_Device.NT.Services]", "[Edu_Device.Services]", "no section [Edu_Device.NT.Services]"),
    // The file as a whole.
    ("CopyFiles =", "RegisterDlls = x\nCopyFiles =", "legacy directive RegisterDlls"),
    ("[Strings]", "[Edu_Device.NT.CoInstallers]\nx = y\n[Strings]", "legacy"),
    ("[Strings]", "[Forgotten]\nx = y\n[Strings]", "nothing leads to [Forgotten]"),
    ("ServiceName       =", "Service           =", "%ServiceName%"),
    ("[Strings]", "[Strings]\nSpare = \"x\"", "Spare is used nowhere"),
    ("[Edu_Files]", "[Edu_Device.NT]", "twice"),
];

fn said_of(stage: Stage, text: &str) -> String {
    let [edu, _] = SAMPLES;
    check(edu, stage, text.as_bytes())
        .map_or_else(|error| format!("{error:#}"), |()| "nothing".into())
}

/// `EDU` as it is when it is stamped.
fn stamped() -> String {
    EDU.replace("$ARCH$", "amd64").replace("DriverVer   =", "DriverVer   = 11/23/2026,0.1.0.0")
}

#[test]
fn the_sample_is_as_it_must_be_before_stamping_and_after() {
    assert_eq!(said_of(Stage::Template, EDU), "nothing");
    assert_eq!(said_of(Stage::Stamped, &stamped()), "nothing");
}

#[test]
fn each_place_that_is_spoilt_is_found() {
    for (from, to, expected) in CASES {
        let spoilt = EDU.replacen(from, to, 1);
        assert_ne!(spoilt, EDU, "{from:?} is not in the sample");
        let said = said_of(Stage::Template, &spoilt);
        assert!(said.contains(expected), "{from:?} as {to:?}: {said:?}");
    }
}

#[test]
fn what_is_not_stamped_or_stamped_wrong_is_found() {
    assert!(said_of(Stage::Stamped, EDU).contains("DriverVer"));
    for (from, to, expected) in [
        ("11/23/2026", "23/11/2026", "no date"),
        ("11/23/2026", "2026-11-23", "no date"),
        ("0.1.0.0", "0.1.0", "no version"),
        ("0.1.0.0", "0.1.0.70000", "no version"),
        ("Edu_Models,NTamd64", "Edu_Models,NT$ARCH$", "alone is needed"),
        ("Edu_Models,NTamd64", "Edu_Models,NTarm64", "alone is needed"),
    ] {
        let said = said_of(Stage::Stamped, &stamped().replacen(from, to, 1));
        assert!(said.contains(expected), "{from:?} as {to:?}: {said:?}");
    }
}

#[test]
fn text_in_utf_16_is_checked_as_well() {
    let [edu, _] = SAMPLES;
    let mut content = vec![0xFF, 0xFE];
    content.extend(EDU.encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(check(edu, Stage::Template, &content).map_err(|error| error.to_string()), Ok(()));
}
