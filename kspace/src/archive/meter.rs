//! Counts bytes on both sides of a decoder and stops at the limits.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;
use std::time::Instant;

use super::{Limits, codec};
use crate::{Error, Result};

/// A small file may compress very well; the ratio is judged from here on.
const RATIO_FROM_BYTES: u64 = 16 << 20;

/// Long names and extended headers of a member; the tar reader holds them in memory.
const MEMBER_HEADER_BYTES: u64 = 1 << 20;

/// What the readers of one upload share, those of archives within it included.
#[derive(Clone)]
pub(super) struct Meter(Rc<State>);

struct State {
    limits: Limits,
    read: Cell<u64>,
    unpacked: Cell<u64>,
    entries: Cell<u64>,
    /// Why the source or a limit stopped the stream; decoders between would only say that it ended.
    stopped: RefCell<Option<Error>>,
}

/// What is watched while the headers of one tar archive are read.
#[derive(Default)]
struct TarState {
    /// Bytes the tar reader may still read before it shows the next member; none while data are read.
    header_budget: Cell<Option<u64>>,
    /// Whether the stream failed, or the tar reader met its end, which a whole archive marks before.
    broken: Cell<bool>,
}

/// Watches over the headers of one tar archive.
pub(super) struct TarWatch(Rc<TarState>);

impl TarWatch {
    /// Bounds what is read until the next member is shown.
    pub(super) fn expect_header(&self) {
        self.0.header_budget.set(Some(MEMBER_HEADER_BYTES));
    }

    /// Takes that bound away.
    pub(super) fn expect_data(&self) {
        self.0.header_budget.set(None);
    }

    /// The data of a member.
    pub(super) fn data<R: Read>(&self, inner: R) -> Data<R> {
        Data { inner, tar: Rc::clone(&self.0) }
    }

    /// Whether the archive itself, rather than a member of it, failed or ended without its mark. What follows is lost then:
    /// some decoders go on after damage as if nothing were.
    pub(super) fn is_broken(&self) -> bool {
        self.0.broken.get()
    }
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Rc::new(State {
            limits,
            read: Cell::new(0),
            unpacked: Cell::new(0),
            entries: Cell::new(0),
            stopped: RefCell::new(None),
        }))
    }

    /// The archive as it arrives.
    pub(super) fn source<R: Read>(&self, inner: R) -> Source<R> {
        Source { inner, state: Rc::clone(&self.0) }
    }

    /// A decoder whose output is limited, as far as it exceeds `credit`.
    pub(super) fn guard<R: Read>(&self, inner: R, credit: Credit) -> Guard<R> {
        Guard { inner, state: Rc::clone(&self.0), credit }
    }

    /// What a tar reader reads from, and what watches over it.
    pub(super) fn members<R: Read>(&self, inner: R) -> (Members<R>, TarWatch) {
        let tar = Rc::new(TarState::default());
        (Members { inner, state: Rc::clone(&self.0), tar: Rc::clone(&tar) }, TarWatch(tar))
    }

    /// A file of the scratch folder.
    pub(super) fn spooled<'a>(&self, file: &'a File) -> Spooled<'a> {
        Spooled { file, state: Rc::clone(&self.0) }
    }

    /// The limits in force.
    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Counts members of an archive.
    pub(super) fn count_entries(&self, more: u64) -> Result<()> {
        let found = self.0.entries.get().saturating_add(more);
        self.0.entries.set(found);
        let limit = self.0.limits.max_entries;
        if found > limit {
            return Err(Error::Limit { what: "the number of archive members", found, limit });
        }
        Ok(())
    }

    /// Refuses a member whose stated length alone passes the limit.
    pub(super) fn check_claim(&self, bytes: u64) -> Result<()> {
        let limit = self.0.limits.max_output_bytes;
        if bytes > limit {
            return Err(Error::Limit { what: "the unpacked size in bytes", found: bytes, limit });
        }
        Ok(())
    }

    /// An archive that ends early.
    pub(super) fn truncated(&self) -> Error {
        let found = self.0.read.get();
        Error::Truncated { what: "the archive".to_owned(), found, expected: found + 1 }
    }

    /// The error behind what a decoder reported.
    pub(super) fn explain(&self, error: io::Error) -> Error {
        self.explain_as(&error, || error.to_string())
    }

    /// The error behind what the tar reader reported, whose text may hold the name of a member.
    pub(super) fn explain_member(&self, error: io::Error) -> Error {
        self.explain_as(&error, || "a member header that is not valid".to_owned())
    }

    fn explain_as(&self, error: &io::Error, found: impl Fn() -> String) -> Error {
        if let Some(stopped) = self.0.stopped.borrow_mut().take() {
            return stopped;
        }
        if codec::wants_too_much_memory(error) {
            let advice = "compress it with the default settings, without --long or a custom dictionary";
            return Error::unsupported("the archive needs too much memory to unpack", advice);
        }
        let text = error.to_string();
        // The xz, bzip2 and tar readers report an early end with a kind of their own.
        let early = error.kind() == io::ErrorKind::UnexpectedEof
            || ["premature eof", "failed to read entire block", "unexpected end of file", "unexpected EOF"]
                .iter()
                .any(|hint| text.contains(hint));
        if early { self.truncated() } else { Error::corrupt("the archive", found(), "an intact stream") }
    }
}

