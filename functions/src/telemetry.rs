//! JSON logs on standard output, where Lambda and Batch collect them.

use tracing_subscriber::EnvFilter;

/// Crates whose finer logs hold requests with object keys. They stay at their warnings whatever `RUST_LOG` says.
const QUIET: [&str; 11] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_batch",
    "aws_sdk_cloudwatch",
    "aws_sdk_s3",
    "aws_sdk_sqs",
    "aws_sdk_storagegateway",
    "aws_sigv4",
    "aws_smithy_runtime",
    "hyper_util",
    "lambda_runtime",
];

/// Starts logging as `RUST_LOG` says, `info` without it. A second call changes nothing.
pub fn init() {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let filter =
        QUIET.iter().filter_map(|target| format!("{target}=warn").parse().ok()).fold(filter, EnvFilter::add_directive);
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
