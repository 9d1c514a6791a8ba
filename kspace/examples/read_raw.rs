//! How fast the samples of a raw data file of any format are read: `read_raw FILE` prints MB, seconds and MB/s as JSON.

use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: read_raw FILE")?;
    let start = Instant::now();
    let scans = kspace::format::open_all(Path::new(&path))?;
    let mut samples = 0_usize;
    let mut sum = 0.0_f64;
    for scan in scans {
        for readout in 0..scan.heads().len() {
            let values = scan.samples(readout)?;
            samples += values.len();
            // Every sample is touched, as other readers touch it when they copy; in lanes, which cost next to nothing.
            let mut lanes = [0.0_f32; 16];
            for block in bytemuck::cast_slice::<_, f32>(&values).chunks(16) {
                lanes.iter_mut().zip(block).for_each(|(lane, value)| *lane += value);
            }
            sum += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
        }
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
