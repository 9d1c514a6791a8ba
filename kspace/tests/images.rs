//! Images read back by a reader that is not ours.

use std::io::Read as _;

use contract::prepared::Header;
use kspace::image::geometry::{Grid, stack};
use kspace::image::nifti as writer;
use ndarray::{Array2, Array4, Ix3, Ix4};
use nifti::{IntoNdArray, NiftiObject, ReaderOptions};

fn oblique() -> (Header, Array2<f32>) {
    let header = Header {
        matrix: [20, 16, 1],
        field_of_view_mm: [200.0, 240.0, 5.0],
        recon_matrix: [20, 16, 1],
        recon_field_of_view_mm: [200.0, 240.0, 5.0],
        geometry_known: true,
        ..Header::default()
    };
    let (cos, sin) = (0.8f32, 0.6f32);
    let geometry = Array2::from_shape_fn((3, 12), |(slice, at)| {
        let distance = 6.0 * slice as f32;
        [[5.0 - distance * sin, 7.0, -9.0 + distance * cos], [cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]][at / 3]
            [at % 3]
    });
    (header, geometry)
}

#[test]
fn another_reader_finds_the_volume_and_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.nii.gz");
    let (header, geometry) = oblique();
    let stack = stack(&header, &Grid::of(&header), geometry.view());
    assert!(stack.warnings.is_empty(), "{:?}", stack.warnings);
    let volume = Array4::from_shape_fn((1, 3, 16, 20), |(_, z, y, x)| (x + 100 * y + 10_000 * z) as f32);
    writer::write_gz(&path, &volume, &stack.affine, writer::Content::Magnitude).unwrap();

    let object = ReaderOptions::new().read_file(&path).unwrap();
    let found = object.header().clone();
    assert_eq!((found.sform_code, found.qform_code), (1, 1));
    for (row, expected) in [found.srow_x, found.srow_y, found.srow_z].iter().zip(stack.affine.matrix) {
        for (found, expected) in row.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
    assert_eq!(&found.pixdim[1..4], &[10.0, 15.0, 6.0]);
    // Right-handed in RAS, as read, phase and slice direction are in LPS.
    assert_eq!(found.pixdim[0], 1.0);
    let values = object.into_volume().into_ndarray::<f32>().unwrap().into_dimensionality::<Ix3>().unwrap();
    assert_eq!(values.dim(), (20, 16, 3));
    assert_eq!(values[[7, 3, 2]], 20_307.0);
}

#[test]
fn several_times_make_a_fourth_axis_and_equal_volumes_equal_bytes() {
    let (header, geometry) = oblique();
    let stack = stack(&header, &Grid::of(&header), geometry.view());
    let volume = Array4::from_shape_fn((2, 3, 16, 20), |(t, z, y, x)| (t + x * y + z) as f32);
    let bytes = writer::encode(Vec::new(), &volume, &stack.affine, writer::Content::Magnitude).unwrap();
    assert_eq!(bytes, writer::encode(Vec::new(), &volume, &stack.affine, writer::Content::Magnitude).unwrap());
    assert_eq!(&bytes[4..8], &[0; 4], "gzip must not hold the time of writing");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.nii.gz");
    std::fs::write(&path, bytes).unwrap();
    let object = ReaderOptions::new().read_file(&path).unwrap();
    let values = object.into_volume().into_ndarray::<f32>().unwrap().into_dimensionality::<Ix4>().unwrap();
    assert_eq!(values.dim(), (20, 16, 3, 2));
    assert_eq!(values[[7, 3, 2, 1]], 24.0);
}

/// Numbers that hardly repeat, more than are compressed at a time, and numbers that are all the same.
#[test]
fn images_keep_every_bit_and_maps_thirteen() {
    let (header, geometry) = oblique();
    let stack = stack(&header, &Grid::of(&header), geometry.view());
    let noise = Array4::from_shape_fn((3, 3, 90, 110), |(t, z, y, x)| {
        let at = ((t * 3 + z) * 90 + y) * 110 + x;
        1.0 + (at as u32).wrapping_mul(2_654_435_761) as f32 / 1e9
    });
    let even = Array4::from_elem(noise.dim(), 0.3f32);
    for (volume, most) in [(&noise, 4 * noise.len()), (&even, even.len() / 10)] {
        // Not in the order of memory.
        let mut turned = Array4::zeros(ndarray::ShapeBuilder::f(volume.dim()));
        turned.assign(volume);
        use writer::Content::{GFactor, Magnitude, Noise, Phase};
        for content in [Magnitude, Phase, Noise, GFactor] {
            let bytes = writer::encode(Vec::new(), volume, &stack.affine, content).unwrap();
            assert!(bytes.len() < most, "{} of {most} bytes", bytes.len());
            assert_eq!(bytes, writer::encode(Vec::new(), &turned, &stack.affine, content).unwrap());
            let mut found = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut found).unwrap();
            assert_eq!(found.len(), 352 + 4 * volume.len());
            for (found, value) in found[352..].chunks_exact(4).zip(volume) {
                let found = f32::from_le_bytes(found.try_into().unwrap());
                if matches!(content, Magnitude | Phase) {
                    assert_eq!(found, *value);
                } else {
                    assert!(found.to_bits().trailing_zeros() >= 11);
                    assert!((found - value).abs() <= value / 8192.0, "{found} {value}");
                }
            }
        }
    }
}
