//! Entries that were finished before a job had to stop.
//!
//! A safetensors file beside the job spec: images as F32 tensors `image.0`, `image.1`, ... `[y, x, 2]`, real and imaginary part;
//! what belongs to them as F32 tensors `gain.0`, `zero.0`, `grappa.0`, ... `[y, x]`, where an entry has it; and in `__metadata__` as
//! JSON what the job was (`job`) and the numbers of its entries (`numbers`). It appears complete or not at all, holds whole
//! entries only, and is used only by a job of the same data, recipe, device and release, which then ends with the same bits
//! as one that was never stopped.

use std::collections::HashMap;

use bytes::Bytes;
use kspace::Complex32;
use ndarray::Array2;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use store::{Location, PutOptions, Store};
use tokio::runtime::Handle;

use super::finish::Image;
use crate::engine::{Compared, Numbers};
use crate::error::JobError;

const JOB: &str = "job";
const NUMBERS: &str = "numbers";

const IMAGE: &str = "image";
const GAIN: &str = "gain";
const ZERO: &str = "zero";
const GRAPPA: &str = "grappa";

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
    pub(super) const SCHEMA: u32 = 2;
}

/// Finished entries, the first ones of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Finished {
    pub(super) images: Vec<Image>,
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
    let mut arrays: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (index, image) in finished.images.iter().enumerate() {
        let (rows, columns) = image.image.dim();
        let bytes = image.image.iter().flat_map(|value| [value.re, value.im]).flat_map(f32::to_le_bytes).collect();
        arrays.push((name(IMAGE, index), vec![rows, columns, 2], bytes));
        let compared = image.compared.as_ref();
        let others = [
            (GAIN, image.gain.as_ref()),
            (ZERO, compared.map(|compared| &compared.zero_filled)),
            (GRAPPA, compared.and_then(|compared| compared.grappa.as_ref())),
        ];
        for (kind, values) in others {
            let Some(values) = values else { continue };
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            arrays.push((name(kind, index), values.shape().to_vec(), bytes));
        }
    }
    let tensors = arrays
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| JobError::Bug(format!("a checkpoint has no tensor: {error}")))?;
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
    let images = (0..numbers.len()).map(|index| image(&tensors, index)).collect::<Option<_>>()?;
    Some(Finished { images, numbers })
}

/// The image of an entry; `None` when it is not all there.
fn image(tensors: &SafeTensors<'_>, index: usize) -> Option<Image> {
    let (shape, values) = floats(tensors, &name(IMAGE, index))?;
    let &[rows, columns, 2] = shape.as_slice() else { return None };
    let samples = values.as_chunks::<2>().0.iter().map(|[re, im]| Complex32::new(*re, *im)).collect();
    let image = Array2::from_shape_vec((rows, columns), samples).ok()?;
    let plane = |kind: &str| match tensors.tensor(&name(kind, index)) {
        Err(_) => Some(None),
        Ok(_) => {
            let (shape, values) = floats(tensors, &name(kind, index))?;
            let same = shape == [rows, columns];
            same.then(|| Array2::from_shape_vec((rows, columns), values).ok()).flatten().map(Some)
        }
    };
    let (gain, zero_filled, grappa) = (plane(GAIN)?, plane(ZERO)?, plane(GRAPPA)?);
    Some(Image { image, gain, compared: zero_filled.map(|zero_filled| Compared { zero_filled, grappa }) })
}

/// Shape and values of a tensor of F32.
fn floats(tensors: &SafeTensors<'_>, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
    let tensor = tensors.tensor(name).ok().filter(|tensor| tensor.dtype() == Dtype::F32)?;
    let values = tensor.data().as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    Some((tensor.shape().to_vec(), values))
}

fn name(kind: &str, index: usize) -> String {
    format!("{kind}.{index}")
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
            error in 0.0f64..1e9, count in 0usize..4, parts: [bool; 3],
        ) {
            let plane = Array2::from_shape_vec((3, 4), values).unwrap();
            let image = Image {
                image: plane.mapv(|value| Complex32::new(value, -value)),
                gain: parts[0].then(|| plane.clone()),
                compared: parts[1].then(|| Compared { zero_filled: plane.clone(), grappa: parts[2].then(|| plane.clone()) }),
            };
            let numbers = Numbers { loss, round_trip: Some([error, 0.1, error / 3.0]), calibration: Some((error, 1.0)), ..Numbers::default() };
            let finished = Finished { images: vec![image; count], numbers: vec![numbers; count] };
            let bytes = encode(&identity(), &finished).unwrap();
            let back = decode(&bytes, &identity()).unwrap();
            prop_assert_eq!(&back.numbers, &finished.numbers);
            // Encoded again, so that values which are not numbers are compared as well.
            prop_assert_eq!(back.images.len(), count);
            prop_assert_eq!(encode(&identity(), &back).unwrap().len(), bytes.len());
            let bits = |of: &Finished| {
                let one = |image: &Image| {
                    let mut all: Vec<u32> = image.image.iter().flat_map(|v| [v.re.to_bits(), v.im.to_bits()]).collect();
                    let compared = image.compared.iter().flat_map(|c| std::iter::once(&c.zero_filled).chain(&c.grappa));
                    all.extend(image.gain.iter().chain(compared).flatten().map(|value| value.to_bits()));
                    all
                };
                of.images.iter().map(one).collect::<Vec<_>>()
            };
            prop_assert_eq!(bits(&back), bits(&finished));
        }

        #[test]
        fn damaged_files_and_other_jobs_are_not_taken(cut in 0usize..400, at in 0usize..400, bits in 1u8..) {
            let image = Array2::from_elem((2, 2), Complex32::new(1.0, 0.0));
            let image = Image { image, gain: None, compared: None };
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
