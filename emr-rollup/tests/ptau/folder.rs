//! What is in the folder of the keys is not believed, and a setup that is in it proves.

use super::*;

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
