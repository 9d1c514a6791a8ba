//! Lambda function: records what became of a Batch job, and keeps the worklist.

use functions::aws::Clients;
use functions::outcome::{self, Notice};
use functions::{config, telemetry};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = &config::Outcome::from_env()?;
    let clients = &Clients::new(&store::aws_config().await);
    run(service_fn(|event: LambdaEvent<Notice>| async move {
        Ok::<_, Error>(Box::pin(outcome::notice(clients, config, &event.payload)).await?)
    }))
    .await
}
