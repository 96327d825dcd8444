//! The catalogue of a driver package: the digests of its files, in the form that Windows takes a signature of.
//!
//! On Windows `Inf2Cat` makes it. The form is Microsoft's certificate trust list with the members of a catalogue of version
//! 1, whose digests are SHA-1; what is signed is the list, with SHA-256. It has not been tried on Windows: what has read it
//! is osslsigncode, which finds the driver in it.

use anyhow::{Context, Result};
use sha1::{Digest as _, Sha1};
use yasna::models::ObjectIdentifier;
use yasna::tags::TAG_UTCTIME;
use yasna::{DERWriter, DERWriterSeq, Tag};

use crate::image::Image;

/// Object identifiers: PKCS #7 with signatures, and what Microsoft names below 1.3.6.1.4.1.311.
const SIGNED_DATA: [u64; 7] = [1, 2, 840, 113_549, 1, 7, 2];
const TRUST_LIST: [u64; 9] = [1, 3, 6, 1, 4, 1, 311, 10, 1];
const CATALOGUE: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 12, 1, 1];
const MEMBERS: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 12, 1, 2];
const NAME_AND_VALUE: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 12, 2, 1];
const MEMBER_INFORMATION: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 12, 2, 2];
const INDIRECT_DATA: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 2, 1, 4];
const IMAGE_DATA: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 2, 1, 15];
const FLAT_DATA: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 2, 1, 25];
const SHA1: [u64; 6] = [1, 3, 14, 3, 2, 26];

/// What takes the digest of an image, and of any other file.
const IMAGE_SUBJECT: &str = "{C689AAB8-8E78-11D0-8C47-00C04FC295EE}";
const FLAT_SUBJECT: &str = "{DE351A42-8E59-11D0-8C47-00C04FC295EE}";

/// Flags of an attribute: authenticated, its name and its value as text.
const PLAIN_TEXT: i64 = 0x1001_0001;

/// The systems that the files are for: Windows 10, and 11, which has the same number.
const SYSTEMS: &str = "2:10.0";
const SYSTEM: &str = "_v100_X64";

/// A file of the package.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// Its name, without a folder.
    pub(super) name: &'a str,
    pub(super) content: &'a [u8],
    /// Whether it is an image, whose digest leaves out its signature and checksum.
    pub(super) image: bool,
}

/// A catalogue of `members`, not signed yet. `time` is that of its making, as `YYMMDDhhmmssZ`.
pub(super) fn unsigned(
    members: &[Member<'_>],
    hardware_ids: &[String],
    time: &str,
) -> Result<Vec<u8>> {
    let mut digests = Vec::new();
    for member in members {
        digests.push((member, digest(member)?));
    }
    // Each member is looked up by its tag, so they are in the order of these.
    digests.sort_by_key(|(_, digest)| hexadecimal(digest));
    let all: Vec<u8> = digests.iter().flat_map(|(_, digest)| digest.clone()).collect();
    let identifier = Sha1::digest(all);
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            oid(writer, &SIGNED_DATA);
            writer.next().write_tagged(Tag::context(0), |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_i64(1);
                    writer.next().write_set(|_| {});
                    writer.next().write_sequence(|writer| {
                        oid(writer, &TRUST_LIST);
                        writer.next().write_tagged(Tag::context(0), |writer| {
                            trust_list(writer, &digests, hardware_ids, &identifier[..16], time);
                        });
                    });
                    writer.next().write_set(|_| {});
                });
            });
        });
    }))
}

/// The list, which says of itself what it is, which one, and from when.
fn trust_list(
    writer: DERWriter<'_>,
    members: &[(&Member<'_>, Vec<u8>)],
    hardware_ids: &[String],
    identifier: &[u8],
    time: &str,
) {
    writer.write_sequence(|writer| {
        writer.next().write_sequence(|writer| oid(writer, &CATALOGUE));
        writer.next().write_bytes(identifier);
        writer.next().write_tagged_implicit(TAG_UTCTIME, |writer| {
            writer.write_bytes(time.as_bytes());
        });
        algorithm(writer, &MEMBERS);
        writer.next().write_sequence(|writer| {
            for (member, digest) in members {
                entry(writer.next(), member, digest);
            }
        });
        let ids = hardware_ids.iter().enumerate();
        let attributes = ids
            .map(|(index, id)| (format!("HWID{}", index + 1), id.to_ascii_lowercase()))
            .chain([("OS".to_owned(), SYSTEM.to_owned())]);
        writer.next().write_tagged(Tag::context(0), |writer| {
            writer.write_sequence(|writer| {
                for (name, value) in attributes {
                    writer.next().write_sequence(|writer| {
                        oid(writer, &NAME_AND_VALUE);
                        let value =
                            yasna::construct_der(|writer| name_and_value(writer, &name, &value));
                        writer.next().write_bytes(&value);
                    });
                }
            });
        });
    });
}

/// A member: its digest as text, what file it is, for which systems, and the digest once more.
fn entry(writer: DERWriter<'_>, member: &Member<'_>, digest: &[u8]) {
    let tag: Vec<u8> = utf16(&hexadecimal(digest)).into_iter().chain([0, 0]).collect();
    let subject = if member.image { IMAGE_SUBJECT } else { FLAT_SUBJECT };
    writer.write_sequence(|writer| {
        writer.next().write_bytes(&tag);
        writer.next().write_set_of(|writer| {
            for (name, value) in [("File", member.name), ("OSAttr", SYSTEMS)] {
                attribute(writer.next(), &NAME_AND_VALUE, |writer| {
                    name_and_value(writer, name, value);
                });
            }
            attribute(writer.next(), &MEMBER_INFORMATION, |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_bmp_string(subject);
                    writer.next().write_i64(0x200);
                });
            });
            attribute(writer.next(), &INDIRECT_DATA, |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_sequence(|writer| kind(writer, member.image));
                    writer.next().write_sequence(|writer| {
                        algorithm(writer, &SHA1);
                        writer.next().write_bytes(digest);
                    });
                });
            });
        });
    });
}

