//! JSON Web Encryption in JSON: published vectors, what must not open, and files that are hostile.

use emr_crypto::{
    GeneralJwe, GeneralJweError, MAX_JWE_BYTES, MAX_JWE_CONTENT_BYTES, MAX_JWE_RECIPIENTS, OpenedJwe, RsaPublic,
    RsaSecret, open_general, seal_general,
};
use serde_json::{Value, json};

use crate::fixtures::fixture;
use crate::fixtures::rsa::{DOCTOR, HOSPITAL, OTHER_DOCTOR, PATIENT};

type TestResult = Result<(), Box<dyn std::error::Error>>;

const FHIR: &str = "application/fhir+json";
const CONTENT: &[u8] = "{\"resourceType\":\"Patient\",\"id\":\"ä\"}".as_bytes();

fn sealed(recipients: &[&RsaSecret]) -> Result<Value, Box<dyn std::error::Error>> {
    let recipients: Vec<RsaPublic> = recipients.iter().map(|secret| secret.public()).collect();
    Ok(serde_json::from_str(&seal_general(&recipients, FHIR, CONTENT)?)?)
}

fn open(secret: &RsaSecret, jwe: &Value) -> Result<OpenedJwe, GeneralJweError> {
    open_general(secret, jwe.to_string().as_bytes())
}

