//! Lambda function: shows new results on the share.

use aws_lambda_events::sqs::SqsEvent;
use functions::aws::Clients;
use functions::{config, refresh, telemetry};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = &config::Refresh::from_env()?;
    let clients = &Clients::new(&store::aws_config().await);
    run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        Ok::<_, Error>(Box::pin(refresh::handle(clients, config, event.payload)).await)
    }))
    .await
}
