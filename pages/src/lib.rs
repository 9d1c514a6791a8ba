//! The pages that people open.
//!
//! | module | what it holds |
//! |---|---|
//! | [`report`] | `report.html` beside the images of a scan: can they be trusted? |
//! | [`worklist`] | `worklist.html` at the root of the share: which scans are there, and how are they? |
//! | [`html`] | escaping, and the frame of a page that loads nothing |
//! | [`svg`] | the charts of the report |
//! | [`words`] | names and numbers as people read them |
//!
//! A page is one file that works from a disk, a share or a bucket: styles, scripts and pictures lie in it, and its content security
//! policy forbids the browser to load anything else and to run any script but its own, told by their hashes. Everything is there as plain
//! HTML first; the scripts of `assets/` make pictures scroll and lists sort. The 3-D view of the report is NiiVue, taken from npm
//! when the crate is built (`viewer/`) and absent where it was not there then.

pub mod html;
pub mod report;
pub mod svg;
pub mod words;
pub mod worklist;
