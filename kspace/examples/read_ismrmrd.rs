//! How fast the samples of an ISMRMRD file are read: `read_ismrmrd FILE` prints MB, seconds and MB/s as JSON.

use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: read_ismrmrd FILE")?;
    let start = Instant::now();
    let scan = kspace::format::open(Path::new(&path))?;
    let mut samples = 0_usize;
    let mut sum = 0.0_f64;
    for readout in 0..scan.heads().len() {
        let values = scan.samples(readout)?;
        samples += values.len();
        // Every sample is touched, as h5py touches it when it copies.
        sum += f64::from(values.iter().map(|value| value.re + value.im).sum::<f32>());
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
