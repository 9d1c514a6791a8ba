//! How a running stack is reached, for other terminals.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::deploy::Deployed;
use crate::{Error, Result, emulator, endpoints};

/// How a running stack is reached; a small file beside the user's caches tells other terminals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Layout of this record.
    pub schema: u32,
    /// URL of the emulated services.
    pub endpoint: String,
    /// URL of Batch and Storage Gateway.
    pub shim: String,
    /// Region.
    pub region: String,
    /// Names of the buckets.
    pub buckets: Buckets,
    /// URLs of the queues by the name of the template's output, without `Url`.
    pub queues: BTreeMap<String, String>,
    /// Folder of the logs.
    pub logs: PathBuf,
}

/// Names of the four buckets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// Where archives go.
    pub raw: String,
    /// Prepared scans.
    pub prepared: String,
    /// Images.
    pub results: String,
    /// Status, quarantine and job records.
    pub state: String,
}

impl Description {
    const SCHEMA: u32 = 1;

    /// Describes a stack that has just been deployed.
    ///
    /// # Errors
    /// [`Error::Template`] when an output is missing.
    pub(crate) fn of(deployed: &Deployed, endpoint: String, shim: String, logs: PathBuf) -> Result<Self> {
        let queues = deployed.outputs.iter().filter_map(|(name, url)| {
            let name = name.strip_suffix("Url").filter(|name| name.ends_with("Queue"))?;
            Some((name.to_owned(), url.clone()))
        });
        Ok(Self {
            schema: Self::SCHEMA,
            endpoint,
            shim,
            region: endpoints::REGION.to_owned(),
            buckets: Buckets {
                raw: deployed.output("RawBucketName")?,
                prepared: deployed.output("PreparedBucketName")?,
                results: deployed.output("ResultsBucketName")?,
                state: deployed.output("StateBucketName")?,
            },
            queues: queues.collect(),
            logs,
        })
    }

    /// Where the description of the running stack lies.
    #[must_use]
    pub fn path(config: &Config) -> PathBuf {
        config.cache_dir.join("stack.json")
    }

    /// Writes the description for other terminals.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn publish(&self, config: &Config) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::io("describing the stack")(error.into()))?;
        std::fs::create_dir_all(&config.cache_dir).map_err(Error::io("making the cache folder"))?;
        std::fs::write(Self::path(config), json).map_err(Error::io("writing the stack's description"))
    }

    /// Takes the description back, unless another stack has put its own there.
    pub fn withdraw(&self, config: &Config) {
        if Self::read(config).is_ok_and(|found| found == *self) {
            // Nobody is harmed by a file that stays: readers check that the stack answers.
            let _ = std::fs::remove_file(Self::path(config));
        }
    }

    fn read(config: &Config) -> Result<Self> {
        const NONE: &str = "no running stack was found: start one with `raki-cloud up`";
        let json = std::fs::read(Self::path(config)).map_err(|_| Error::Usage(NONE.to_owned()))?;
        let description: Self = serde_json::from_slice(&json).map_err(|_| Error::Usage(NONE.to_owned()))?;
        contract::check_schema("stack description", description.schema, Self::SCHEMA)?;
        Ok(description)
    }

    /// The stack that `raki-cloud up` keeps in another terminal.
    ///
    /// # Errors
    /// [`Error::Usage`] when none is running.
    pub async fn find(config: &Config) -> Result<Self> {
        let description = Self::read(config)?;
        let port = description.endpoint.rsplit(':').next().and_then(|port| port.parse().ok());
        match port {
            Some(port) if emulator::is_ready(port).await => Ok(description),
            _ => Err(Error::Usage("the stack is not running any more: start one with `raki-cloud up`".to_owned())),
        }
    }
}
