//! Files of the result, the manifest last.

use std::borrow::Cow;

use bytes::Bytes;
use contract::images::{Combine, Dicom};
use contract::keys::{REPORT_NAME, THUMBNAIL_NAME};
use contract::manifest::Output;
use contract::scan::hex;
use contract::{ImageOptions, Manifest, PreparedMeta, Record};
use futures::{StreamExt, TryStreamExt, stream};
use kspace::image::geometry::Grid;
use kspace::image::{dicom, ismrmrd, mask, nifti};
use ndarray::{Array2, Array4};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use store::{Condition, Location, ObjectInfo, PutOptions, PutOutcome, Store};
use tokio::runtime::Handle;

use super::TUNING;
use super::metrics::Metrics;
use super::pictures::Painter;
use super::report;
use super::volume::Stack;
use crate::error::JobError;
use crate::stopwatch::Stopwatch;

/// Files that were made together on their way to the store at once.
const IN_FLIGHT: usize = 8;
/// Volumes of more voxels are encoded one after the other: each takes as much memory again as the image.
const ALL_AT_ONCE: usize = 1 << 26;

/// What is written.
pub(super) struct Result<'a> {
    pub(super) meta: &'a PreparedMeta,
    pub(super) mask: &'a Array2<u8>,
    pub(super) grid: &'a Grid,
    pub(super) stack: &'a Stack,
    pub(super) metrics: &'a Metrics,
    pub(super) images: &'a ImageOptions,
    /// What lies in the same place until now.
    pub(super) earlier: Option<&'a Manifest>,
}

/// Where the files of a result go.
pub(super) struct Outputs<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) store: &'a Store,
    pub(super) out: &'a Location,
}

/// A file of the result.
struct File {
    name: String,
    content_type: &'static str,
    content: Vec<u8>,
}

impl File {
    fn new(name: &str, content_type: &'static str, content: Vec<u8>) -> Self {
        Self { name: name.to_owned(), content_type, content }
    }
}

/// Makes a volume, where it is not at hand.
type Voxels<'a> = Box<dyn FnOnce() -> Cow<'a, Array4<f32>> + Send + 'a>;

/// Makes files that belong together, when their turn has come.
type Make<'a> = Box<dyn FnOnce() -> std::result::Result<Vec<File>, JobError> + Send + 'a>;

impl Outputs<'_> {
    /// Writes everything but the manifest, which learns of it. The bytes of the images depend on the prepared file, the method, its
    /// parameters and the device, and on nothing else.
    pub(super) fn all(&self, result: &Result<'_>, manifest: &mut Manifest) -> std::result::Result<(), JobError> {
        let watch = Stopwatch::start();
        let Result { meta, stack, metrics, .. } = result;
        let magnitude = stack.magnitude();
        let painter = Painter::new(stack, magnitude.view());
        let (written, pictures) = rayon::join(
            || {
                let makers = makers(result, &magnitude, manifest);
                let together = if magnitude.len() > ALL_AT_ONCE { makers.len() } else { 1 };
                let makers = makers.into_par_iter().with_min_len(together).with_max_len(together);
                makers.map(|make| self.put(make()?)).collect::<std::result::Result<Vec<_>, _>>()
            },
            || painter.pictures(report::caption(manifest.method)),
        );
        let (mut written, pictures) = (written?.concat(), pictures?);
        written.extend(self.put(vec![
            File::new("preview.png", "image/png", pictures.montage.clone()),
            File::new(THUMBNAIL_NAME, "image/png", painter.thumbnail()?),
            File::new("metrics.json", "application/json", metrics.to_json()?),
        ])?);
        let mut mask = Vec::new();
        mask::encode(&mut mask, &mask::of_lines(meta, result.mask.view()))?;
        // Nothing may be deleted, so the report and the manifest are still to come and everything else of an earlier result stays.
        let earlier = result.earlier.into_iter().flat_map(|earlier| &earlier.outputs);
        let left =
            earlier.filter(|old| old.name != REPORT_NAME && written.iter().all(|new| new.name != old.name)).count();
        if left > 0 {
            manifest.warnings.push(format!(
                "{left} files of an earlier result lie in the same folder and are not part of this one, which its manifest lists"
            ));
        }
        manifest.outputs = written;
        manifest.timings.push(watch.spent().by("write"));
        let sources = report::Sources { manifest, meta, stack, metrics, pictures: &pictures, mask: &mask };
        let page = self.put(vec![File::new(REPORT_NAME, "text/html; charset=utf-8", sources.page()?)])?;
        manifest.outputs.extend(page);
        Ok(())
    }

    /// Writes files, some at a time, since a store that is far away takes its time for each.
    fn put(&self, files: Vec<File>) -> std::result::Result<Vec<Output>, JobError> {
        let put = |file: File| {
            let sha256 = hex(&Sha256::digest(&file.content));
            let output = Output { name: file.name, bytes: file.content.len() as u64, sha256 };
            let options = PutOptions { content_type: Some(file.content_type.to_owned()), ..PutOptions::default() };
            async move {
                self.store.put(&self.out.join(&output.name), Bytes::from(file.content), &options).await?;
                Ok(output)
            }
        };
        self.runtime.block_on(stream::iter(files).map(put).buffered(IN_FLIGHT).try_collect())
    }

    /// Writes the manifest in the place of `replaced`, or where there was none.
    ///
    /// # Errors
    /// [`JobError::Transient`] when another job wrote one meanwhile; the next try looks at it first.
    pub(super) fn manifest(
        &self,
        at: &Location,
        manifest: &Manifest,
        replaced: Option<&ObjectInfo>,
    ) -> std::result::Result<(), JobError> {
        let options = PutOptions::json(Condition::unchanged(replaced));
        let written = self.runtime.block_on(self.store.put(at, Bytes::from(manifest.to_json()?), &options))?;
        if let PutOutcome::Conflict = written {
            let found = self.runtime.block_on(self.store.get_object(at))?;
            let found = found.and_then(|found| Manifest::from_json(&found.bytes).ok());
            let alike = |found: &Manifest| {
                let same = |name: &&str| found.parameters.get(*name) == manifest.parameters.get(*name);
                found.asked() == manifest.asked() && TUNING.iter().all(same)
            };
            if !found.as_ref().is_some_and(alike) {
                return Err(JobError::Transient("another job wrote results to the same place meanwhile".to_owned()));
            }
        }
        Ok(())
    }
}

