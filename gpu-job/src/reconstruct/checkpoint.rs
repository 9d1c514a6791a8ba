//! Entries that were finished before a job had to stop.
//!
//! A safetensors file beside the job spec: images as F32 tensors `image.0`, `image.1`, ... `[y, x]`, and in `__metadata__` as JSON
//! what the job was (`job`) and the numbers of its entries (`numbers`). It appears complete or not at all, holds whole
//! entries only, and is used only by a job of the same data, recipe, device and release, which then ends with the same bits
//! as one that was never stopped.

use std::collections::HashMap;

use bytes::Bytes;
use ndarray::Array2;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use store::{Location, PutOptions, Store};
use tokio::runtime::Handle;

use crate::engine::Numbers;
use crate::error::JobError;

const JOB: &str = "job";
const NUMBERS: &str = "numbers";

/// What must be equal for entries to be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Layout of the file.
    pub(super) schema: u32,
    /// The scan.
    pub(super) scan: String,
    /// SHA-256 of the raw data.
    pub(super) source_sha256: String,
    /// Method, refinement, seed and every setting.
    pub(super) recipe: String,
    /// What the images were computed on.
    pub(super) device: String,
    /// Release and revision of the program.
    pub(super) program: String,
    /// Entries computed together: on a GPU, bits depend on it.
    pub(super) group: usize,
}

impl Identity {
    pub(super) const SCHEMA: u32 = 1;
}

/// Finished entries, the first ones of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Finished {
    /// `[y, x]`, cropped to the field of view.
    pub(super) images: Vec<Array2<f32>>,
    pub(super) numbers: Vec<Numbers>,
}

/// The place of a checkpoint, if it has one.
pub(super) struct Checkpoint<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) store: &'a Store,
    pub(super) at: Option<&'a Location>,
}

impl Checkpoint<'_> {
    /// What an interrupted job of the same identity left; nothing where there is none or it cannot be read.
    ///
    /// # Errors
    /// [`JobError::Transient`] when the store does not answer.
    pub(super) fn load(&self, identity: &Identity) -> Result<Finished, JobError> {
        let Some(at) = self.at else { return Ok(Finished::default()) };
        let Some(found) = self.runtime.block_on(self.store.get_object(at))? else { return Ok(Finished::default()) };
        let finished = decode(&found.bytes, identity).unwrap_or_default();
        tracing::info!(entries = finished.images.len(), "entries taken over from an interrupted job");
        Ok(finished)
    }

    /// Saves what is finished. A job that cannot save goes on or stops all the same: it only has more to do again.
    pub(super) fn save(&self, identity: &Identity, finished: &Finished) {
        let Some(at) = self.at else { return };
        let saved = encode(identity, finished).and_then(|bytes| {
            let options = PutOptions::default();
            self.runtime.block_on(self.store.put(at, Bytes::from(bytes), &options)).map(|_| ()).map_err(JobError::from)
        });
        match saved {
            Ok(()) => tracing::info!(entries = finished.images.len(), "checkpoint saved"),
            Err(error) => tracing::warn!(%error, "the checkpoint cannot be saved"),
        }
    }

    /// Takes away what a finished job no longer needs. In a bucket it expires by itself.
    pub(super) fn remove(&self) {
        if let Some(Location::Path(path)) = self.at
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the checkpoint cannot be removed");
        }
    }
}

fn encode(identity: &Identity, finished: &Finished) -> Result<Vec<u8>, JobError> {
    let json = |error: serde_json::Error| JobError::Bug(format!("a checkpoint has no JSON: {error}"));
    let metadata = HashMap::from([
        (JOB.to_owned(), serde_json::to_string(identity).map_err(json)?),
        (NUMBERS.to_owned(), serde_json::to_string(&finished.numbers).map_err(json)?),
    ]);
    let bytes: Vec<Vec<u8>> =
        finished.images.iter().map(|image| image.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let mut tensors = Vec::with_capacity(bytes.len());
    for (index, (image, bytes)) in finished.images.iter().zip(&bytes).enumerate() {
        let view = TensorView::new(Dtype::F32, image.shape().to_vec(), bytes);
        tensors
            .push((name(index), view.map_err(|error| JobError::Bug(format!("a checkpoint has no tensor: {error}")))?));
    }
    safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| JobError::Bug(format!("a checkpoint cannot be written: {error}")))
}

/// `None` for anything but a whole checkpoint of this job.
fn decode(bytes: &[u8], identity: &Identity) -> Option<Finished> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let metadata = header.metadata().as_ref()?;
    let found: Identity = serde_json::from_str(metadata.get(JOB)?).ok()?;
    if found != *identity {
        return None;
    }
    let numbers: Vec<Numbers> = serde_json::from_str(metadata.get(NUMBERS)?).ok()?;
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let image = |index: usize| {
        let tensor = tensors.tensor(&name(index)).ok()?;
        let &[rows, columns] = tensor.shape() else { return None };
        if tensor.dtype() != Dtype::F32 {
            return None;
        }
        let values = tensor.data().as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        Array2::from_shape_vec((rows, columns), values).ok()
    };
    let images: Vec<Array2<f32>> = (0..numbers.len()).map(image).collect::<Option<_>>()?;
    Some(Finished { images, numbers })
}

fn name(index: usize) -> String {
    format!("image.{index}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity() -> Identity {
        Identity {
            schema: Identity::SCHEMA,
            scan: "a".to_owned(),
            source_sha256: "b".to_owned(),
            recipe: "c".to_owned(),
            device: "cpu".to_owned(),
            program: "1".to_owned(),
            group: 2,
        }
    }

    proptest! {
        #[test]
        fn what_is_saved_comes_back_to_the_bit(
            values in proptest::collection::vec(any::<f32>(), 12), loss in proptest::option::of(-1e30f64..1e30),
            error in 0.0f64..1e9, count in 0usize..4,
        ) {
            let image = Array2::from_shape_vec((3, 4), values).unwrap();
            let numbers = Numbers { loss, round_trip: Some([error, 0.1, error / 3.0]), calibration: Some((error, 1.0)), ..Numbers::default() };
            let finished = Finished { images: vec![image; count], numbers: vec![numbers; count] };
            let bytes = encode(&identity(), &finished).unwrap();
            let back = decode(&bytes, &identity()).unwrap();
            prop_assert_eq!(&back.numbers, &finished.numbers);
            let bits = |of: &Finished| of.images.iter().flatten().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&finished));
        }

        #[test]
        fn damaged_files_and_other_jobs_are_not_taken(cut in 0usize..400, at in 0usize..400, bits in 1u8..) {
            let image = Array2::from_elem((2, 2), 1.0);
            let finished = Finished { images: vec![image], numbers: vec![Numbers::default()] };
            let bytes = encode(&identity(), &finished).unwrap();
            prop_assert!(decode(&bytes[..cut.min(bytes.len() - 1)], &identity()).is_none());
            let mut damaged = bytes.clone();
            let at = at % bytes.len();
            damaged[at] ^= bits;
            // No panic, whatever the byte was.
            let _ = decode(&damaged, &identity());
            let other = Identity { recipe: "another seed".to_owned(), ..identity() };
            prop_assert!(decode(&bytes, &other).is_none());
        }
    }
}
