//! `RefreshCache` of Storage Gateway: checked, recorded and answered.
//!
//! <https://docs.aws.amazon.com/storagegateway/latest/APIReference/API_RefreshCache.html>

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Time to wait between two requests for a file share. The API works on two at once at most; refreshes on one machine
/// end long before this, so the spacing is what a caller meets.
pub const SPACING: Duration = Duration::from_secs(60);

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Request {
    #[serde(rename = "FileShareARN")]
    pub(crate) file_share_arn: Option<String>,
    pub(crate) folder_list: Option<Vec<String>>,
    pub(crate) recursive: Option<bool>,
}

/// A refresh that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refresh {
    /// Id in the answer.
    pub notification_id: String,
    /// Folders, without the bucket.
    pub folders: Vec<String>,
    /// Whether folders below them are refreshed too.
    pub recursive: bool,
}

/// Why a request is refused: the name of the exception and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) exception: &'static str,
    pub(crate) message: String,
}

/// The gateway with its one file share.
#[derive(Debug)]
pub(crate) struct Gateway {
    share: String,
    spacing: Duration,
    last: Option<Instant>,
    pub(crate) refreshes: Vec<Refresh>,
}

impl Gateway {
    pub(crate) fn new(share: String, spacing: Duration) -> Self {
        Self { share, spacing, last: None, refreshes: Vec::new() }
    }

    /// Accepts or refuses a request that arrives at `now`.
    pub(crate) fn refresh(&mut self, request: Request, now: Instant, id: String) -> Result<Refresh, Refusal> {
        let validation = |message: String| Refusal { exception: "ValidationException", message };
        let busy = |message: &str| Refusal { exception: "InvalidGatewayRequestException", message: message.to_owned() };
        let share = request.file_share_arn.unwrap_or_default();
        if !(50..=500).contains(&share.len()) {
            return Err(validation(format!("fileShareARN must have 50 to 500 characters, found {}", share.len())));
        }
        let folders = request.folder_list.unwrap_or_else(|| vec!["/".to_owned()]);
        if !(1..=50).contains(&folders.len()) {
            return Err(validation(format!("folderList must have 1 to 50 members, found {}", folders.len())));
        }
        if let Some(folder) = folders.iter().find(|folder| !(1..=1024).contains(&folder.len())) {
            return Err(validation(format!("a folder must have 1 to 1024 characters, found {}", folder.len())));
        }
        if share != self.share {
            return Err(busy("The specified file share was not found."));
        }
        if self.last.is_some_and(|last| now.duration_since(last) < self.spacing) {
            return Err(busy("Too many requests have been sent to server: wait at least 60 seconds between them."));
        }
        self.last = Some(now);
        let refresh = Refresh { notification_id: id, folders, recursive: request.recursive.unwrap_or(true) };
        self.refreshes.push(refresh.clone());
        Ok(refresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: &str = "arn:aws:storagegateway:us-east-1:000000000000:share/share-10CA1000";

    fn ask(share: &str, folders: Option<Vec<String>>) -> Request {
        Request { file_share_arn: Some(share.to_owned()), folder_list: folders, recursive: Some(false) }
    }

    #[test]
    fn requests_are_spaced_and_the_folders_are_checked() {
        let mut gateway = Gateway::new(SHARE.to_owned(), SPACING);
        let start = Instant::now();
        let mut at = |seconds, request| {
            gateway.refresh(request, start + Duration::from_secs(seconds), seconds.to_string()).map_err(|e| e.exception)
        };
        let folders = |n: usize| Some(vec!["/2026-11-23/brain".to_owned(); n]);
        assert_eq!(at(0, ask(SHARE, folders(51))), Err("ValidationException"));
        assert_eq!(at(0, ask(SHARE, folders(0))), Err("ValidationException"));
        assert_eq!(at(0, ask(SHARE, Some(vec!["x".repeat(1025)]))), Err("ValidationException"));
        assert_eq!(at(0, ask("arn:short", folders(1))), Err("ValidationException"));
        assert_eq!(at(0, ask(&SHARE.replace("10CA", "0000"), folders(1))), Err("InvalidGatewayRequestException"));
        assert_eq!(at(0, ask(SHARE, folders(50))).map(|refresh| refresh.folders.len()), Ok(50));
        assert_eq!(at(59, ask(SHARE, folders(1))), Err("InvalidGatewayRequestException"));
        assert_eq!(at(60, ask(SHARE, None)).map(|refresh| refresh.folders), Ok(vec!["/".to_owned()]));
        assert_eq!(gateway.refreshes.len(), 2);
    }
}
