//! The routes of both services: checks as AWS makes them, answers in its form.
//!
//! | module | what it holds |
//! |---|---|
//! | `jobs` | jobs of Batch |
//! | `resources` | what jobs run in: compute environments, queues and definitions |

mod jobs;
mod resources;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::shim::Shared;
use crate::shim::gateway::{Refusal, Request};

const DEFAULT_PAGE: usize = 100;
const REFRESH_CACHE: &str = "StorageGateway_20130630.RefreshCache";

/// A refusal the caller is to blame for.
struct ClientException(String);

type Answer = Result<Value, ClientException>;
type Handler = fn(&Arc<Shared>, &[u8]) -> Answer;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let batch: [(&str, Handler); 9] = [
        ("/v1/submitjob", jobs::submit_job),
        ("/v1/describejobs", jobs::describe_jobs),
        ("/v1/listjobs", jobs::list_jobs),
        ("/v1/terminatejob", jobs::terminate_job),
        ("/v1/canceljob", jobs::cancel_job),
        ("/v1/describecomputeenvironments", resources::describe_compute_environments),
        ("/v1/updatecomputeenvironment", resources::update_compute_environment),
        ("/v1/describejobqueues", resources::describe_job_queues),
        ("/v1/describejobdefinitions", resources::describe_job_definitions),
    ];
    let mut router = Router::new().route("/", post(storage_gateway));
    for (path, handler) in batch {
        let answer = move |Extract(shared): Extract<Arc<Shared>>, body: Bytes| async move {
            match handler(&shared, &body) {
                Ok(answer) => (StatusCode::OK, axum::Json(answer)).into_response(),
                Err(ClientException(message)) => refusal("ClientException", json!({ "message": message })),
            }
        };
        router = router.route(path, post(answer));
    }
    router.with_state(shared)
}

fn refusal(exception: &'static str, body: Value) -> Response {
    let mut response = (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(exception));
    response
}

fn client(message: impl Into<String>) -> ClientException {
    ClientException(message.into())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientException> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| client(format!("Error executing request, Exception : {error}")))
}

/// Looks like the ids of AWS, which are version 4 UUIDs.
fn job_id() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    // RandomState is seeded by the system; every instance differs.
    let random = || RandomState::new().build_hasher().finish();
    let (a, b) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | ((b >> 48) & 0x3fff),
        b & 0xffff_ffff_ffff
    )
}

fn page(key: &str, items: &[Value], size: Option<usize>, token: Option<&str>) -> Value {
    let start = token.and_then(|token| token.parse().ok()).unwrap_or(0).min(items.len());
    let end = (start + size.unwrap_or(DEFAULT_PAGE).clamp(1, DEFAULT_PAGE)).min(items.len());
    let mut answer = json!({ key: items[start..end] });
    if end < items.len() {
        answer["nextToken"] = end.to_string().into();
    }
    answer
}

async fn storage_gateway(Extract(shared): Extract<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = if target == REFRESH_CACHE {
        serde_json::from_slice(&body)
            .map_err(|error| Refusal { exception: "ValidationException", message: error.to_string() })
            .and_then(|request: Request| {
                let share = request.file_share_arn.clone();
                let refresh = shared.lock().gateway.refresh(request, Instant::now(), job_id())?;
                Ok(json!({ "FileShareARN": share, "NotificationId": refresh.notification_id }))
            })
    } else {
        let message = "only RefreshCache of Storage Gateway is played on one machine".to_owned();
        Err(Refusal { exception: "UnknownOperationException", message })
    };
    let mut response = match answer {
        Ok(answer) => (StatusCode::OK, axum::Json(answer)).into_response(),
        Err(Refusal { exception, message }) => {
            let mut body = json!({ "__type": exception, "message": message });
            if exception == "InvalidGatewayRequestException" {
                body["error"] = json!({ "errorCode": "InvalidParameters", "errorDetails": { "message": message } });
            }
            refusal(exception, body)
        }
    };
    let json = HeaderValue::from_static("application/x-amz-json-1.1");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_hold_every_item_once(count in 0..230usize, size in 1..120usize) {
            let items: Vec<Value> = (0..count).map(Value::from).collect();
            let (mut seen, mut token) = (Vec::new(), None::<String>);
            loop {
                let answer = page("items", &items, Some(size), token.as_deref());
                seen.extend(answer["items"].as_array().cloned().unwrap_or_default());
                token = answer["nextToken"].as_str().map(str::to_owned);
                if token.is_none() { break; }
            }
            prop_assert_eq!(seen, items);
        }
    }
}
