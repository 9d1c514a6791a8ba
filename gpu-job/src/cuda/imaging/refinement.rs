//! The steps of a refinement on a GPU.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use kspace::Complex32;
use kspace::numerics::sparse::{self, Course, LEVELS, Options, Problem};
use kspace::numerics::wavelet::{HIGH, LOW, Wavelet};

use super::{Direction, Images, Sizes, planes, run};
use crate::cuda::{Lane, Outcome, download, each, number, upload};

/// The acquisition of a slice on the device: from images to samples and back, in the order of the plain transform.
struct Acquisition<'a> {
    images: &'a Images,
    lane: &'a mut Lane,
    /// Coils, rows and columns.
    shape: [usize; 3],
    maps: usize,
    sizes: Sizes,
    sensitivities: CudaSlice<f32>,
    samples: CudaSlice<f32>,
    coil_images: CudaSlice<f32>,
}

impl<'a> Acquisition<'a> {
    fn new(images: &'a Images, lane: &'a mut Lane, problem: &Problem<'_>) -> Outcome<Self> {
        let (maps, coils, rows, columns) = problem.maps.dim();
        let padded = (Wavelet::padded(rows, LEVELS), Wavelet::padded(columns, LEVELS));
        let sizes = Sizes {
            maps: number(maps)?,
            coils: number(coils)?,
            tall: number(padded.0)?,
            broad: number(padded.1)?,
            low: LOW,
            high: HIGH,
            ..planes(rows, columns)?
        };
        let sensitivities = images.shifted(lane, &upload(lane, problem.maps)?, &sizes.to_origin())?;
        let samples = images.shifted(lane, &upload(lane, problem.kspace)?, &sizes.to_origin())?;
        let coil_images = lane.zeros(coils * rows * columns)?;
        Ok(Self { images, lane, shape: [coils, rows, columns], maps, sizes, sensitivities, samples, coil_images })
    }

    /// Complex numbers of the images of all maps.
    const fn count(&self) -> usize {
        let [_, rows, columns] = self.shape;
        self.maps * rows * columns
    }

    fn upload(&self, weights: &[f32]) -> Outcome<CudaSlice<f32>> {
        self.lane.stream.clone_htod(weights).w()
    }

    /// `weights (samples - F S image)` into the coil images, scaled for the transform that follows it in a step.
    fn residual(&mut self, weights: &CudaSlice<f32>, image: &CudaSlice<f32>) -> Outcome<()> {
        let [coils, rows, columns] = self.shape;
        let unitary = Sizes { factor: 1.0 / ((rows * columns) as f32).sqrt(), ..self.sizes.to_origin() };
        let all = (each(coils * rows * columns)?, coils * rows * columns);
        let (images, planes) = (self.images, &mut self.coil_images);
        run(self.lane, &images.spread, all, [&mut *planes], &self.sizes, &[&self.sensitivities, image])?;
        self.lane.transform(planes, self.shape, Direction::Forward)?;
        run(self.lane, &images.residual, all, [planes], &unitary, &[&self.samples, weights])
    }

    /// `|weights (samples - F S image)|²` of each row, all coils together.
    fn energies(&mut self, weights: &CudaSlice<f32>, image: &CudaSlice<f32>) -> Outcome<Vec<f64>> {
        self.residual(weights, image)?;
        let [coils, rows, columns] = self.shape;
        let count = coils * rows;
        let mut energies = self.lane.stream.alloc_zeros(count).w()?;
        let each_row = (each(count)?, count);
        run(self.lane, &self.images.energy, each_row, [&mut energies], &self.sizes, &[&self.coil_images])?;
        let energies: Vec<f32> = self.lane.stream.clone_dtoh(&energies).w()?;
        self.lane.stream.synchronize().w()?;
        let of_row = |row: usize| energies.iter().skip(row).step_by(rows).copied().map(f64::from).sum::<f64>();
        Ok((0..rows).map(|row| of_row(row) * (rows * columns) as f64).collect())
    }

    /// `image + Sᴴ Fᴴ weights (samples - F S image)`.
    fn step(&mut self, weights: &CudaSlice<f32>, image: &CudaSlice<f32>, next: &mut CudaSlice<f32>) -> Outcome<()> {
        self.residual(weights, image)?;
        self.lane.transform(&mut self.coil_images, self.shape, Direction::Inverse)?;
        let all = (each(self.count())?, self.count());
        let inputs = [image, &self.sensitivities, &self.coil_images];
        run(self.lane, &self.images.gather, all, [next], &self.sizes, &inputs)
    }
}

