//! How to reach the emulated services: the one place that makes SDK clients.

use aws_config::SdkConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};

/// The region the local stack plays.
pub const REGION: &str = "us-east-1";
/// The account the local stack plays.
pub const ACCOUNT: &str = "000000000000";
/// Not a secret: the emulator takes any.
pub const ACCESS_KEY: &str = "test";
/// Not a secret: the emulator takes any.
pub const SECRET_KEY: &str = "test";

/// Settings for clients of the emulator at `endpoint`. Nothing is read of the caller's AWS settings, so that a
/// demonstration can never reach an account.
#[must_use]
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "raki-cloud local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build()
}

/// An S3 client; buckets are in the path, since `bucket.127.0.0.1` is no host.
#[must_use]
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(config).force_path_style(true).build())
}
