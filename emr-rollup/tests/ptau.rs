//! Powers-of-tau files: two that snarkjs made, and many that are damaged or forged.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "ptau/forge.rs"]
mod forge;

use std::path::{Path, PathBuf};

use emr_rollup::{
    batch::Prover as _,
    prover::{
        Ceremony, Hash512, ImportError, Imported, PointFault, Provenance, Prover, ProverError, PtauError, Setup,
        VerifyError, default_cache,
    },
    setup::{SetupChoice, SetupId},
    testing::scenario::{SMALL, honest},
};
use forge::{File, Fixture};
use sha2::{Digest, Sha256};

/// The ceremony's real file. Its hash as snarkjs's README publishes it, and the next challenge that it names.
const HERMEZ: &str = "d6a8fb3a04feb600096c3b791f936a578c4e664d262e4aa24beed1b7a9a96aa5eb72864d628db247e9293384b74b36ffb52ca8d148d6e1b8b51e279fdf57b583";
const HERMEZ_CHALLENGE: &str = "74ba2bcac21fad58bf413799d5ac962ac4a344fb1b4c1e880bd89e4bb4221270113cb4c48aa8cd37eb4fa234904ff959f726e785ce7c5608bb061b2e0d7480be";
/// What snarkjs printed when it made the small file.
const SMALL_RESPONSE: &str = "e0779c8efe156556642ae0000f54d5522284f51b40d02d81ede1d7755a9df3b9883cd267a7a6a44b8807e90d33461eedbd38037979c3c6c70c22bd0003df3cc8";
const SMALL_CHALLENGE: &str = "92507e884dd650e9e3efc2cc97a86001ecadeebc7cb36426bac9b6030025826a49232563adddf4bbd7c8916817bcef0114be0ecae16863507a6fdcee67a5ffb3";

