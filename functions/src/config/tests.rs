//! Every reader against its list of variables.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;

/// A value that every reader accepts for its variable.
fn good(name: &str) -> String {
    match name {
        "RAKI_METHOD" => "grappa",
        "RAKI_IMAGES" => "combine=rss,interpolate",
        "RAKI_FILE_SHARE_ARN" => "arn:aws:storagegateway:eu-central-1:111122223333:share/share-1",
        "RAKI_METRICS_NAMESPACE" => "raki",
        "RAKI_COMPUTE_ENVIRONMENTS" => "raki-spot, raki-on-demand",
        _ if name.ends_with("_BUCKET") => "raki-raw-1",
        _ if name.ends_with("_URL") => "https://sqs.eu-central-1.amazonaws.com/111122223333/raki",
        _ if name.contains("_JOB_") && !name.contains("SECONDS") => {
            "arn:aws:batch:eu-central-1:111122223333:job-queue/q"
        }
        _ => "16",
    }
    .to_owned()
}

fn reads<T: std::fmt::Debug>(read: impl Fn(&Env<'_>) -> Result<T>, variables: &[&'static str]) {
    let asked = RefCell::new(BTreeSet::new());
    let all = read(&Env(&|name| {
        asked.borrow_mut().insert(name);
        Some(good(name))
    }));
    assert!(all.is_ok(), "{all:?}");
    assert_eq!(asked.into_inner(), variables.iter().copied().collect(), "VARIABLES lists what is read");
    for &wrong in variables {
        if wrong == "RAKI_FILE_SHARE_ARN" {
            continue;
        }
        for value in [None, Some(String::new()), Some("not a value!".repeat(30))] {
            let refused = read(&Env(&|name| if name == wrong { value.clone() } else { Some(good(name)) }));
            match refused {
                Err(error) => assert_eq!(error.variable, wrong),
                Ok(accepted) => {
                    assert_eq!(wrong, "RAKI_COMPUTE_ENVIRONMENTS", "{accepted:?}");
                }
            }
        }
    }
}

#[test]
fn each_function_reads_what_it_lists_and_names_what_is_wrong() {
    reads(Decompress::read, Decompress::VARIABLES);
    reads(PrepareJob::read, PrepareJob::VARIABLES);
    reads(Submit::read, Submit::VARIABLES);
    reads(Outcome::read, Outcome::VARIABLES);
    reads(Refresh::read, Refresh::VARIABLES);
    reads(Metrics::read, Metrics::VARIABLES);
    reads(Scale::read, Scale::VARIABLES);
}

#[test]
fn an_error_names_variable_value_and_accepted_form() {
    let submit = |seed: Option<&str>| {
        let seed = seed.map(str::to_owned);
        let read = Submit::read(&Env(&|name| if name == "RAKI_SEED" { seed.clone() } else { Some(good(name)) }));
        read.map_err(|error| error.to_string()).err()
    };
    let accepted = "expected a whole number from 0 to 18446744073709551615";
    assert_eq!(submit(None), Some(format!("RAKI_SEED is not set: {accepted}")));
    assert_eq!(submit(Some("-1")), Some(format!("RAKI_SEED is \"-1\": {accepted}")));
    assert_eq!(submit(Some("7")), None);
}

#[test]
fn no_share_is_no_error_and_a_wrong_one_is() {
    let read = |value: &str| Refresh::read(&Env(&|_| Some(value.to_owned())));
    assert_eq!(read(""), Ok(Refresh { file_share: None }));
    assert!(read("share-1").is_err());
}

#[test]
fn a_ceiling_below_one_job_is_refused() {
    let read =
        |max: &str| Scale::read(&Env(&|name| Some(if name == "RAKI_MAX_VCPUS" { max.to_owned() } else { good(name) })));
    assert!(read("15").is_err_and(|error| error.accepted == "a whole number from 16 to 100000"));
    assert!(read("16").is_ok());
}
