//! Files that are cut, lie or were made by somebody who knows their secret are refused.

use super::*;

#[test]
fn an_unexpected_file_is_refused_before_anything_is_kept() {
    let folder = Folder::new("unexpected");
    let expected = Some(HERMEZ.parse().unwrap());
    let refused = Setup::import(&folder.keys(), &fixture("snarkjs_06.ptau"), (6, &[]), expected, |_| ()).unwrap_err();
    assert!(refused.to_string().contains(HERMEZ) && !folder.keys().exists(), "{refused}");
    let absent = folder.import(Path::new("/no/such.ptau"), 6).unwrap_err();
    assert!(absent.to_string().starts_with("/no/such.ptau: cannot read it"), "{absent}");
    assert!("00".parse::<Hash512>().is_err());
}

/// Cut at every border and in the middle of every part, and with more bytes than it should have.
#[test]
fn short_and_long_files_are_refused() {
    let folder = Folder::new("short");
    let file = File::read(&fixture("snarkjs_06.ptau"));
    let bytes = file.bytes();
    let mut cuts = vec![0, 1, 3, 4, 8, 11, 12, 13, 23, bytes.len() - 1];
    let mut at = 12;
    for (_, content) in &file.sections {
        cuts.extend([at, at + 6, at + 12, at + 13, at + 12 + content.len() / 2, at + 12 + content.len() - 1]);
        at += 12 + content.len();
    }
    for cut in cuts {
        let refused = folder.import_bytes(&bytes[..cut], 6).unwrap_err();
        assert!(
            matches!(refused, PtauError::Kind | PtauError::Short(_) | PtauError::Beyond { .. }),
            "cut at {cut}: {refused}"
        );
    }
    let refused = folder.import_bytes(&[&bytes[..], &[0]].concat(), 6).unwrap_err();
    assert!(matches!(refused, PtauError::Trailing(1)), "{refused}");
    let refused = folder.import_bytes(&[&bytes[..], &bytes].concat(), 6).unwrap_err();
    assert!(matches!(refused, PtauError::Trailing(_)), "{refused}");
    // Whole sections absent, with a true count of sections.
    for id in 1..=7 {
        let mut other = file.clone();
        other.sections.retain(|(section, _)| *section != id);
        let refused = folder.import_bytes(&other.bytes(), 6).unwrap_err();
        assert!(matches!(refused, PtauError::Absent { section, .. } if section == id), "{id}: {refused}");
    }
    // One point less or more than the power demands.
    for (id, size) in [(2, 64), (3, 128), (4, 64), (5, 64), (6, 128)] {
        let content = file.section(id).to_vec();
        for changed in [content[size..].to_vec(), [&content[..], &content[..size]].concat(), content[1..].to_vec()] {
            let mut other = file.clone();
            *other.section_mut(id) = changed;
            let refused = folder.import_bytes(&other.bytes(), 6).unwrap_err();
            assert!(matches!(refused, PtauError::Length { section, .. } if section == id), "{id}: {refused}");
        }
    }
}

