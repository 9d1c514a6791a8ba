//! The networks of the entries of a file: trained, scored, drawn and kept.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use contract::Method;
use kspace::image::png;
use kspace::numerics::{combine, fft, metrics, nwg};
use kspace::prepared::{ReadAt, Reader, Shape};
use kspace::{Complex32, undersample};
use ndarray::Array2;

use super::settings::Settings;
use crate::cli::output;
use crate::engine::{self, Beside, Slice};
use crate::error::JobError;
use crate::progress::Progress;
use crate::raki::fill::{Entry, Filled};
use crate::raki::layout::TAPS;
use crate::raki::lesson::Lesson;
use crate::raki::{Backend, Fit, Weights};

/// How much brighter errors are drawn.
const BRIGHTER: f32 = 5.0;

/// What the entries of a file are trained with, and where the results go.
pub(super) struct Training<'a> {
    pub(super) settings: &'a Settings,
    pub(super) backend: &'a dyn Backend,
    pub(super) variables: &'a VarMap,
    pub(super) figures: &'a Path,
    /// Name of the file in the model.
    pub(super) prefix: String,
    pub(super) progress: &'a dyn Progress,
}

/// What an entry is trained on.
struct Sampled {
    slice: Slice,
    /// Image of the fully sampled entry.
    reference: Option<Array2<f32>>,
}