/// Counts what is read and remembers why reading failed.
pub(super) struct Source<R> {
    inner: R,
    state: Rc<State>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(length) => {
                self.state.read.set(self.state.read.get() + length as u64);
                self.state.check_time()?;
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                Err(self.state.stop(Error::Io { what: "the archive cannot be read".to_owned(), source: error }))
            }
        }
    }
}

/// Counts what a decoder makes and stops it at the limits.
pub(super) struct Guard<R> {
    inner: R,
    state: Rc<State>,
    credit: Credit,
}

/// Bytes that were counted already, when they came out of an archive as those of an archive within it: a file in both counts once.
#[derive(Clone, Default)]
pub(super) struct Credit(Rc<Cell<u64>>);

impl Credit {
    /// Earns what is read of `inner`.
    pub(super) fn earn<R: Read>(&self, inner: R) -> Earning<R> {
        Earning { inner, credit: self.clone() }
    }

    /// What of `bytes` is not covered.
    fn spend(&self, bytes: u64) -> u64 {
        let covered = bytes.min(self.0.get());
        self.0.set(self.0.get() - covered);
        bytes - covered
    }
}

/// A stream whose bytes were counted.
pub(super) struct Earning<R> {
    inner: R,
    credit: Credit,
}

impl<R: Read> Read for Earning<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.credit.0.set(self.credit.0.get() + length as u64);
        Ok(length)
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let state = &self.state;
        let unpacked = state.unpacked.get() + self.credit.spend(length as u64);
        state.unpacked.set(unpacked);
        if unpacked > state.limits.max_output_bytes {
            let limit = state.limits.max_output_bytes;
            return Err(state.stop(Error::Limit { what: "the unpacked size in bytes", found: unpacked, limit }));
        }
        let ratio = unpacked / state.read.get().max(1);
        if unpacked > RATIO_FROM_BYTES && ratio > state.limits.max_ratio {
            let limit = state.limits.max_ratio;
            return Err(state.stop(Error::Limit { what: "the compression ratio", found: ratio, limit }));
        }
        state.check_time()?;
        Ok(length)
    }
}

/// Bounds the headers of members and notices the end of the stream.
pub(super) struct Members<R> {
    inner: R,
    state: Rc<State>,
    tar: Rc<TarState>,
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        let broke = match &read {
            Ok(length) => *length == 0 && !buffer.is_empty(),
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        };
        self.tar.broken.set(self.tar.broken.get() || broke);
        let length = read?;
        if let Some(budget) = self.tar.header_budget.get() {
            let Some(left) = budget.checked_sub(length as u64) else {
                let limit = MEMBER_HEADER_BYTES;
                let what = "the length of a member's header in bytes";
                return Err(self.state.stop(Error::Limit { what, found: limit + 1, limit }));
            };
            self.tar.header_budget.set(Some(left));
        }
        Ok(length)
    }
}

/// The data of a member of a tar archive. They fail only when the archive does: what is packed in them is decoded by others.
pub(super) struct Data<R> {
    inner: R,
    tar: Rc<TarState>,
}

impl<R: Read> Read for Data<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.tar.broken.set(true);
        }
        read
    }
}

/// A file of the scratch folder, read until the time is over.
pub(super) struct Spooled<'a> {
    file: &'a File,
    state: Rc<State>,
}

impl Read for Spooled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.state.check_time()?;
        self.file.read(buffer)
    }
}

impl Seek for Spooled<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl State {
    fn stop(&self, error: Error) -> io::Error {
        let text = error.to_string();
        *self.stopped.borrow_mut() = Some(error);
        io::Error::other(text)
    }

    fn check_time(&self) -> io::Result<()> {
        match self.limits.deadline {
            Some(deadline) if Instant::now() > deadline => Err(self.stop(Error::Io {
                what: "unpacking did not end in the time allowed".to_owned(),
                source: io::ErrorKind::TimedOut.into(),
            })),
            _ => Ok(()),
        }
    }
}
