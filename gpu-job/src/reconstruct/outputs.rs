//! Files of the result, the manifest last.

use std::time::Instant;

use bytes::Bytes;
use contract::images::{Combine, Dicom};
use contract::keys::{REPORT_NAME, THUMBNAIL_NAME};
use contract::manifest::{Output, Timing};
use contract::scan::hex;
use contract::{ImageOptions, Manifest, PreparedMeta, Record};
use kspace::image::geometry::Grid;
use kspace::image::{dicom, ismrmrd, mask, nifti};
use ndarray::{Array2, Array4};
use sha2::{Digest, Sha256};
use store::{Condition, Location, ObjectInfo, PutOptions, PutOutcome, Store};
use tokio::runtime::Handle;

use super::metrics::Metrics;
use super::pictures::Painter;
use super::report;
use super::volume::Stack;
use crate::error::JobError;

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

impl Outputs<'_> {
    /// Writes everything but the manifest, which learns of it. The bytes of the images depend on the prepared file, the method, its
    /// parameters and the device, and on nothing else.
    pub(super) fn all(&self, result: &Result<'_>, manifest: &mut Manifest) -> std::result::Result<(), JobError> {
        let started = Instant::now();
        let Result { meta, stack, metrics, images, .. } = result;
        let affine = &stack.placed.affine;
        let magnitude = stack.magnitude();
        let mut written = Vec::new();
        let mut volume =
            |name: &str, values: &Array4<f32>, what: nifti::Content| -> std::result::Result<(), JobError> {
                let bytes = nifti::encode(Vec::new(), values, affine, what)?;
                written.push(self.put(name, "application/gzip", bytes)?);
                Ok(())
            };
        volume("image.nii.gz", &magnitude, nifti::Content::Magnitude)?;
        if images.phase {
            volume("phase.nii.gz", &stack.phase(), nifti::Content::Phase)?;
        }
        if let Some(map) = &stack.g_factor {
            volume("gfactor.nii.gz", map, nifti::Content::GFactor)?;
        }
        if let Some(map) = &stack.noise {
            volume("noise.nii.gz", map, nifti::Content::Noise)?;
        }
        let method = format!("{}, {}, seed {}", manifest.method, manifest.refine, manifest.seed);
        let shared = ["slab", "warm"].into_iter().filter_map(|name| Some((name, manifest.parameters.get(name)?)));
        let options = shared.fold(format!("images {images}"), |text, (name, value)| format!("{text}, {name} {value}"));
        let study = dicom::Study {
            scan: &manifest.scan,
            meta,
            method: &method,
            options: &options,
            version: &manifest.tool.version,
            stack: &stack.placed,
            frames: &stack.frames,
            volume: magnitude.view(),
        };
        let files = match images.dicom {
            Dicom::Classic => dicom::classic(&study)?,
            Dicom::Enhanced => dicom::enhanced(&study)?,
            Dicom::None => Vec::new(),
        };
        for (name, content) in files {
            written.push(self.put(&name, "application/dicom", content)?);
        }
        if images.ismrmrd {
            let voxels = match images.combine {
                Combine::Rss => ismrmrd::Voxels::Magnitude(magnitude.view()),
                Combine::Adaptive | Combine::Espirit => ismrmrd::Voxels::Complex(stack.images.view()),
            };
            let tool = format!("raki-cloud {}, {method}; not for diagnostic use", manifest.tool.version);
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
            written.push(self.put("image.h5", "application/x-hdf5", ismrmrd::encode(&study)?)?);
        }
        let painter = Painter::new(stack, magnitude.view());
        let montage = painter.montage()?;
        written.push(self.put("preview.png", "image/png", montage.clone())?);
        written.push(self.put(THUMBNAIL_NAME, "image/png", painter.thumbnail()?)?);
        let mut mask = Vec::new();
        mask::encode(&mut mask, &mask::of_lines(meta, result.mask.view()))?;
        written.push(self.put("metrics.json", "application/json", metrics.to_json()?)?);
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
        manifest.timings.push(Timing { stage: "write".to_owned(), seconds: started.elapsed().as_secs_f64() });
        let sources =
            report::Sources { manifest, meta, stack, metrics, painter: &painter, montage: &montage, mask: &mask };
        let page = self.put(REPORT_NAME, "text/html; charset=utf-8", sources.page()?)?;
        manifest.outputs.push(page);
        Ok(())
    }

    fn put(&self, name: &str, content_type: &str, content: Vec<u8>) -> std::result::Result<Output, JobError> {
        let output =
            Output { name: name.to_owned(), bytes: content.len() as u64, sha256: hex(&Sha256::digest(&content)) };
        let options = PutOptions { content_type: Some(content_type.to_owned()), ..PutOptions::default() };
        self.runtime.block_on(self.store.put(&self.out.join(name), Bytes::from(content), &options))?;
        Ok(output)
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
            if found.is_none_or(|found| found.asked() != manifest.asked()) {
                return Err(JobError::Transient("another job wrote results to the same place meanwhile".to_owned()));
            }
        }
        Ok(())
    }
}
