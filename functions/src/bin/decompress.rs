//! Lambda function: unpacks and prepares a raw archive.

use aws_lambda_events::sqs::SqsEvent;
use functions::aws::Clients;
use functions::decompress::{self, Clock};
use functions::{config, telemetry};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = &config::Decompress::from_env()?;
    let clients = &Clients::new(&store::aws_config().await);
    run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let clock = Clock::until(event.context.deadline(), config.time_reserve);
        Ok::<_, Error>(Box::pin(decompress::handle(clients, config, event.payload, clock)).await)
    }))
    .await
}
