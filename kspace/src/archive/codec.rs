//! The compressions that are read.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// Memory for an xz dictionary; `xz -9` asks for 65 MiB, a hostile header for 4 GiB.
const XZ_MEMORY: u64 = 256 << 20;
/// Window of a zstd frame, as a power of two; larger ones need `--long` to be made.
const ZSTD_WINDOW_LOG: u32 = 27;
/// First byte of a gzip member.
const GZIP_START: u8 = 0x1f;
/// First byte of a bzip2 stream.
const BZIP2_START: u8 = b'B';

/// A compression that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz.
    Xz,
    /// bzip2, of one or several streams.
    Bzip2,
}

impl Codec {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Ending that names of compressed files have.
    pub(super) const fn ending(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Xz => ".xz",
            Self::Bzip2 => ".bz2",
        }
    }

    pub(super) fn decoder<'a>(self, stream: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Joined::new(GzDecoder::new(BufReader::new(stream))),
            Self::Bzip2 => Joined::new(BzDecoder::new(BufReader::new(stream))),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(stream)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Xz => Box::new(XzDecoder::new_stream(stream, Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?)),
        })
    }
}

/// Whether a decoder refused a stream because it asks for too much memory.
pub(super) fn wants_too_much_memory(error: &io::Error) -> bool {
    let xz = error.get_ref().and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
    matches!(xz, Some(liblzma::stream::Error::MemLimit | liblzma::stream::Error::Mem))
        || error.to_string().contains("too much memory")
}

/// A decoder of one member of a stream.
trait Member: Read + Sized {
    /// What the member is read from.
    type Inner: BufRead;
    /// First byte of a further member.
    const START: u8;

    fn begin(inner: Self::Inner) -> Self;
    fn inner(&mut self) -> &mut Self::Inner;
    fn end(self) -> Self::Inner;
}

impl<R: BufRead> Member for GzDecoder<R> {
    type Inner = R;
    const START: u8 = GZIP_START;

    fn begin(inner: R) -> Self {
        Self::new(inner)
    }

    fn inner(&mut self) -> &mut R {
        self.get_mut()
    }

    fn end(self) -> R {
        self.into_inner()
    }
}

impl<R: BufRead> Member for BzDecoder<R> {
    type Inner = R;
    const START: u8 = BZIP2_START;

    fn begin(inner: R) -> Self {
        Self::new(inner)
    }

    fn inner(&mut self) -> &mut R {
        self.get_mut()
    }

    fn end(self) -> R {
        self.into_inner()
    }
}

/// Members of a stream, one after the other; what follows the last is padding, as `gzip` and `bzip2` themselves take it.
enum Joined<M: Member> {
    Member(Box<M>),
    Ended,
}

impl<M: Member> Joined<M> {
    fn new(first: M) -> Box<Self> {
        Box::new(Self::Member(Box::new(first)))
    }
}

impl<M: Member> Read for Joined<M> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Self::Member(member) = self else { return Ok(0) };
            let length = member.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let rest = member.inner();
            let next = loop {
                match rest.fill_buf() {
                    Ok(bytes) => break bytes.first().copied(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            };
            match (next, std::mem::replace(self, Self::Ended)) {
                (Some(start), Self::Member(member)) if start == M::START => {
                    *self = Self::Member(Box::new(M::begin(member.end())));
                }
                (_, Self::Member(mut member)) => {
                    io::copy(member.inner(), &mut io::sink())?;
                }
                (_, Self::Ended) => {}
            }
        }
    }
}
