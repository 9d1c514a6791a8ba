//! Lambda function: records what became of a Batch job.

use functions::aws::Clients;
use functions::outcome::{self, JobEvent};
use functions::{config, telemetry};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = &config::Outcome::from_env()?;
    let clients = &Clients::new(&store::aws_config().await);
    run(service_fn(|event: LambdaEvent<JobEvent>| async move {
        Ok::<_, Error>(Box::pin(outcome::handle(clients, config, &event.payload)).await?)
    }))
    .await
}