/// More files that snarkjs made: name, power, BLAKE2b of the file (Python's hashlib), the response's hash and the next
/// challenge that snarkjs printed, and the number of contributions. One has one contribution, and the other two and a
/// beacon.
const MORE: [(&str, u32, &str, [&str; 2], u32); 2] = [
    (
        "snarkjs_04.ptau",
        4,
        "d98dd0344f95015818f853b213d6908556ba5caf19adc8419e74485ce50a2639dbe15b6372d142d424b7df71194b58165025a0fe217f7d14cbfe9ebe77a380ee",
        [
            "41e55d87c16d0121bf33193770c85e89aa03bfa9e96d077dd21e003a20152ae9687f76a4ee926a555e04b10eed4b1a2dc7452257c02efa01639bcf194f9fa3b6",
            "54abde050160eb7a4f81b641e7c0d19b0f680d9f6eb92d78abfe4a1568d387230d23de9c8e572045aeae7ad43c3715ea930fe2f8ec4f461f26e4a693f54ccfcd",
        ],
        1,
    ),
    (
        "snarkjs_10.ptau",
        10,
        "a0027d85449e69ebfa1484d2ba6e27b72f8bce48de7d41749cb2605bc25117cb4c1855e2954ab5315c724ca47c1f41b42afe7bf5082450d5eccb59fca3920653",
        [
            "9cafe536fb91bd5aaf77b3a04e0ee63fae3e06157983430b1c3d74a04cfa7b34eda02c677071db47f7848462d19f9d78f3d2a8f827a4892a2de6ad4b9e8f000d",
            "3253771aa1def450339098a01d8a1c655d7891ca38b8499b3d1e51cde3b29cad83b8c70639471d578cb54a2ec9206735db2050757be254c517058f3c0e213a4f",
        ],
        3,
    ),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ptau").join(name)
}

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("emr-ptau-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    fn import(&self, file: &Path, k: u32) -> Result<Imported, ImportError> {
        Setup::import(&self.keys(), file, k, None, |_| ())
    }

    /// Imports bytes. A failure must leave nothing in the folder of the keys, and be said in one line.
    fn import_bytes(&self, bytes: &[u8], k: u32) -> Result<Ceremony, PtauError> {
        let path = self.0.join("file.ptau");
        std::fs::write(&path, bytes).unwrap();
        let imported = self.import(&path, k);
        if let Err(error) = &imported {
            let said = error.to_string();
            assert!(!said.contains('\n') && said.starts_with(&*path.to_string_lossy()), "{said}");
            assert!(!self.keys().exists(), "a refused file left something behind");
        }
        match imported {
            Ok(imported) => {
                std::fs::remove_dir_all(self.keys()).unwrap();
                Ok(imported.ceremony)
            }
            Err(ImportError::File { source, .. }) => Err(source),
            Err(other) => panic!("{other}"),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_file_of_a_real_ceremony_is_imported_and_its_hashes_are_the_published_ones() {
    let folder = Folder::new("hermez");
    let file = fixture("hermez_08.ptau");
    let mut steps = Vec::new();
    let expected = Some(HERMEZ.parse().unwrap());
    let Imported { setup, ceremony } =
        Setup::import(&folder.keys(), &file, 8, expected, |step| steps.push(step.to_string())).unwrap();
    assert_eq!(ceremony.file.to_string(), HERMEZ);
    assert_eq!(ceremony.response, None, "the points of a part do not show who made them");
    assert_eq!(ceremony.challenge.to_string(), HERMEZ_CHALLENGE);
    assert_eq!((ceremony.contributions, ceremony.power, ceremony.ceremony_power), (55, 8, 28));
    assert!(ceremony.is_part());
    assert_eq!(setup.k(), 8);
    assert_eq!(*setup.provenance(), Provenance::Ceremony(Box::new(ceremony)));
    // The secret names the setup, not the size.
    assert_eq!(folder.import(&file, 5).unwrap().setup.id(), setup.id());
    assert!(
        steps.iter().any(|step| step.contains("tau G1")) && steps.iter().any(|step| step.contains("Lagrange basis"))
    );
    let small = folder.import(&file, 9).unwrap_err();
    assert!(matches!(small, ImportError::File { source: PtauError::TooSmall { power: 8, k: 9 }, .. }), "{small}");
}

#[test]
fn the_points_of_a_whole_file_are_compared_with_its_last_contribution() {
    let folder = Folder::new("whole");
    let ceremony = folder.import_bytes(&std::fs::read(fixture("snarkjs_06.ptau")).unwrap(), 6).unwrap();
    assert_eq!(ceremony.response, Some(SMALL_RESPONSE.parse().unwrap()));
    assert_eq!(ceremony.challenge.to_string(), SMALL_CHALLENGE);
    assert_eq!(ceremony.contributions, 2);
    assert!(!ceremony.is_part());
    for (name, power, hash, [response, challenge], contributions) in MORE {
        let ceremony = folder.import_bytes(&std::fs::read(fixture(name)).unwrap(), power).unwrap();
        assert_eq!(ceremony.file.to_string(), hash);
        assert_eq!(ceremony.response, Some(response.parse().unwrap()), "{name}");
        assert_eq!((ceremony.challenge.to_string().as_str(), ceremony.contributions), (challenge, contributions));
    }
    // Every byte of the sections with points counts, also where the import uses none of them.
    let file = File::read(&fixture("snarkjs_06.ptau"));
    for section in 2..=6 {
        let length = file.section(section).len();
        for i in (0..length).step_by(length / 40 + 1).chain([length - 1]) {
            let mut other = file.clone();
            other.section_mut(section)[i] ^= 1;
            let refused = folder.import_bytes(&other.bytes(), 3);
            assert!(refused.is_err(), "section {section}, byte {i}");
        }
    }
}

#[test]
fn what_is_in_the_folder_is_not_believed() {
    let folder = Folder::new("again");
    let (hermez, small) = (fixture("hermez_08.ptau"), fixture("snarkjs_06.ptau"));
    let imported = |k, id| Setup::imported(&folder.keys(), k, id);
    let path = |k: u32, id: SetupId| folder.keys().join(format!("ceremony-setup-{k}-{}.bin", &id.to_string()[2..]));
    let id = folder.import(&hermez, 6).unwrap().setup.id();
    let whole = std::fs::read(path(6, id)).unwrap();
    assert!(imported(6, id).unwrap().is_intact());
    assert!(imported(7, id).is_none(), "another size");

    let mut flipped = whole.clone();
    flipped[1000] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &whole[..100], &[], &flipped] {
        std::fs::write(path(6, id), damaged).unwrap();
        assert!(imported(6, id).is_none());
        folder.import(&hermez, 6).unwrap();
        assert_eq!(std::fs::read(path(6, id)).unwrap(), whole, "the import replaces it");
    }
    // A file of another version of this program.
    std::fs::write(path(6, id), of_another_format(&whole)).unwrap();
    assert!(imported(6, id).is_none());
    folder.import(&hermez, 6).unwrap();
    assert_eq!(std::fs::read(path(6, id)).unwrap(), whole);
    // A file under the name of another setup or another size.
    let other = folder.import(&small, 6).unwrap().setup.id();
    std::fs::write(path(6, other), &whole).unwrap();
    assert!(imported(6, other).is_none());
    std::fs::write(path(5, id), &whole).unwrap();
    assert!(imported(5, id).is_none());
    // Another setup that says it comes from this file. The next import of the file is not misled.
    let mut stranger = whole[..RECORD].to_vec();
    std::fs::write(path(6, other), []).unwrap();
    folder.import(&small, 6).unwrap();
    stranger.extend(&std::fs::read(path(6, other)).unwrap()[RECORD..whole.len() - 32]);
    std::fs::write(path(6, other), with_checksum(stranger)).unwrap();
    assert!(imported(6, other).is_some());
    assert_eq!(folder.import(&hermez, 6).unwrap().setup.id(), id);
}

/// Somebody who can write into the folder replaces points of a setup, with a fitting checksum. tau in G2 stays, and so
/// does the name.
#[test]
fn replaced_points_are_found() {
    let folder = Folder::new("replaced");
    let id = folder.import(&fixture("snarkjs_06.ptau"), 6).unwrap().setup.id();
    let path = folder.keys().join(format!("ceremony-setup-6-{}.bin", &id.to_string()[2..]));
    let whole = std::fs::read(&path).unwrap();
    let content = &whole[..whole.len() - 32];
    // k, the powers, the Lagrange basis, the generator of G2, tau G2.
    let (powers, basis) = (RECORD + 4, RECORD + 4 + 64 * 64);
    let g2 = basis + 64 * 64;
    assert_eq!(content.len(), g2 + 256);
    let changes = (0..64).flat_map(|i| [powers + 64 * i, basis + 64 * i]).chain([g2]);
    for at in changes {
        let mut other = content.to_vec();
        // Another point of the same group: the next or the first of the powers, or tau G2.
        match at {
            at if at == g2 => other.copy_within(g2 + 128..g2 + 256, at),
            at if at + 64 == basis => other.copy_within(powers..powers + 64, at),
            at if at > basis => other.copy_within(powers..powers + 64, at),
            at => other.copy_within(at + 64..at + 128, at),
        }
        std::fs::write(&path, with_checksum(other)).unwrap();
        let setup = Setup::imported(&folder.keys(), 6, id).unwrap();
        assert!(!setup.is_intact(), "at byte {at}");
    }
    // A point that is not on the curve is not read at all.
    let mut other = content.to_vec();
    other[powers + 64] ^= 1;
    std::fs::write(&path, with_checksum(other)).unwrap();
    assert!(Setup::imported(&folder.keys(), 6, id).is_none());
}

/// Somebody who can write into the folder replaces the setup's points, or the key. A prover reads a replaced key, and its
/// proofs are worth nothing. A deployment must not read it.
#[test]
fn replaced_files_do_not_get_into_a_deployment() {
    let folder = Folder::new("deployment");
    let file = folder.0.join("file.ptau");
    std::fs::write(&file, Fixture { power: SMALL.k, ceremony_power: SMALL.k + 1, secret: 4_321 }.file().bytes())
        .unwrap();
    let id = folder.import(&file, SMALL.k).unwrap().setup.id();
    let load = |keys: &Path, choice| Prover::load_or_generate(keys, SMALL, choice, |_| ()).unwrap();
    let deploy = || Prover::generate_for_deployment(&folder.keys(), SMALL, id, |_| ());
    let good = deploy().unwrap().key_digest();
    let ours = proving_key(&folder.keys());

    // The key of another setup: the development key, which everybody has.
    let other = Folder::new("development");
    std::fs::create_dir_all(other.keys()).unwrap();
    let development = load(&other.keys(), SetupChoice::InsecureDevelopment);
    std::fs::copy(proving_key(&other.keys()), &ours).unwrap();
    assert_ne!(load(&folder.keys(), SetupChoice::Imported(id)).key_digest(), good, "the replaced key was read");
    assert_eq!(deploy().unwrap().key_digest(), good);
    assert_ne!(development.key_digest(), good);

    // A key of another version of this program is made again.
    let key = std::fs::read(&ours).unwrap();
    std::fs::write(&ours, of_another_format(&key)).unwrap();
    assert_eq!(load(&folder.keys(), SetupChoice::Imported(id)).key_digest(), good);
    assert_eq!(std::fs::read(&ours).unwrap(), key);

    let path = folder.keys().join(format!("ceremony-setup-{}-{}.bin", SMALL.k, &id.to_string()[2..]));
    let whole = std::fs::read(&path).unwrap();
    let mut content = whole[..whole.len() - 32].to_vec();
    let basis = RECORD + 4 + (64 << SMALL.k);
    content.copy_within(basis + 64..basis + 128, basis);
    std::fs::write(&path, with_checksum(content)).unwrap();
    let error = deploy().unwrap_err();
    assert!(matches!(error, ProverError::AlteredSetup { .. }) && error.to_string().contains("import the"), "{error}");
}

/// The one proving key in a folder.
fn proving_key(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.to_string_lossy().contains("proving-key")).unwrap()
}

