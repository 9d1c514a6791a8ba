//! Writes a sample `report.html` and `worklist.html` into a folder: `cargo run -p pages --example sample -- FOLDER`.

mod pictures;
mod study;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use contract::{ScanId, Stage, State};
use jiff::{Timestamp, ToSpan as _};
use pages::worklist::{Results, Row, Worklist};
use pictures::Way;
use study::Study;

const THUMBNAIL: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: sample FOLDER")?;
    fs::create_dir_all(&folder)?;
    let doubtful = Study::new(256, 12, 2, true)?;
    fs::write(folder.join("report.html"), pages::report::render(&doubtful.report()))?;
    let fine = Study::new(192, 5, 1, false)?;
    let single = Study::new(192, 1, 1, false)?;

    let now = Timestamp::now();
    let results = |study: &Study, minutes: i64| -> Result<Results, Box<dyn Error>> {
        let mut results = Results::of(&study.manifest).ok_or("the sample has no time")?;
        results.created = now.checked_sub(minutes.minutes())?;
        Ok(results)
    };
    let scans = [
        ("2026-11-24/brain_t2", 4, Stage::Reconstruct, State::Started, None, None),
        ("2026-11-24/brain_t2_flair", 9, Stage::Reconstruct, State::Done, None, Some(results(&doubtful, 9)?)),
        ("2026-11-24/knee_pd_sag", 31, Stage::Refresh, State::Done, None, Some(results(&fine, 31)?)),
        (
            "2026-11-24/spine_t1_with_a_name_that_nobody_should_give_a_scan_but_somebody_did",
            64,
            Stage::Decompress,
            State::Quarantined,
            Some("the trajectory is radial: only Cartesian scans are reconstructed, export a Cartesian scan"),
            None,
        ),
        (
            "2026-11-24/abdomen <b>&amp;</b>",
            65,
            Stage::Submit,
            State::Retrying,
            Some("the queue did not answer; it is tried again"),
            None,
        ),
        (
            "2026-11-23/brain_t1",
            1210,
            Stage::Reconstruct,
            State::Failed,
            Some("the job was stopped three times because the machine was taken away"),
            None,
        ),
        ("2026-11-23/hip köpf 2", 1300, Stage::Refresh, State::Done, None, Some(results(&fine, 1300)?)),
        ("2026-11-23/hip köpf 2", 1390, Stage::Reconstruct, State::Done, None, Some(results(&fine, 1390)?)),
        ("2026-11-21/phantom_qa", 4200, Stage::Refresh, State::Done, None, Some(results(&single, 4200)?)),
    ];
    let mut list = Worklist::default();
    for (index, (name, minutes, stage, state, reason, results)) in scans.into_iter().enumerate() {
        let updated = now.checked_sub(minutes.minutes())?;
        if let Some(results) = &results {
            let at = folder.join(name);
            fs::create_dir_all(&at)?;
            let picture = pictures::slice(THUMBNAIL, 0.1 * index as f64 - 0.4, index % 2, Way::Best);
            fs::write(
                at.join("thumbnail.png"),
                pictures::sheet(&[pictures::window(&picture, 0.0, 1.05)], THUMBNAIL, 1)?,
            )?;
            let study = match name {
                _ if results.check => &doubtful,
                "2026-11-21/phantom_qa" => &single,
                _ => &fine,
            };
            fs::write(at.join("report.html"), pages::report::render(&study.report()))?;
        }
        list.upsert(Row {
            scan: ScanId::of_object("raw", name, &index.to_string()),
            folder: name.to_owned(),
            name: name.to_owned(),
            started: updated.checked_sub(3.minutes())?,
            updated,
            stage,
            state,
            reason: reason.map(str::to_owned),
            results,
        });
    }
    fs::write(folder.join("worklist.html"), list.render())?;
    fs::write(folder.join("empty.html"), Worklist::default().render())?;
    Ok(())
}
