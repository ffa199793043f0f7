//! Which proxy a request goes through.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Says which proxy a request goes through.
///
/// ```
/// use btc_ingest::ProxyRule;
///
/// let everything = ProxyRule::from("http://proxy.example:3128");
/// let by_scheme = ProxyRule::choose(|url| {
///     url.starts_with("https://").then(|| "http://proxy.example:3128".to_owned())
/// });
/// # let _ = (everything, by_scheme);
/// ```
#[derive(Clone)]
pub struct ProxyRule(Kind);

#[derive(Clone)]
enum Kind {
    /// One proxy for all that leaves the machine.
    Outside(String),
    Choice(Arc<Choice>),
}

type Choice = dyn Fn(&str) -> Option<String> + Send + Sync;

impl ProxyRule {
    /// Asks `choose` for the proxy of a request by its URL; `None` goes there
    /// directly.
    pub fn choose(choose: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Kind::Choice(Arc::new(choose)))
    }

    pub(super) fn build(&self) -> Result<reqwest::Proxy> {
        match &self.0 {
            Kind::Outside(proxy) => {
                let proxy = reqwest::Proxy::all(proxy).map_err(|_| {
                    Error::config("the proxy setting is not the address of a proxy")
                })?;
                let local = reqwest::NoProxy::from_string("localhost,127.0.0.0/8,::1");
                Ok(proxy.no_proxy(local))
            }
            Kind::Choice(choose) => {
                let choose = Arc::clone(choose);
                Ok(reqwest::Proxy::custom(move |url| choose(url.as_str())))
            }
        }
    }
}

/// One proxy for all requests that leave the machine, as `http://host:port`.
impl<T: Into<String>> From<T> for ProxyRule {
    fn from(proxy: T) -> Self {
        Self(Kind::Outside(proxy.into()))
    }
}

impl fmt::Debug for ProxyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address may hold a password.
        f.write_str("ProxyRule(..)")
    }
}
