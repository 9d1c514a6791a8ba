//! Lambda function: hands one GPU job per prepared scan to AWS Batch.

use aws_lambda_events::sqs::SqsEvent;
use functions::aws::Clients;
use functions::{config, submit, telemetry};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = &config::Submit::from_env()?;
    let clients = &Clients::new(&store::aws_config().await);
    run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        Ok::<_, Error>(Box::pin(submit::handle(clients, config, event.payload, Timestamp::now())).await)
    }))
    .await
}
