//! A writer of Siemens raw data, as far as the reader looks at them.

use kspace::Complex32;

/// Stands wherever a file names the patient.
pub(crate) const PATIENT: &str = "Doe^Jane";

/// Layout of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One measurement, a header for every channel.
    Vb,
    /// Several measurements, whose lengths are stated.
    Vd,
    /// Several measurements, the length of the last left open, as exported files have it.
    VdOpen,
}

/// A readout.
#[derive(Debug, Clone)]
pub(crate) struct Readout {
    pub(crate) mask: u64,
    /// Lin, Ave, Sli, Par, Eco, Phs, Rep, Set, Seg.
    pub(crate) counters: [u16; 9],
    pub(crate) channels: u16,
    pub(crate) samples: u16,
    pub(crate) cut_off: [u16; 2],
    pub(crate) center_column: u16,
    pub(crate) center: [u16; 2],
    pub(crate) position: [f32; 3],
    /// W, X, Y, Z.
    pub(crate) quaternion: [f32; 4],
    /// Tells its samples from those of others.
    pub(crate) seed: u32,
    /// Its samples where it is given any, `[channel, place]`.
    pub(crate) data: Vec<Complex32>,
}

impl Readout {
    pub(crate) fn new(channels: u16, samples: u16, seed: u32) -> Self {
        Self {
            mask: 1 << 3,
            counters: [0; 9],
            channels,
            samples,
            cut_off: [0; 2],
            center_column: samples / 2,
            center: [0; 2],
            position: [1.0, -2.0, 30.0],
            quaternion: [0.5, 0.5, 0.5, 0.5],
            seed,
            data: Vec::new(),
        }
    }

    pub(crate) fn bit(mut self, number: u32) -> Self {
        self.mask |= 1 << number;
        self
    }

    /// Sample of a channel; without data another for every readout, channel and place.
    pub(crate) fn sample(&self, channel: u16, place: u16) -> Complex32 {
        let at = usize::from(channel) * usize::from(self.samples) + usize::from(place);
        let own = || Complex32::new(f32::from(channel) * 1000.0 + f32::from(place) + 0.5, self.seed as f32);
        self.data.get(at).copied().unwrap_or_else(own)
    }

    /// Number of a channel in the file: they have gaps.
    pub(crate) fn channel_id(channel: u16) -> u16 {
        channel + channel / 4
    }
}

/// What follows the header of a measurement.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    Readout(Readout),
    /// Synchronous data of so many bytes, header included.
    Sync(usize),
}

/// A measurement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measurement {
    /// Names and texts of the buffers of its header.
    pub(crate) buffers: Vec<(&'static str, String)>,
    pub(crate) blocks: Vec<Block>,
    /// Whether its end is marked.
    pub(crate) ended: bool,
}

/// Buffers of a header with these lines of `MeasYaps`.
pub(crate) fn protocol(lines: &str) -> Vec<(&'static str, String)> {
    let dicom = format!(
        "<ParamString.\"tPatientName\"> {{ \"{PATIENT}\" }}\n<ParamDouble.\"flReadoutOSFactor\"> {{ <Precision> 6 2.0 }}"
    );
    vec![
        ("Dicom", dicom),
        ("MeasYaps", format!("### ASCCONV BEGIN ###\ntPatient = \"{PATIENT}\"\n{lines}\n### ASCCONV END ###\n")),
    ]
}

/// Elements of a coil for channels as the writer numbers them, the last listed first.
pub(crate) fn elements(list: &str, channels: u16) -> String {
    let line = |(index, channel): (usize, u16)| {
        let key = format!("{list}.asList[{index}]");
        let number = Readout::channel_id(channel) + 1;
        format!(
            "{key}.sCoilElementID.tCoilID = \"Head\"\n{key}.sCoilElementID.lCoilCopy = 1\n\
             {key}.sCoilElementID.tElement = \"\"H{channel}\"\"\n{key}.lADCChannelConnected = {number}\n"
        )
    };
    (0..channels).rev().enumerate().map(line).collect()
}

