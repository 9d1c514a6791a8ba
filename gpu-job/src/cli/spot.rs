//! The notice of a Spot instance, two minutes before it is taken away.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>: the item
//! `spot/instance-action` of the instance metadata exists from the notice on. Batch itself tells a job nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::imds::client::Client;

const NOTICE: &str = "/latest/meta-data/spot/instance-action";
/// How often AWS recommends to look.
const EVERY: Duration = Duration::from_secs(5);
/// Metadata that did not answer so often, and never did, is not there: another kind of machine, or closed to containers.
const MOST_FAILURES: u32 = 3;

/// Looks for the notice from a thread of its own and sets `stop` when it is there.
pub(super) fn listen(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(watch(&Client::builder().build(), EVERY, &stop)),
            Err(error) => tracing::warn!(%error, "the notice of a Spot instance is not heard"),
        }
    });
}

async fn watch(metadata: &Client, every: Duration, stop: &AtomicBool) {
    let (mut failures, mut reached) = (0, false);
    while reached || failures < MOST_FAILURES {
        match look(metadata).await {
            Answer::Notice => {
                tracing::warn!("this Spot instance is about to be taken away: stopping");
                stop.store(true, Ordering::Relaxed);
                return;
            }
            Answer::Nothing => reached = true,
            Answer::Unreachable => failures += 1,
        }
        tokio::time::sleep(every).await;
    }
    tracing::info!("instance metadata cannot be reached: a Spot notice would not be heard");
}

enum Answer {
    Notice,
    Nothing,
    Unreachable,
}

async fn look(metadata: &Client) -> Answer {
    use aws_config::imds::client::error::ImdsError;
    match metadata.get(NOTICE).await {
        Ok(_) => Answer::Notice,
        // 404 for as long as nothing is planned.
        Err(ImdsError::ErrorResponse(_)) => Answer::Nothing,
        Err(_) => Answer::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A metadata service that gives tokens, and the notice after `quiet` questions.
    async fn service(quiet: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut asked = 0;
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let answer = if head.starts_with("PUT /latest/api/token") {
                    "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\ncontent-length: 5\r\nconnection: close\r\n\r\ntoken"
                } else {
                    assert!(head.starts_with(&format!("GET {NOTICE} ")), "{head}");
                    assert!(head.to_lowercase().contains("x-aws-ec2-metadata-token: token"), "{head}");
                    asked += 1;
                    match asked > quiet {
                        true => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
                        false => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    }
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        format!("http://{at}")
    }

    #[tokio::test]
    async fn the_notice_stops_the_job_and_its_absence_does_not() {
        let client = Client::builder().endpoint(service(2).await).unwrap().build();
        assert!(matches!(look(&client).await, Answer::Nothing));
        let stop = AtomicBool::new(false);
        watch(&client, Duration::from_millis(1), &stop).await;
        assert!(stop.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_machine_without_metadata_is_left_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = Client::builder().endpoint(nobody).unwrap().max_attempts(1).build();
        let stop = AtomicBool::new(false);
        watch(&client, Duration::from_millis(1), &stop).await;
        assert!(!stop.load(Ordering::Relaxed));
    }
}
