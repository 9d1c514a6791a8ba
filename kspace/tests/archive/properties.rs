//! Archives of any make.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_cut_archive_is_never_taken_for_a_whole_one(codec in 0..4usize, wrapped in any::<bool>(), share in 0.0..1.0f64) {
        let file = raw(60_000);
        let inner = if wrapped { tar(&[("scan.h5", &file)]) } else { file };
        let archive = CODECS[codec].1(&inner);
        let cut = ((archive.len() - 1) as f64 * share) as usize;
        let (result, _) = run(&archive[..cut], &Limits::default());
        let error = result.expect_err("a cut archive");
        // Too short for its kind to be told, it is not known to be an archive; from there on it is known to be cut.
        if cut > 4 * 1024 {
            prop_assert!(matches!(error, Error::Truncated { .. }), "{} of {}: {}", cut, archive.len(), error);
        }
    }

    #[test]
    fn a_cut_bare_tar_is_never_taken_for_a_whole_one(share in 0.05..0.982f64) {
        let archive = tar(&[("scan.h5", &raw(60_000))]);
        let cut = ((archive.len() - 1) as f64 * share) as usize;
        let error = run(&archive[..cut], &Limits::default()).0.expect_err("a cut archive");
        prop_assert!(matches!(error, Error::Truncated { .. }), "{}", error);
    }

    #[test]
    fn any_set_of_raw_files_in_any_containers_comes_out_the_same(
        sizes in prop::collection::vec((8..3000usize, 0..5usize, 0..4usize), 1..6),
        outer in 0..3usize,
        packed in 0..5usize,
    ) {
        let pack = |bytes: Vec<u8>, codec: usize| CODECS.get(codec).map_or(bytes.clone(), |(_, codec)| codec(&bytes));
        let archive = |kind: usize, members: &[(&str, &[u8])]| if kind == 0 { zip(members) } else { tar(members) };
        // Each file by itself, or in an archive of its own; compressed or not.
        let files: Vec<Vec<u8>> = sizes.iter().map(|(size, ..)| raw(*size)).collect();
        let members: Vec<Vec<u8>> = files.iter().zip(&sizes).map(|(file, &(_, codec, inner))| match inner {
            0 | 1 => pack(archive(inner, &[("scan.h5", file)]), codec),
            _ => pack(file.clone(), codec),
        }).collect();
        let names: Vec<String> = (0..members.len()).map(|at| format!("day {at}/s{at}")).collect();
        let named: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(members.iter().map(Vec::as_slice)).collect();
        let upload = if outer == 0 { archive(0, &named) } else { pack(archive(1, &named), packed) };
        let scratch = tempfile::tempdir().unwrap();
        let extracted = extract(upload.as_slice(), scratch.path(), &Limits::default()).unwrap();
        prop_assert_eq!(extracted.files.len(), files.len());
        for (found, expected) in extracted.files.iter().zip(&files) {
            prop_assert!(std::fs::read(&found.path).unwrap() == *expected);
        }
        let distinct: std::collections::BTreeSet<_> = extracted.files.iter().map(|file| &file.name).collect();
        prop_assert_eq!(distinct.len(), files.len());
    }

    #[test]
    fn a_damaged_zip_archive_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut archive = zip(&[("scan.h5", &raw(2000)), ("b.tar", &tar(&[("c.h5", &raw(500))]))]);
        let at = at.index(archive.len());
        archive[at] = byte;
        let _ = run(&archive, &Limits::default());
    }

    #[test]
    fn damage_never_panics(codec in 0..4usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut archive = CODECS[codec].1(&tar(&[("scan.h5", &raw(20_000))]));
        let at = at.index(archive.len());
        archive[at] = byte;
        let _ = run(&archive, &Limits::default());
    }
}
