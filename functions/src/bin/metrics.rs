//! Lambda function: publishes depth of the queues and jobs by state.

use functions::aws::Clients;
use functions::{config, metrics, telemetry};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::de::IgnoredAny;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = &config::Metrics::from_env()?;
    let clients = &Clients::new(&store::aws_config().await);
    run(service_fn(|_: LambdaEvent<IgnoredAny>| async move {
        let line = Box::pin(metrics::handle(clients, config, Timestamp::now())).await?;
        Ok::<_, Error>(metrics::print(&line)?)
    }))
    .await
}
