//! Names by which people tell the raw files of an archive apart. They can hold the name of a person.

use contract::keys::{DistinctNames, stem};

use super::scratch::Member;

/// One name for each member, all different in any case of letters: the name of the file without its endings; where
/// several share it, the name of its folder or of the archive it is in comes before it; where that is not enough, a
/// number after it.
pub(super) fn distinct<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<String> {
    let members: Vec<_> = members.collect();
    let short: Vec<_> = members.iter().map(|member| last(&member.path)).collect();
    let mut given = DistinctNames::default();
    let name = |at: usize| {
        let shared = short.iter().filter(|other| same(other, short[at])).count() > 1;
        match (shared, parent(members[at])) {
            (true, parent) if !parent.is_empty() => format!("{parent}_{}", short[at]),
            _ => short[at].to_owned(),
        }
    };
    (0..members.len()).map(|at| given.give(&name(at), '_')).collect()
}

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// The last part of a path, without its endings.
fn last(path: &str) -> &str {
    stem(path.rsplit(['/', '\\']).next().unwrap_or_default())
}

fn parent(member: &Member) -> &str {
    match member.path.rsplit_once(['/', '\\']) {
        Some((folder, _)) if !last(folder).is_empty() => last(folder),
        _ => last(&member.archive),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(members: &[(&str, &str)]) -> Vec<String> {
        let member = |&(archive, path): &(&str, &str)| Member {
            path: path.into(),
            archive: archive.into(),
            ..Member::default()
        };
        let members: Vec<_> = members.iter().map(member).collect();
        distinct(members.iter())
    }

    #[test]
    fn a_file_is_named_by_its_stem() {
        assert_eq!(named(&[("", "a/t1.h5.gz"), ("", "a/t2.dat"), ("", "")]), ["t1", "t2", ""]);
    }

    #[test]
    fn what_shares_a_stem_is_told_by_its_folder_its_archive_or_a_number() {
        assert_eq!(named(&[("", "mon/scan.h5"), ("", "tue/Scan.h5")]), ["mon_scan", "tue_Scan"]);
        assert_eq!(named(&[("mon.tar.gz", "scan.h5"), ("tue.tar.gz", "scan.h5")]), ["mon_scan", "tue_scan"]);
        assert_eq!(named(&[("", "scan.h5"), ("", "scan.dat"), ("", "scan_2.h5")]), ["scan", "scan_2", "scan_2_2"]);
    }
}
