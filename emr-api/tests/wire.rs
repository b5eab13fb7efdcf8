//! What another party sends: each field takes exactly its text, and an error names the field.

use std::error::Error;

use alloy::primitives::{Address, B256};
use emr_api::{
    BlockPut, InviterView, LinkAccess, LinkFile, LinkManifest, LoginChallenge, LoginRequest, LoginToken, ManifestFile,
    ManifestPlace, ManifestRequest, MedicalProof, NewLink, NewProver, PasscodeRefused, Problem, Receipt, Registered,
    RelayRegistration, StoredAt, form, form::Form, json, url_token::UrlToken,
};
use emr_core::{AccountIndex, Codec, KemHash, Role, UnixTime, cid::cid_of};
use emr_crypto::{RsaBits, RsaSecret};
use emr_rollup::{
    operation::OperationId,
    primitive::field::Fr,
    state::tree::{MAX_DEPTH, Path},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// The field's modulus, which no canonical element reaches.
const MODULUS: &str = "0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001";

/// Checks that these values of a field are refused, that each error names the field, and that no error is long.
fn refuses<T: Serialize + DeserializeOwned + PartialEq>(good: &T, field: &str, wrong: &[Value]) -> TestResult {
    let whole = serde_json::to_value(good)?;
    assert!(json::read::<T>(whole.to_string().as_bytes())? == *good, "{field}: what was written is read");
    // The error writes `path[1][2]` for the third sibling of a path's second level.
    let name = field.replace(".1.2", "[1][2]");
    let huge = json!("f".repeat(1 << 20));
    let not_a_text = [json!(5), json!([1, 2]), json!({"a": 1}), json!(true)];
    for value in wrong.iter().chain(&not_a_text).chain([&huge]) {
        let mut changed = whole.clone();
        *changed.pointer_mut(&format!("/{}", field.replace('.', "/"))).ok_or("no such field")? = value.clone();
        let Err(error) = json::read::<T>(changed.to_string().as_bytes()) else {
            return Err(format!("{field} took {value}").into());
        };
        assert!(error.field().is_some_and(|named| named.starts_with(&name)), "{field}: {error}");
        assert!(error.to_string().len() < 500, "{field}: {} bytes", error.to_string().len());
    }
    Ok(())
}

/// Hex of another length, with other characters, or with a prefix that the field does not have.
fn not_hex(bytes: usize) -> [Value; 6] {
    [
        json!(""),
        json!("00".repeat(bytes - 1)),
        json!("00".repeat(bytes + 1)),
        json!("0".repeat(2 * bytes - 1)),
        json!("zz".repeat(bytes)),
        json!(format!("0x{}", "00".repeat(bytes - 1))),
    ]
}

/// The same after `0x`, and without it.
fn not_prefixed(bytes: usize) -> [Value; 6] {
    [
        json!("0x"),
        json!("00".repeat(bytes)),
        json!(format!("0x{}", "00".repeat(bytes - 1))),
        json!(format!("0x{}", "00".repeat(bytes + 1))),
        json!(format!("0x{}", "zz".repeat(bytes))),
        json!(format!("0X{}", "00".repeat(bytes))),
    ]
}

fn not_elements() -> [Value; 4] {
    [json!(MODULUS), json!(format!("0x{}", "f".repeat(64))), json!(MODULUS[..64]), json!(MODULUS.replace('e', "g"))]
}

#[test]
fn blocks_are_named_in_one_way() -> TestResult {
    let cid = cid_of(Codec::DagCbor, b"block");
    let text = cid.to_string();
    assert_eq!(text.len(), form::CidText::LONGEST);
    let wrong = [
        json!(text.to_uppercase()),
        json!(text[..58]),
        json!(format!("{text}a")),
        json!(format!(" {text}")),
        json!(""),
        // Version 0, and a block inside its address (identity hash).
        json!("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"),
        json!("bafkqaaa"),
    ];
    refuses(&BlockPut { cid }, "cid", &wrong)?;
    let at = StoredAt { manifest: cid, salt: [7; 32] };
    refuses(&at, "manifest", &wrong)?;
    refuses(&at, "salt", &not_hex(32))
}

#[test]
fn a_registration_has_the_sizes_of_its_keys() -> TestResult {
    let good = RelayRegistration {
        owner: Address::repeat_byte(0xab),
        role: Role::Doctor,
        org: None,
        q_x: Fr::from(1),
        q_y: Fr::from(2),
        encryption: Fr::from(0),
        kem_hash: KemHash::of(b"key"),
        rsa_modulus: vec![1; 512],
        rsa_signature: vec![2; 512],
        deadline: UnixTime::new(1)?,
        signature: [3; 65],
        invitation: None,
    };
    refuses(&good, "owner", &not_prefixed(20))?;
    for element in ["q_x", "q_y", "encryption"] {
        refuses(&good, element, &not_elements())?;
    }
    for bytes in ["rsa_modulus", "rsa_signature"] {
        refuses(&good, bytes, &[json!("00".repeat(513)), json!("0"), json!("zz"), json!("0x00")])?;
    }
    refuses(&good, "signature", &not_hex(65))?;
    refuses(&good, "invitation", &[json!("emr1a"), json!("hello"), json!("")])?;
    // A patient sends no RSA key.
    refuses(&good, "kem_hash", &not_prefixed(32))?;
    let patient = RelayRegistration {
        role: Role::Patient,
        kem_hash: KemHash::NONE,
        rsa_modulus: Vec::new(),
        rsa_signature: Vec::new(),
        ..good
    };
    assert_eq!(json::read::<RelayRegistration>(&serde_json::to_vec(&patient)?)?, patient);

    let registered = Registered { account: AccountIndex::new(7)?, tx_hash: B256::repeat_byte(0xcd) };
    refuses(&registered, "tx_hash", &not_prefixed(32))?;
    for account in [json!(0), json!(1_u32 << 24), json!(-1), json!(1.5), json!("7"), json!(null)] {
        let body = json!({ "account": account, "tx_hash": registered.tx_hash });
        let error = json::read::<Registered>(body.to_string().as_bytes()).err().ok_or("no account")?;
        assert_eq!(error.field(), Some("account"), "{error}");
    }
    Ok(())
}

#[test]
fn a_login_is_of_a_real_key() -> TestResult {
    let (account, expires) = (AccountIndex::new(7)?, UnixTime::new(1)?);
    let key = RsaSecret::generate(RsaBits::MIN).public();
    let good = LoginRequest {
        account,
        nonce: [1; 32],
        expires,
        origin: "https://node.example".parse()?,
        public_key: key.clone(),
        kem_hash: KemHash::of(b"key"),
        commitment_salt: Some([2; 32]),
        signature: vec![3; 512],
    };
    refuses(&good, "nonce", &not_hex(32))?;
    refuses(&good, "kem_hash", &not_prefixed(32))?;
    refuses(&good, "commitment_salt", &not_hex(32))?;
    let long = format!("https://{}.example", "a".repeat(300));
    // Without a scheme, with a path, in another spelling, with the scheme's own port, or too long.
    let wrong =
        ["", "node.example", "https://node.example/", "HTTPS://node.example", "https://node.example:443", &long];
    refuses(&good, "origin", &wrong.map(Value::from))?;
    let der = data_encoding::BASE64.encode(&key.to_der());
    let cut = data_encoding::BASE64.encode(&key.to_der()[1..]);
    refuses(&good, "public_key", &[json!(""), json!("!"), json!(cut), json!(format!("{der}AAAA")), json!(der[1..])])?;
    let long = data_encoding::BASE64.encode(&[0; 513]);
    // The last character of `AB==` has bits that no byte uses.
    refuses(&good, "signature", &[json!(long), json!("!"), json!("AAA"), json!("AB==")])?;
    let doctor = LoginRequest { commitment_salt: None, kem_hash: KemHash::NONE, ..good };
    assert_eq!(json::read::<LoginRequest>(&serde_json::to_vec(&doctor)?)?, doctor);
    refuses(&LoginChallenge { nonce: [1; 32], expires }, "nonce", &not_hex(32))?;
    refuses(&LoginToken { token: [1; 32], expires }, "token", &not_hex(32))
}

#[test]
fn promises_proofs_and_people_are_typed() -> TestResult {
    let (time, operation) = (UnixTime::new(1)?, OperationId::from_bytes([3; 32]));
    let receipt = Receipt { operation, acknowledged: time, settle_by: time, signature: [4; 65] };
    refuses(&receipt, "signature", &not_hex(65))?;
    refuses(&receipt, "operation", &[json!("00".repeat(31)), json!("zz".repeat(32)), json!("")])?;
    refuses(&NewProver { name: "gpu".to_owned(), digest: [5; 32] }, "digest", &not_hex(32))?;
    let inviter = InviterView { address: Address::repeat_byte(1), today: 0, ended: None };
    refuses(&inviter, "address", &not_prefixed(20))?;

    const LEVELS: usize = MAX_DEPTH / 2;
    let path = |length: usize| Path::new(std::iter::repeat_n([Fr::from(9); 3], length));
    let proof = |length| MedicalProof {
        batch: 1,
        leaf: None,
        path: path(length),
        identity_root: Fr::from(1),
        medical_root: Fr::from(2),
    };
    refuses(&proof(3), "identity_root", &not_elements())?;
    refuses(&proof(3), "path.1.2", &not_elements())?;
    // No tree is deeper, however long the path that a node sends.
    assert_eq!(json::read::<MedicalProof>(&serde_json::to_vec(&proof(LEVELS))?)?, proof(LEVELS));
    for length in [LEVELS + 1, 100_000] {
        let error = json::read::<MedicalProof>(&serde_json::to_vec(&proof(length))?).err().ok_or("too deep")?;
        assert!(error.field().is_some_and(|field| field.starts_with("path")), "{error}");
    }
    Ok(())
}

#[test]
fn a_link_has_one_text_for_each_part() -> TestResult {
    let good = NewLink {
        id: UrlToken::random(),
        origin: "https://node.example".parse()?,
        expires: UnixTime::new(1)?,
        access: LinkAccess::Passcode { salt: [1; 16], digest: [2; 32] },
        files: vec![LinkFile { content_type: "application/fhir+json".to_owned(), jwe: "e30..".to_owned() }],
    };
    let id = good.id.to_string();
    refuses(&good, "id", &[json!(""), json!(id[..42]), json!(format!("{id}A")), json!(format!("{}+", &id[..42]))])?;
    refuses(&good, "origin", &[json!(""), json!("node.example"), json!("https://node.example/"), json!("file:///x")])?;
    assert!(!format!("{good:?}").contains(&id));
    for access in [
        json!({ "kind": "passcode" }),
        json!({ "kind": "passcode", "salt": "00".repeat(15), "digest": "00".repeat(32) }),
        json!({ "kind": "passcode", "salt": "00".repeat(16), "digest": "00".repeat(31) }),
        json!({ "kind": "both" }),
        json!({}),
    ] {
        let mut whole = serde_json::to_value(&good)?;
        whole["access"] = access;
        assert!(json::read::<NewLink>(whole.to_string().as_bytes()).is_err(), "{whole}");
    }
    Ok(())
}

/// The names of the specification.
#[test]
fn manifests_have_the_form_of_smart_health_links() -> TestResult {
    let asked = json!({ "recipient": "Dr. Ada", "passcode": "012345", "embeddedLengthMax": 1000, "new": [1] });
    let read: ManifestRequest = json::read(asked.to_string().as_bytes())?;
    assert_eq!((read.recipient.as_str(), read.passcode.as_deref()), ("Dr. Ada", Some("012345")));
    assert_eq!(read.embedded_length_max, Some(1000));
    assert!(!format!("{read:?}").contains("012345"));
    assert!(json::read::<ManifestRequest>(br#"{"passcode":"1"}"#).is_err(), "the recipient is required");
    assert!(json::read::<ManifestRequest>(br#"{"recipient":"x","embeddedLengthMax":-1}"#).is_err());

    let content_type = "application/fhir+json".to_owned();
    let file = |place| ManifestFile { content_type: content_type.clone(), place };
    let places = [ManifestPlace::Embedded("e30..".into()), ManifestPlace::Location("https://node.example/x".into())];
    let manifest = LinkManifest { files: places.map(file).into() };
    assert_eq!(
        serde_json::to_value(&manifest)?,
        json!({ "files": [
            { "contentType": content_type, "embedded": "e30.." },
            { "contentType": content_type, "location": "https://node.example/x" },
        ]})
    );
    let problem = Problem { code: "unauthorized".to_owned(), message: "no".to_owned() };
    let refused = serde_json::to_value(PasscodeRefused { remaining_attempts: 4, problem })?;
    assert_eq!(refused, json!({ "remainingAttempts": 4, "code": "unauthorized", "message": "no" }));
    Ok(())
}

/// The JSON is what it was when these fields were strings.
#[test]
fn the_json_of_typed_fields_is_stable() -> TestResult {
    let cid = cid_of(Codec::Raw, b"");
    let text = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let at = StoredAt { manifest: cid, salt: [0xab; 32] };
    assert_eq!(serde_json::to_value(at)?, json!({ "manifest": text, "salt": "ab".repeat(32) }));
    let address: Address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed".parse()?;
    let inviter = InviterView { address, today: 2, ended: None };
    let shown = json!({ "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "today": 2, "ended": null });
    assert_eq!(serde_json::to_value(&inviter)?, shown);
    let lower = shown.to_string().to_lowercase();
    assert_eq!(json::read::<InviterView>(lower.as_bytes())?, inviter, "addresses are read in any case");
    let registered = Registered { account: AccountIndex::new(7)?, tx_hash: B256::repeat_byte(0xcd) };
    assert_eq!(serde_json::to_value(&registered)?["tx_hash"], json!(format!("0x{}", "cd".repeat(32))));
    Ok(())
}

/// An error is shown to people and sent to the other party. It carries no text that the other party chose at length,
/// and nothing that controls a terminal.
#[test]
fn an_error_does_not_repeat_what_was_sent() -> TestResult {
    let evil = r"EVIL\u001b[31m".repeat(10_000);
    for body in [
        format!(r#"{{"nonce":"{evil}","expires":1}}"#),
        format!(r#"{{"nonce":"00","expires":"{evil}"}}"#),
        format!(r#"{{"{evil}":1}}"#),
        format!(r#""{evil}""#),
        "{".repeat(100_000),
        r#"{"nonce":"#.to_owned(),
    ] {
        let error = json::read::<LoginChallenge>(body.as_bytes()).err().ok_or("read")?.to_string();
        assert!(error.len() < 500 && !error.chars().any(char::is_control), "{error}");
    }
    let error = json::read::<LoginChallenge>(format!(r#"{{"nonce":"{evil}","expires":1}}"#).as_bytes());
    let error = error.err().ok_or("read")?.to_string();
    assert!(error.starts_with("field `nonce`: it must be 64 hex digits"), "{error}");
    let trailing = json::read::<u64>(b"5 6").err().ok_or("read")?;
    assert_eq!((trailing.field(), trailing.to_string().contains("trailing")), (None, true));
    Ok(())
}