fn base64url(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

#[test]
fn each_recipient_opens_and_nobody_else() -> TestResult {
    for recipients in [&[&*DOCTOR][..], &[&*PATIENT, &*OTHER_DOCTOR, &*HOSPITAL]] {
        let jwe = sealed(recipients)?;
        for secret in recipients {
            let opened = open(secret, &jwe)?;
            assert_eq!((opened.content_type.as_deref(), opened.plaintext.as_slice()), (Some(FHIR), CONTENT));
        }
    }
    assert_eq!(open(&DOCTOR, &sealed(&[&PATIENT, &HOSPITAL])?), Err(GeneralJweError::Decryption));
    Ok(())
}

/// The form: nothing names a recipient, and `alg` is with each.
#[test]
fn the_file_says_no_more_than_it_must() -> TestResult {
    let jwe = sealed(&[&PATIENT, &DOCTOR])?;
    let names: Vec<&String> = jwe.as_object().ok_or("an object")?.keys().collect();
    assert_eq!(names, ["ciphertext", "iv", "protected", "recipients", "tag", "unprotected"]);
    assert_eq!(jwe["protected"], base64url(br#"{"enc":"A256GCM","typ":"JOSE+JSON"}"#));
    assert_eq!(jwe["unprotected"], json!({ "cty": FHIR }));
    for recipient in jwe["recipients"].as_array().ok_or("a list")? {
        assert_eq!(recipient["header"], json!({ "alg": "RSA-OAEP-256" }));
        assert_eq!(recipient.as_object().map(|members| members.len()), Some(2));
        assert_eq!(recipient["encrypted_key"].as_str().map(str::len), Some(512));
    }
    // A new key and a new nonce each time.
    let again = sealed(&[&PATIENT, &DOCTOR])?;
    assert!(["iv", "ciphertext", "tag"].iter().all(|name| jwe[name] != again[name]));
    Ok(())
}

#[test]
fn the_number_of_recipients_has_bounds() -> TestResult {
    let key = OTHER_DOCTOR.public();
    let many = vec![key; MAX_JWE_RECIPIENTS + 1];
    assert_eq!(seal_general(&[], FHIR, CONTENT), Err(GeneralJweError::Recipients(0)));
    assert_eq!(seal_general(&many, FHIR, CONTENT), Err(GeneralJweError::Recipients(17)));
    let jwe = seal_general(&many[1..], FHIR, CONTENT)?;
    assert_eq!(open_general(&OTHER_DOCTOR, jwe.as_bytes())?.plaintext.as_slice(), CONTENT);
    let mut jwe: Value = serde_json::from_str(&jwe)?;
    let recipients = jwe["recipients"].as_array_mut().ok_or("a list")?;
    for _ in 0..1000 {
        recipients.push(json!({}));
    }
    assert_eq!(open(&OTHER_DOCTOR, &jwe), Err(GeneralJweError::Recipients(1016)));
    jwe["recipients"] = json!([]);
    assert_eq!(open(&OTHER_DOCTOR, &jwe), Err(GeneralJweError::Recipients(0)));
    Ok(())
}

#[test]
fn lengths_have_bounds() {
    let long = vec![b' '; MAX_JWE_BYTES + 1];
    assert_eq!(open_general(&DOCTOR, &long), Err(GeneralJweError::TooLarge));
    let content = vec![0; MAX_JWE_CONTENT_BYTES + 1];
    let refused = seal_general(&[DOCTOR.public()], FHIR, &content);
    assert_eq!(refused, Err(GeneralJweError::ContentTooLarge));
}

/// The largest content that is made is read.
#[test]
fn the_largest_content_comes_back() -> TestResult {
    let content = vec![b'x'; MAX_JWE_CONTENT_BYTES];
    let jwe = seal_general(&vec![HOSPITAL.public(); MAX_JWE_RECIPIENTS], FHIR, &content)?;
    assert!(open_general(&HOSPITAL, jwe.as_bytes())?.plaintext.as_slice() == content);
    Ok(())
}

/// The other form of a JWE in JSON, with the members of a compact one.
fn flattened(compact: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let parts: Vec<&str> = compact.split('.').collect();
    let [protected, encrypted_key, iv, ciphertext, tag] = parts[..] else { return Err("five parts".into()) };
    Ok(json!({
        "protected": protected, "encrypted_key": encrypted_key, "iv": iv, "ciphertext": ciphertext, "tag": tag
    }))
}

/// Wycheproof's tests with RSA-OAEP keys: the one that this program supports opens, in both forms, and all others are
/// refused by the name of their algorithm.
#[test]
fn wycheproofs_vectors() -> TestResult {
    let secret = RsaSecret::from_pem(std::str::from_utf8(fixture!("wycheproof-2048.pem"))?)?;
    let tests: Vec<Value> = serde_json::from_slice(fixture!("wycheproof-rsa-oaep.json"))?;
    let mut opened = Vec::new();
    for test in &tests {
        let jwe = flattened(test["jwe"].as_str().ok_or("a JWE")?)?;
        let protected = jwe["protected"].as_str().ok_or("a header")?;
        let header: Value = serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(protected.as_bytes())?)?;
        let name = |name: &str| header[name].as_str().unwrap_or_default().to_owned();
        match (&*name("alg"), &*name("enc")) {
            ("RSA-OAEP-256", "A256GCM") => {
                assert_eq!(test["result"], "valid");
                let content = open(&secret, &jwe)?.plaintext;
                assert_eq!(test["pt"], hex::encode(&content), "{test}");
                let mut general = jwe.clone();
                let key = general.as_object_mut().and_then(|members| members.remove("encrypted_key"));
                general["recipients"] = json!([{ "encrypted_key": key }]);
                assert_eq!(open(&secret, &general)?.plaintext, content);
                opened.push(test["tcId"].clone());
            }
            (_, "A256GCM") => {
                assert_eq!(open(&secret, &jwe), Err(GeneralJweError::KeyEncryption(name("alg"))), "{test}");
            }
            _ => assert_eq!(open(&secret, &jwe), Err(GeneralJweError::ContentEncryption(name("enc"))), "{test}"),
        }
    }
    assert_eq!((tests.len(), opened), (27, vec![json!(90)]));
    Ok(())
}

/// RFC 7516, appendix A.4.7: read, and refused for what it is.
#[test]
fn the_example_of_rfc_7516_is_refused_by_name() -> TestResult {
    let jwe = json!({
        "protected": "eyJlbmMiOiJBMTI4Q0JDLUhTMjU2In0",
        "unprotected": { "jku": "https://server.example.com/keys.jwks" },
        "recipients": [
            { "header": { "alg": "RSA1_5", "kid": "2011-04-29" },
              "encrypted_key":
                "UGhIOguC7IuEvf_NPVaXsGMoLOmwvc1GyqlIKOK1nN94nHPoltGRhWhw7Zx0-kFm1NJn8LE9XShH59_i8J0PH5ZZyNfGy2xGdULU\
                 7sHNF6Gp2vPLgNZ__deLKxGHZ7PcHALUzoOegEI-8E66jX2E4zyJKx-YxzZIItRzC5hlRirb6Y5Cl_p-ko3YvkkysZIFNPccxRU7\
                 qve1WYPxqbb2Yw8kZqa2rMWI5ng8OtvzlV7elprCbuPhcCdZ6XDP0_F8rkXds2vE4X-ncOIM8hAYHHi29NX0mcKiRaD0-D-ljQTP\
                 -cFPgwCp6X-nZZd9OHBv-B3oWh2TbqmScqXMR4gp_A" },
            { "header": { "alg": "A128KW", "kid": "7" },
              "encrypted_key": "6KB707dM9YTIgHtLvtgWQ8mKwboJW3of9locizkDTHzBC2IlrT1oOQ" }
        ],
        "iv": "AxY8DCtDaGlsbGljb3RoZQ",
        "ciphertext": "KDlTtXchhZTGufMYmOYGS4HffxPSUrfmqCHXaI9wOGY",
        "tag": "Mz-VPPyU4RlcuYv1IwIvzw"
    });
    let refused = open(&DOCTOR, &jwe).map_err(|error| error.to_string());
    assert!(refused.is_err_and(|error| error.contains("A128CBC-HS256") && error.contains("only A256GCM")));
    Ok(())
}

/// Every place of every part counts, and all failures are one error.
#[test]
fn an_altered_jwe_does_not_open() -> TestResult {
    let jwe = sealed(&[&OTHER_DOCTOR])?;
    let flip = |text: &Value, at: usize| {
        let mut bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_str().unwrap_or_default().as_bytes())?;
        bytes[at] ^= 1;
        Ok::<Value, data_encoding::DecodeError>(base64url(&bytes).into())
    };
    for (name, bytes) in [("iv", 12), ("ciphertext", CONTENT.len()), ("tag", 16)] {
        for at in 0..bytes {
            let mut changed = jwe.clone();
            changed[name] = flip(&jwe[name], at)?;
            assert_eq!(open(&OTHER_DOCTOR, &changed), Err(GeneralJweError::Decryption), "{name} {at}");
        }
    }
    for at in [0, 1, 100, 255] {
        let mut changed = jwe.clone();
        changed["recipients"][0]["encrypted_key"] = flip(&jwe["recipients"][0]["encrypted_key"], at)?;
        assert_eq!(open(&OTHER_DOCTOR, &changed), Err(GeneralJweError::Decryption), "encrypted_key {at}");
    }
    for wrong in [json!(""), base64url(&[0; 256]).into(), base64url(&[255; 256]).into(), base64url(&[7; 9999]).into()] {
        let mut changed = jwe.clone();
        changed["recipients"][0]["encrypted_key"] = wrong;
        assert_eq!(open(&OTHER_DOCTOR, &changed), Err(GeneralJweError::Decryption));
    }
    // The same header in other words is another header. It is not altered content, but it is not what was sealed.
    for other in
        [r#"{"enc":"A256GCM"}"#, r#"{ "enc":"A256GCM","typ":"JOSE+JSON"}"#, r#"{"typ":"JOSE+JSON","enc":"A256GCM"}"#]
    {
        let mut changed = jwe.clone();
        changed["protected"] = base64url(other.as_bytes()).into();
        assert_eq!(open(&OTHER_DOCTOR, &changed), Err(GeneralJweError::Decryption), "{other}");
    }
    let mut changed = jwe;
    changed["aad"] = "AAAA".into();
    assert_eq!(open(&OTHER_DOCTOR, &changed), Err(GeneralJweError::Decryption));
    Ok(())
}

/// A key that was wrapped for a directory or a record is no key of a JWE: its context differs.
#[test]
fn a_key_for_another_purpose_does_not_open() -> TestResult {
    let mut jwe = sealed(&[&OTHER_DOCTOR])?;
    let wrapped = OTHER_DOCTOR.public().encrypt_oaep(b"emr/another purpose", &[7; 32]);
    jwe["recipients"][0]["encrypted_key"] = base64url(&wrapped).into();
    assert_eq!(open(&OTHER_DOCTOR, &jwe), Err(GeneralJweError::Decryption));
    Ok(())
}

#[test]
fn other_algorithms_and_extensions_are_refused_by_name() -> TestResult {
    let jwe = sealed(&[&OTHER_DOCTOR])?;
    let with_header = |header: Value| {
        let mut changed = jwe.clone();
        changed["recipients"][0]["header"] = header;
        open(&OTHER_DOCTOR, &changed)
    };
    let with_protected = |header: &str| {
        let mut changed = jwe.clone();
        changed["protected"] = base64url(header.as_bytes()).into();
        open(&OTHER_DOCTOR, &changed)
    };
    for alg in ["RSA1_5", "RSA-OAEP", "RSA-OAEP-512", "dir", "none", "ECDH-ES+A256KW", "rsa-oaep-256"] {
        assert_eq!(with_header(json!({ "alg": alg })), Err(GeneralJweError::KeyEncryption(alg.to_owned())));
    }
    assert_eq!(with_header(json!({})), Err(GeneralJweError::KeyEncryption("nothing".to_owned())));
    for enc in ["A128GCM", "A256CBC-HS512", "none"] {
        let refused = with_protected(&format!("{{\"enc\":\"{enc}\"}}"));
        assert_eq!(refused, Err(GeneralJweError::ContentEncryption(enc.to_owned())));
    }
    assert_eq!(with_protected("{}"), Err(GeneralJweError::ContentEncryption("nothing".to_owned())));
    for (name, value) in [("zip", r#""DEF""#), ("crit", r#"["exp"]"#), ("crit", "[]")] {
        let refused = Err(GeneralJweError::Extension(name));
        assert_eq!(with_protected(&format!("{{\"enc\":\"A256GCM\",\"{name}\":{value}}}")), refused);
        assert_eq!(with_header(json!({ "alg": "RSA-OAEP-256", name: "DEF" })), refused);
        let mut changed = jwe.clone();
        changed["unprotected"][name] = "DEF".into();
        assert_eq!(open(&OTHER_DOCTOR, &changed), refused);
    }
    // A name in two headers could be read in two ways (RFC 7516, 7.2.1).
    let twice = |name: &str| Err(GeneralJweError::NameTwice(name.to_owned()));
    assert_eq!(with_header(json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM" })), twice("enc"));
    assert_eq!(with_header(json!({ "alg": "RSA-OAEP-256", "cty": "text/html" })), twice("cty"));
    assert_eq!(with_protected(r#"{"enc":"A256GCM","cty":"text/html"}"#), twice("cty"));
    for header in ["[]", "", "{", r#"{"enc":"A256GCM","enc":"A256GCM"}"#, r#"{"enc":7}"#, r#"{"enc":null}"#] {
        assert_eq!(with_protected(header), Err(GeneralJweError::ProtectedHeader), "{header}");
    }
    Ok(())
}

/// A recipient with another algorithm is somebody else: the file is still for us.
#[test]
fn others_may_have_other_algorithms() -> TestResult {
    let mut jwe = sealed(&[&OTHER_DOCTOR])?;
    let recipients = jwe["recipients"].as_array_mut().ok_or("a list")?;
    recipients.insert(0, json!({ "header": { "alg": "ECDH-ES+A256KW", "epk": {} }, "encrypted_key": "AAAA" }));
    recipients.push(json!({ "header": { "alg": "A256KW", "kid": "7" }, "encrypted_key": "AAAA" }));
    assert_eq!(open(&OTHER_DOCTOR, &jwe)?.plaintext.as_slice(), CONTENT);
    Ok(())
}

/// Where a file could be read in two ways, or costs more than its length, it is not read.
#[test]
fn hostile_files_are_refused() -> TestResult {
    let json = serde_json::to_string(&sealed(&[&OTHER_DOCTOR])?)?;
    let is_malformed =
        |text: &str| matches!(GeneralJwe::parse(text.as_bytes()), Err(GeneralJweError::Malformed { .. }));
    let begin = |more: &str| json.replacen('{', &format!("{{{more},"), 1);
    assert!(
        GeneralJwe::parse(begin("\"unknown\":[[{\"a\":1,\"a\":2}]]").as_bytes()).is_ok(),
        "unknown members are skipped"
    );
    let names: Vec<String> = (0..60).map(|n| format!("\"n{n}\":0")).collect();
    let long = format!("\"{}\":0", "n".repeat(257));
    for (what, text) in [
        ("tag twice", begin("\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\"")),
        ("tag twice, escaped", begin("\"\\u0074ag\":\"AAAAAAAAAAAAAAAAAAAAAA\"")),
        ("an unknown name twice", begin("\"a\":0,\"a\":0")),
        ("too many names", begin(&names.join(","))),
        ("a long name", begin(&long)),
        ("alg twice", json.replace("\"alg\":", "\"alg\":\"dir\",\"alg\":")),
        ("cty twice", json.replace("\"cty\":", "\"cty\":\"x\",\"cty\":")),
        ("encrypted_key twice", json.replace("\"encrypted_key\":", "\"encrypted_key\":\"\",\"encrypted_key\":")),
        ("padding", json.replace("\"tag\":\"", "\"tag\":\"=")),
        ("no text", json.replace("\"iv\":", "\"iv\":7,\"unused\":")),
        ("an array", format!("[{json}]")),
        ("text behind it", format!("{json} {json}")),
        ("half", json[..json.len() / 2].to_owned()),
        ("deep", begin(&format!("\"recipients\":{}", "[".repeat(100_000)))),
        ("nothing", String::new()),
        ("compact", "e30.AAAA.AAAA.AAAA.AAAA".to_owned()),
    ] {
        assert!(is_malformed(&text), "{what}");
    }
    assert!(GeneralJwe::parse(&[&b"\xff"[..], json.as_bytes()].concat()).is_err());
    let without = |name: &str| {
        let mut jwe: Value = serde_json::from_str(&json)?;
        jwe.as_object_mut().and_then(|members| members.remove(name));
        Ok::<_, serde_json::Error>(GeneralJwe::parse(jwe.to_string().as_bytes()).map_err(|error| error.to_string()))
    };
    for (name, said) in
        [("iv", "iv of 12"), ("tag", "tag of 16"), ("ciphertext", "ciphertext"), ("recipients", "recipients")]
    {
        assert!(without(name)?.is_err_and(|error| error.contains(said)), "{name}");
    }
    let both = begin("\"encrypted_key\":\"AAAA\"");
    assert!(matches!(GeneralJwe::parse(both.as_bytes()), Err(GeneralJweError::Incomplete(_))), "two forms in one");
    Ok(())
}

#[test]
fn public_keys_are_read_from_pem() -> TestResult {
    let pem = |der: &[u8]| {
        let text = data_encoding::BASE64.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    };
    let good = pem(fixture!("doctor-3072.spki.der"));
    assert_eq!(RsaPublic::from_pem(&good)?, DOCTOR.public());
    let private = std::str::from_utf8(fixture!("doctor-3072.pem"))?;
    assert_eq!(RsaPublic::from_pem(private), Err(emr_crypto::RsaKeyError::NotPublic), "a private key is not taken");
    for bad in [good.replace("MII", "MIJ"), good.replace("-----END", "----END"), good.repeat(100), pem(b"")] {
        assert_eq!(RsaPublic::from_pem(&bad), Err(emr_crypto::RsaKeyError::Malformed));
    }
    Ok(())
}

#[test]
fn no_secret_is_printed() -> TestResult {
    let jwe = sealed(&[&OTHER_DOCTOR])?.to_string();
    assert_eq!(format!("{:?}", GeneralJwe::parse(jwe.as_bytes())?), "GeneralJwe { keys: 1, .. }");
    assert!(!format!("{:?}", open_general(&OTHER_DOCTOR, jwe.as_bytes())?).contains("Patient"));
    Ok(())
}
