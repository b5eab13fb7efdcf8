//! A patient's audit chain in many pages, from honest and dishonest nodes.

use emr_api::{AuditPage, SubtreeView};
use emr_client::{Client, ClientError, verify::light::LightError};
use emr_rollup::primitive::field::Fr;

use crate::{
    proxy::{Fault, Proxy, lie},
    scene::TestResult,
};

/// `end` of a request for a page; `None` if it is another request.
fn end_of(request: &str) -> Option<u64> {
    let (_, query) = request.split_once("/audit?end=")?;
    query.split('&').next()?.parse().ok()
}

/// The part of a whole chain that ends before `end`, one entry long.
fn one(whole: &AuditPage, end: u64) -> AuditPage {
    let first = end.saturating_sub(1) as usize;
    let before = whole.entries[..first].iter().fold(whole.before, |head, entry| entry.extend(head));
    AuditPage { first: first as u64, before, entries: vec![whole.entries[first]] }
}

/// A node that answers each request for a page with the result of `page` for its end.
fn pages(page: impl Fn(u64) -> AuditPage + Send + 'static) -> impl FnMut(&str, &str) -> Option<Fault> + Send + 'static {
    move |request, answer| {
        let end = end_of(request).filter(|_| !answer.is_empty())?;
        Some(Fault::Answer(serde_json::to_string(&page(end)).ok()?))
    }
}

/// `patient` has a settled chain of four entries, and reaches the node through the proxy.
pub(crate) async fn an_audit_chain_in_pages(patient: &Client, proxy: &Proxy) -> TestResult {
    proxy.clear();
    let account = patient.account()?;
    let whole = patient.node().audit(account, 4).await?;
    assert_eq!((whole.first, whole.before, whole.entries.len()), (0, Fr::default(), 4));
    let (check, entries) = patient.light_check_with_audit(usize::MAX).await?;
    assert_eq!((check.audit_length(), &entries), (4, &whole.entries));

    // Four pages of one entry are the same chain. The newest entries are proved without the older ones.
    let source = whole.clone();
    proxy.set(pages(move |end| one(&source, end)));
    let (check, entries) = patient.light_check_with_audit(3).await?;
    assert_eq!((check.audit_length(), &entries[..]), (4, &whole.entries[1..]));
    let source = whole.clone();
    let recent = pages(move |end| one(&source, end));
    let mut asked = 0;
    proxy.set({
        let mut recent = recent;
        move |request, answer| {
            asked += usize::from(end_of(request).is_some() && !answer.is_empty());
            if asked > 2 { Some(Fault::LoseAnswer) } else { recent(request, answer) }
        }
    });
    let (_, entries) = patient.recent_audit(2).await?;
    assert_eq!(entries, whole.entries[2..]);

    // A page is missing, is repeated, is in another place, or has too few entries.
    let lies: [fn(&AuditPage, u64) -> AuditPage; 7] = [
        |whole, end| one(whole, if end == 3 { 2 } else { end }),
        |whole, end| AuditPage { first: end - 1, ..one(whole, if end < 4 { end - 1 } else { end }) },
        |whole, end| one(whole, if end == 3 { 4 } else { end }),
        |whole, end| AuditPage { first: end - 1, ..one(whole, if end == 3 { 4 } else { end }) },
        |whole, end| {
            one(
                whole,
                if end == 3 {
                    2
                } else if end == 2 {
                    3
                } else {
                    end
                },
            )
        },
        |whole, end| AuditPage { entries: Vec::new(), ..one(whole, end) },
        |whole, _| AuditPage { first: 1, entries: whole.entries[1..].to_vec(), before: whole.before },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let source = whole.clone();
        proxy.set(pages(move |end| lie(&source, end)));
        let refused = patient.light_check().await;
        assert!(
            matches!(refused, Err(ClientError::Light(LightError::NotAll("audit entries")))),
            "lie {number}: {refused:?}"
        );
    }
    // A node that claims another number of entries.
    for length in [0, 3, 5] {
        let path = format!("GET /v1/patients/{account}/subtree ");
        proxy.set(lie(path, move |view: &mut SubtreeView| view.audit_length = length));
        let refused = patient.light_check().await;
        let stale = matches!(&refused, Err(error) if error.is_stale());
        let unproved = matches!(refused, Err(ClientError::Light(LightError::NotAll("audit entries"))));
        assert!(if length == 5 { stale } else { unproved }, "{length} entries: {refused:?}");
    }
    Ok(())
}
