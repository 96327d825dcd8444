//! Setup information: an INF, or the INX that one is made from, as sections of lines with values.
//!
//! The syntax is that of Microsoft's "General Syntax Rules for INF Files": sections, entries with values between commas,
//! quotes that keep commas and semicolons, lines that go on behind a backslash, `%names%` that stand for strings.

use anyhow::{Context, Result, bail};

/// An INF or INX.
#[derive(Debug)]
pub(crate) struct Inf {
    sections: Vec<Section>,
}

/// A section, without its brackets.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
}

/// A line: `key = values`, or values only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) key: Option<String>,
    /// Without quotes, with strings in place of their names.
    pub(crate) values: Vec<String>,
}

impl Line {
    /// The value at `index`; nothing if it is left out.
    pub(crate) fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }
}

impl Section {
    /// The lines with this key, in any case of letters.
    pub(crate) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| {
            line.key.as_ref().is_some_and(|present| present.eq_ignore_ascii_case(key))
        })
    }

    /// The one line with this key.
    pub(crate) fn one(&self, key: &str) -> Result<&Line> {
        let mut all = self.all(key);
        let line = all.next().with_context(|| format!("[{}] has no {key}", self.name))?;
        if all.next().is_some() {
            bail!("[{}] has {key} more than once", self.name);
        }
        Ok(line)
    }
}

impl Inf {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// They are text in no way that is the same on every Windows, or the text is no INF.
    pub(crate) fn read(content: &[u8]) -> Result<Self> {
        Self::parse(&decoded(content)?)
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let raw = raw_sections(text)?;
        let strings: Vec<(String, String)> = raw
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("Strings"))
            .flat_map(|(_, lines)| lines)
            .filter_map(|line| {
                let (name, value) = split_outside_quotes(line, '=').next_pair()?;
                Some((name.trim().to_owned(), unquoted(value.trim())))
            })
            .collect();
        let mut sections = Vec::new();
        for (name, lines) in raw {
            let in_strings = name.eq_ignore_ascii_case("Strings");
            let line = |line: &String| {
                let expand = |text: &str| -> Result<String> {
                    if in_strings {
                        return Ok(text.to_owned());
                    }
                    expanded(text, &strings).with_context(|| format!("[{name}], {line:?}"))
                };
                let (key, values) = match split_outside_quotes(line, '=').next_pair() {
                    Some((key, values)) => (Some(expand(&unquoted(key.trim()))?), values),
                    None => (None, line.as_str()),
                };
                let values = split_outside_quotes(values, ',')
                    .map(|value| expand(&unquoted(value.trim())))
                    .collect::<Result<_>>()?;
                Ok(Line { key, values })
            };
            let lines = lines.iter().map(line).collect::<Result<_>>()?;
            sections.push(Section { name, lines });
        }
        Ok(Self { sections })
    }

    /// All sections.
    pub(crate) fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section of this name, in any case of letters.
    pub(crate) fn find(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name.eq_ignore_ascii_case(name))
    }

    /// The section of this name, which has to be there.
    pub(crate) fn section(&self, name: &str) -> Result<&Section> {
        self.find(name).with_context(|| format!("there is no section [{name}]"))
    }
}

/// The text of a file: UTF-16 with a mark, or ASCII. Anything else is read by the code page of the machine that installs.
pub(crate) fn decoded(content: &[u8]) -> Result<String> {
    if let Some(units) = content.strip_prefix(&[0xFF, 0xFE]) {
        let pairs = units.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            bail!("the UTF-16 text ends within a character");
        }
        let units: Vec<u16> = pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16(&units).context("the text is no UTF-16");
    }
    if !content.is_ascii() {
        bail!(
            "the text is neither UTF-16 with a byte order mark nor ASCII: what it says depends on the code page"
        );
    }
    Ok(String::from_utf8_lossy(content).into_owned())
}

/// The sections with their lines, which are without comments and joined where they go on.
fn raw_sections(text: &str) -> Result<Vec<(String, Vec<String>)>> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    let mut begun = String::new();
    for line in text.lines() {
        let line = without_comment(line);
        if let Some(part) = line.strip_suffix('\\') {
            begun.push_str(part);
            continue;
        }
        let line = std::mem::take(&mut begun) + line;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if !line.matches('"').count().is_multiple_of(2) {
            bail!("{line:?} has a quote that does not end");
        }
        if let Some(name) = line.strip_prefix('[') {
            let name =
                name.strip_suffix(']').with_context(|| format!("{line:?} lacks a bracket"))?;
            if sections.iter().any(|(present, _)| present.eq_ignore_ascii_case(name)) {
                bail!("section [{name}] is there twice");
            }
            sections.push((name.to_owned(), Vec::new()));
        } else {
            let (_, lines) =
                sections.last_mut().with_context(|| format!("{line:?} is in no section"))?;
            lines.push(line.to_owned());
        }
    }
    Ok(sections)
}