impl Images {
    /// `[map, y, x]` and the steps done.
    pub(super) fn refine(
        &self,
        lane: &mut Lane,
        problem: &Problem<'_>,
        options: &Options,
    ) -> Outcome<(Vec<Complex32>, usize)> {
        let mut slice = Acquisition::new(self, lane, problem)?;
        let (sizes, count) = (slice.sizes, slice.count());
        let frames = slice.maps * sizes.tall as usize * sizes.broad as usize;
        let (trust, acquired) = (slice.upload(&problem.trust(options))?, slice.upload(&problem.acquired())?);
        let ones = slice.upload(&vec![1.0; problem.error_variance.len()])?;
        let [mut image, mut ahead, mut next] =
            [slice.lane.zeros(count)?, slice.lane.zeros(count)?, slice.lane.zeros(count)?];
        let (mut frame, mut other) = (slice.lane.zeros(frames)?, slice.lane.zeros(frames)?);

        // The image of all samples.
        slice.step(&ones, &ahead, &mut image)?;
        slice.lane.stream.memcpy_dtod(&image, &mut ahead).w()?;
        let mut course = Course::new(problem, &download(slice.lane, &image)?, options);
        let mut steps = 0;
        for (done, turn) in sparse::turns(options).enumerate() {
            if course.looks(done) {
                let now = download(slice.lane, &image)?;
                if course.ends(now, || Outcome::Ok(slice.energies(&acquired, &image)?.iter().sum()))? {
                    break;
                }
            }
            slice.step(&trust, &ahead, &mut next)?;
            let shift = Sizes { down: number(turn.shift.0)?, right: number(turn.shift.1)?, ..sizes };
            run(slice.lane, &self.load, (each(frames)?, frames), [&mut frame], &shift, &[&next])?;
            self.shrink(slice.lane, [&mut frame, &mut other], &sizes, course.threshold(done))?;
            let onward = Sizes { factor: turn.momentum, ..shift };
            run(slice.lane, &self.advance, (each(count)?, count), [&mut image, &mut ahead], &onward, &[&frame])?;
            steps = done + 1;
        }
        let returned = match problem.compared() {
            Some(compared) => problem.returned(slice.energies(&slice.upload(&compared)?, &image)?),
            None => None,
        };
        if let Some(returned) = returned {
            slice.step(&slice.upload(&returned)?, &image, &mut next)?;
            std::mem::swap(&mut image, &mut next);
        }
        Ok((download(slice.lane, &self.shifted(slice.lane, &image, &sizes.from_origin())?)?, steps))
    }

    /// Shrinks the wavelet details of a frame; `other` is room for what is between the axes of a level.
    fn shrink(
        &self,
        lane: &Lane,
        [frame, other]: [&mut CudaSlice<f32>; 2],
        sizes: &Sizes,
        threshold: f32,
    ) -> Outcome<()> {
        let level = |level: usize| {
            let (level_rows, level_columns) = (sizes.tall >> level, sizes.broad >> level);
            let count = sizes.maps as usize * level_rows as usize * level_columns as usize;
            let along = |axis| Sizes { level_rows, level_columns, axis, ..*sizes };
            Ok::<_, candle_core::Error>(((each(count)?, count), along(0), along(1)))
        };
        for at in 0..LEVELS {
            let (count, along_x, along_y) = level(at)?;
            run(lane, &self.split, count, [&mut *other], &along_x, &[frame])?;
            run(lane, &self.split, count, [&mut *frame], &along_y, &[other])?;
        }
        let area = sizes.tall as usize * sizes.broad as usize;
        let (_, smooth, _) = level(LEVELS)?;
        let details = Sizes { factor: threshold, ..smooth };
        run(lane, &self.shrink, (each(area)?, area), [&mut *frame], &details, &[])?;
        for at in (0..LEVELS).rev() {
            let (count, along_x, along_y) = level(at)?;
            run(lane, &self.join, count, [&mut *other], &along_y, &[frame])?;
            run(lane, &self.join, count, [&mut *frame], &along_x, &[other])?;
        }
        Ok(())
    }
}
