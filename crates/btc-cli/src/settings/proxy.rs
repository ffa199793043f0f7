//! Which proxy a request goes through, as curl and most programs read the
//! environment: `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, in
//! lower case or upper.

use std::net::IpAddr;

use btc_ingest::ProxyRule;

/// The proxies for the two schemes, and what is asked directly.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    https: Option<String>,
    http: Option<String>,
    exempt: Vec<Exempt>,
}

/// What is asked without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exempt {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// A domain and what lies below it.
    Domain(String),
    /// Addresses whose first bits are these.
    Network(IpAddr, u8),
}

impl Proxies {
    pub(crate) fn new(https: Option<&str>, http: Option<&str>, no_proxy: Option<&str>) -> Self {
        let with_scheme = |proxy: &str| match proxy.contains("://") {
            true => proxy.to_owned(),
            false => format!("http://{proxy}"),
        };
        Self {
            https: https.map(with_scheme),
            http: http.map(with_scheme),
            exempt: no_proxy
                .unwrap_or_default()
                .split([',', ' '])
                .filter_map(|entry| Exempt::parse(entry.trim()))
                .collect(),
        }
    }

    /// The proxy for a URL; none where it is asked directly, as this machine always is.
    pub(crate) fn of(&self, url: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("://")?;
        let (proxy, default_port) = match scheme {
            "https" => (self.https.as_ref()?, 443),
            _ => (self.http.as_ref()?, 80),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let (host, port) = split_port(authority);
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let port = port.unwrap_or(default_port);
        let address = host.parse::<IpAddr>().ok();
        let here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let exempt = here
            || self
                .exempt
                .iter()
                .any(|one| one.matches(&host, address, port));
        (!exempt).then(|| proxy.clone())
    }

    /// The same, for the requests of a pull.
    pub(crate) fn rule(&self) -> Option<ProxyRule> {
        let proxies = self.clone();
        let any = proxies.https.is_some() || proxies.http.is_some();
        any.then(|| ProxyRule::choose(move |url| proxies.of(url)))
    }
}

impl Exempt {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
            let hosts = Hosts::Network(address, bits);
            return Some(Self { hosts, port: None });
        }
        let (host, port) = split_port(&entry);
        let host = host.trim_start_matches("*.").trim_start_matches('.');
        let host = host.trim_end_matches('.');
        let hosts = match host.parse::<IpAddr>() {
            _ if host.is_empty() => return None,
            _ if host == "*" => Hosts::All,
            Ok(address @ IpAddr::V4(_)) => Hosts::Network(address, 32),
            Ok(address @ IpAddr::V6(_)) => Hosts::Network(address, 128),
            Err(_) => Hosts::Domain(host.to_owned()),
        };
        Some(Self { hosts, port })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let host = match &self.hosts {
            Hosts::All => true,
            Hosts::Domain(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.')),
            Hosts::Network(network, bits) => {
                address.is_some_and(|address| first_bits_agree(*network, address, *bits))
            }
        };
        host && self.port.is_none_or(|own| own == port)
    }
}

/// A host and its port; the host of an IPv6 address is without its brackets.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').unwrap_or((rest, ""));
        return (
            host,
            port.strip_prefix(':').and_then(|port| port.parse().ok()),
        );
    }
    match authority.split_once(':') {
        // More than one colon is an IPv6 address.
        Some((host, port)) if !port.contains(':') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

fn first_bits_agree(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    let shift = |width: u32| width - u32::from(bits);
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differing = u64::from(a.to_bits() ^ b.to_bits());
            differing >> shift(32) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(no_proxy: &str, url: &str, direct: bool) {
        let proxies = Proxies::new(Some("https.proxy:1"), Some("http.proxy:2"), Some(no_proxy));
        let expected = match url.starts_with("https") {
            true => "http://https.proxy:1",
            false => "http://http.proxy:2",
        };
        let expected = (!direct).then(|| expected.to_owned());
        assert_eq!(proxies.of(url), expected, "no_proxy={no_proxy:?} {url}");
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        check("", "https://api.example/a", false);
        check("", "http://api.example/a", false);
        let only = Proxies::new(Some("http://p:1"), None, None);
        assert_eq!(only.of("http://api.example"), None);
        assert_eq!(
            only.of("https://api.example").as_deref(),
            Some("http://p:1")
        );
        assert!(Proxies::default().rule().is_none());
    }

    #[test]
    fn this_machine_is_asked_directly() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3:80", "[::1]:5000"] {
            check("", &format!("http://{host}/"), true);
        }
    }

    #[test]
    fn hosts_suffixes_ports_networks_and_everything_are_exempt() {
        check("api.example", "https://api.example", true);
        check("api.example", "https://API.example.:443/x?y@z", true);
        check("example", "https://api.example", true);
        check(".example", "https://api.example", true);
        check("*.example", "https://user:word@api.example/", true);
        check("ample", "https://api.example", false);
        check("other, example", "https://api.example", true);
        check("api.example:443", "https://api.example", true);
        check("api.example:8443", "https://api.example", false);
        check("api.example:8443", "https://api.example:8443", true);
        check("api.example:80", "http://api.example", true);
        check("10.0.0.0/8", "http://10.1.2.3", true);
        check("10.0.0.0/8", "http://11.1.2.3", false);
        check("0.0.0.0/0", "http://11.1.2.3", true);
        check("10.1.2.3", "http://10.1.2.3:99", true);
        check("10.1.2.3:98", "http://10.1.2.3:99", false);
        check("fd00::/8", "http://[fd12::1]/", true);
        check("::/0", "http://[fd12::1]/", true);
        check("fd12::1", "http://[fd12::1]:5/", true);
        check("fd12::1", "http://[fd12::2]:5/", false);
        check("*", "http://api.example", true);
        check("10.0.0.0/99, /, , :", "http://api.example", false);
    }
}