/// A line without the comment at its end; quoted semicolons are none.
fn without_comment(line: &str) -> &str {
    split_outside_quotes(line, ';').next().unwrap_or_default().trim()
}

/// The parts of a text between the separators that are not quoted.
const fn split_outside_quotes(text: &str, separator: char) -> Parts<'_> {
    Parts { rest: Some(text), separator }
}

#[derive(Debug)]
struct Parts<'a> {
    rest: Option<&'a str>,
    separator: char,
}

impl<'a> Parts<'a> {
    /// What is before the first separator and behind it.
    fn next_pair(mut self) -> Option<(&'a str, &'a str)> {
        let first = self.next()?;
        Some((first, self.rest?))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.take()?;
        let mut quoted = false;
        let end = text.find(|c: char| {
            quoted ^= c == '"';
            c == self.separator && !quoted
        });
        let Some(end) = end else { return Some(text) };
        self.rest = Some(&text[end + self.separator.len_utf8()..]);
        Some(&text[..end])
    }
}

/// A value without its quotes; two in a row inside them are one.
fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace("\"\"", "\""))
}

/// A text with strings in place of their names. What is a number names a folder and stays; two percent signs are one.
fn expanded(text: &str, strings: &[(String, String)]) -> Result<String> {
    let mut result = String::new();
    let mut parts = text.split('%');
    result.push_str(parts.next().unwrap_or_default());
    while let Some(name) = parts.next() {
        let Some(after) = parts.next() else {
            bail!("there is a percent sign without another");
        };
        if name.is_empty() {
            result.push('%');
        } else if name.parse::<u32>().is_ok() {
            result.extend(["%", name, "%"]);
        } else {
            let (_, value) = strings
                .iter()
                .find(|(present, _)| present.eq_ignore_ascii_case(name))
                .with_context(|| format!("%{name}% is not in [Strings]"))?;
            result.push_str(value);
        }
        result.push_str(after);
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "; a comment\n[Version]\nSignature = \"$WINDOWS NT$\" ; another\n[a]\n\
                        \"key; one\" = %Who%, \"b, \"\"c\"\"\", %13%\\x.sys\nHKR,,Security,,\"D:P(A;;GA;;;SY)\"\n\
                        long = 1, \\\n 2\n[Strings]\nwho = \"me\"\n";

    fn said(text: &str) -> String {
        Inf::parse(text).map_or_else(|error| format!("{error:#}"), |_| "nothing".to_owned())
    }

    #[test]
    fn values_are_without_quotes_and_with_their_strings() -> Result<()> {
        let inf = Inf::parse(TEXT)?;
        let line = inf.section("A")?.one("key; one")?;
        assert_eq!(line.values, ["me", "b, \"c\"", r"%13%\x.sys"]);
        assert_eq!(inf.section("version")?.one("signature")?.value(0), "$WINDOWS NT$");
        Ok(())
    }

    #[test]
    fn a_line_without_a_key_has_values_and_a_semicolon_in_quotes_is_no_comment() -> Result<()> {
        let inf = Inf::parse(TEXT)?;
        let lines = &inf.section("a")?.lines;
        assert_eq!(lines[1].key, None);
        assert_eq!(lines[1].values, ["HKR", "", "Security", "", "D:P(A;;GA;;;SY)"]);
        Ok(())
    }

    #[test]
    fn a_line_goes_on_behind_a_backslash() -> Result<()> {
        assert_eq!(Inf::parse(TEXT)?.section("a")?.one("long")?.values, ["1", "2"]);
        Ok(())
    }

    #[test]
    fn utf_16_says_the_same_as_ascii() -> Result<()> {
        let mut content = vec![0xFF, 0xFE];
        content.extend(TEXT.encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(decoded(&content)?, TEXT);
        assert_eq!(decoded(TEXT.as_bytes())?, TEXT);
        Ok(())
    }

    #[test]
    fn text_that_depends_on_the_machine_is_refused() {
        let error = decoded("[Gerät]".as_bytes()).map_err(|error| error.to_string());
        assert!(error.is_err_and(|said| said.contains("code page")));
        assert!(decoded(&[0xFF, 0xFE, b'[']).is_err());
    }

    #[test]
    fn what_is_no_inf_is_refused() {
        assert!(said("a = b\n").contains("in no section"));
        assert!(said("[a]\n[A]\n").contains("twice"));
        assert!(said("[a\n").contains("lacks a bracket"));
        assert!(said("[a]\nb = \"c\n").contains("does not end"));
        assert!(said("[a]\nb = %c%\n").contains("%c% is not in [Strings]"));
        assert!(said("[a]\nb = 5%\n").contains("percent sign"));
    }
}
