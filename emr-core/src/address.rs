//! Addresses of HTTP servers, and the one rule about plain http: only on this machine, unless the user passes
//! `--insecure`.

use std::{fmt, net::SocketAddr, str::FromStr};

use sha2::{Digest, Sha256};
use url::{Host, Url};

/// Where plain http is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only between processes on this machine.
    #[default]
    ThisMachine,
    /// Everywhere: the user asked for it with `--insecure`.
    Everywhere,
}

/// Why an address is refused. No message shows the whole address, because it can hold a password or an access key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is not the URL of an HTTP server.
    #[error("it is not an http:// or https:// address, like http://127.0.0.1:8550")]
    NotHttp,
    /// The server is on another machine and speaks plain http, which anyone on the way can read and change.
    #[error(
        "{server} is on another machine, and plain http can be read and changed on the way: use https://, or a tunnel that begins on this \
         machine; --insecure allows plain http"
    )]
    PlainHttp {
        /// Scheme, host and port.
        server: String,
    },
    /// Other machines can reach the address, and anyone on the way can read and change plain http.
    #[error(
        "other machines can reach {0}, and plain http can be read and changed on the way: listen on 127.0.0.1 and put a TLS proxy in front; \
         --insecure allows plain http"
    )]
    Listen(SocketAddr),
}

impl PlainHttp {
    /// Whether a server that speaks plain http may listen at an address.
    ///
    /// # Errors
    /// Returns [`AddressError::Listen`] if other machines can reach the address and the rule does not allow that.
    pub fn allows_listening(self, address: SocketAddr) -> Result<(), AddressError> {
        match self {
            Self::ThisMachine if !address.ip().is_loopback() => Err(AddressError::Listen(address)),
            _ => Ok(()),
        }
    }
}

/// The address of an HTTP server that this process may talk to. [`fmt::Display`] and [`fmt::Debug`] show scheme, host
/// and port: user name, path and query can hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpAddress(Url);

impl HttpAddress {
    /// Checks a URL against the rule.
    ///
    /// # Errors
    /// Returns [`AddressError::NotHttp`] for another scheme or no host, and [`AddressError::PlainHttp`] if the rule
    /// forbids plain http to this host.
    pub fn new(url: Url, plain: PlainHttp) -> Result<Self, AddressError> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(AddressError::NotHttp);
        }
        let address = Self(url);
        if address.0.scheme() == "http" && plain == PlainHttp::ThisMachine && !address.is_this_machine() {
            return Err(AddressError::PlainHttp { server: address.to_string() });
        }
        Ok(address)
    }

    /// Parses a URL and checks it against the rule.
    ///
    /// # Errors
    /// Returns [`AddressError::NotHttp`] if the text is not the URL of an HTTP server, and [`AddressError::PlainHttp`]
    /// if the rule forbids plain http to this host.
    pub fn parse(text: &str, plain: PlainHttp) -> Result<Self, AddressError> {
        Self::new(Url::parse(text).map_err(|_| AddressError::NotHttp)?, plain)
    }

    /// The whole URL, secrets included.
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> Origin {
        Origin(self.0.origin().ascii_serialization())
    }

    /// Whether the server is on this machine.
    pub fn is_this_machine(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

/// The same as [`HttpAddress::parse`] with [`PlainHttp::ThisMachine`].
impl FromStr for HttpAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text, PlainHttp::ThisMachine)
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

impl fmt::Debug for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpAddress({self})")
    }
}

/// Scheme, host and port of an HTTP server, as its clients address it, for example `https://node.example`. The port is
/// left out if it is the default of the scheme. A login is signed for an origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    /// SHA-256 of the text.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// Whether a client at this address talks to its own machine.
    pub fn is_this_machine(&self) -> bool {
        HttpAddress::parse(&self.0, PlainHttp::Everywhere).is_ok_and(|address| address.is_this_machine())
    }
}

/// Takes the origin of any URL of an HTTP server.
impl FromStr for Origin {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        HttpAddress::parse(text, PlainHttp::Everywhere).map(|address| address.origin())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for address in
            ["https://node.example", "http://localhost:1", "http://LOCALHOST/", "http://[::1]:1", "http://127.9.9.9"]
        {
            assert!(address.parse::<HttpAddress>().is_ok(), "{address}");
        }
        for address in [
            "http://node.example:8550",
            "http://10.0.0.1",
            "http://0.0.0.0:8550",
            "http://127.0.0.1.example/",
            "http://127.0.0.1@node.example/",
            "http://localhost.example",
            "http://[::]:1",
            "http://[::ffff:10.0.0.1]",
        ] {
            assert!(matches!(address.parse::<HttpAddress>(), Err(AddressError::PlainHttp { .. })), "{address}");
            assert!(HttpAddress::parse(address, PlainHttp::Everywhere).is_ok(), "{address}");
        }
        for address in
            ["", "127.0.0.1:8550", "localhost:8550", "ftp://127.0.0.1/", "http://", "mailto:a@b", "file:///etc"]
        {
            assert_eq!(HttpAddress::parse(address, PlainHttp::Everywhere), Err(AddressError::NotHttp), "{address}");
        }
    }

    #[test]
    fn listening_to_other_machines_needs_permission() -> Result<(), std::net::AddrParseError> {
        for address in ["127.0.0.1:0", "127.0.0.2:8550", "[::1]:8550"] {
            assert_eq!(PlainHttp::ThisMachine.allows_listening(address.parse()?), Ok(()), "{address}");
        }
        for address in ["0.0.0.0:8550", "[::]:8550", "192.168.1.1:8550"] {
            let address = address.parse()?;
            assert_eq!(PlainHttp::ThisMachine.allows_listening(address), Err(AddressError::Listen(address)));
            assert_eq!(PlainHttp::Everywhere.allows_listening(address), Ok(()));
        }
        Ok(())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() -> Result<(), AddressError> {
        for (text, origin) in [
            ("https://Node.Example:443/emr?x#y", "https://node.example"),
            ("http://name:secret@node.example:80/", "http://node.example"),
            ("http://127.0.0.1:8550", "http://127.0.0.1:8550"),
            ("http://[::1]:8550/v1", "http://[::1]:8550"),
        ] {
            let parsed: Origin = text.parse()?;
            assert_eq!(parsed.to_string(), origin);
            assert_eq!(parsed.to_string().parse::<Origin>()?, parsed);
            assert_eq!(parsed.is_this_machine(), origin.contains(":8550"), "{origin}");
        }
        let [plain, tls, port] =
            ["http://a.example", "https://a.example", "https://a.example:8443"].map(str::parse::<Origin>);
        let digests = [plain?.digest(), tls?.digest(), port?.digest()];
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
        assert!("node.example".parse::<Origin>().is_err());
        Ok(())
    }

    #[test]
    fn secrets_are_not_shown() -> Result<(), AddressError> {
        let text = "http://name:secret@node.example/secret?key=secret#secret";
        let address = HttpAddress::parse(text, PlainHttp::Everywhere)?;
        let refused = text.parse::<HttpAddress>().expect_err("plain http");
        let malformed = "ftp://name:secret@node.example".parse::<HttpAddress>().expect_err("not http");
        for shown in [address.to_string(), format!("{address:?}"), refused.to_string(), malformed.to_string()] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        assert_eq!(address.to_string(), "http://node.example");
        assert!(address.url().as_str().contains("secret"));
        Ok(())
    }
}
