//! The folder of the caller's that raw files are stored in, under names of our own.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use contract::scan::hex;
use sha2::{Digest, Sha256};

use super::content::Content;
use super::meter::Meter;
use super::{Extracted, RawFile, Refused, names};
use crate::{Error, Result};

/// Bytes copied at a time.
const BLOCK: usize = 256 << 10;
/// Blocks that may wait to be hashed.
const BLOCKS: usize = 16;
/// Endings of the two files of BART data.
const BART_HEADER: &str = "hdr";
const BART_DATA: &str = "cfl";

/// What is known of a member beside its bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    /// Its path in the archive; empty for what lies in none.
    pub(super) path: String,
    /// Name of the archive it is in, where that is a member itself.
    pub(super) archive: String,
    /// What was peeled off, outermost first.
    pub(super) container: Vec<&'static str>,
}

/// A raw file as far as it is known.
struct Stored {
    member: Member,
    number: usize,
    /// Endings of the files it consists of.
    endings: Vec<&'static str>,
    bytes: u64,
    sha256: String,
    /// Why it is refused; its files are gone then.
    error: Option<Error>,
}

/// How much was stored when a member began.
#[derive(Clone, Copy)]
pub(super) struct Mark(usize);

/// Stores raw files as `0.h5`, `1.dat`, `2.cfl` with `2.hdr`.
pub(super) struct Scratch<'a> {
    dir: &'a Path,
    stored: Vec<Stored>,
    /// Numbers that were given out; those of files that are gone are not given again.
    numbers: usize,
    /// The raw file that the last member turned out to be the other half of.
    joined: Option<usize>,
    /// BART data by their path without ending: the two files can come in any order.
    pairs: BTreeMap<(String, String), usize>,
}

impl<'a> Scratch<'a> {
    pub(super) fn new(dir: &'a Path) -> Self {
        Self { dir, stored: Vec::new(), numbers: 0, joined: None, pairs: BTreeMap::new() }
    }

    /// Ending under which a member is stored, if it is raw data: by its content, and for BART data, which have no
    /// signature, by its name.
    pub(super) fn ending(content: Content, path: &str) -> Option<&'static str> {
        let named = has_ending(path, BART_DATA) && matches!(content, Content::Unknown | Content::Text | Content::Empty);
        if named { Some(BART_DATA) } else { content.is_raw().then(|| content.ending()) }
    }

    /// Stores a raw file and returns its length.
    pub(super) fn store(
        &mut self,
        ending: &'static str,
        member: Member,
        stream: &mut dyn Read,
        meter: &Meter,
    ) -> Result<u64> {
        let at = self.place(ending, member, meter)?;
        let stored = &mut self.stored[at];
        if stored.error.is_some() {
            // The other half was refused, and this one is of no use without it.
            return io::copy(stream, &mut io::sink()).map_err(|error| meter.explain(error));
        }
        let mut file = create(&self.dir.join(format!("{}.{ending}", stored.number)))?;
        stored.endings.push(ending);
        let (bytes, sha256) = copy(stream, &mut file, meter)?;
        stored.bytes += bytes;
        if ending != BART_HEADER || stored.sha256.is_empty() {
            stored.sha256 = sha256;
        }
        Ok(bytes)
    }

    /// The place of a raw file among the others: a new one, or that of the other half of BART data.
    fn place(&mut self, ending: &'static str, member: Member, meter: &Meter) -> Result<usize> {
        let is_bart = matches!(ending, BART_HEADER | BART_DATA) && has_ending(&member.path, ending);
        let stem = member.path.get(..member.path.len().saturating_sub(ending.len() + 1)).unwrap_or_default();
        let key = (member.archive.clone(), stem.to_owned());
        if is_bart {
            let other = self.pairs.get(&key).copied();
            if let Some(at) = other.filter(|&at| !self.stored[at].endings.contains(&ending)) {
                self.joined = Some(at);
                return Ok(at);
            }
        }
        let (at, number, limit) = (self.stored.len(), self.numbers, meter.limits().max_files);
        if number as u64 >= limit {
            let what = "the number of raw data files";
            return Err(Error::Limit { what, found: number as u64 + 1, limit });
        }
        self.numbers += 1;
        if is_bart {
            self.pairs.insert(key, at);
        }
        let (endings, sha256) = (Vec::new(), String::new());
        self.stored.push(Stored { member, number, endings, bytes: 0, sha256, error: None });
        Ok(at)
    }

    /// A member begins.
    pub(super) fn mark(&mut self) -> Mark {
        self.joined = None;
        Mark(self.stored.len())
    }

    /// Refuses a member, which began at `mark`, and withdraws what was stored of it. Of an archive that is everything: a
    /// checksum of the whole tells no good file in it from a bad one.
    pub(super) fn refuse(&mut self, Mark(from): Mark, member: Member, error: Error, meter: &Meter) -> Result<()> {
        for withdrawn in self.stored.drain(from..) {
            remove(self.dir, &withdrawn)?;
        }
        self.pairs.retain(|_, at| *at < from);
        let half = [BART_HEADER, BART_DATA].into_iter().find(|ending| has_ending(&member.path, ending));
        let at = match self.joined.filter(|&at| at < from) {
            Some(at) => at,
            None => self.place(half.unwrap_or_default(), member, meter)?,
        };
        let stored = &mut self.stored[at];
        remove(self.dir, stored)?;
        stored.endings.clear();
        stored.endings.extend(half);
        stored.error.get_or_insert(error);
        Ok(())
    }

    /// An archive of this name ended: what comes later under the same name belongs to another.
    pub(super) fn leave(&mut self, archive: &str) {
        self.pairs.retain(|(of, _), _| of != archive);
    }

    /// A nameless file with the bytes of `stream`, gone once it is closed.
    pub(super) fn spool(&mut self, stream: &mut dyn Read, meter: &Meter) -> Result<File> {
        let path = self.dir.join("archive.zip");
        let mut file = create(&path)?;
        std::fs::remove_file(&path).map_err(Error::io("a temporary file cannot be removed"))?;
        let limit = meter.limits().max_output_bytes;
        let (found, _) = copy(&mut stream.take(limit.saturating_add(1)), &mut file, meter)?;
        if found > limit {
            return Err(Error::Limit { what: "the size of the zip archive in bytes", found, limit });
        }
        Ok(file)
    }

    /// Everything that was stored, in the order of the archive.
    pub(super) fn finish(self, others: Vec<Content>) -> Extracted {
        let names = names::distinct(self.stored.iter().map(|stored| &stored.member));
        let mut extracted = Extracted { files: Vec::new(), refused: Vec::new(), others };
        for (stored, name) in self.stored.into_iter().zip(names) {
            let Stored { member, number, endings, bytes, sha256, error } = stored;
            let error = error.or_else(|| match endings.as_slice() {
                [BART_HEADER] => Some(Error::unsupported("a BART header (.hdr) without its data", SEND_BOTH)),
                [BART_DATA] => Some(Error::unsupported("BART data (.cfl) without their header", SEND_BOTH)),
                _ => None,
            });
            if let Some(error) = error {
                extracted.refused.push(Refused { name, error });
                continue;
            }
            // BART data are opened by their header.
            let ending = endings.iter().find(|&&ending| ending != BART_DATA).copied().unwrap_or_default();
            let path = self.dir.join(format!("{number}.{ending}"));
            extracted.files.push(RawFile { path, name, bytes, sha256, container: member.container });
        }
        extracted
    }
}