impl Training<'_> {
    /// Trains the entries of a file; returns how many were.
    ///
    /// # Errors
    /// [`JobError::BadData`] for an entry that cannot be trained on.
    pub(super) fn file<R: ReadAt>(&self, reader: &Reader<R>) -> Result<usize, JobError> {
        let mut trained = 0;
        for (index, meta) in reader.meta.entries.iter().enumerate() {
            let slice = Slice {
                kspace: reader.entry(index)?,
                mask: reader.mask.row(index).iter().map(|acquired| *acquired == 1).collect(),
                sampling: meta.sampling,
                number: index as u64,
                noise_variance: crate::reconstruct::noise_variance(&reader.meta),
                calibration: reader.calibration(index)?,
                compare: false,
            };
            trained += usize::from(self.entry(index, &self.sampled(slice)?)?);
        }
        Ok(trained)
    }

    /// An accelerated entry as it is, a fully sampled one undersampled.
    fn sampled(&self, slice: Slice) -> Result<Sampled, JobError> {
        if slice.sampling.acceleration > 1 {
            return Ok(Sampled { slice, reference: None });
        }
        let (acceleration, acs) = self.settings.sampling;
        let (mask, sampling) = undersample::sample(slice.kspace.dim().1, acceleration, acs)?;
        let reference = Some(combine::rss(&fft::ifft2c(&slice.kspace)));
        let kspace = undersample::keep(&slice.kspace, &mask);
        Ok(Sampled { slice: Slice { kspace, mask, sampling, calibration: None, ..slice }, reference })
    }

    /// Trains one entry; `false` for an empty one.
    fn entry(&self, index: usize, sampled: &Sampled) -> Result<bool, JobError> {
        let recipe = &self.settings.recipe;
        let Slice { kspace, mask, sampling, calibration, noise_variance, .. } = &sampled.slice;
        let (coils, ky, kx) = kspace.dim();
        let acs = calibration.as_ref().map(|lines| (lines.dim().1, lines.dim().2));
        recipe
            .check(sampling, &Shape { entries: 1, coils, ky, kx, acs })
            .map_err(|reason| JobError::BadData(format!("entry {index}: {reason}")))?;
        if kspace.iter().all(|sample| *sample == Complex32::default()) {
            return Ok(false);
        }
        let separate = calibration
            .as_ref()
            .map(|lines| engine::separate(lines, kspace, mask, sampling, *noise_variance))
            .transpose()?;
        let (sampling, separate) = separate.map_or((*sampling, None), |(covered, lines)| (covered, Some(lines)));
        let linear = match recipe.method {
            Method::Raki => {
                let noise_variance = engine::believed(&sampled.slice, separate.as_ref())?;
                let options = nwg::Options { noise_variance, ..recipe.nwg };
                let on = self.backend.products();
                Some(nwg::fill_and_judge(kspace, mask, &sampling, separate.as_ref(), &options, on)?)
            }
            _ => None,
        };
        let lesson = linear.as_ref().map(|(filled, _)| Lesson {
            kspace: &filled.kspace,
            lines: filled.region.0..filled.region.1,
            noise_variance: filled.noise_variance,
        });
        let beside = linear.as_ref().map(|(_, judge)| Beside { judge, on: self.backend.products() });
        let entry = Entry {
            kspace,
            mask,
            sampling,
            number: index as u64,
            parameters: recipe.training,
            calibration: separate.as_ref().map(|separate| separate.lines.view()),
            lesson,
            linear: beside.as_ref().map(|beside| beside as _),
        };
        let Some(problem) = entry.problem()? else { return Ok(false) };
        let steps = recipe.training.networks(problem.layout) * recipe.training.iterations;
        self.progress.stage("train", steps as u64);
        let started = Instant::now();
        let fits = self.backend.fit(&[problem], &recipe.training, self.progress)?;
        let seconds = started.elapsed().as_secs_f64();
        for fit in &fits {
            if fit.diverged {
                // Nothing of such networks is worth a number, a picture or a place in the model.
                output::metrics(&[("entry", index as f64), ("diverged", 1.0), ("seconds", seconds)])?;
                continue;
            }
            let mut filled = entry.fill(self.backend, fit)?;
            if let Some((nwg, _)) = &linear {
                engine::keep_centre(&mut filled.kspace, nwg);
            }
            self.score(index, fit, &filled, sampled.reference.as_ref(), seconds)?;
        }
        Ok(!fits.is_empty())
    }

    /// Prints the metrics of trained networks, draws what they fill, and keeps them.
    fn score(
        &self,
        index: usize,
        fit: &Fit,
        filled: &Filled,
        reference: Option<&Array2<f32>>,
        seconds: f64,
    ) -> Result<(), JobError> {
        let image = combine::rss(&fft::ifft2c(&filled.kspace));
        let mut values = vec![("entry", index as f64), ("loss", fit.loss), ("seconds", seconds)];
        if filled.calibration_power > 0.0 {
            let residual = (filled.calibration_error / filled.calibration_power).sqrt();
            values.insert(2, ("calibration_residual", residual));
        }
        let mut panels = vec![image.clone()];
        if let Some(reference) = reference {
            values.push(("psnr", metrics::psnr(&image, reference)));
            values.push(("nrmse", metrics::nrmse(&image, reference)));
            values.push(("ssim", metrics::ssim(&image, reference)));
            let fitted = metrics::fitted(&image, reference).unwrap_or_else(|| image.clone());
            panels =
                vec![reference.clone(), fitted.clone(), (&fitted - reference).mapv(|error| BRIGHTER * error.abs())];
        }
        output::metrics(&values)?;
        let name = format!("{}.entry{index}", self.prefix);
        let figure =
            File::create(self.figures.join(format!("{name}.png"))).map_err(JobError::io("drawing a figure"))?;
        png::encode(BufWriter::new(figure), &panels)?;
        self.keep(&name, &fit.weights)
    }

    /// Names the weights: `<name>.layer1` `[network, hidden 1, input]`, `.layer2` `[network, hidden 2, hidden 1]`,
    /// `.layer3` `[network, tap, output, hidden 2]`.
    fn keep(&self, name: &str, weights: &Weights) -> Result<(), JobError> {
        let (networks, layout) = (weights.networks, weights.layout);
        let [hidden_1, hidden_2] = layout.hidden;
        let shapes = [
            vec![networks, hidden_1, layout.inputs()],
            vec![networks, hidden_2, hidden_1],
            vec![networks, TAPS, layout.outputs(), hidden_2],
        ];
        let map = self.variables.data().lock();
        let mut map = map.map_err(|_| JobError::Bug("a thread panicked while it kept weights".to_owned()))?;
        for (at, shape) in shapes.into_iter().enumerate() {
            let tensor = Tensor::from_slice(&weights.layers[at], shape, &Device::Cpu)?;
            map.insert(format!("{name}.layer{}", at + 1), Var::from_tensor(&tensor)?);
        }
        Ok(())
    }
}
