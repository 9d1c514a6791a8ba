//! The page that says whether the images can be trusted.

use contract::{Manifest, Method, PreparedMeta};
use kspace::image::display::Display;
use pages::report::{
    Compared, Curve, Difference, Frame, Map, Named, Report, Series, Sheet, Slices, Space, counted, render,
};

use super::metrics::{EntryMetrics, Metrics};
use super::pictures::{self, DIFFERENCE_WHITE, Pictures};
use super::volume::Stack;
use crate::error::JobError;

/// The name of a method as it is written in captions.
pub(super) const fn caption(method: Method) -> &'static str {
    match method {
        Method::Auto => "this result",
        Method::Raki => "RAKI",
        Method::RakiPaper => "RAKI as published",
        Method::Nwg => "nwG",
        Method::Grappa => "GRAPPA, this result",
        Method::ZeroFilled => "zero-filled, this result",
    }
}

/// What the page is made of.
pub(super) struct Sources<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) meta: &'a PreparedMeta,
    pub(super) stack: &'a Stack,
    pub(super) metrics: &'a Metrics,
    pub(super) pictures: &'a Pictures,
    pub(super) mask: &'a [u8],
}

impl Sources<'_> {
    /// The page, HTML.
    pub(super) fn page(&self) -> Result<Vec<u8>, JobError> {
        let Self { manifest, meta, stack, pictures, .. } = self;
        let Pictures { frames, compared, g_factor, noise, .. } = pictures;
        let slices = stack.images.dim().1;
        let mut maps = Vec::new();
        if let Some(map) = g_factor {
            let sentence = "How much more signal-to-noise ratio the undersampling costs than fewer lines must, with the linear kernels.";
            maps.push(shown("g-factor", sentence, map));
        }
        if let Some(map) = noise {
            let sentence = "Deviation of the noise that the linear kernels leave in the image, before any refinement, in the unit of the image.";
            maps.push(shown("noise", sentence, map));
        }
        let space = frames.first().map(|(_, first)| Space {
            affine: Display::of(&stack.placed).affine(
                &stack.placed.affine,
                (stack.images.dim().2, stack.images.dim().3),
                (first.tile.1, first.tile.0),
            ),
            known: stack.placed.affine.known,
        });
        let report = Report {
            manifest,
            header: &meta.header,
            entries: &meta.entries,
            steps: &meta.steps,
            matrix: [stack.images.dim().3, stack.images.dim().2],
            montage: &pictures.montage,
            slices: Slices {
                labels: stack.labels(),
                frames: frames.iter().map(|(at, of)| Frame { name: stack.frame_name(*at), sheet: sheet(of) }).collect(),
                space,
            },
            compared: compared.iter().map(|one| side_by_side(one, slices)).collect(),
            maps,
            mask: Some(self.mask),
            curves: self.curves(),
            series: self.series(),
        };
        Ok(render(&report).into_bytes())
    }

    /// Training curves of the compared slices' networks, or of the first that were trained.
    fn curves(&self) -> Vec<Curve> {
        let name = counted(self.stack.frames.len());
        let trained = self.entries().enumerate().filter(|(_, entry)| !entry.curve.is_empty());
        let curve = |(at, entry): (usize, &EntryMetrics)| Curve {
            name: format!("{name} {}", at + 1),
            points: entry.curve.clone(),
        };
        let all: Vec<Curve> = trained.map(curve).collect();
        let shown = all.len().min(6);
        (0..shown).map(|at| all[at * all.len() / shown].clone()).collect()
    }

    /// What was acquired, by frame and in it by slice.
    fn entries(&self) -> impl Iterator<Item = &EntryMetrics> {
        self.stack.order.iter().map(|entry| &self.metrics.entries[*entry])
    }

    /// Numbers of each image.
    fn series(&self) -> Vec<Series> {
        let limit = |name: &str| self.manifest.checks.iter().find(|check| check.name == name).map(|check| check.limit);
        let mut all = Vec::new();
        let mut add = |name: &str, values: Vec<Option<f64>>, limit: Option<f64>| {
            if values.len() > 1 && values.iter().any(Option::is_some) {
                let values = values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect();
                all.push(Series { name: name.to_owned(), unit: String::new(), values, limit });
            }
        };
        let residuals = self.entries().map(|entry| entry.calibration_residual).collect();
        add("calibration residual", residuals, limit("calibration_residual"));
        add("SNR", self.entries().map(|entry| entry.image.snr).collect(), limit("snr"));
        add("ghosting", self.entries().map(|entry| entry.image.ghosting).collect(), limit("ghosting"));
        all
    }
}

fn sheet(of: &pictures::Sheet) -> Sheet<'_> {
    Sheet { png: &of.png, tile: of.tile, columns: of.columns, count: of.count }
}

fn shown<'a>(name: &str, sentence: &str, map: &'a pictures::Map) -> Map<'a> {
    Map {
        name: name.to_owned(),
        sentence: sentence.to_owned(),
        sheet: sheet(&map.sheet),
        low: map.low,
        high: map.high,
        unit: String::new(),
    }
}

fn side_by_side(one: &pictures::Compared, slices: usize) -> Compared<'_> {
    let images = one.images.iter().map(|(name, png)| Named { name: (*name).to_owned(), png }).collect();
    let differences = one
        .differences
        .iter()
        .map(|(name, png)| Difference { name: name.clone(), png, white: DIFFERENCE_WHITE })
        .collect();
    Compared { label: format!("slice {} of {slices}", one.slice + 1), images, differences }
}
