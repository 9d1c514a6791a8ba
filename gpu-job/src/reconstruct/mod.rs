//! From a prepared file to images.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@self`] | the request, and the order of things |
//! | [`source`] | opens the prepared file, reads ahead |
//! | [`plan`] | what is done with each entry, and what was decided |
//! | [`defaults`] | why the defaults are what they are |
//! | [`checkpoint`] | what an interrupted job leaves to the next one |
//! | [`compute`] | reconstructs the entries, a group at a time |
//! | [`finish`] | a slice in the grid and the unit of the result |
//! | [`volume`] | slices in their order as volumes |
//! | [`quality`] | numbers of an image that need no reference, and their limits |
//! | [`metrics`] | these and other numbers as a record |
//! | [`pictures`] | what a person sees of it |
//! | [`report`] | the page that says whether the images can be trusted |
//! | [`outputs`] | files of the result, the manifest last |

mod checkpoint;
mod compute;
mod defaults;
mod finish;
pub mod metrics;
mod outputs;
mod pictures;
mod plan;
pub mod quality;
mod report;
mod source;
mod volume;

use std::collections::BTreeMap;

use contract::manifest::Source;
use contract::{DevicePreference, ImageOptions, Manifest, Method, Record, ScanId};
use kspace::prepared::Reader;
use store::{Location, Store};

use crate::config;
use crate::device;
use crate::engine::Recipe;
use crate::error::JobError;
use crate::progress::Progress;
use crate::stopwatch::Stopwatch;

use checkpoint::{Checkpoint, Finished, Identity};
use finish::Finish;
pub use metrics::Metrics;
pub use plan::noise_variance;
pub(crate) use plan::several_kinds;

/// What is to be reconstructed, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prepared file.
    pub prepared: Location,
    /// Folder or prefix of the results.
    pub out: Location,
    /// How, and the seed of everything random.
    pub recipe: Recipe,
    /// How images are made of filled k-space.
    pub images: ImageOptions,
    /// Where to compute.
    pub device: DevicePreference,
    /// The scan that the prepared file must be of; `None` takes what it says.
    pub scan: Option<ScanId>,
    /// The raw object, for the manifest; `None` where it is known by its content only.
    pub source: Option<Source>,
    /// Digest of the container image, for the manifest.
    pub image_digest: Option<String>,
    /// Where an interrupted job leaves what it has finished; `None` to begin anew every time.
    pub checkpoint: Option<Location>,
}

impl Request {
    /// A request with the default method, parameters and device.
    ///
    /// # Errors
    /// [`JobError::Usage`] for text that is neither a path nor an `s3://` URL.
    pub fn new(prepared: &str, out: &str) -> Result<Self, JobError> {
        Ok(Self {
            prepared: Location::parse(prepared)?,
            out: Location::parse(out)?,
            recipe: Recipe::new(Method::default(), None, 0),
            images: ImageOptions::default(),
            device: DevicePreference::default(),
            scan: None,
            source: None,
            image_digest: None,
            checkpoint: None,
        })
    }
}

/// Reconstructs a prepared file and writes the results below [`Request::out`], the manifest last. A manifest of the
/// same scan, method with its options, refinement and seed that is there already is returned at once.
///
/// Blocks until done; never call it from asynchronous code without `spawn_blocking`.
///
/// # Errors
/// [`JobError`], which says with what code the process ends. Without a manifest there is no result. Where another result lay in the same
/// place, its manifest stays until the new one takes its place, and the hashes in it tell files of the one from files of the other.
pub fn reconstruct(request: &Request, progress: &dyn Progress) -> Result<Manifest, JobError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(JobError::io("starting the runtime"))?;
    let _context = runtime.enter();
    let store = if request.prepared.is_s3() || request.out.is_s3() {
        Store::new(&runtime.block_on(store::aws_config()))
    } else {
        Store::folders()
    };
    Job { request, progress, store: &store, runtime: runtime.handle() }.run()
}

/// A request and what it is carried out with.
struct Job<'a> {
    request: &'a Request,
    progress: &'a dyn Progress,
    store: &'a Store,
    runtime: &'a tokio::runtime::Handle,
}

