//! Powers-of-tau files: two that snarkjs made, and many that are damaged or forged.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod damaged;
mod folder;
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
        Setup::import(&self.keys(), file, (k, &[]), None, |_| ())
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
        Setup::import(&folder.keys(), &file, (8, &[]), expected, |step| steps.push(step.to_string())).unwrap();
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

/// Smaller circuits need setups of the same secret with fewer powers.
#[test]
fn one_import_keeps_setups_of_several_sizes() {
    let folder = Folder::new("several");
    let file = fixture("hermez_08.ptau");
    let imported = Setup::import(&folder.keys(), &file, (8, &[5, 6, 9]), None, |_| ()).unwrap();
    assert_eq!(imported.setup.k(), 8);
    for k in [5, 6, 8] {
        let setup = Setup::imported(&folder.keys(), k, imported.setup.id()).unwrap();
        assert_eq!(setup.k(), k);
        assert!(setup.is_intact());
    }
    assert!(Setup::imported(&folder.keys(), 7, imported.setup.id()).is_none());
    let too_many = Setup::import(&folder.keys(), &file, (9, &[5]), None, |_| ()).unwrap_err();
    assert!(matches!(too_many, ImportError::File { source: PtauError::TooSmall { power: 8, k: 9 }, .. }), "{too_many}");
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
