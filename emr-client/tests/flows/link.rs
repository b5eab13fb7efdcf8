//! SMART Health Links: a patient shares records, viewers open them, and the patient sees that and ends it.

use std::collections::BTreeSet;

use emr_api::{LinkOutcome, LinkState, LinkView};
use emr_client::{
    Client, ClientError,
    flow::link::{LinkError, LinkTerms, MadeLink},
    node::NodeError,
};
use emr_core::{Class, RecordSlot, UnixTime, fhir};
use emr_crypto::open_compact;
use emr_testkit::part::ShlViewer;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::scene::*;

fn observation(text: &str) -> String {
    json!({ "resourceType": "Observation", "status": "final", "code": { "text": text } }).to_string()
}

fn terms() -> LinkTerms {
    LinkTerms {
        expires: UnixTime::now().saturating_add(3600),
        passcode: false,
        long_term: false,
        direct_file: false,
        label: Some("For my visit".to_owned()),
    }
}

/// A patient with these records.
async fn patient_with(scene: &Scene, texts: &[&str]) -> TestResult<(Client, Vec<RecordSlot>)> {
    let patient = scene.registered(PATIENT).await?;
    let card = handed_over(&patient);
    let mut slots = Vec::new();
    for text in texts {
        let record = fhir::import(observation(text).as_bytes())?;
        slots.push(patient.upload(&card, Class::Document, &record).await?.slot);
    }
    Ok((patient, slots))
}

fn passcode(made: &MadeLink) -> TestResult<String> {
    Ok(made.passcode.as_ref().ok_or("a passcode")?.expose_secret().to_owned())
}

/// Another passcode than the link's.
fn wrong(passcode: &str) -> String {
    passcode.chars().map(|digit| if digit == '9' { '0' } else { '9' }).collect()
}

fn outcomes(link: &LinkView) -> Vec<(&str, LinkOutcome)> {
    link.openings.iter().map(|opening| (opening.recipient.as_str(), opening.outcome)).collect()
}

/// A viewer that others wrote opens each kind of link.
#[tokio::test(flavor = "multi_thread")]
async fn an_independent_viewer_opens_what_the_patient_shared() -> TestResult {
    let Some(viewer) = ShlViewer::find_or_skip()? else { return Ok(()) };
    let scene = Scene::new().await?;
    let texts = ["potassium 4.1", "natrium 140 mmol/l, gemessen für Ärztin Ößwald"];
    let (patient, slots) = patient_with(&scene, &texts).await?;
    let documents: Vec<Value> =
        texts.iter().map(|text| serde_json::from_str(&observation(text))).collect::<Result<_, _>>()?;
    let open = |made: &MadeLink, by: &str, passcode: Option<&str>, embedded: Option<u64>| -> TestResult<Value> {
        Ok(tokio::task::block_in_place(|| viewer.open(&made.link.to_uri(), by, passcode, embedded))?)
    };

    let plain = patient.make_link(&slots, &terms()).await?;
    assert_eq!((plain.number, &plain.unsettled), (1, &slots));
    let embedded = open(&plain, "Dr. Ada", None, None)?;
    assert_eq!(embedded["resources"], json!(documents), "{embedded}");
    assert!(embedded["manifest"]["files"][0]["embedded"].is_string(), "{embedded}");
    let located = open(&plain, "Dr. Bo", None, Some(0))?;
    assert_eq!(located["resources"], json!(documents), "{located}");
    assert!(located["manifest"]["files"][1]["location"].is_string(), "{located}");

    let long_term = LinkTerms { passcode: true, long_term: true, ..terms() };
    let locked = patient.make_link(&slots[..1], &long_term).await?;
    let right = passcode(&locked)?;
    let refused = open(&locked, "a stranger", Some(&wrong(&right)), None)?;
    assert_eq!(refused, json!({ "error": "SHLInvalidPasscodeError" }));
    assert_eq!(open(&locked, "Dr. Ada", Some(&right), None)?["resources"], json!([documents[0]]));

    let direct = patient.make_link(&slots[1..], &LinkTerms { direct_file: true, label: None, ..terms() }).await?;
    assert_eq!(open(&direct, "Dr. Ada & Söhne", None, None)?["resources"], json!([documents[1]]));

    // The patient sees all of it, and ends them.
    let links = patient.links().await?;
    let states: Vec<_> = links.iter().map(|link| (link.number, link.state, link.opened)).collect();
    assert_eq!(states, [(1, LinkState::Open, 2), (2, LinkState::Open, 1), (3, LinkState::Open, 1)]);
    assert_eq!(outcomes(&links[0]), [("Dr. Ada", LinkOutcome::Opened), ("Dr. Bo", LinkOutcome::Opened)]);
    assert_eq!(outcomes(&links[1]), [("a stranger", LinkOutcome::WrongPasscode), ("Dr. Ada", LinkOutcome::Opened)]);
    assert_eq!(outcomes(&links[2]), [("Dr. Ada & Söhne", LinkOutcome::Opened)]);
    assert_eq!(links[1].remaining_attempts, Some(4));
    for made in [&plain, &locked, &direct] {
        patient.end_link(made.number).await?;
    }
    assert_eq!(open(&plain, "x", None, None)?, json!({ "error": "SHLManifestNotFoundError" }));
    assert_eq!(open(&locked, "x", Some(&right), None)?, json!({ "error": "SHLManifestNotFoundError" }));
    assert!(open(&direct, "x", None, None)?["error"].is_string());
    assert!(patient.links().await?.iter().all(|link| link.state == LinkState::Ended));
    Ok(())
}

