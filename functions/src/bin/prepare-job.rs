//! CPU job on AWS Batch: prepares an archive over the limits of the Lambda function.

use contract::ExitCode;
use functions::aws::Clients;
use functions::decompress::job;
use functions::{config, telemetry};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    telemetry::init();
    let scan = match job::arguments(std::env::args().skip(1)) {
        Ok(scan) => scan,
        Err(error) => {
            tracing::error!(%error, "wrong arguments");
            return ExitCode::Usage.into();
        }
    };
    let config = match config::PrepareJob::from_env() {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, "wrong environment");
            return ExitCode::Usage.into();
        }
    };
    let clients = Clients::new(&store::aws_config().await);
    job::run(&clients, &config, &scan).await.into()
}
