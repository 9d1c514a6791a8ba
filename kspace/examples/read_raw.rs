//! How fast the samples of a raw data file of any format are read: `read_raw FILE` prints MB, seconds and MB/s as JSON.

use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: read_raw FILE")?;
    let start = Instant::now();
    let scans = kspace::format::open_all(Path::new(&path))?;
    let (mut samples, mut sum) = (0_usize, 0.0_f64);
    for scan in scans {
        // On all cores, as the preparation reads.
        let of_one = |readout| {
            let values = scan.samples(readout)?;
            // Every sample is touched, as other readers touch it when they copy; in lanes, which cost next to nothing.
            let mut lanes = [0.0_f32; 16];
            let (blocks, rest) = bytemuck::cast_slice::<_, f32>(&values).as_chunks::<16>();
            for block in blocks {
                lanes.iter_mut().zip(block).for_each(|(lane, value)| *lane += value);
            }
            lanes.iter_mut().zip(rest).for_each(|(lane, value)| *lane += value);
            Ok((values.len(), lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>()))
        };
        let readouts = (0..scan.heads().len()).into_par_iter();
        let add = |a: (usize, f64), b: (usize, f64)| Ok::<_, kspace::Error>((a.0 + b.0, a.1 + b.1));
        let (count, of_scan) = readouts.map(of_one).try_reduce(|| (0, 0.0), add)?;
        (samples, sum) = (samples + count, sum + of_scan);
    }
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = 8.0 * samples as f64 / 1e6;
    #[allow(clippy::print_stdout)]
    {
        println!(
            "{{\"megabytes\": {megabytes:.1}, \"seconds\": {seconds:.4}, \"megabytes_per_second\": {:.1}, \"sum\": {sum:e}}}",
            megabytes / seconds
        );
    }
    Ok(())
}