/// Requests as anybody can send them.
struct Stranger(reqwest::Client);

impl Stranger {
    fn new() -> TestResult<Self> {
        Ok(Self(reqwest::Client::builder().no_proxy().build()?))
    }

    fn asks(&self, url: &str, passcode: Option<&str>) -> RequestBuilder {
        let mut body = json!({ "recipient": "a stranger" });
        if let Some(passcode) = passcode {
            body["passcode"] = passcode.into();
        }
        self.0.post(url).json(&body)
    }

    fn gets(&self, url: &str) -> RequestBuilder {
        self.0.get(url)
    }
}

/// Checks that web pages of every server may read an answer.
fn for_web_pages(answer: &Response) {
    let headers = answer.headers();
    let allowed = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).and_then(|value| value.to_str().ok());
    assert_eq!(allowed, Some("*"), "{answer:?}");
    assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    assert_eq!(headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()), Some("no-store"));
}

/// What does not exist, is over, or is opened in the wrong way cannot be told apart.
#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_not_open_have_one_answer() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, slots) = patient_with(&scene, &["potassium 4.1"]).await?;
    let stranger = Stranger::new()?;
    let ended = patient.make_link(&slots, &terms()).await?;
    patient.end_link(ended.number).await?;
    let soon = LinkTerms { expires: UnixTime::now().saturating_add(30), ..terms() };
    let expired = patient.make_link(&slots, &soon).await?;
    let direct = patient.make_link(&slots, &LinkTerms { direct_file: true, ..terms() }).await?;
    let manifest = patient.make_link(&slots, &terms()).await?;
    let node = scene.node.url().as_str().trim_end_matches('/');
    let unknown = format!("{node}/v1/shl/{}", "A".repeat(43));
    while UnixTime::now() <= soon.expires {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }

    let mut answers = BTreeSet::new();
    for url in [&unknown, &format!("{node}/v1/shl/x"), ended.link.url(), expired.link.url(), direct.link.url()] {
        let answer = stranger.asks(url, None).send().await?;
        for_web_pages(&answer);
        answers.insert((answer.status().as_u16(), answer.text().await?));
    }
    let files = [format!("{node}/v1/shl-files/{}", "A".repeat(43)), format!("{node}/v1/shl-files/x")];
    let direct_ways = [&unknown, ended.link.url(), manifest.link.url()].map(|url| format!("{url}?recipient=x"));
    for url in files.iter().chain(&direct_ways) {
        let answer = stranger.gets(url).send().await?;
        for_web_pages(&answer);
        answers.insert((answer.status().as_u16(), answer.text().await?));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| *status == 404), "{answers:?}");

    // The opener must say who they are, before the node says anything about the link.
    for url in [direct.link.url(), &unknown] {
        assert_eq!(stranger.gets(url).send().await?.status(), StatusCode::BAD_REQUEST);
        assert_eq!(stranger.gets(&format!("{url}?recipient=%20")).send().await?.status(), StatusCode::BAD_REQUEST);
        let nobody = stranger.0.post(url).json(&json!({ "recipient": " " })).send().await?;
        assert_eq!(nobody.status(), StatusCode::BAD_REQUEST);
    }
    assert!(patient.link(direct.number).await?.openings.is_empty());
    Ok(())
}

