//! From the outermost layer of an upload to the raw files in it.

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::codec::Codec;
use super::content::Content;
use super::meter::{Credit, Meter};
use super::scratch::{Mark, Member, Scratch};
use super::{Extracted, zip};
use crate::{Error, Result};

/// Archives that may lie within each other: an archive, and archives among its members.
const MAX_ARCHIVES: usize = 2;

type Stream<'a> = Box<dyn Read + 'a>;

/// What was found so far.
pub(super) struct Walk<'a> {
    meter: Meter,
    scratch: Scratch<'a>,
    others: Vec<Content>,
    /// Kinds that were refused, and the archive each is in: one file stands for all of its kind.
    refused: BTreeSet<(String, Content)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(meter: Meter, scratch: Scratch<'a>) -> Self {
        Self { meter, scratch, others: Vec::new(), refused: BTreeSet::new() }
    }

    pub(super) fn finish(self) -> Extracted {
        self.scratch.finish(self.others)
    }

    /// Looks at the upload itself or at a member of length `stated`, and reads it to its end. Returns whether anything was
    /// peeled off.
    pub(super) fn visit(&mut self, stream: Stream<'_>, mut member: Member, stated: Option<u64>) -> Result<bool> {
        let (mut content, mut whole) = self.sniff(stream)?;
        let compressed = matches!(content, Content::Compressed(_));
        if let Content::Compressed(codec) = content {
            member.container.push(codec.name());
            member.path.truncate(without_codec(&member.path));
            let credit = Credit::default();
            // The bytes of a member were counted when they came out of its archive.
            let packed: Stream<'_> = if stated.is_some() { Box::new(credit.earn(whole)) } else { whole };
            let decoder = codec.decoder(packed).map_err(|error| self.meter.explain(error))?;
            (content, whole) = self.sniff(Box::new(self.meter.guard(decoder, credit)))?;
        } else if stated.is_none() && content != Content::Zip {
            // Bytes that nothing has counted yet; those of a zip archive are counted member by member.
            whole = Box::new(self.meter.guard(whole, Credit::default()));
        }
        let packed = compressed || matches!(content, Content::Tar | Content::Zip);
        match content {
            Content::Tar => {
                let inside = nested(member, "tar")?;
                self.tar(&mut whole, &inside)?;
                self.scratch.leave(&inside.archive);
            }
            Content::Zip => {
                let inside = nested(member, "zip")?;
                let credit = Credit::default();
                if compressed || stated.is_some() {
                    whole = Box::new(credit.earn(whole));
                }
                self.zip(&mut whole, &inside, &credit)?;
                self.scratch.leave(&inside.archive);
            }
            content => {
                let expected = stated.filter(|_| !compressed);
                self.file(content, &mut whole, member, expected)?;
            }
        }
        io::copy(&mut whole, &mut io::sink()).map_err(|error| self.meter.explain(error))?;
        Ok(packed)
    }

    /// Reads the first bytes and gives them back in front of the rest.
    fn sniff<'s>(&self, mut stream: Stream<'s>) -> Result<(Content, Stream<'s>)> {
        let mut head = Vec::new();
        let read = stream.by_ref().take(Content::HEAD_LENGTH).read_to_end(&mut head);
        read.map_err(|error| self.meter.explain(error))?;
        let content = Content::of(&head);
        Ok((content, Box::new(io::Cursor::new(head).chain(stream))))
    }

    /// Stores a file when it is raw data, whose length is `expected` where the container says so.
    fn file(&mut self, content: Content, stream: &mut dyn Read, member: Member, expected: Option<u64>) -> Result<()> {
        let Some(ending) = Scratch::ending(content, &member.path) else {
            let is_packed = !member.container.is_empty();
            let names_a_way = matches!(content, Content::OtherRaw(_) | Content::OtherArchive(_));
            if is_packed && names_a_way && self.refused.insert((member.archive.clone(), content)) {
                let mark = self.scratch.mark();
                return self.scratch.refuse(mark, member, content.refusal(), &self.meter);
            }
            self.others.push(content);
            return Ok(());
        };
        let found = self.scratch.store(ending, member, stream, &self.meter)?;
        match expected.filter(|&expected| found != expected) {
            Some(expected) => {
                let what = "the raw data file in the archive".to_owned();
                Err(Error::Truncated { what, found, expected })
            }
            None => Ok(()),
        }
    }

    /// Looks at every member of a tar archive.
    fn tar(&mut self, stream: &mut dyn Read, inside: &Member) -> Result<()> {
        let meter = self.meter.clone();
        let (members, watch) = meter.members(stream);
        let mut archive = tar::Archive::new(members);
        let mut entries = archive.entries().map_err(|error| meter.explain_member(error))?;
        loop {
            watch.expect_header();
            let Some(entry) = entries.next() else { break };
            watch.expect_data();
            let mut entry = entry.map_err(|error| meter.explain_member(error))?;
            meter.count_entries(1)?;
            let kind = entry.header().entry_type();
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let sparse = sparse(&mut entry).map_err(|error| meter.explain_member(error))?;
            if let Some(path) = sparse.map(|name| name.unwrap_or_else(|| path.clone())).filter(|path| !is_hidden(path))
            {
                io::copy(&mut entry, &mut io::sink()).map_err(|error| meter.explain(error))?;
                let error =
                    Error::unsupported("a file in the tar archive with holes", "pack it again without --sparse");
                let mark = self.scratch.mark();
                self.refuse(mark, Member { path, ..inside.clone() }, error)?;
                continue;
            }
            if !(kind.is_file() || kind.is_contiguous()) || is_hidden(&path) {
                io::copy(&mut entry, &mut io::sink()).map_err(|error| meter.explain(error))?;
                continue;
            }
            let size = entry.size();
            meter.check_claim(size)?;
            // It is read to its end, so that what the tar reader reads by itself is headers only.
            let member = Member { path, ..inside.clone() };
            let mark = self.scratch.mark();
            if let Err(error) = self.visit(Box::new(watch.data(&mut entry)), member.clone(), Some(size)) {
                let error = of_member(error)?;
                let drained = if watch.is_broken() { Ok(0) } else { io::copy(&mut entry, &mut io::sink()) };
                match drained.map_err(|error| meter.explain(error)) {
                    Err(cause @ (Error::Io { .. } | Error::Limit { .. })) => return Err(cause),
                    Ok(_) if !watch.is_broken() => self.refuse(mark, member, error)?,
                    // The archive broke, not the file in it.
                    _ => return Err(error),
                }
            }
        }
        if watch.is_broken() { Err(meter.truncated()) } else { Ok(()) }
    }

    /// Looks at every member of a zip archive, whose directory is at its end.
    fn zip(&mut self, stream: &mut dyn Read, inside: &Member, credit: &Credit) -> Result<()> {
        let meter = self.meter.clone();
        let file = self.scratch.spool(stream, &meter)?;
        for entry in zip::entries(&file, &meter)? {
            if !entry.is_file || is_hidden(&entry.name) {
                continue;
            }
            meter.check_claim(entry.size)?;
            let member = Member { path: entry.name.clone(), ..inside.clone() };
            let mark = self.scratch.mark();
            let visited = zip::content(&file, &entry, &meter, credit)
                .and_then(|content| self.visit(content, member.clone(), Some(entry.size)));
            if let Err(error) = visited {
                self.refuse(mark, member, of_member(error)?)?;
            }
        }
        Ok(())
    }

    /// Refuses a member of an archive that is whole.
    fn refuse(&mut self, mark: Mark, mut member: Member, error: Error) -> Result<()> {
        member.path.truncate(without_codec(&member.path));
        let error = match error {
            // The bytes that were read are those of the archive.
            Error::Truncated { .. } => {
                let found = "a stream that ends early, though the archive itself is whole";
                Error::corrupt("a file in the archive", found, "all of it: pack it again")
            }
            error => error,
        };
        self.scratch.refuse(mark, member, error, &self.meter)
    }
}

