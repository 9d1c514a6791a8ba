//! Groups of slices, one after another or three at a time.
//!
//! Where networks are trained on a device of its own, the cores of the CPU would stand still meanwhile. There the next group is filled by
//! linear kernels, and the one before becomes images, beside the training. Each group goes through the same steps either way, so
//! that the images are the same.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;

use super::{Clock, Engine, Reconstructed, Slice, Work};
use crate::error::JobError;
use crate::stopwatch::Stopwatch;

/// A group that was filled by linear kernels, or why it was not.
type Filled = Result<Vec<Work>, JobError>;

impl Engine<'_> {
    /// Reconstructs the groups that `next` gives until it gives none, and hands each to `done`, in their order. Call
    /// [`Recipe::check`](super::Recipe::check) first. On a device of its own up to three groups are in memory, and `clock` has what the
    /// training waited for beside the training itself.
    ///
    /// # Errors
    /// [`JobError::BadData`] with what is wrong with a slice, [`JobError::Interrupted`] when asked to stop, those of `next`. Groups before
    /// the one that failed may have been handed over.
    pub fn groups(
        &self,
        mut next: impl FnMut() -> Option<Result<Vec<Slice>, JobError>> + Send,
        mut done: impl FnMut(Vec<Reconstructed>) + Send,
        clock: &mut Clock,
    ) -> Result<(), JobError> {
        if self.recipe.trains() && self.backend.apart() {
            return self.side_by_side(next, done, clock);
        }
        while let Some(slices) = next() {
            done(self.group(slices?, clock)?);
        }
        Ok(())
    }

    /// Reconstructs slices together, in their order.
    ///
    /// # Errors
    /// [`JobError::BadData`] with what is wrong with a slice, [`JobError::Interrupted`] when asked to stop.
    pub fn group(&self, slices: Vec<Slice>, clock: &mut Clock) -> Result<Vec<Reconstructed>, JobError> {
        let watch = Stopwatch::start();
        let mut works = self.fill_linearly(slices)?;
        clock.fill += watch.spent();
        if self.recipe.trains() {
            let watch = Stopwatch::start();
            self.networks(&mut works)?;
            clock.train += watch.spent();
        }
        let watch = Stopwatch::start();
        let images = self.images(works);
        clock.image += watch.spent();
        images
    }

    fn side_by_side(
        &self,
        mut next: impl FnMut() -> Option<Result<Vec<Slice>, JobError>> + Send,
        mut done: impl FnMut(Vec<Reconstructed>) + Send,
        clock: &mut Clock,
    ) -> Result<(), JobError> {
        std::thread::scope(|scope| {
            // Without room in the channels, a group is handed over when the next step is ready for it.
            let (to_train, filled) = sync_channel::<Filled>(0);
            let (to_image, trained) = sync_channel::<Vec<Work>>(0);
            let filling = scope.spawn(move || {
                while let Some(slices) = next() {
                    let works = slices.and_then(|slices| self.fill_linearly(slices));
                    let last = works.is_err();
                    // A closed channel means that the training has failed; its error is the one to report.
                    if to_train.send(works).is_err() || last {
                        break;
                    }
                }
            });
            let imaging = scope.spawn(move || {
                trained.into_iter().try_for_each(|works| {
                    done(self.images(works)?);
                    Ok::<_, JobError>(())
                })
            });
            let trained = self.train_groups(&filled, &to_image, clock);
            drop((filled, to_image));
            let watch = Stopwatch::start();
            let panicked = |what: &str| JobError::Bug(format!("{what} panicked"));
            filling.join().map_err(|_| panicked("filling a group of slices"))?;
            let imaged = imaging.join().map_err(|_| panicked("making images"))?;
            clock.image += watch.spent();
            trained.and(imaged)
        })
    }

    fn train_groups(
        &self,
        filled: &Receiver<Filled>,
        to_image: &SyncSender<Vec<Work>>,
        clock: &mut Clock,
    ) -> Result<(), JobError> {
        // Workers of its own: in a shared pool, what this thread shares out would wait until all that the other steps have is done.
        let workers =
            rayon::ThreadPoolBuilder::new().build().map_err(|error| JobError::Transient(error.to_string()))?;
        loop {
            let watch = Stopwatch::start();
            let Ok(works) = filled.recv() else { return Ok(()) };
            clock.fill += watch.spent();
            let mut works = works?;
            let watch = Stopwatch::start();
            workers.install(|| self.networks(&mut works))?;
            clock.train += watch.spent();
            let watch = Stopwatch::start();
            if to_image.send(works).is_err() {
                // The images have failed; their error is the one to report.
                return Ok(());
            }
            clock.image += watch.spent();
        }
    }

    fn fill_linearly(&self, slices: Vec<Slice>) -> Filled {
        let works = slices.into_par_iter().map(|slice| self.linear(slice)).collect::<Filled>()?;
        if self.progress.cancelled() { Err(JobError::Interrupted) } else { Ok(works) }
    }

    fn images(&self, works: Vec<Work>) -> Result<Vec<Reconstructed>, JobError> {
        works.into_par_iter().map(|work| self.image(work)).collect()
    }
}