#[test]
fn lying_headers_are_refused() {
    let folder = Folder::new("headers");
    let file = File::read(&fixture("snarkjs_06.ptau"));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = file.bytes();
        change(&mut bytes);
        folder.import_bytes(&bytes, 3).unwrap_err()
    };
    let put = |at: usize, value: &'static [u8]| {
        refused(&move |bytes: &mut Vec<u8>| bytes[at..at + value.len()].copy_from_slice(value))
    };
    assert!(matches!(put(0, b"zkey"), PtauError::Kind));
    assert!(matches!(put(4, &[2]), PtauError::Format(2)));
    assert!(matches!(put(8, &[0xff; 4]), PtauError::Sections(u32::MAX)));
    assert!(matches!(put(8, &[8]), PtauError::Short(_)));
    assert!(matches!(put(8, &[6]), PtauError::Trailing(_)));
    // The first section's number and length, then the second's.
    let second = 12 + 12 + 44;
    assert!(matches!(put(12, &[9]), PtauError::Section(9)));
    assert!(matches!(put(16, &[45]), PtauError::Section(_) | PtauError::Beyond { .. }));
    assert!(matches!(put(16, &[0xff; 8]), PtauError::Beyond { section: 1, length: u64::MAX, .. }));
    assert!(matches!(put(second, &[1]), PtauError::Section(1)));
    assert!(matches!(put(second + 4, &[0xff; 8]), PtauError::Beyond { section: 2, .. }));
    assert!(matches!(put(second + 4, &[0, 0, 0, 0, 0, 0, 0, 0x80]), PtauError::Beyond { section: 2, .. }));
    // The modulus of another curve, of the same length, or longer.
    assert!(matches!(put(24, &[48]), PtauError::OtherCurve));
    assert!(matches!(put(28, &[0x01, 0, 0, 0, 0xff]), PtauError::OtherCurve));
    let mut longer = file.clone();
    longer.section_mut(1).extend([0; 16]);
    assert!(matches!(folder.import_bytes(&longer.bytes(), 3), Err(PtauError::Header(60))));
    // The power, and the ceremony's power.
    let (power, ceremony) = (24 + 36, 24 + 40);
    assert!(matches!(put(power, &[0]), PtauError::Power { power: 0, .. }));
    assert!(matches!(put(power, &[5]), PtauError::Length { section: 2, .. }));
    assert!(matches!(put(power, &[7]), PtauError::Power { power: 7, ceremony: 6 }));
    assert!(matches!(put(power, &[28, 0, 0, 0, 28]), PtauError::Length { section: 2, power: 28, .. }));
    assert!(matches!(put(power, &[0xff; 8]), PtauError::Power { .. }));
    assert!(matches!(put(ceremony, &[29]), PtauError::Power { ceremony: 29, .. }));
    assert!(matches!(put(ceremony, &[5]), PtauError::Power { power: 6, ceremony: 5 }));
    // Sections in another order, or twice.
    let mut other = file.clone();
    other.sections.swap(2, 3);
    assert!(matches!(folder.import_bytes(&other.bytes(), 3), Err(PtauError::Section(3))));
    let mut other = file.clone();
    other.sections.insert(2, file.sections[1].clone());
    assert!(matches!(folder.import_bytes(&other.bytes(), 3), Err(PtauError::Section(2))));
}

/// A header that promises 2^28 powers, with the lengths that belong to them, in a file without content: 120 GB of
/// zeros. It must be refused at the first point, and take no memory.
#[test]
fn a_huge_file_takes_no_memory() {
    let folder = Folder::new("huge");
    let path = folder.0.join("huge.ptau");
    Fixture::sparse(&path, 28, File::read(&fixture("snarkjs_06.ptau")).section(7));
    let before = peak_memory_kib();
    let refused = folder.import(&path, 17).unwrap_err();
    assert!(peak_memory_kib() - before < 64 << 10, "{} KiB", peak_memory_kib() - before);
    let ImportError::File { source, .. } = refused else { panic!("{refused}") };
    assert!(matches!(source, PtauError::Point { section: 2, index: 0, fault: PointFault::Infinity, .. }), "{source}");
}

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The file says that it is a part of a larger one. So its last contribution's hash does not bind the points, and every
/// check of the points must stand alone.
#[test]
fn forged_points_are_refused() {
    let folder = Folder::new("forged");
    let mut file = File::read(&fixture("snarkjs_06.ptau"));
    file.section_mut(1)[40] = 7;
    let ceremony = folder.import_bytes(&file.bytes(), 6).unwrap();
    assert!(ceremony.is_part(), "a lie that is said aloud");
    let refused = |id: u32, change: &dyn Fn(&mut Vec<u8>)| {
        let mut other = file.clone();
        change(other.section_mut(id));
        folder.import_bytes(&other.bytes(), 6).unwrap_err()
    };
    let is_fault = |error: PtauError, id: u32, at: u64, expected: PointFault| match error {
        PtauError::Point { section, index, fault, .. } => assert_eq!((section, index, fault), (id, at, expected)),
        other => panic!("{other}"),
    };
    for (id, size) in [(2, 64), (3, 128)] {
        let swap = |a: usize, b: usize| {
            refused(id, &move |bytes: &mut Vec<u8>| {
                let (first, second) = (bytes[a * size..][..size].to_vec(), bytes[b * size..][..size].to_vec());
                bytes[a * size..][..size].copy_from_slice(&second);
                bytes[b * size..][..size].copy_from_slice(&first);
            })
        };
        assert!(matches!(swap(2, 3), PtauError::Powers { section, .. } if section == id));
        assert!(matches!(swap(62, 63), PtauError::Powers { section, .. } if section == id));
        assert!(matches!(swap(0, 1), PtauError::Generator { section, .. } if section == id));
        assert!(matches!(swap(1, 2), PtauError::Powers { .. }));
        // Another point of the group at every place.
        for i in 1..64 {
            let error = refused(id, &|bytes| {
                let from = if i == 5 { 6 } else { 5 };
                bytes.copy_within(from * size..(from + 1) * size, i * size);
            });
            assert!(matches!(error, PtauError::Powers { .. }), "section {id}, point {i}: {error}");
        }
        for i in [0, 1, 2, 31, 63] {
            let put = |value: &[u8]| refused(id, &|bytes| bytes[i * size..][..value.len()].copy_from_slice(value));
            is_fault(put(&vec![0; size]), id, i as u64, PointFault::Infinity);
            is_fault(put(&[0xff; 32]), id, i as u64, PointFault::Coordinate);
            is_fault(refused(id, &|bytes| bytes[i * size] ^= 1), id, i as u64, PointFault::Curve);
        }
    }
    for i in [0, 1, 2, 63] {
        let outside = forge::outside_the_subgroup();
        let error = refused(3, &|bytes| bytes[i * 128..][..128].copy_from_slice(&outside));
        is_fault(error, 3, i as u64, PointFault::Subgroup);
    }
    // The contributions name another tau, or no point.
    is_fault(refused(7, &|bytes| bytes[4 + 3040 - 1520..][..64].fill(0xff)), 7, 0, PointFault::Coordinate);
}

