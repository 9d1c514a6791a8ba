//! Every command and option.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use contract::{DevicePreference, Method, Refine, ScanId};
use gpu_job::cli::{ImageArguments, Tuning};
use kspace::prepare::Compression;
use local::compare::{Cell, Choice, Slices};

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  64  the command line, the configuration or this machine is not as it must be
  65  the data cannot be reconstructed; running it again will not change that
  70  a defect of raki-cloud
  75  interrupted, or the system or a service refused; running it again may well succeed

Not a medical device.";

/// Reconstructs accelerated MRI scans, in the cloud or on this machine.
#[derive(Debug, Parser)]
#[command(name = "raki-cloud", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Print one JSON document on standard output, and nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Virtual environment of the emulator, made there when it does not exist [env: RAKI_CLOUD_EMULATOR_VENV]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) emulator_venv: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one scan through the whole stack on this machine
    Demo(Demo),
    /// Start the stack on this machine and keep it until Ctrl-C
    Up(Up),
    /// Upload a file to the stack that `up` keeps
    Upload(Upload),
    /// Show where scans stand in the stack that `up` keeps
    Status(Status),
    /// Tell what is in a raw file or archive, whether it will reconstruct, and if not, why
    Inspect(Inspect),
    /// Prepare a raw file or archive for reconstruction
    Prepare(Prepare),
    /// Prepare and reconstruct a raw file or archive, without a stack
    Reconstruct(Reconstruct),
    /// Run every method on a file: against its own image where it is fully sampled, else in numbers without a reference
    Compare(Compare),
    /// Copy DICOM results with the names of their patients, which a table on this machine holds
    Reidentify(Reidentify),
    /// Write a synthetic scan with a known image, as ISMRMRD
    Phantom(Phantom),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Raw file or archive; without it a synthetic scan is made
    pub(crate) input: Option<PathBuf>,
    /// How missing lines are filled: auto, raki, raki-paper, nwg, grappa or zero-filled
    #[arg(long)]
    pub(crate) method: Option<Method>,
    /// Folder for the images [default: demo-output/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Keep the stack running after the scan, until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Folder for logs and scratch files, kept at the end [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// Value of a template parameter; may be given several times
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) parameters: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("expected NAME=VALUE, found {text:?}"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, clap::Args)]
pub(crate) struct Upload {
    /// Raw file or archive
    pub(crate) file: PathBuf,
    /// Key in the raw bucket [default: today's date and the file's name]
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// How missing lines are filled: auto, raki, raki-paper, nwg, grappa or zero-filled
    #[arg(long)]
    pub(crate) method: Option<Method>,
    /// Wait until the scan has ended
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait, copy the results into this folder
    #[arg(long, value_name = "DIR", requires = "wait")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Id of a scan, 16 hex digits; without it every scan is listed
    pub(crate) scan: Option<ScanId>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Raw file or archive
    pub(crate) file: PathBuf,
    /// Folder for mask.png, a picture of the sampling, and inspect.json
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Virtual coils to keep: none, a share of the energy such as 0.998, or a number of coils
    #[arg(long, value_name = "COILS", default_value_t)]
    pub(crate) coils: Compression,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Prepare {
    /// Raw file or archive
    pub(crate) file: PathBuf,
    /// Prepared file to write, or a folder (DIR/) for a file of each scan; a name that ends in .cfl makes a BART array, with its
    /// header beside it
    #[arg(long, value_name = "PREPARED.safetensors")]
    pub(crate) out: PathBuf,
    /// Virtual coils to keep: none, a share of the energy such as 0.998, or a number of coils
    #[arg(long, value_name = "COILS", default_value_t)]
    pub(crate) coils: Compression,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Reconstruct {
    /// Raw file or archive
    pub(crate) file: PathBuf,
    /// Folder for the images; with several scans in the file, for a folder of each
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How missing lines are filled: auto, raki, raki-paper, nwg, grappa or zero-filled
    #[arg(long, default_value_t)]
    pub(crate) method: Method,
    /// What follows the filling: sparse or none [default: sparse for auto, none for a method asked for by its name]
    #[arg(long)]
    pub(crate) refine: Option<Refine>,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
    /// Virtual coils to keep: none, a share of the energy such as 0.998, or a number of coils
    #[arg(long, value_name = "COILS", default_value_t)]
    pub(crate) coils: Compression,
    #[command(flatten)]
    pub(crate) images: ImageArguments,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where to compute: auto, cpu or cuda
    #[arg(long, default_value_t)]
    pub(crate) device: DevicePreference,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// Raw file or archive
    pub(crate) file: PathBuf,
    /// Accelerations to undersample a fully sampled file with, such as 4,6; each goes with each of --acs [default: 4]
    #[arg(long, value_name = "R,...", value_delimiter = ',', conflicts_with = "cells")]
    pub(crate) r: Vec<usize>,
    /// Calibration lines to keep, such as 20,32 [default: 32]
    #[arg(long, value_name = "LINES,...", value_delimiter = ',', conflicts_with = "cells")]
    pub(crate) acs: Vec<usize>,
    /// Accelerations and calibration lines in pairs, such as 2/20,4/32
    #[arg(long, value_name = "R/LINES,...", value_delimiter = ',')]
    pub(crate) cells: Vec<Cell>,
    /// Methods: auto, raki, raki-paper, nwg, grappa, zero-filled, each also with +sparse or +none for what follows it
    /// [default: all, and nwg+sparse]
    #[arg(long, value_name = "METHOD,...", value_delimiter = ',')]
    pub(crate) methods: Vec<Choice>,
    /// Slice to compare, from 0 on, or all for means over all [default: the middle one]
    #[arg(long, value_name = "N|all")]
    pub(crate) slice: Option<Slices>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where to compute: auto, cpu or cuda
    #[arg(long, default_value_t)]
    pub(crate) device: DevicePreference,
    /// Folder for compare.json and the figures
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Folder for k-space, masks and images as .npy, for other software
    #[arg(long, value_name = "DIR")]
    pub(crate) export: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Reidentify {
    /// Folder of results, of one scan or of many
    pub(crate) results: PathBuf,
    /// Comma-separated values with a header row: scan, and any of patient_name, patient_id, birth_date, sex, accession_number,
    /// study_id, referring_physician, study_date, study_time, study_instance_uid
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) names: PathBuf,
    /// Folder to make for the copies, away from the results
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Phantom {
    /// ISMRMRD file to write
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Also write the fully sampled twin, with the same noise
    #[arg(long, value_name = "FILE")]
    pub(crate) full: Option<PathBuf>,
    /// Slices
    #[arg(long, default_value_t = 4)]
    pub(crate) slices: usize,
    /// Receiver coils
    #[arg(long, default_value_t = 8)]
    pub(crate) coils: usize,
    /// Lines and columns of an image
    #[arg(long, default_value_t = 128)]
    pub(crate) matrix: usize,
    /// Acceleration: every R-th line is acquired
    #[arg(long, value_name = "R", default_value_t = 4)]
    pub(crate) r: usize,
    /// Calibration lines
    #[arg(long, default_value_t = 32)]
    pub(crate) acs: usize,
    /// Mean signal of the head over the standard deviation of a coil's noise
    #[arg(long, default_value_t = 60.0)]
    pub(crate) snr: f64,
    /// Seed of noise and texture
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}
