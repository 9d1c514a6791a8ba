//! Finds the noise scan of an image and puts its channels in the order of the image.
//!
//! Noise whitens an image only when its channels are those of the image, one by one. A noise scan is often made with more
//! coils, in another order; their names tell.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::format::header::Header;
use crate::format::{Flags, RawScan, ReadoutHead, no_such_readout};
use crate::{Complex32, Error, Result};

/// A measurement that is noise throughout.
pub(super) struct NoiseScan {
    /// Number of the file that it is from.
    pub(super) file: usize,
    pub(super) scan: Arc<dyn RawScan>,
}

/// Gives a scan without noise readouts those of the noise scan that belongs to it: the one that its header names; else the
/// last one, of the same file before others, that has all of its coils, by name or, where neither names them, by number.
/// Where none fits, the scan says so.
pub(super) fn attach(image: Box<dyn RawScan>, file: usize, noises: &[NoiseScan]) -> Box<dyn RawScan> {
    if noises.is_empty() || image.heads().iter().any(|head| head.flags.has(Flags::NOISE)) {
        return image;
    }
    let named = image.header().noise_dependency.as_ref();
    let named = named.and_then(|id| noises.iter().rfind(|it| it.scan.header().measurement_id.as_ref() == Some(id)));
    let coils = Coils::of(image.as_ref());
    let chosen = match named {
        Some(noise) => coils.order(&Coils::of(noise.scan.as_ref()), true).map(|order| (noise, order)),
        None => {
            let (same, other): (Vec<_>, Vec<_>) = noises.iter().rev().partition(|noise| noise.file == file);
            let tried = same.into_iter().chain(other);
            let mut tried = tried.map(|it| coils.order(&Coils::of(it.scan.as_ref()), false).map(|order| (it, order)));
            let first = tried.next();
            match first {
                Some(Err(reason)) => tried.find_map(std::result::Result::ok).ok_or(reason),
                Some(fitting) => fitting,
                None => return image,
            }
        }
    };
    let mut warnings = image.warnings().to_vec();
    let noise = match chosen {
        Ok((noise, order)) => Some(Noise::of(&noise.scan, order)),
        Err(reason) => {
            warnings.push(format!("{reason}: not used"));
            None
        }
    };
    Box::new(WithNoise::of(image, noise, warnings))
}

/// The channels of a scan.
struct Coils<'a> {
    channels: usize,
    /// Their names, where each has one of its own.
    names: Option<&'a [String]>,
}

impl<'a> Coils<'a> {
    fn of(scan: &'a dyn RawScan) -> Self {
        let lines = || scan.heads().iter();
        let line = lines().find(|head| head.is_imaging()).or_else(|| lines().next());
        let channels = line.map_or(0, |head| usize::from(head.channels));
        let names = scan.header().system.coil_names.as_slice();
        let distinct = names.iter().filter(|name| !name.is_empty()).collect::<BTreeSet<_>>().len();
        Self { channels, names: (channels > 0 && names.len() == channels && distinct == channels).then_some(names) }
    }

    /// Which channel of the noise each channel is, or why they do not fit. Where the header names the noise scan,
    /// `stated`, coils without names are taken to be in the same order.
    fn order(&self, noise: &Coils<'_>, stated: bool) -> std::result::Result<Vec<usize>, String> {
        let (image, of_noise) = (self.channels, noise.channels);
        match (self.names, noise.names) {
            (Some(names), Some(others)) => {
                let place = |name: &String| others.iter().position(|other| other == name);
                let order: Vec<usize> = names.iter().filter_map(place).collect();
                if order.len() == image {
                    return Ok(order);
                }
                Err(format!("noise scan lacks {} of the {image} coils of the image", image - order.len()))
            }
            _ if image != of_noise => Err(format!("noise scan has {of_noise} channels, the image {image}")),
            (None, None) => Ok((0..image).collect()),
            _ if stated => Ok((0..image).collect()),
            (Some(_), None) => Err("noise scan does not name its coils as the image does".to_owned()),
            (None, Some(_)) => Err("noise scan names its coils, the image does not".to_owned()),
        }
    }
}

/// Noise readouts with the channels of an image.
struct Noise {
    scan: Arc<dyn RawScan>,
    /// Which readouts have every channel.
    readouts: Vec<usize>,
    /// Which channel of the noise each channel of the image is; `None` where they are the same.
    order: Option<Vec<usize>>,
    channels: usize,
}

impl Noise {
    fn of(scan: &Arc<dyn RawScan>, order: Vec<usize>) -> Self {
        let channels = Coils::of(scan.as_ref()).channels;
        let complete = |(_, head): &(usize, &ReadoutHead)| usize::from(head.channels) == channels;
        let readouts = scan.heads().iter().enumerate().filter(complete).map(|(number, _)| number).collect();
        let same = order.len() == channels && order.iter().enumerate().all(|(at, channel)| at == *channel);
        Self { scan: Arc::clone(scan), readouts, order: (!same).then_some(order), channels }
    }

    fn heads(&self) -> impl Iterator<Item = ReadoutHead> {
        let channels = self.order.as_ref().map_or(self.channels, Vec::len);
        let heads = self.readouts.iter().filter_map(|number| self.scan.heads().get(*number));
        heads.map(move |head| ReadoutHead { encoding: 0, channels: channels as u16, ..*head })
    }

    fn samples(&self, number: usize) -> Result<Cow<'_, [Complex32]>> {
        let samples = self.scan.samples(number)?;
        let Some(order) = &self.order else { return Ok(samples) };
        let count = samples.len() / self.channels.max(1);
        let channels = order.iter().map(|channel| samples.get(channel * count..(channel + 1) * count));
        let ordered: Option<Vec<&[Complex32]>> = channels.collect();
        let ordered = ordered.ok_or_else(|| Error::corrupt("noise scan", samples.len(), "samples of every channel"))?;
        Ok(Cow::Owned(ordered.concat()))
    }
}

/// A scan, and after its readouts those of its noise.
struct WithNoise {
    image: Box<dyn RawScan>,
    noise: Option<Noise>,
    header: Header,
    /// Of image and noise; empty without noise.
    heads: Vec<ReadoutHead>,
    warnings: Vec<String>,
}

impl WithNoise {
    fn of(image: Box<dyn RawScan>, noise: Option<Noise>, warnings: Vec<String>) -> Self {
        let mut header = image.header().clone();
        let mut heads = Vec::new();
        if let Some(noise) = &noise {
            heads.extend_from_slice(image.heads());
            heads.extend(noise.heads());
            let bandwidth = &mut header.system.relative_noise_bandwidth;
            *bandwidth = bandwidth.or(noise.scan.header().system.relative_noise_bandwidth);
        }
        Self { image, noise, header, heads, warnings }
    }
}

impl RawScan for WithNoise {
    fn format(&self) -> &'static str {
        self.image.format()
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        if self.noise.is_some() { &self.heads } else { self.image.heads() }
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let Some(beyond) = readout.checked_sub(self.image.heads().len()) else { return self.image.samples(readout) };
        let noise = self.noise.as_ref().and_then(|noise| Some((noise, *noise.readouts.get(beyond)?)));
        let (noise, number) = noise.ok_or_else(|| no_such_readout(readout, self.heads().len()))?;
        noise.samples(number)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