/// A browser asks first whether a page of another server may send JSON.
#[tokio::test(flavor = "multi_thread")]
async fn web_pages_may_open_links_and_nothing_else() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, slots) = patient_with(&scene, &["potassium 4.1"]).await?;
    let stranger = Stranger::new()?;
    let made = patient.make_link(&slots, &terms()).await?;
    let preflight = |url: &str| {
        stranger
            .0
            .request(Method::OPTIONS, url)
            .header(header::ORIGIN, "https://viewer.example")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type")
    };
    let answer = preflight(made.link.url()).send().await?;
    for_web_pages(&answer);
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header(header::ACCESS_CONTROL_ALLOW_HEADERS), Some("content-type"));
    assert!(header(header::ACCESS_CONTROL_ALLOW_METHODS).is_some_and(|methods| methods.contains("POST")));
    // Nothing that needs a login.
    for path in ["v1/links", "v1/links/1", "v1/login", "v1/status", "v1/blocks"] {
        let answer = preflight(scene.node.url().join(path)?.as_str()).send().await?;
        assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{path}");
    }
    // A form, which needs no preflight, opens nothing.
    let form = stranger.0.post(made.link.url()).body(r#"{"recipient":"x"}"#).send().await?;
    assert_eq!(form.status(), StatusCode::BAD_REQUEST);
    assert!(patient.link(made.number).await?.openings.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passcodes_close_a_link_for_ever() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, slots) = patient_with(&scene, &["potassium 4.1"]).await?;
    let stranger = Stranger::new()?;
    let made = patient.make_link(&slots, &LinkTerms { passcode: true, ..terms() }).await?;
    let (url, right) = (made.link.url(), passcode(&made)?);
    let missing = stranger.asks(url, None).send().await?;
    assert_eq!(missing.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(missing.json::<Value>().await?["remainingAttempts"], 5);

    let guesses = (0..100).map(|_| stranger.asks(url, Some(&wrong(&right))).send());
    let guesses: Vec<_> = guesses.map(tokio::spawn).collect();
    let mut told = Vec::new();
    for guess in guesses {
        let answer = guess.await??;
        for_web_pages(&answer);
        match answer.status() {
            StatusCode::UNAUTHORIZED => told.push(answer.json::<Value>().await?["remainingAttempts"].as_u64()),
            StatusCode::NOT_FOUND => {}
            StatusCode::TOO_MANY_REQUESTS => assert!(answer.headers().contains_key(header::RETRY_AFTER)),
            other => return Err(format!("{other}").into()),
        }
    }
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 3, 4].map(Some));
    assert_eq!(stranger.asks(url, Some(&right)).send().await?.status(), StatusCode::NOT_FOUND);
    let link = patient.link(made.number).await?;
    assert_eq!((link.state, link.opened, link.remaining_attempts), (LinkState::WrongPasscodes, 0, Some(0)));
    assert_eq!(outcomes(&link), [("a stranger", LinkOutcome::WrongPasscode); 5]);
    Ok(())
}

