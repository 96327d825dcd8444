//! Checks an INX, and the INF that is made of it, as Windows and `InfVerif` would: from the manufacturer by way of the
//! model to what is copied, written to the registry, and started. `InfVerif` itself runs on Windows only.

mod rules;
#[cfg(test)]
mod spoilt;

use anyhow::{Context, Result, bail};

use crate::inf::{Inf, Section};
use crate::layout::Layout;
use crate::text;

/// A sample that is packaged, and what its INF has to say of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// The name of the crate, its driver, its service, its INX.
    pub(super) name: &'static str,
    /// The device that the driver is for, which the crate's first lines name, too.
    hardware_id: &'static str,
    /// How many messages the device can send.
    messages: u32,
}

/// The samples that are packaged.
pub(super) const SAMPLES: [Sample; 2] = [
    Sample { name: "edu", hardware_id: r"PCI\VEN_1234&DEV_11E8", messages: 1 },
    Sample { name: "e1000e", hardware_id: r"PCI\VEN_8086&DEV_10D3", messages: 5 },
];

/// Whether `stampinf`, or what stands for it here, has been over the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// An INX: the architecture is `$ARCH$`, and the driver's version is left out.
    Template,
    /// An INF for x64.
    Stamped,
}

impl Stage {
    /// The decoration of models for a system from Windows 10, version 2004, on: the first with `ExAllocatePool2`.
    fn decoration(self) -> String {
        let architecture = match self {
            Self::Template => "$ARCH$",
            Self::Stamped => "amd64",
        };
        format!("NT{architecture}.10.0...19041")
    }
}

/// Checks the INX files in the repository.
pub(super) fn check_templates(layout: &Layout) -> Result<()> {
    for sample in SAMPLES {
        let file = layout.root().join("inf").join(sample.name).with_extension("inx");
        let content = crate::image::read(&file)?;
        check(sample, Stage::Template, &content).with_context(|| file.display().to_string())?;
        let crate_folder = layout.root().join("samples").join(sample.name);
        let source = text::read(&crate_folder.join("src").join("lib.rs"))?;
        if !source.contains(sample.hardware_id) {
            bail!("samples/{} does not say that it is for {}", sample.name, sample.hardware_id);
        }
    }
    Ok(())
}

/// Checks the content of an INX or INF.
pub(super) fn check(sample: Sample, stage: Stage, content: &[u8]) -> Result<()> {
    let inf = Inf::read(content)?;
    let mut walk = Walk { inf: &inf, sample, visited: vec!["Strings".to_owned()] };
    walk.all(stage)?;
    rules::whole_file(&inf, &walk.visited, &crate::inf::decoded(content)?)
}

/// The way through an INF.
struct Walk<'a> {
    inf: &'a Inf,
    sample: Sample,
    /// The sections that it led to.
    visited: Vec<String>,
}

impl<'a> Walk<'a> {
    fn all(&mut self, stage: Stage) -> Result<()> {
        rules::version(self.visit("Version")?, self.sample, stage)?;
        let install = self.model(stage)?;
        let base = self.decorated(&install, "")?;
        self.files(base)?;
        let hardware = self.decorated(&install, ".HW")?;
        let registry = self.registry(hardware)?;
        rules::security(&registry)?;
        rules::interrupts(&registry, self.sample.messages)?;
        let services = self.decorated(&install, ".Services")?;
        self.service(services)
    }