/// The file of `measurements`; one for [`Layout::Vb`]. `patient` stands wherever scanners write it.
pub(crate) fn write(layout: Layout, measurements: &[Measurement], patient: &str) -> Vec<u8> {
    if layout == Layout::Vb {
        assert_eq!(measurements.len(), 1);
        return pad(measurement(layout, &measurements[0], 7, patient), 32);
    }
    let mut table = [0u32.to_le_bytes(), (measurements.len() as u32).to_le_bytes()].concat();
    let mut data: Vec<u8> = Vec::new();
    for (number, it) in measurements.iter().enumerate() {
        let bytes = measurement(layout, it, number as u32 + 40, patient);
        let open = layout == Layout::VdOpen && number + 1 == measurements.len();
        table.extend([number as u32 + 40, 5].iter().flat_map(|word| word.to_le_bytes()));
        table.extend((10_240 + data.len() as u64).to_le_bytes());
        table.extend(if open { 0 } else { bytes.len() as u64 }.to_le_bytes());
        let mut names = [0; 128];
        names[..patient.len()].copy_from_slice(patient.as_bytes());
        names[64..67].copy_from_slice(b"gre");
        table.extend(names);
        data = pad([data, bytes].concat(), 512);
    }
    [pad(table, 10_240), data].concat()
}

fn pad(mut bytes: Vec<u8>, multiple: usize) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(multiple), 0);
    bytes
}

fn measurement(layout: Layout, it: &Measurement, id: u32, patient: &str) -> Vec<u8> {
    let mut buffers = vec![("Config", format!("<ParamString.\"tPatientName\"> {{ \"{patient}\" }}\n"))];
    buffers.extend(it.buffers.iter().cloned());
    let mut header = (buffers.len() as u32).to_le_bytes().to_vec();
    for (name, text) in &buffers {
        header.extend([name.as_bytes(), &[0], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat());
    }
    // The length stands before the count; VB headers are long, which tells them from a table.
    let length = (header.len() + 4).next_multiple_of(32).max(if layout == Layout::Vb { 10_240 } else { 0 });
    let mut bytes = (length as u32).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.resize(length, 0);
    for (number, block) in it.blocks.iter().enumerate() {
        match block {
            Block::Sync(length) => {
                let start = bytes.len();
                bytes.extend(mdh(layout, &Readout::new(0, 0, 0).bit(5), *length, id, number as u32, 0));
                bytes.resize(start + length, 0xa5);
            }
            Block::Readout(readout) => write_readout(layout, readout, id, number as u32, &mut bytes),
        }
    }
    if it.ended {
        bytes.extend(mdh(layout, &Readout::new(0, 0, 0).bit(0), 352, id, it.blocks.len() as u32, 0));
        bytes.extend([0; 160]);
    }
    bytes
}

fn write_readout(layout: Layout, readout: &Readout, id: u32, number: u32, bytes: &mut Vec<u8>) {
    assert!([0, usize::from(readout.channels) * usize::from(readout.samples)].contains(&readout.data.len()));
    let data = 8 * usize::from(readout.samples);
    let length = match layout {
        Layout::Vb => 128 + data,
        _ => 192 + usize::from(readout.channels) * (32 + data),
    };
    if layout != Layout::Vb {
        bytes.extend(mdh(layout, readout, length, id, number, 0));
    }
    for channel in 0..readout.channels {
        let channel_id = Readout::channel_id(channel);
        if layout == Layout::Vb {
            bytes.extend(mdh(layout, readout, length, id, number, channel_id));
        } else {
            let words = [((32 + data) as u32) << 8, id, number, 0, 0, 0, channel_id.into(), 0];
            bytes.extend(words.iter().flat_map(|word: &u32| word.to_le_bytes()));
        }
        for place in 0..readout.samples {
            let sample = readout.sample(channel, place);
            bytes.extend([sample.re.to_le_bytes(), sample.im.to_le_bytes()].concat());
        }
    }
}

fn mdh(layout: Layout, it: &Readout, length: usize, id: u32, number: u32, channel_id: u16) -> Vec<u8> {
    let shorts = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut bytes: Vec<u8> =
        [length as u32, id, number, 1000 + number, 2000].iter().flat_map(|word| word.to_le_bytes()).collect();
    if layout != Layout::Vb {
        bytes.extend([0xee; 20]);
    }
    bytes.extend(it.mask.to_le_bytes());
    bytes.extend(shorts(&[it.samples, it.channels]));
    bytes.extend(shorts(&it.counters));
    bytes.extend(shorts(&[0; 5]));
    bytes.extend(shorts(&it.cut_off));
    bytes.extend(shorts(&[it.center_column, 3]));
    bytes.extend([floats(&[12.5]), vec![0; 4]].concat());
    bytes.extend(shorts(&it.center));
    let place = [floats(&it.position), floats(&it.quaternion)].concat();
    if layout == Layout::Vb {
        bytes.extend([vec![0; 16], place, shorts(&[channel_id, 0])].concat());
    } else {
        bytes.extend([place, vec![0; 64]].concat());
    }
    bytes
}