/// The bytes before halo2's parameters in a stored setup: the file's header, with its format in byte 8, and the ceremony's
/// record.
const RECORD: usize = 12 + 204;

/// The same file of the folder of the keys, with the next format.
fn of_another_format(file: &[u8]) -> Vec<u8> {
    let mut content = file[..file.len() - 32].to_vec();
    content[8] += 1;
    with_checksum(content)
}

/// A file of the folder of the keys, whole again.
fn with_checksum(mut content: Vec<u8>) -> Vec<u8> {
    // Over the content, then the header.
    let checksum = Sha256::new().chain_update(&content[12..]).chain_update(&content[..12]).finalize();
    content.extend_from_slice(&checksum);
    content
}

#[test]
fn an_unexpected_file_is_refused_before_anything_is_kept() {
    let folder = Folder::new("unexpected");
    let expected = Some(HERMEZ.parse().unwrap());
    let refused = Setup::import(&folder.keys(), &fixture("snarkjs_06.ptau"), 6, expected, |_| ()).unwrap_err();
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

/// A real proof under an imported setup. The keys of another setup do not accept it, and have another digest.
#[test]
fn a_proof_under_an_imported_setup_verifies_and_setups_cannot_be_mixed_up() {
    let folder = Folder::new("proof");
    let path = folder.0.join("file.ptau");
    std::fs::write(&path, Fixture { power: SMALL.k, ceremony_power: SMALL.k + 1, secret: 987_654_321 }.file().bytes())
        .unwrap();
    let id = folder.import(&path, SMALL.k).unwrap().setup.id();
    let load = |keys: &Path, choice| Prover::load_or_generate(keys, SMALL, choice, |stage| eprintln!("{stage}"));
    let ceremony = load(&folder.keys(), SetupChoice::Imported(id)).unwrap();
    let development = load(&default_cache().unwrap(), SetupChoice::InsecureDevelopment).unwrap();

    let (witness, public) = honest(SMALL);
    let proof = ceremony.prove(&witness, &public).unwrap();
    assert_eq!(ceremony.verifier().verify(&public, &proof), Ok(()));
    assert_eq!(development.verifier().verify(&public, &proof), Err(VerifyError::Invalid));
    let other = development.prove(&witness, &public).unwrap();
    assert_eq!(ceremony.verifier().verify(&public, &other), Err(VerifyError::Invalid));
    assert_ne!(ceremony.key_digest(), development.key_digest());

    let text = ceremony.verifier().solidity();
    assert!(text.contains("of a ceremony with 1 contributions") && !text.contains("INSECURE"));
    assert!(development.verifier().solidity().contains("INSECURE DEVELOPMENT SETUP"));
    assert_ne!(ceremony.verifier().key_contract(), development.verifier().key_contract());
    // The key on L1 names its setup. The code is what follows the ten bytes that create it.
    let code = |prover: &Prover| prover.verifier().key_contract().split_off(10);
    assert_eq!(Setup::of_key(&code(&ceremony)), Some(id));
    assert_eq!(Setup::of_key(&code(&development)), Some(development.setup().id()));
    for place in [0, 1 + 32, 1 + 64 + 128, 1 + 64 + 2 * 128 - 1] {
        let mut other = code(&ceremony);
        other[place] ^= 1;
        assert_eq!(Setup::of_key(&other), None, "byte {place}");
    }
    assert_eq!(Setup::of_key(&code(&ceremony)[..1 + 64 + 2 * 128 - 1]), None);
    assert_eq!(Setup::of_key(&[]), None);
    // A setup that is not here is never replaced by another.
    let absent = load(&folder.0.join("empty"), SetupChoice::Imported(id)).unwrap_err();
    assert!(matches!(absent, ProverError::NoSetup { .. }) && absent.to_string().contains("emr-hospital setup --ptau"));
}