/// What the digest is of: an image, or a file as it is. Both name a file that is none any more.
fn kind(writer: &mut DERWriterSeq<'_>, image: bool) {
    let nowhere = |writer: DERWriter<'_>| {
        writer.write_tagged(Tag::context(2), |writer| {
            writer.write_tagged_implicit(Tag::context(0), |writer| writer.write_bmp_string(""));
        });
    };
    if image {
        oid(writer, &IMAGE_DATA);
        writer.next().write_sequence(|writer| {
            writer.next().write_bitvec_bytes(&[0xA0], 3);
            writer.next().write_tagged(Tag::context(0), nowhere);
        });
    } else {
        oid(writer, &FLAT_DATA);
        nowhere(writer.next());
    }
}

fn attribute(writer: DERWriter<'_>, name: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        oid(writer, name);
        writer.next().write_set(|writer| value(writer.next()));
    });
}

fn name_and_value(writer: DERWriter<'_>, name: &str, value: &str) {
    let value: Vec<u8> = utf16(value).into_iter().chain([0, 0]).collect();
    writer.write_sequence(|writer| {
        writer.next().write_bmp_string(name);
        writer.next().write_i64(PLAIN_TEXT);
        writer.next().write_bytes(&value);
    });
}

fn algorithm(writer: &mut DERWriterSeq<'_>, name: &[u64]) {
    writer.next().write_sequence(|writer| {
        oid(writer, name);
        writer.next().write_null();
    });
}

fn oid(writer: &mut DERWriterSeq<'_>, components: &[u64]) {
    writer.next().write_oid(&ObjectIdentifier::from_slice(components));
}

/// The digest by which Windows knows a file.
fn digest(member: &Member<'_>) -> Result<Vec<u8>> {
    if !member.image {
        return Ok(Sha1::digest(member.content).to_vec());
    }
    let image = Image::parse(member.content)?;
    let mut hasher = Sha1::new();
    for part in image.parts_that_are_signed().context("the image is cut short")? {
        hasher.update(part);
    }
    Ok(hasher.finalize().to_vec())
}

/// Whether a catalogue, signed or not, has this member as it is.
pub(super) fn has(catalogue: &[u8], member: &Member<'_>) -> Result<bool> {
    let tag = utf16(&hexadecimal(&digest(member)?));
    Ok(catalogue.windows(tag.len()).any(|bytes| bytes == tag))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: Member<'_> = Member { name: "a.inf", content: b"abc", image: false };

    #[test]
    fn a_file_is_known_by_its_digest() -> Result<()> {
        let other = Member { content: b"abd", ..INF };
        let catalogue = unsigned(&[INF], &[], "261123000000Z")?;
        assert!(has(&catalogue, &INF)?);
        assert!(!has(&catalogue, &other)?);
        // The digest of "abc" that FIPS 180 gives.
        assert_eq!(hexadecimal(&digest(&INF)?), "A9993E364706816ABA3E25717850C26C9CD0D89D");
        Ok(())
    }

    #[test]
    fn members_are_in_the_order_of_their_tags() -> Result<()> {
        let members = [b"abc", b"abd", b"abe"].map(|content| Member { content, ..INF });
        let mut turned = members;
        turned.reverse();
        let time = "261123000000Z";
        assert_eq!(unsigned(&members, &[], time)?, unsigned(&turned, &[], time)?);
        Ok(())
    }

    #[test]
    fn a_catalogue_names_its_hardware_in_small_letters() -> Result<()> {
        let ids = ["PCI\\VEN_1234".to_owned()];
        let catalogue = unsigned(&[INF], &ids, "261123000000Z")?;
        let wanted = utf16("pci\\ven_1234");
        assert!(catalogue.windows(wanted.len()).any(|bytes| bytes == wanted));
        Ok(())
    }
}
