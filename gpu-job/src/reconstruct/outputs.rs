//! Files of the result, the manifest last.

use bytes::Bytes;
use contract::manifest::Output;
use contract::scan::hex;
use contract::{Manifest, Record};
use kspace::image::{nifti, png};
use sha2::{Digest, Sha256};
use store::{Condition, Location, ObjectInfo, PutOptions, PutOutcome, Store};
use tokio::runtime::Handle;

use super::metrics::Metrics;
use super::volume::Stack;
use crate::error::JobError;

/// Where the files of a result go.
pub(super) struct Outputs<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) store: &'a Store,
    pub(super) out: &'a Location,
}

impl Outputs<'_> {
    /// Writes everything but the manifest. The bytes of the images depend on the prepared file, the method, its
    /// parameters and the device, and on nothing else.
    pub(super) fn images(&self, stack: &Stack, metrics: &Metrics) -> Result<Vec<Output>, JobError> {
        let image = nifti::encode(Vec::new(), &stack.volume, &stack.placed.affine)?;
        let mut preview = Vec::new();
        png::encode(&mut preview, &stack.preview())?;
        Ok(vec![
            self.put("image.nii.gz", "application/gzip", image)?,
            self.put("preview.png", "image/png", preview)?,
            self.put("metrics.json", "application/json", metrics.to_json()?)?,
        ])
    }

    fn put(&self, name: &str, content_type: &str, content: Vec<u8>) -> Result<Output, JobError> {
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
    ) -> Result<(), JobError> {
        let options = PutOptions::json(Condition::unchanged(replaced));
        let written = self.runtime.block_on(self.store.put(at, Bytes::from(manifest.to_json()?), &options))?;
        if let PutOutcome::Conflict = written {
            let found = self.runtime.block_on(self.store.get_object(at))?;
            let same = found.and_then(|found| Manifest::from_json(&found.bytes).ok()).is_some_and(|found| {
                (&found.scan, found.method, found.refine, found.seed)
                    == (&manifest.scan, manifest.method, manifest.refine, manifest.seed)
            });
            if !same {
                return Err(JobError::Transient("another job wrote results to the same place meanwhile".to_owned()));
            }
        }
        Ok(())
    }
}
