//! Makes of a driver what Windows installs: the INF, the driver with its version and a test signature, the catalogue, the
//! certificate, the symbols. On Windows the tasks of wdk-build make the same with the WDK's tools.

mod catalogue;
mod signature;
mod stamp;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::catalogue::Member;
pub(crate) use self::signature::Certificate;
use crate::driver::{self, Profile};
use crate::image::{self, Image, Symbols};
use crate::inf::Inf;
use crate::layout::Layout;
use crate::packages;
use crate::setup::{self, Host};
use crate::text;
use crate::toolchain::Toolchain;

/// A package, made.
#[derive(Debug)]
pub(crate) struct Package {
    /// Where its files are.
    pub(crate) folder: PathBuf,
    /// The driver's name, without `.sys`.
    pub(crate) name: String,
    made: Vec<Made>,
}

/// A file of the package.
#[derive(Debug)]
struct Made {
    file: String,
    what: String,
}

/// Makes the package and says what is in it and what is not.
pub(crate) fn run(layout: &Layout, driver: &Path) -> Result<bool> {
    let host = setup::run(layout)?;
    print!("{}", make(layout, &host, driver)?);
    Ok(true)
}

/// Makes the package of the driver crate in `folder`.
pub(crate) fn make(layout: &Layout, host: &Host, folder: &Path) -> Result<Package> {
    packages::install_signing(&layout.logs())?;
    let folder = driver::folder(layout, folder)?;
    let built = driver::build(layout, host, &folder, Profile::Release)?;
    let [driver] = built.drivers.as_slice() else {
        bail!("{} has {} drivers, and a package has one", folder.display(), built.drivers.len());
    };
    let name = driver.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut package = Package { folder: layout.packages().join(&name), name, made: Vec::new() };
    discard(&package.folder)?;
    text::create_folder(&package.folder)?;
    let version = crate_version(&host.driver, &folder)?;
    package.stamp(&template(layout, &folder, &package.name)?, &version)?;
    let certificate = certificate(layout)?;
    package.sign(&certificate, driver, &version)?;
    package.add_catalogue(&certificate)?;
    package.add_symbols(host, driver)?;
    Ok(package)
}

impl Package {
    /// The place of a file of the package.
    pub(crate) fn file(&self, extension: &str) -> PathBuf {
        self.folder.join(&self.name).with_extension(extension)
    }

    fn made(&mut self, extension: &str, what: String) {
        self.made.push(Made { file: format!("{}.{extension}", self.name), what });
    }

    /// The INF, from the INX.
    fn stamp(&mut self, template: &Path, version: &str) -> Result<()> {
        let source = image::read(template)?;
        let date = stamp::today()?;
        let stamped = stamp::stamped(&source, &self.name, &date, version)
            .with_context(|| template.display().to_string())?;
        text::write_if_changed(&self.file("inf"), &stamped)?;
        self.made("inf", format!("stamped for amd64, DriverVer {date},{version}"));
        Ok(())
    }

    /// The driver, signed with the test certificate, and that certificate.
    fn sign(&mut self, certificate: &Certificate, driver: &Path, version: &str) -> Result<()> {
        let resource = Image::parse(&image::read(driver)?)?.version();
        let shown = match resource {
            Some(found) if found.file_text() == version => format!("version {version}"),
            Some(found) => bail!(
                "the version resource of {} says {}, and the INF {version}",
                driver.display(),
                found.file_text()
            ),
            None => "without a version resource".to_owned(),
        };
        let signed = self.file("sys");
        certificate.sign(driver, &signed)?;
        certificate.verify(&signed)?;
        self.made(
            "sys",
            format!("{shown}, Authenticode signature (SHA-256) for testing, verified"),
        );
        certificate.export(&self.file("cer"))?;
        self.made("cer", "the certificate, self-signed here; its key stays here".to_owned());
        Ok(())
    }

    /// The catalogue, signed, with the digests of what is installed.
    fn add_catalogue(&mut self, certificate: &Certificate) -> Result<()> {
        let inf = image::read(&self.file("inf"))?;
        let driver = image::read(&self.file("sys"))?;
        let names = ["inf", "sys"].map(|extension| format!("{}.{extension}", self.name));
        let members = [
            Member { name: &names[0], content: &inf, image: false },
            Member { name: &names[1], content: &driver, image: true },
        ];
        let ids = hardware_ids(&Inf::read(&inf)?)?;
        let unsigned = self.folder.join("unsigned.cat");
        let content = catalogue::unsigned(&members, &ids, &stamp::now("%y%m%d%H%M%SZ")?)?;
        text::write_if_changed(&unsigned, &content)?;
        certificate.sign(&unsigned, &self.file("cat"))?;
        fs::remove_file(&unsigned)
            .with_context(|| format!("cannot remove {}", unsigned.display()))?;
        self.verify_by_catalogue(certificate)?;
        self.made("cat", "catalogue of the two, signed likewise, verified for each".to_owned());
        Ok(())
    }

    /// Fails unless the catalogue is signed, and has the driver and the INF in it as they are.
    pub(crate) fn verify_by_catalogue(&self, certificate: &Certificate) -> Result<()> {
        let catalogue = self.file("cat");
        certificate.verify_by_catalogue(&catalogue, &self.file("sys"))?;
        // osslsigncode reads no INF.
        let content = image::read(&self.file("inf"))?;
        let inf = Member { name: "", content: &content, image: false };
        if !catalogue::has(&image::read(&catalogue)?, &inf)? {
            bail!("{} is not in {}", self.file("inf").display(), catalogue.display());
        }
        Ok(())
    }

