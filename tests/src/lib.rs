//! Inputs for the chain tests: scans as users send them, and files that must be refused.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

/// `bytes` in one gzip member.
///
/// # Errors
/// None in practice: memory does not refuse a write.
pub fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// A gzip-compressed tar archive of named members.
///
/// # Errors
/// When a name is too long for a tar header.
pub fn tar_gz(members: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes)?;
    }
    archive.into_inner()?.finish()
}

/// A gzip bomb: an archive whose one member is nothing but zeros and unpacks to a thousand times its size.
///
/// # Errors
/// As [`tar_gz`].
pub fn bomb() -> io::Result<Vec<u8>> {
    tar_gz(&[("scan.h5", &vec![0; 256 << 20])])
}

/// The same ISMRMRD file with a radial trajectory in its header.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when the header of `scan` does not state a Cartesian trajectory.
pub fn radial(scan: &[u8]) -> io::Result<Vec<u8>> {
    // White space around the text is not part of it, and a header of the same length leaves the file valid.
    let (from, to) = (b"<trajectory>cartesian<", b"<trajectory>radial   <");
    let at = scan
        .windows(from.len())
        .position(|window| window == from)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Cartesian trajectory in the header"))?;
    let mut bytes = scan.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    Ok(bytes)
}
