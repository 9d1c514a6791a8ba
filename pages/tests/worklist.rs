//! The worklist survives hostile names, repeats and any order of events.

#![allow(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::collections::BTreeMap;

use contract::{ScanId, Stage, State};
use jiff::Timestamp;
use pages::worklist::{MOST_ROWS, Results, Row, Worklist, WorklistError};
use proptest::prelude::*;

/// Text that would break a page which did not escape it.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(</script>|<script>alert\\(1\\)</script>|<!--|-->|\"|'|&amp;|\\\\u003c|\u{2028}|<img src=x onerror=alert\\(1\\)>|[a-z/ ]){0,6}",
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    // With and without fractions of a second, which text would sort wrongly.
    (1_700_000_000_000i64..1_700_000_020_000)
        .prop_map(|milliseconds| Timestamp::from_millisecond(milliseconds).unwrap())
}

fn results() -> impl Strategy<Value = Results> {
    let quality =
        prop::collection::btree_map(prop::sample::select(vec!["snr", "calibration_residual"]), -1e9f64..1e9, 0..3);
    (time(), hostile(), quality, any::<[bool; 3]>(), prop::option::of(hostile())).prop_map(
        |(created, method, quality, [check, thumbnail, report], doubt)| Results {
            created,
            method,
            quality: quality.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
            check,
            doubt,
            thumbnail,
            report,
        },
    )
}

fn row() -> impl Strategy<Value = Row> {
    let stage = prop::sample::select(vec![Stage::Decompress, Stage::Submit, Stage::Reconstruct, Stage::Refresh]);
    let state =
        prop::sample::select(vec![State::Started, State::Retrying, State::Done, State::Failed, State::Superseded]);
    let scan = (0..6u8).prop_map(|number| ScanId::of_object("raw", "a", &number.to_string()));
    (scan, hostile(), hostile(), time(), time(), stage, state, prop::option::of(hostile()), prop::option::of(results()))
        .prop_map(|(scan, folder, name, started, updated, stage, state, reason, results)| Row {
            scan,
            folder,
            name,
            started,
            updated,
            stage,
            state,
            reason,
            results,
        })
}

fn list(rows: &[Row]) -> Worklist {
    let mut list = Worklist::default();
    rows.iter().for_each(|row| list.upsert(row.clone()));
    list
}

fn plain(number: usize, state: State) -> Row {
    let at = Timestamp::from_second(1_700_000_000 + number as i64).unwrap();
    Row {
        scan: ScanId::of_object("raw", "a", &number.to_string()),
        folder: format!("day/scan {number}"),
        name: format!("scan {number}"),
        started: at,
        updated: at,
        stage: Stage::Reconstruct,
        state,
        reason: None,
        results: None,
    }
}

proptest! {
    #[test]
    fn a_page_gives_its_rows_back(rows in prop::collection::vec(row(), 0..12)) {
        let list = list(&rows);
        let page = list.render();
        prop_assert_eq!(&Worklist::parse(page.as_bytes()).unwrap(), &list);
        // The two script elements of the page, and none that came with a name.
        prop_assert_eq!(page.matches("<script").count(), 2);
        prop_assert_eq!(page.matches("</script").count(), 2);
        prop_assert!(!page.contains("<img src=x"));
    }

    #[test]
    fn order_and_repeats_do_not_matter(
        (rows, shuffled) in prop::collection::vec(row(), 1..10).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        again in any::<prop::sample::Index>(),
    ) {
        let mut shuffled = shuffled;
        shuffled.push(again.get(&rows).clone());
        prop_assert_eq!(list(&rows), list(&shuffled));
    }

    #[test]
    fn what_is_known_never_becomes_older(rows in prop::collection::vec(row(), 1..10)) {
        let mut list = Worklist::default();
        for row in rows {
            let scan = row.scan.clone();
            let before = list.rows().iter().find(|known| known.scan == scan).map(|known| known.updated);
            let told = row.updated;
            list.upsert(row);
            let after = list.rows().iter().find(|known| known.scan == scan).unwrap().updated;
            prop_assert_eq!(after, before.map_or(told, |before| before.max(told)));
        }
    }
}

#[test]
fn damaged_and_foreign_pages_are_errors() {
    let page = list(&[plain(1, State::Done)]).render();
    assert!(matches!(Worklist::parse(b"<html></html>"), Err(WorklistError::NoScans)));
    assert!(matches!(Worklist::parse(b"\xff\xfe"), Err(WorklistError::NoScans)));
    let newer = page.replace("{\"schema\":1,", "{\"schema\":2,");
    assert!(matches!(Worklist::parse(newer.as_bytes()), Err(WorklistError::Contract(_))));
    let data = page.find("id=\"scans\">").unwrap();
    for end in [data + 20, page[data..].find("</script>").unwrap() + data] {
        assert!(Worklist::parse(&page.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}

fn found() -> Option<Results> {
    Some(Results {
        created: Timestamp::from_second(1_700_000_100).unwrap(),
        method: "nwG".to_owned(),
        quality: BTreeMap::new(),
        check: false,
        doubt: None,
        thumbnail: true,
        report: true,
    })
}

#[test]
fn results_of_a_newer_upload_supersede_older_ones_and_nothing_else_does() {
    let old = Row { results: found(), ..plain(1, State::Done) };
    let newer = |number: usize, state: State| Row { folder: old.folder.clone(), ..plain(number, state) };
    let superseded = |rows: &[&Row]| -> Vec<ScanId> {
        let list = list(&rows.iter().map(|row| (*row).clone()).collect::<Vec<_>>());
        list.rows().iter().filter(|row| list.is_superseded(row)).map(|row| row.scan.clone()).collect()
    };
    for state in [State::Started, State::Retrying, State::Failed, State::Quarantined] {
        assert_eq!(superseded(&[&old, &newer(2, state)]), []);
    }
    let new = Row { results: found(), ..newer(3, State::Done) };
    let refused = newer(2, State::Quarantined);
    let late = Row { updated: Timestamp::from_second(1_700_000_009).unwrap(), ..old.clone() };
    for order in [[&old, &refused, &new, &late], [&late, &new, &old, &refused], [&new, &refused, &late, &old]] {
        assert_eq!(superseded(&order), [refused.scan.clone(), old.scan.clone()]);
    }
}

#[test]
fn the_oldest_finished_scans_leave_a_full_list_first() {
    let mut rows: Vec<Row> = (0..MOST_ROWS).map(|number| plain(number, State::Done)).collect();
    rows[0].state = State::Started;
    // Read as one page, since adding row by row to a full list takes long.
    let full = format!(
        "<script type=\"application/json\" id=\"scans\">{{\"schema\":1,\"rows\":{}}}</script>",
        serde_json::to_string(&rows).unwrap()
    );
    let mut list = Worklist::parse(full.as_bytes()).unwrap();
    list.upsert(plain(MOST_ROWS, State::Started));
    assert_eq!(list.rows().len(), MOST_ROWS);
    let has = |number: usize| list.rows().iter().any(|row| row.scan == rows[number].scan);
    assert!(has(0), "work that goes on stays");
    assert!(!has(1) && has(2), "the oldest finished one leaves");
    assert_eq!(list.rows()[0].scan, plain(MOST_ROWS, State::Started).scan, "newest first");
}