/// The maker of the file knows the secret of its points, and copies a real contribution: its key, and the state of its
/// hash. The file must not be shown as the work of the person who published that contribution's hash.
#[test]
fn a_copied_contribution_does_not_vouch_for_other_points() {
    let folder = Folder::new("copied");
    let real = File::read(&fixture("snarkjs_06.ptau"));
    let response: Hash512 = SMALL_RESPONSE.parse().unwrap();
    let forged = Fixture { power: 6, ceremony_power: 6, secret: 31_337 }.under_contributions_of(&real, &response.0);
    match folder.import_bytes(&forged.bytes(), 6) {
        Err(PtauError::OtherContribution) => (),
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_contributions_are_refused() {
    let folder = Folder::new("contributions");
    let file = File::read(&fixture("snarkjs_06.ptau"));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut other = file.clone();
        change(other.section_mut(7));
        folder.import_bytes(&other.bytes(), 6).unwrap_err()
    };
    assert!(matches!(refused(&|bytes| *bytes = vec![0; 4]), PtauError::NoContribution));
    assert!(matches!(refused(&|bytes| bytes.clear()), PtauError::Contributions(_)));
    for count in [1, 3, u32::MAX] {
        let error = refused(&|bytes| bytes[..4].copy_from_slice(&count.to_le_bytes()));
        assert!(matches!(error, PtauError::Contributions(_)), "{count}: {error}");
    }
    // The length of the first contribution's parameters.
    for length in [0, 1, u32::MAX] {
        let error = refused(&|bytes| bytes[4 + 1500..4 + 1504].copy_from_slice(&length.to_le_bytes()));
        assert!(matches!(error, PtauError::Contributions(_) | PtauError::Point { .. }), "{length}: {error}");
    }
    assert!(matches!(refused(&|bytes| bytes.resize(5 << 20, 0)), PtauError::Contributions(_)));
    // The file before anyone contributed: tau is 1.
    let mut one = file.clone();
    for (id, size) in [(2, 64), (3, 128)] {
        let generator = one.section(id)[..size].to_vec();
        let count = one.section(id).len() / size;
        *one.section_mut(id) = generator.repeat(count);
    }
    let error = folder.import_bytes(&one.bytes(), 6).unwrap_err();
    assert!(matches!(error, PtauError::NoContribution), "{error}");
    // The powers of another secret, with these contributions.
    let mut other = Fixture { power: 6, ceremony_power: 7, secret: 12345 }.file();
    *other.section_mut(7) = file.section(7).to_vec();
    let error = folder.import_bytes(&other.bytes(), 6).unwrap_err();
    assert!(matches!(error, PtauError::OtherContribution), "{error}");
}
