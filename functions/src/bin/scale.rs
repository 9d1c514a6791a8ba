//! Lambda function: moves the limits of the compute environments with the backlog.

use functions::aws::Clients;
use functions::{config, scale, telemetry};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::de::IgnoredAny;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = &config::Scale::from_env()?;
    let clients = &Clients::new(&store::aws_config().await);
    run(service_fn(|_: LambdaEvent<IgnoredAny>| async move {
        let changes = Box::pin(scale::handle(clients, config, Timestamp::now())).await?;
        Ok::<_, Error>(changes.len())
    }))
    .await
}
