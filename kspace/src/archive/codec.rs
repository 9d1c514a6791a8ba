//! The compressions that are read.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// Memory for an xz dictionary; `xz -9` asks for 65 MiB, a hostile header for 4 GiB.
const XZ_MEMORY: u64 = 256 << 20;
/// Window of a zstd frame, as a power of two; larger ones need `--long` to be made.
const ZSTD_WINDOW_LOG: u32 = 27;
/// First byte of a gzip member.
const GZIP_START: u8 = 0x1f;

/// A compression that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz.
    Xz,
}

impl Codec {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        }
    }

    pub(super) fn decoder<'a>(self, stream: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(Gzip::Member(Box::new(GzDecoder::new(BufReader::new(stream))))),
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

/// Members of a gzip stream, one after the other; what follows the last is padding, as `gzip` itself takes it.
enum Gzip<R: Read> {
    Member(Box<GzDecoder<BufReader<R>>>),
    Ended,
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Self::Member(member) = self else { return Ok(0) };
            let length = member.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let rest = member.get_mut();
            let next = loop {
                match rest.fill_buf() {
                    Ok(bytes) => break bytes.first().copied(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            };
            match (next, std::mem::replace(self, Self::Ended)) {
                (Some(GZIP_START), Self::Member(member)) => {
                    *self = Self::Member(Box::new(GzDecoder::new(member.into_inner())));
                }
                (_, Self::Member(mut member)) => {
                    io::copy(member.get_mut(), &mut io::sink())?;
                }
                (_, Self::Ended) => {}
            }
        }
    }
}