impl Job<'_> {
    fn run(&self) -> Result<Manifest, JobError> {
        let request = self.request;
        let watch = Stopwatch::start();
        let reader = source::open(self.runtime, self.store, &request.prepared)?;
        let scan = self.scan(&reader)?;
        let manifest_at = request.out.join(contract::keys::MANIFEST_NAME);
        let found = self.runtime.block_on(self.store.get_object(&manifest_at))?;
        let earlier = found.as_ref().and_then(|found| Manifest::from_json(&found.bytes).ok());
        if let Some(manifest) = earlier.as_ref().filter(|manifest| same(manifest, &scan, request)) {
            tracing::info!(%scan, "the result exists already");
            return Ok(manifest.clone());
        }
        let opened = watch.spent();

        let chosen = if request.recipe.trains() { Some(device::choose(request.device)?) } else { None };
        let mut plan = plan::Plan::new(&reader, request, chosen.as_ref())?;
        let finish = Finish::new(&reader.meta.header, request.images.interpolate, plan.factor);
        let device = chosen.as_ref().map_or_else(|| "cpu".to_owned(), |chosen| chosen.name.clone());
        let tool = config::tool(request.image_digest.clone());
        let identity = Identity {
            schema: Identity::SCHEMA,
            scan: scan.to_string(),
            source_sha256: reader.meta.source_sha256.clone(),
            recipe: format!("{:?} {:?}", request.recipe, request.images),
            device: device.clone(),
            program: format!("{tool:?}"),
            group: 0,
        };
        let checkpoint = Checkpoint { runtime: self.runtime, store: self.store, at: request.checkpoint.as_ref() };
        let computed = compute::all(&reader, &plan, &finish, chosen.as_ref(), self.progress, (&checkpoint, identity))?;
        let Finished { images, numbers } = computed.finished;

        let watch = Stopwatch::start();
        plan.conclude(&numbers);
        let quality = quality::all(&reader.meta, &finish, &images, &numbers);
        let metrics = Metrics::new(&scan, request, &reader.meta, &reader.mask, &numbers, &quality);
        let stack = volume::Stack::new(&reader.meta, &finish, &reader.geometry, images, &numbers)?;
        let stack = if request.images.flatten { stack.flattened() } else { stack };
        let mut warnings = reader.meta.warnings.clone();
        warnings.append(&mut plan.warnings);
        warnings.extend(stack.warnings.iter().cloned());

        let mut timings = computed.timings;
        timings.insert(0, opened.by("open"));
        timings.push(watch.spent().by("finish"));
        let source = request.source.clone().unwrap_or_default();
        let mut manifest = Manifest {
            schema: Manifest::SCHEMA,
            scan,
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            source: Source { sha256: reader.meta.source_sha256.clone(), ..source },
            tool,
            method: request.recipe.method,
            refine: request.recipe.refine,
            images: request.images,
            parameters: plan.parameters,
            seed: request.recipe.training.seed,
            device,
            decisions: plan.decisions,
            warnings,
            losses: metrics.losses(),
            timings,
            quality: metrics.summary.clone(),
            checks: quality::checks(&metrics.summary),
            outputs: Vec::new(),
        };
        let outputs = outputs::Outputs { runtime: self.runtime, store: self.store, out: &request.out };
        let result = outputs::Result {
            meta: &reader.meta,
            mask: &reader.mask,
            grid: &finish.grid,
            stack: &stack,
            metrics: &metrics,
            images: &request.images,
            earlier: earlier.as_ref(),
        };
        outputs.all(&result, &mut manifest)?;
        outputs.manifest(&manifest_at, &manifest, found.as_ref().map(|object| &object.info))?;
        checkpoint.remove();
        Ok(manifest)
    }

    /// The scan of the prepared file, which must be the one asked for: a newer upload replaces the prepared file, and
    /// its images must not be filed under the older scan.
    fn scan<R>(&self, reader: &Reader<R>) -> Result<ScanId, JobError> {
        let found = reader.meta.scan.clone();
        match (&self.request.scan, found) {
            (Some(asked), Some(found)) if *asked != found => Err(JobError::BadData(format!(
                "the prepared file is of scan {found}, expected {asked}: a newer upload under the same name took its place"
            ))),
            (Some(asked), _) => Ok(asked.clone()),
            (None, Some(found)) => Ok(found),
            // Prepared by hand: the content is the name.
            (None, None) => Ok(ScanId::of_object("", "", &reader.meta.source_sha256)),
        }
    }
}

/// Whether a manifest is of this scan and this request.
fn same(manifest: &Manifest, scan: &ScanId, request: &Request) -> bool {
    let recipe = &request.recipe;
    let chosen: [serde_json::Value; 4] = [
        recipe.slab.into(),
        recipe.warm.into(),
        recipe.training.ensemble.into(),
        recipe.grappa.ridge.to_string().into(),
    ];
    manifest.asked() == (scan, recipe.method, recipe.refine, recipe.training.seed, request.images)
        && TUNING
            .iter()
            .zip(&chosen)
            .all(|(name, value)| manifest.parameters.get(*name).is_none_or(|found| found == value))
}

/// What of its parameters a method's results are told apart by, beside what [`Manifest::asked`] says.
const TUNING: [&str; 4] = ["slab", "warm", "ensemble", "ridge"];

/// Names and JSON values.
type Values = BTreeMap<String, serde_json::Value>;
