//! How fast an ISMRMRD file is prepared: `prepare_rate FILE [OUT]` prints MB of raw samples, seconds, MB/s and the peak
//! memory as JSON. Without OUT the prepared file is computed and thrown away.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use kspace::prepare::{Options, plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let input = arguments.next().ok_or("usage: prepare_rate FILE [OUT]")?;
    let start = Instant::now();
    let raw = kspace::format::open(Path::new(&input))?;
    let plan = plan(raw.as_ref(), &Options::default())?;
    let planned = start.elapsed().as_secs_f64();
    match arguments.next() {
        Some(output) => plan.write(raw.as_ref(), BufWriter::new(File::create(output)?), &mut |_, _| {})?.flush()?,
        None => drop(plan.write(raw.as_ref(), std::io::sink(), &mut |_, _| {})?),
    }
    let seconds = start.elapsed().as_secs_f64();
    let samples: usize = raw.heads().iter().map(|head| usize::from(head.samples) * usize::from(head.channels)).sum();
    let megabytes = (samples * size_of::<kspace::Complex32>()) as f64 / 1e6;
    #[allow(clippy::print_stdout)]
    {
        println!(
            "{{\"megabytes\": {megabytes:.1}, \"prepared_megabytes\": {:.1}, \"plan_seconds\": {planned:.4}, \"seconds\": \
             {seconds:.4}, \"megabytes_per_second\": {:.1}, \"peak_megabytes\": {}}}",
            plan.byte_len() as f64 / 1e6,
            megabytes / seconds,
            peak_megabytes().map_or_else(|| "null".to_owned(), |peak| format!("{peak:.1}")),
        );
    }
    Ok(())
}

/// The most memory this process held at once, with the pages of the mapped file; Linux only.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1.024e-3)
}