    /// The symbols, which must be those of this very driver.
    fn add_symbols(&mut self, host: &Host, driver: &Path) -> Result<()> {
        let symbols = driver.with_extension("pdb");
        let content = image::read(&symbols)?;
        text::write_if_changed(&self.file("pdb"), &content)?;
        let found =
            matching_symbols(&host.llvm.symbol_reader(), &self.file("sys"), &self.file("pdb"))?;
        self.made(
            "pdb",
            format!("symbols, GUID {} age {} as in the driver", found.guid, found.age),
        );
        Ok(())
    }
}

impl fmt::Display for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.folder.display())?;
        for Made { file, what } in &self.made {
            writeln!(formatter, "    {file:<14} {what}")?;
        }
        let name = &self.name;
        write!(
            formatter,
            "
Not tried on Windows. The catalogue is not one of Inf2Cat's, which runs on Windows only: it has the form of one, and
osslsigncode finds the driver in it. Microsoft documents that plug and play takes a driver package by its
catalogue's signature, and loads a driver by that, too, unless it starts at boot; the signature inside {name}.sys is more
than is asked for. On a machine for tests, with `bcdedit /set testsigning on`, as administrator:

    certutil -addstore Root {name}.cer
    certutil -addstore TrustedPublisher {name}.cer
    pnputil /add-driver {name}.inf /install

Where the catalogue is refused, the WDK makes another one in this folder, to be signed there:

    inf2cat /driver:. /os:10_X64 /uselocaltime
"
        )
    }
}

/// Fails unless `symbols` belong to `driver`.
pub(crate) fn matching_symbols(reader: &Path, driver: &Path, symbols: &Path) -> Result<Symbols> {
    let content = image::read(driver)?;
    let wanted =
        Image::parse(&content)?.symbols().context("the driver does not name its symbols")?;
    let output = Command::new(reader)
        .args(["dump", "--summary"])
        .arg(symbols)
        .output()
        .with_context(|| format!("cannot start {}", reader.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let field = |name: &str| {
        let line = printed.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(|value| value.trim().trim_matches(['{', '}']).to_owned())
    };
    let found = (field("GUID:"), field("Age:"));
    if found != (Some(wanted.guid.clone()), Some(wanted.age.to_string())) {
        bail!(
            "{} does not belong to {}: {found:?} and {wanted:?}",
            symbols.display(),
            driver.display()
        );
    }
    Ok(wanted)
}

/// The INX of a driver: in the repository's folder for them, or beside the crate's manifest, where wdk-build looks.
fn template(layout: &Layout, folder: &Path, name: &str) -> Result<PathBuf> {
    let file = format!("{name}.inx");
    let places = [layout.root().join("inf").join(&file), folder.join(&file)];
    let found = places.iter().find(|place| place.is_file());
    found.cloned().with_context(|| {
        let places = places.map(|place| place.display().to_string());
        format!("there is no INX to make an INF of: neither {}", places.join(" nor "))
    })
}

/// The version of the crate in `folder`, with the fourth number that Windows wants.
fn crate_version(toolchain: &Toolchain, folder: &Path) -> Result<String> {
    let output = toolchain
        .cargo()
        .current_dir(folder)
        .args(["pkgid", "--offline"])
        .output()
        .context("cannot start cargo")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let version = printed.trim().rsplit(['@', '#']).next().and_then(four_numbers);
    version.with_context(|| format!("cargo says no version of {}: {printed:?}", folder.display()))
}

/// `1.2.3.0` for `1.2.3` and `1.2.3-beta`.
fn four_numbers(version: &str) -> Option<String> {
    let numbers = version.split(['-', '+']).next()?;
    let parts = numbers.split('.').map(str::parse::<u16>).collect::<Result<Vec<_>, _>>().ok()?;
    (parts.len() == 3).then(|| format!("{numbers}.0"))
}

/// The certificate that packages are signed with.
pub(crate) fn certificate(layout: &Layout) -> Result<Certificate> {
    Certificate::of(&layout.packages().join(".certificate"))
}

/// The hardware identifiers that an INF is for.
fn hardware_ids(inf: &Inf) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for manufacturer in &inf.section("Manufacturer")?.lines {
        for decoration in manufacturer.values.iter().skip(1) {
            let models = inf.section(&format!("{}.{decoration}", manufacturer.value(0)))?;
            ids.extend(models.lines.iter().flat_map(|line| line.values.iter().skip(1).cloned()));
        }
    }
    Ok(ids)
}

/// Removes what an earlier package left.
fn discard(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_wants_a_fourth_number() {
        assert_eq!(four_numbers("1.2.3").as_deref(), Some("1.2.3.0"));
        assert_eq!(four_numbers("1.2.3-beta.1+x").as_deref(), Some("1.2.3.0"));
        assert_eq!(four_numbers("1.2"), None);
        assert_eq!(four_numbers("1.2.70000"), None);
    }

    #[test]
    fn a_driver_without_an_inx_is_told_where_one_is_looked_for() {
        let layout = Layout::of_this_repository();
        let said = template(&layout, &layout.bed(), "none").map_err(|error| error.to_string());
        let said = said.err().unwrap_or_default();
        assert!(said.contains("inf/none.inx nor") && said.contains("bed/none.inx"), "{said}");
    }
}
