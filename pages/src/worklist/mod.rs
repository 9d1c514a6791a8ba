//! `worklist.html` at the root of a share: every scan with its state, its picture and its report.
//!
//! The page is its own record: the rows lie in it as JSON, so that the next event reads them back, adds itself and writes the page again
//! under a condition. Rows merge in any order and any number of times ([`Worklist::upsert`]), so that a lost race is mended
//! by reading and adding again.

mod render;
mod row;

use std::collections::{BTreeMap, HashMap};

use contract::{ContractError, Record, ScanId};
use serde::{Deserialize, Serialize};

pub use row::{Results, Row, SHOWN};

use crate::html;

/// Rows kept. More would make a page that browsers open slowly; the oldest finished scans leave first.
pub const MOST_ROWS: usize = 5000;

/// Element of the page that holds the rows.
const DATA_ID: &str = "scans";

/// Why a page is not a worklist.
#[derive(Debug, thiserror::Error)]
pub enum WorklistError {
    /// A page without rows in it.
    #[error("the page holds no list of scans: it was cut or written by something else")]
    NoScans,
    /// Rows that cannot be read.
    #[error(transparent)]
    Contract(#[from] ContractError),
}

/// All scans, newest first by when they were first heard of. No scan is there twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Worklist {
    rows: Vec<Row>,
}

/// The form in which rows lie in the page.
#[derive(Serialize, Deserialize)]
struct Stored {
    schema: u32,
    rows: Vec<Row>,
}

impl Record for Stored {
    const NAME: &'static str = "worklist";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

impl Worklist {
    /// The rows of an earlier [`Worklist::render`].
    ///
    /// # Errors
    /// [`WorklistError`] for a damaged page or one of another make or release; whether to begin a new list is up to the caller.
    pub fn parse(page: &[u8]) -> Result<Self, WorklistError> {
        let page = std::str::from_utf8(page).map_err(|_| WorklistError::NoScans)?;
        let json = html::find_json(page, DATA_ID).ok_or(WorklistError::NoScans)?;
        // A page that was edited by hand may be out of order or hold a scan twice.
        let mut rows: BTreeMap<ScanId, Row> = BTreeMap::new();
        for row in Stored::from_json(json.as_bytes())?.rows {
            match rows.get_mut(&row.scan) {
                Some(known) => known.merge(row),
                None => _ = rows.insert(row.scan.clone(), row),
            }
        }
        let mut list = Self { rows: rows.into_values().collect() };
        list.settle();
        Ok(list)
    }

    /// The rows, newest first.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Adds what is known of a scan. What is older than what the list knows changes nothing but what was unknown.
    pub fn upsert(&mut self, row: Row) {
        match self.rows.iter_mut().find(|known| known.scan == row.scan) {
            Some(known) => known.merge(row),
            None => self.rows.push(row),
        }
        self.settle();
    }

    /// Whether the results of a newer upload lie where this row's lay, or would have lain. One that was refused or is still on its way
    /// takes nothing from an older one.
    #[must_use]
    pub fn is_superseded(&self, row: &Row) -> bool {
        superseded(&self.owners(), row)
    }

    /// The page.
    #[must_use]
    pub fn render(&self) -> String {
        render::page(self)
    }

    fn json(&self) -> String {
        html::json(&Stored { schema: Stored::SCHEMA, rows: self.rows.clone() })
    }

    /// The scan whose results lie in each folder: the newest that has some.
    fn owners(&self) -> HashMap<&str, &Row> {
        // Oldest first, so that the newest stays.
        self.rows.iter().rev().filter(|row| row.results.is_some()).map(|row| (row.folder.as_str(), row)).collect()
    }

    fn settle(&mut self) {
        self.rows.sort_by(|a, b| age(b).cmp(&age(a)));
        let mut excess = self.rows.len().saturating_sub(MOST_ROWS);
        for only_finished in [true, false] {
            while excess > 0 {
                let oldest = self.rows.iter().rposition(|row| !only_finished || row.is_finished());
                let Some(at) = oldest else { break };
                self.rows.remove(at);
                excess -= 1;
            }
        }
    }
}

fn superseded(owners: &HashMap<&str, &Row>, row: &Row) -> bool {
    row.state == contract::State::Superseded
        || owners.get(row.folder.as_str()).is_some_and(|owner| age(owner) > age(row))
}

fn age(row: &Row) -> (jiff::Timestamp, &ScanId) {
    (row.started, &row.scan)
}