/// What the hospital has on its disk opens nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_node_has_neither_key_nor_document_nor_address() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, slots) = patient_with(&scene, &["potassium 4.1"]).await?;
    let made = patient.make_link(&slots, &LinkTerms { passcode: true, ..terms() }).await?;
    let answer = Stranger::new()?.asks(made.link.url(), Some(&passcode(&made)?)).send().await?;
    let manifest: Value = answer.error_for_status()?.json().await?;
    let jwe = manifest["files"][0]["embedded"].as_str().ok_or("a JWE")?;
    let opened = open_compact(made.link.key(), jwe)?;
    assert_eq!(opened.content_type.as_deref(), Some(fhir::MEDIA_TYPE));
    assert_eq!(std::str::from_utf8(&opened.plaintext)?, observation("potassium 4.1"));

    let file = std::fs::read(scene.folder.path().join("node").join("links.redb"))?;
    let holds = |text: &str| file.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds(&jwe[..60]), "this is the file");
    let id = made.link.url().rsplit('/').next().ok_or("an id")?;
    let label = terms().label.ok_or("a label")?;
    for secret in ["potassium", &made.link.key().to_text(), id, &label, &format!("\"{}\"", passcode(&made)?)] {
        assert!(!holds(secret), "{secret}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_patient_makes_and_ends_their_links() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, slots) = patient_with(&scene, &["potassium 4.1"]).await?;
    let (doctor, other) = (scene.registered(DOCTOR).await?, scene.registered(OTHER_PATIENT).await?);
    let made = patient.make_link(&slots, &terms()).await?;
    let refused = doctor.make_link(&slots, &terms()).await;
    assert!(matches!(refused, Err(ClientError::Link(LinkError::NotAPatient))), "{refused:?}");
    assert!(matches!(doctor.links().await, Err(ClientError::Node(NodeError::Refused { status: 403, .. }))));
    assert!(other.links().await?.is_empty());
    for stranger in [&doctor, &other] {
        let ended = stranger.end_link(made.number).await;
        assert!(matches!(&ended, Err(ClientError::Node(error)) if error.is_not_found()), "{ended:?}");
        assert!(stranger.link(made.number).await.is_err());
    }
    assert_eq!(patient.link(made.number).await?.state, LinkState::Open);

    let no_record = patient.make_link(&[RecordSlot::new(99)?], &terms()).await;
    assert!(no_record.is_err(), "{no_record:?}");
    let past = patient.make_link(&slots, &LinkTerms { expires: UnixTime::now(), ..terms() }).await;
    assert!(matches!(past, Err(ClientError::Link(LinkError::Expires))), "{past:?}");
    assert_eq!(patient.links().await?.len(), 1);
    Ok(())
}

/// Only the hospital sees all links, and ends those of patients.
#[tokio::test(flavor = "multi_thread")]
async fn the_hospital_lists_and_ends_links() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, slots) = patient_with(&scene, &["potassium 4.1"]).await?;
    let made = patient.make_link(&slots, &terms()).await?;
    let account = patient.account()?;
    let other = scene.registered(OTHER_PATIENT).await?;
    for stranger in [&patient, &other] {
        let listed = stranger.node().hospital_links().await.expect_err("not the hospital");
        let ended = stranger.node().end_hospital_link(account, made.number).await.expect_err("not the hospital");
        for refused in [listed, ended] {
            assert!(matches!(&refused, NodeError::Refused { status: 403, .. }), "{refused}");
        }
    }
    let hospital = scene.client(HOSPITAL).await?;
    let links = hospital.node().hospital_links().await?;
    assert_eq!(
        links.iter().map(|link| (link.account, link.number, link.state)).collect::<Vec<_>>(),
        [(account, made.number, LinkState::Open)]
    );
    hospital.node().end_hospital_link(account, made.number).await?;
    assert_eq!(patient.link(made.number).await?.state, LinkState::EndedByHospital);
    let none = hospital.node().end_hospital_link(account, made.number + 1).await.expect_err("no such link");
    assert!(none.is_not_found(), "{none}");
    Ok(())
}
