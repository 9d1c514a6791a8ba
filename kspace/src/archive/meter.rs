//! Counts bytes on both sides of a decoder and stops at the limits.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::rc::Rc;
use std::time::Instant;

use super::Limits;
use crate::Error;

/// A small file may compress very well; the ratio is judged from here on.
const RATIO_FROM_BYTES: u64 = 16 << 20;

/// What the readers of one archive share.
pub(super) struct Meter(Rc<State>);

struct State {
    limits: Limits,
    read: Cell<u64>,
    unpacked: Cell<u64>,
    /// Why the source or a limit stopped the stream; decoders between would only say that it ended.
    stopped: RefCell<Option<Error>>,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        let (read, unpacked, stopped) = (Cell::new(0), Cell::new(0), RefCell::new(None));
        Self(Rc::new(State { limits, read, unpacked, stopped }))
    }

    /// The archive as it arrives.
    pub(super) fn source<R: Read>(&self, inner: R) -> Source<R> {
        Source { inner, state: Rc::clone(&self.0) }
    }

    /// A decoder whose output is limited.
    pub(super) fn guard<R: Read>(&self, inner: R) -> Guard<R> {
        Guard { inner, state: Rc::clone(&self.0) }
    }

    /// The error behind what a decoder or the tar walk reported.
    pub(super) fn explain(&self, error: io::Error) -> Error {
        if let Some(stopped) = self.0.stopped.borrow_mut().take() {
            return stopped;
        }
        let text = error.to_string();
        // The xz and tar readers report an early end with a kind of their own.
        let early = error.kind() == io::ErrorKind::UnexpectedEof
            || ["premature eof", "failed to read entire block", "unexpected end of file", "unexpected EOF"]
                .iter()
                .any(|hint| text.contains(hint));
        if early {
            let found = self.0.read.get();
            return Error::Truncated { what: "the archive".to_owned(), found, expected: found + 1 };
        }
        Error::corrupt("the archive is damaged", text, "an intact stream")
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
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let state = &self.state;
        let unpacked = state.unpacked.get() + length as u64;
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