    /// The section of this name, which counts as used from now on.
    fn visit(&mut self, name: &str) -> Result<&'a Section> {
        let section = self.inf.section(name)?;
        self.visited.push(section.name.clone());
        Ok(section)
    }

    /// The install section of the device, by way of the manufacturer and its models.
    fn model(&mut self, stage: Stage) -> Result<String> {
        let manufacturers = self.visit("Manufacturer")?;
        let [manufacturer] = manufacturers.lines.as_slice() else {
            bail!("one manufacturer is expected");
        };
        if manufacturer.key.as_ref().is_none_or(String::is_empty) {
            bail!("the manufacturer has no name");
        }
        let wanted = stage.decoration();
        let [models, decorations @ ..] = manufacturer.values.as_slice() else {
            bail!("the manufacturer names no models");
        };
        if decorations != [wanted.as_str()] {
            bail!("the models are for {decorations:?}, and {wanted} alone is needed");
        }
        let models = self.visit(&format!("{models}.{wanted}"))?;
        let line = models
            .lines
            .iter()
            .find(|line| line.value(1).eq_ignore_ascii_case(self.sample.hardware_id))
            .with_context(|| {
                format!("[{}] has no model {}", models.name, self.sample.hardware_id)
            })?;
        if models.lines.len() != 1 || line.values.len() != 2 {
            bail!("[{}] is for other devices, too", models.name);
        }
        Ok(line.value(0).to_owned())
    }

    /// The install section, or one beside it, for this platform: Windows looks for the architecture's, then for that of
    /// all NT systems.
    fn decorated(&mut self, install: &str, suffix: &str) -> Result<&'a Section> {
        let names = ["NTamd64", "NT"].map(|platform| format!("{install}.{platform}{suffix}"));
        let [_, general] = &names;
        match names.iter().find(|name| self.inf.find(name).is_some()) {
            Some(name) => self.visit(name),
            None => bail!("there is no section [{general}]"),
        }
    }

    /// The driver is copied from a disk that is named to the driver store.
    fn files(&mut self, install: &'a Section) -> Result<()> {
        let driver = format!("{}.sys", self.sample.name);
        let list = install.one("CopyFiles")?.value(0);
        let copied = self.visit(list)?;
        let names: Vec<&str> = copied.lines.iter().map(|line| line.value(0)).collect();
        if names != [driver.as_str()] {
            bail!("the files that are copied are {names:?}");
        }
        let folders = self.visit("DestinationDirs")?;
        let folder = folders.one(list).or_else(|_| folders.one("DefaultDestDir"))?.value(0);
        // 13 is the driver store, where the file is used from. Any other folder is one for all packages of the machine.
        if folder != "13" {
            bail!("[{list}] is copied to folder {folder}, and 13 is needed");
        }
        let disk = self.visit("SourceDisksFiles")?.one(&driver)?.value(0).to_owned();
        self.visit("SourceDisksNames")?.one(&disk)?;
        Ok(())
    }

    /// The lines of the sections that the `AddReg` of a section names.
    fn registry(&mut self, section: &Section) -> Result<Vec<rules::Entry>> {
        let mut entries = Vec::new();
        for list in section.all("AddReg").flat_map(|line| &line.values) {
            entries.extend(self.visit(list)?.lines.iter().map(rules::Entry::of));
        }
        Ok(entries)
    }

    /// The device's service is a kernel driver, started for its device from the driver store.
    fn service(&mut self, services: &Section) -> Result<()> {
        let added = services.one("AddService")?;
        let Sample { name, .. } = self.sample;
        // 2 is SPSVCINST_ASSOCSERVICE.
        if added.value(0) != name || rules::number(added.value(1)) != Some(2) {
            bail!(
                "[{}] adds {:?}, which is not the device's service {name}",
                services.name,
                added.values
            );
        }
        let service = self.visit(added.value(2))?;
        for (key, wanted) in [("ServiceType", 1), ("StartType", 3), ("ErrorControl", 1)] {
            let value = service.one(key)?.value(0);
            if rules::number(value) != Some(wanted) {
                bail!("[{}] has {key} = {value}, and {wanted} is needed", service.name);
            }
        }
        let binary = service.one("ServiceBinary")?.value(0);
        let wanted = format!(r"%13%\{name}.sys");
        if !binary.eq_ignore_ascii_case(&wanted) {
            bail!("[{}] has ServiceBinary = {binary}, and {wanted} is needed", service.name);
        }
        self.registry(service)?;
        Ok(())
    }
}