const SEND_BOTH: &str = "send both in one archive, under one name";

/// Whether a path ends in `.ending`, in any case of letters.
fn has_ending(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

fn remove(dir: &Path, stored: &Stored) -> Result<()> {
    // Those of a raw file that was refused before are gone already.
    let endings = stored.endings.iter().filter(|_| stored.error.is_none());
    for ending in endings {
        let removed = std::fs::remove_file(dir.join(format!("{}.{ending}", stored.number)));
        removed.map_err(Error::io("a temporary file cannot be removed"))?;
    }
    Ok(())
}

fn create(path: &PathBuf) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    file.map_err(Error::io("the unpacked raw data cannot be stored"))
}

/// Copies a stream and gives its length and SHA-256.
fn copy(stream: &mut dyn Read, output: &mut File, meter: &Meter) -> Result<(u64, String)> {
    let (filled, to_hash) = sync_channel::<Vec<u8>>(BLOCKS);
    let (empty, reusable) = channel();
    thread::scope(|scope| {
        // Hashing takes as long as decompressing, so each has a thread.
        let hashing = scope.spawn(move || {
            let mut hash = Sha256::new();
            for block in to_hash {
                hash.update(&block);
                // The other side may have failed meanwhile, and needs no more blocks then.
                let _ = empty.send(block);
            }
            hex(&hash.finalize())
        });
        let failed = || Error::io("the unpacked raw data cannot be hashed")(io::ErrorKind::BrokenPipe.into());
        let mut bytes = 0;
        loop {
            let mut block = reusable.try_recv().unwrap_or_default();
            block.resize(BLOCK, 0);
            let length = match stream.read(&mut block) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(meter.explain(error)),
            };
            block.truncate(length);
            output.write_all(&block).map_err(Error::io("the unpacked raw data cannot be stored"))?;
            bytes += length as u64;
            filled.send(block).map_err(|_| failed())?;
        }
        drop(filled);
        hashing.join().map(|sha256| (bytes, sha256)).map_err(|_| failed())
    })
}
