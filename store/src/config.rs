//! SDK configuration.
#![expect(clippy::disallowed_methods, reason = "the configuration module of this crate")]

use aws_config::SdkConfig;

/// Variables that send S3 requests to somewhere else than AWS.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// Credentials, region and endpoints as every SDK finds them: environment, profile, container, instance.
pub async fn aws_config() -> SdkConfig {
    aws_config::load_from_env().await
}

/// The S3 client. Where an endpoint is overridden, buckets are addressed by path: `bucket.localhost` resolves nowhere.
#[must_use]
pub fn s3_client(sdk: &SdkConfig) -> aws_sdk_s3::Client {
    let overridden = ENDPOINT_VARIABLES.iter().any(|name| std::env::var(name).is_ok_and(|url| !url.is_empty()));
    let config =
        aws_sdk_s3::config::Builder::from(sdk).force_path_style(overridden || sdk.endpoint_url().is_some()).build();
    aws_sdk_s3::Client::from_conf(config)
}
