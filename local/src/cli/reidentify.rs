//! `reidentify`.

use local::Result;
use local::reidentify::reidentify as copy;

use crate::cli::args;
use crate::cli::files::Stop;
use crate::cli::ui::Ui;

pub(crate) fn reidentify(args: &args::Reidentify, ui: Ui) -> Result<()> {
    let stop = Stop::new()?;
    let bar = ui.spinner("reidentify");
    let done = copy(&args.results, &args.names, &args.out, &|| stop.stopped());
    bar.clear();
    let done = done?;
    ui.result(&done, || {
        let files: usize = done.scans.iter().map(|scan| scan.files).sum();
        let scans = done.scans.len();
        format!("{files} DICOM files of {scans} scans; {} scans of the results are not in --names", done.left_out)
    });
    Ok(())
}