/// What was chosen besides method, refinement and seed.
fn options(images: &ImageOptions, manifest: &Manifest) -> String {
    let chosen = TUNING.into_iter().filter_map(|name| Some((name, manifest.parameters.get(name)?)));
    chosen.fold(format!("images {images}"), |text, (name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{text}, {name} {value}")
    })
}

/// Everything that holds voxels.
fn makers<'a>(result: &'a Result<'a>, magnitude: &'a Array4<f32>, manifest: &Manifest) -> Vec<Make<'a>> {
    let Result { meta, stack, images, .. } = result;
    let mut makers: Vec<Make<'a>> = Vec::new();
    let mut volume = |name: &'static str, content: nifti::Content, values: Voxels<'a>| {
        makers.push(Box::new(move || {
            let bytes = nifti::encode(Vec::new(), &values(), &stack.placed.affine, content)?;
            Ok(vec![File::new(name, "application/gzip", bytes)])
        }));
    };
    volume("image.nii.gz", nifti::Content::Magnitude, Box::new(|| Cow::Borrowed(magnitude)));
    if images.phase {
        volume("phase.nii.gz", nifti::Content::Phase, Box::new(|| Cow::Owned(stack.phase())));
    }
    if let Some(map) = &stack.g_factor {
        volume("gfactor.nii.gz", nifti::Content::GFactor, Box::new(|| Cow::Borrowed(map)));
    }
    if let Some(map) = &stack.noise {
        volume("noise.nii.gz", nifti::Content::Noise, Box::new(|| Cow::Borrowed(map)));
    }

    let method = format!("{}, {}, seed {}", manifest.method, manifest.refine, manifest.seed);
    let options = options(images, manifest);
    let (scan, version) = (manifest.scan.clone(), manifest.tool.version.clone());
    let of_files = method.clone();
    makers.push(Box::new(move || {
        let study = dicom::Study {
            scan: &scan,
            meta,
            method: &of_files,
            options: &options,
            version: &version,
            stack: &stack.placed,
            frames: &stack.frames,
            volume: magnitude.view(),
        };
        let files = match images.dicom {
            Dicom::Classic => dicom::classic(&study)?,
            Dicom::Enhanced => dicom::enhanced(&study)?,
            Dicom::None => Vec::new(),
        };
        Ok(files.into_iter().map(|(name, content)| File::new(&name, "application/dicom", content)).collect())
    }));
    if images.ismrmrd {
        let tool = format!("raki-cloud {}, {method}; not for diagnostic use", manifest.tool.version);
        makers.push(Box::new(move || {
            let voxels = match images.combine {
                Combine::Rss => ismrmrd::Voxels::Magnitude(magnitude.view()),
                Combine::Adaptive | Combine::Espirit => ismrmrd::Voxels::Complex(stack.images.view()),
            };
            let notes = [("DataRole", "Image".to_owned()), ("ImageProcessingHistory", tool)];
            let notes = notes.into_iter().chain(stack.placed.warnings.iter().map(|it| ("ImageComment", it.clone())));
            let notes: Vec<_> = notes.collect();
            let study = ismrmrd::Study {
                header: &meta.header,
                grid: result.grid,
                stack: &stack.placed,
                frames: &stack.frames,
                notes: &notes,
                voxels,
            };
            Ok(vec![File::new("image.h5", "application/x-hdf5", ismrmrd::encode(&study)?)])
        }));
    }
    makers
}
