//! Archives as users send them, streamed.
//!
//! An archive is never unpacked to names of its own. Its kind is told by its first bytes, compression and tar are peeled
//! off as the bytes pass, members are judged by their content, and the one raw data file among them is copied to a file
//! of the caller's. The archive is read to its very end, so that a cut upload is noticed even when the raw file in it
//! looks whole.
//!
//! | module | what it does |
//! |---|---|
//! | `codec` | the compressions that are read |
//! | `content` | tells what a file is by its first bytes |
//! | `meter` | counts bytes on both sides of a decoder and stops at the limits |

mod codec;
mod content;
mod meter;

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Instant;

use contract::scan::hex;
use sha2::{Digest, Sha256};

pub use codec::Codec;
pub use content::{Content, OtherRaw};
use meter::Meter;

use crate::{Error, Result};

/// Bytes copied at a time.
const BLOCK: usize = 256 << 10;

/// What an archive may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after unpacking, of all members together.
    pub max_output_bytes: u64,
    /// Bytes after unpacking for each byte before. k-space never exceeds 3.
    pub max_ratio: u64,
    /// Members of an archive.
    pub max_entries: u64,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_output_bytes: 64 << 30, max_ratio: 100, max_entries: 10_000, deadline: None }
    }
}

/// What was extracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// Length of the raw data file.
    pub bytes: u64,
    /// SHA-256 of the raw data file.
    pub sha256: String,
    /// What was peeled off, outermost first, such as `["gzip", "tar"]`; empty for a bare file.
    pub container: Vec<&'static str>,
}

/// Copies the one raw data file in `input` to `output`, reading `input` to its end.
///
/// # Errors
/// [`Error::Truncated`] when the archive ends early, [`Error::Corrupt`] when it is damaged, [`Error::Limit`] when a
/// limit is passed, [`Error::Unsupported`] when it holds no raw data file, several, or is of a kind that is not
/// read, [`Error::Io`] when `input` or `output` fail.
pub fn extract(input: impl Read, output: &mut File, limits: &Limits) -> Result<Extracted> {
    let meter = Meter::new(*limits);
    let mut found = Found { output, extracted: None, others: Vec::new(), raw_files: 0 };
    let mut container = Vec::new();
    let mut stream: Box<dyn Read + '_> = Box::new(meter.source(input));

    let (mut content, mut whole) = sniff(stream).map_err(|error| meter.explain(error))?;
    if let Content::Compressed(codec) = content {
        container.push(codec.name());
        stream = Box::new(meter.guard(codec.decoder(whole).map_err(|error| meter.explain(error))?));
        (content, whole) = sniff(stream).map_err(|error| meter.explain(error))?;
    } else {
        whole = Box::new(meter.guard(whole));
    }
    if content == Content::Tar {
        container.push("tar");
        found.walk(&mut whole, &meter, limits)?;
    } else {
        found.consider(content, &mut whole, None, &meter)?;
    }
    io::copy(&mut whole, &mut io::sink()).map_err(|error| meter.explain(error))?;
    found.finish(container)
}

/// Reads the first bytes and gives them back in front of the rest.
fn sniff<'a>(mut stream: Box<dyn Read + 'a>) -> io::Result<(Content, Box<dyn Read + 'a>)> {
    let mut head = Vec::new();
    stream.by_ref().take(Content::HEAD_LENGTH).read_to_end(&mut head)?;
    let content = Content::of(&head);
    Ok((content, Box::new(io::Cursor::new(head).chain(stream))))
}

/// The raw data file, once it has been met, and what else there was.
struct Found<'a> {
    output: &'a mut File,
    extracted: Option<(u64, String, Option<&'static str>)>,
    others: Vec<Content>,
    raw_files: usize,
}

