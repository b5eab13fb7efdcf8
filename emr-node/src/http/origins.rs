//! The addresses under which clients reach this node. A login is signed for one of them.
//!
//! A client signs the address that its user gave. If that is a hostile node's address, this node refuses the login when
//! the hostile node forwards it.

use std::net::SocketAddr;

use emr_core::Origin;

use crate::{
    http::limits::ClientAddress,
    request_error::{RequestError, RequestErrorKind},
};

/// The addresses for which this node accepts logins.
#[derive(Clone, Debug)]
pub(crate) struct Origins(Vec<Origin>);

impl Origins {
    /// The named addresses. If none is named, the address where the node listens, if other machines can use it.
    pub(crate) fn new(named: Vec<Origin>, listen: SocketAddr) -> Self {
        if !named.is_empty() || listen.ip().is_unspecified() || listen.ip().is_loopback() {
            return Self(named);
        }
        Self(format!("http://{listen}").parse().into_iter().collect())
    }

    /// Checks the address of a login. An address of this machine, with any port, is valid only in requests from this
    /// machine, because on another machine it is another node's address.
    ///
    /// # Errors
    /// Returns `forbidden` for an address that does not lead here.
    pub(crate) fn check(&self, origin: &Origin, client: ClientAddress) -> Result<(), RequestError> {
        if self.0.contains(origin) || origin.is_this_machine() && client.is_this_machine() {
            return Ok(());
        }
        let known: Vec<_> = self.0.iter().map(Origin::to_string).collect();
        let advice = match &known[..] {
            [] => String::new(),
            known => format!("use --node {}; ", known.join(" or ")),
        };
        Err(RequestError::new(
            RequestErrorKind::Forbidden,
            format!(
                "the login is signed for {origin}, which is not an address of this node: {advice}if this address is right, the \
                 hospital must add it with serve --public-url"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(named: &[&str], listen: &str, origin: &str, client: [u8; 4]) -> bool {
        let named = named.iter().map(|origin| origin.parse().expect("an origin")).collect();
        let origins = Origins::new(named, listen.parse().expect("an address"));
        origins.check(&origin.parse().expect("an origin"), ClientAddress::of(client.into())).is_ok()
    }

    #[test]
    fn only_addresses_that_lead_here_count() {
        const HERE: [u8; 4] = [127, 0, 0, 1];
        const ELSEWHERE: [u8; 4] = [192, 0, 2, 7];
        // Behind a proxy on the same machine.
        let named = &["https://hospital.example"];
        let proxied = |origin, client| accepts(named, "127.0.0.1:8550", origin, client);
        assert!(
            proxied("https://hospital.example", ELSEWHERE) && proxied("https://hospital.example:443/emr", ELSEWHERE)
        );
        assert!(proxied("http://127.0.0.1:8550", HERE) && proxied("http://localhost:9000", HERE));
        for hostile in [
            "https://hostile.example",
            "http://hospital.example",
            "https://hospital.example:8443",
            "https://hospital.example.hostile.example",
            "http://127.0.0.1:8550",
            "http://[::1]:8550",
        ] {
            assert!(!proxied(hostile, ELSEWHERE), "{hostile}");
        }
        assert!(!proxied("https://hostile.example", HERE));
        // On a network of the hospital, without a name.
        let direct = |origin, client| accepts(&[], "192.0.2.1:8550", origin, client);
        assert!(direct("http://192.0.2.1:8550", ELSEWHERE) && !direct("http://192.0.2.1:8551", ELSEWHERE));
        assert!(!accepts(&[], "0.0.0.0:8550", "http://0.0.0.0:8550", ELSEWHERE));
        assert!(accepts(&[], "127.0.0.1:8550", "http://127.0.0.1:8550", HERE));
        assert!(!accepts(&[], "127.0.0.1:8550", "http://127.0.0.1:8550", ELSEWHERE));
    }
}