/// Whether a member of a tar archive is a file whose holes are left out, and its own name where the archive has another.
fn sparse<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Option<Option<String>>> {
    let mut found = entry.header().entry_type().is_gnu_sparse().then_some(None);
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if extension.key_bytes().starts_with(b"GNU.sparse.") {
            let name = found.get_or_insert(None);
            if extension.key_bytes() == b"GNU.sparse.name" {
                *name = Some(String::from_utf8_lossy(extension.value_bytes()).into_owned());
            }
        }
    }
    Ok(found)
}

/// What is wrong with a member alone; trouble of the system and limits concern everything.
fn of_member(error: Error) -> Result<Error> {
    match error {
        Error::Corrupt { .. } | Error::Unsupported { .. } | Error::Truncated { .. } => Ok(error),
        Error::Io { .. } | Error::Limit { .. } | Error::Contract(_) => Err(error),
    }
}

/// What members of an archive have in common.
fn nested(archive: Member, kind: &'static str) -> Result<Member> {
    let mut container = archive.container;
    container.push(kind);
    if container.iter().filter(|layer| matches!(**layer, "tar" | "zip")).count() > MAX_ARCHIVES {
        return Err(Error::unsupported(
            "an archive in an archive in an archive",
            "unpack the outer one and send the archives in it, or the raw files alone",
        ));
    }
    Ok(Member { path: String::new(), archive: archive.path, container })
}

/// Length of a path without the ending of a compression.
fn without_codec(path: &str) -> usize {
    let endings = [Codec::Gzip, Codec::Zstd, Codec::Xz, Codec::Bzip2].map(Codec::ending);
    let stripped = endings.iter().find_map(|ending| {
        let at = path.len().checked_sub(ending.len())?;
        path.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(ending)).then_some(at)
    });
    stripped.unwrap_or(path.len())
}

/// Files that operating systems leave in archives.
fn is_hidden(path: &str) -> bool {
    let mut parts = path.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    parts.any(|part| part.starts_with('.') || part == "__MACOSX")
}