impl Found<'_> {
    /// Looks at every member of a tar archive.
    fn walk(&mut self, stream: &mut dyn Read, meter: &Meter, limits: &Limits) -> Result<()> {
        let mut archive = tar::Archive::new(meter.members(stream));
        let mut entries = archive.entries().map_err(|error| meter.explain_member(error))?;
        let mut count = 0;
        loop {
            meter.expect_header();
            let Some(entry) = entries.next() else { break };
            meter.expect_data();
            let mut entry = entry.map_err(|error| meter.explain_member(error))?;
            count += 1;
            if count > limits.max_entries {
                let (what, limit) = ("the number of archive members", limits.max_entries);
                return Err(Error::Limit { what, found: count, limit });
            }
            let kind = entry.header().entry_type();
            if kind.is_gnu_sparse() {
                self.others.push(Content::Other("a sparse file"));
            }
            if !(kind.is_file() || kind.is_contiguous()) || is_hidden(&entry.path_bytes()) {
                io::copy(&mut entry, &mut io::sink()).map_err(|error| meter.explain(error))?;
                continue;
            }
            let size = entry.size();
            let (content, mut whole) = sniff(Box::new(entry)).map_err(|error| meter.explain(error))?;
            self.consider(content, &mut whole, Some(size), meter)?;
            // The rest is read here, so that what the tar reader reads by itself is headers only.
            io::copy(&mut whole, &mut io::sink()).map_err(|error| meter.explain(error))?;
        }
        if meter.ended_early() { Err(meter.truncated()) } else { Ok(()) }
    }

    /// Copies a member when it is the raw data file, whose length is `stated` where the container says so.
    fn consider(&mut self, content: Content, stream: &mut dyn Read, stated: Option<u64>, meter: &Meter) -> Result<()> {
        let (content, mut whole, codec): (Content, Box<dyn Read + '_>, _) = match content {
            Content::Compressed(codec) if stated.is_some() => {
                let decoder = codec.decoder(Box::new(stream)).map_err(|error| meter.explain(error))?;
                let (inner, whole) = sniff(Box::new(meter.guard(decoder))).map_err(|error| meter.explain(error))?;
                (inner, whole, Some(codec.name()))
            }
            other => (other, Box::new(stream), None),
        };
        if !content.is_raw() {
            self.others.push(content);
            return Ok(());
        }
        self.raw_files += 1;
        if self.raw_files > 1 {
            return Ok(());
        }
        let (bytes, sha256) = copy(&mut whole, self.output, meter)?;
        if let Some(expected) = stated.filter(|&expected| codec.is_none() && bytes != expected) {
            return Err(Error::Truncated {
                what: "the raw data file in the archive".to_owned(),
                found: bytes,
                expected,
            });
        }
        self.extracted = Some((bytes, sha256, codec));
        Ok(())
    }

    fn finish(self, mut container: Vec<&'static str>) -> Result<Extracted> {
        if self.raw_files > 1 {
            return Err(Error::unsupported(
                format!("the archive holds {} raw data files", self.raw_files),
                "send one archive per scan",
            ));
        }
        let Some((bytes, sha256, codec)) = self.extracted else {
            return Err(match (container.is_empty(), self.others.first()) {
                (true, Some(content)) => content.refusal(),
                _ => Error::unsupported(
                    format!("the archive holds no raw data file, only {}", describe(&self.others)),
                    "send the raw data of the scanner as ISMRMRD HDF5, one archive per scan",
                ),
            });
        };
        container.extend(codec);
        Ok(Extracted { bytes, sha256, container })
    }
}

/// `2 text files, 1 DICOM file`, without any name.
fn describe(contents: &[Content]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for content in contents {
        *counts.entry(content.name()).or_insert(0_usize) += 1;
    }
    if counts.is_empty() {
        return "nothing".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}

/// Files that operating systems leave in archives.
fn is_hidden(path: &[u8]) -> bool {
    let mut parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.any(|part| part.starts_with(b".") || part == b"__MACOSX")
}

fn copy(stream: &mut dyn Read, output: &mut File, meter: &Meter) -> Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut bytes = 0;
    loop {
        let length = match stream.read(&mut block) {
            Ok(0) => return Ok((bytes, hex(&hash.finalize()))),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(meter.explain(error)),
        };
        hash.update(&block[..length]);
        output.write_all(&block[..length]).map_err(Error::io("the unpacked raw data cannot be stored"))?;
        bytes += length as u64;
    }
}
