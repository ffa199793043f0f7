//! One GET request that survives what public services do.

mod limit;
mod proxy;

use crate::error::{Error, Result};
use crate::key::{ApiKey, REDACTED};
use crate::progress::{Progress, ProgressEvent};
use crate::report::PlannedRequest;
use bytes::Bytes;
use limit::TokenBucket;
pub use proxy::ProxyRule;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How requests are made.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// The longest time to make a connection.
    pub connect_timeout: Duration,
    /// The longest silence while an answer is awaited or read.
    pub idle_timeout: Duration,
    /// The longest time for one request with all its repetitions and waits.
    pub total_timeout: Duration,
    /// How often a request is repeated after a passing failure.
    pub max_retries: u32,
    /// The wait before the first repetition; each further one is twice as long.
    pub first_backoff: Duration,
    /// The longest wait before a repetition, unless the service asks for a longer one.
    pub max_backoff: Duration,
    /// The most bytes of one answer, after decompression.
    pub max_body_bytes: usize,
    /// The most requests to one service at a time.
    pub concurrency: usize,
    /// The proxy that requests go through.
    pub proxy: Option<ProxyRule>,
    /// Who asks.
    pub user_agent: String,
    /// Spreads the waits of several machines; the same seed gives the same waits.
    pub jitter_seed: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(20),
            total_timeout: Duration::from_secs(90),
            max_retries: 4,
            first_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(15),
            max_body_bytes: 64 << 20,
            concurrency: 4,
            proxy: None,
            user_agent: concat!("btc-ingest/", env!("CARGO_PKG_VERSION")).to_owned(),
            jitter_seed: 0,
        }
    }
}

/// A request: what is asked, and how it is called where people can read it.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) series: String,
    /// With the key: never shown.
    url: Url,
    /// Without any secret.
    pub(crate) shown: String,
    key: Option<ApiKey>,
}

impl Request {
    /// Describes `GET {base}{path}?{query}[&apikey=key]`.
    pub(crate) fn new(
        series: &str,
        base: &str,
        path: &str,
        query: &[(&str, String)],
        key: Option<&ApiKey>,
    ) -> Result<Self> {
        let address = format!("{}{path}", base.trim_end_matches('/'));
        let is_service =
            |url: &Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        let Some(mut url) = Url::parse(&address).ok().filter(is_service) else {
            let problem =
                format!("{base:?} is not the address of a service; use http:// or https://");
            return Err(Error::config(problem));
        };
        url.query_pairs_mut().extend_pairs(query);
        let mut shown = url.clone();
        if shown.password().is_some() {
            // Fails only for addresses without a host, which were refused above.
            let _ = shown.set_password(Some(REDACTED));
        }
        if let Some(key) = key {
            url.query_pairs_mut().append_pair("apikey", key.secret());
            shown.query_pairs_mut().append_pair("apikey", REDACTED);
        }
        let shown = shown.to_string();
        Ok(Self {
            series: series.to_owned(),
            url,
            shown,
            key: key.cloned(),
        })
    }

    /// Fails if `base` is not the address of a service.
    pub(crate) fn check_base(base: &str) -> Result<()> {
        Self::new("", base, "/", &[], None).map(drop)
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.key
            .as_ref()
            .map_or_else(|| text.to_owned(), |key| key.redact(text))
    }
}

impl From<Request> for PlannedRequest {
    fn from(request: Request) -> Self {
        Self {
            series: request.series,
            url: request.shown,
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({})", self.shown)
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) sha256: String,
    /// Held as long as the bytes: no two large answers are in memory at a time.
    _large: Option<SemaphorePermit<'static>>,
}

/// What the inspection of an answer with status 200 says.
#[derive(Debug)]
pub(crate) enum Verdict {
    Accept,
    /// Ask again after this time.
    Retry(Error, Duration),
    Fail(Error),
}

/// Makes requests to one service.
#[derive(Debug)]
pub(crate) struct Client {
    client: reqwest::Client,
    config: HttpConfig,
    service: &'static str,
    bucket: TokenBucket,
}

/// No instant lies further away: settings may name any time, and the clock cannot tell them all.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The most bytes that are set aside before they come.
const LARGEST_RESERVE: usize = 64 << 20;

/// Answers up to this size are read side by side.
const LARGE: usize = 1 << 20;

/// Larger ones are read one at a time, in the whole process, so that its memory stays bounded.
static LARGE_TURN: Semaphore = Semaphore::const_new(1);

/// A timed-out request is repeated once only: who hangs twice hangs.
const MAX_TIMEOUTS: u32 = 2;

/// A failed attempt; `Some` wait or a passing failure allows another one.
struct Failure {
    error: Error,
    passing: bool,
    wait: Option<Duration>,
}

impl Failure {
    fn passing(error: Error) -> Self {
        Self {
            error,
            passing: true,
            wait: None,
        }
    }

    fn lasting(error: Error) -> Self {
        Self {
            error,
            passing: false,
            wait: None,
        }
    }
}

/// When a request has to be done with.
#[derive(Debug)]
struct Deadline(Instant);

impl Deadline {
    /// Waits for `step` as long as there is time.
    async fn limit<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.0, step).await.ok()
    }

    /// Waits for one's turn, which does not count: others take it up.
    async fn wait_for_turn<'a>(&mut self, turn: &'a Semaphore) -> Option<SemaphorePermit<'a>> {
        let start = Instant::now();
        // The semaphore is never closed, so the error cannot come up.
        let permit = turn.acquire().await.ok();
        self.0 += start.elapsed();
        permit
    }

    fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

impl Client {
    pub(crate) fn new(
        service: &'static str,
        burst: u32,
        interval: Duration,
        config: &HttpConfig,
    ) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout.min(LONGEST))
            .read_timeout(config.idle_timeout.min(LONGEST))
            // The time in all is counted here, less that spent waiting for one's turn.
            .gzip(true)
            // A redirect must not tell another host the address with the key.
            .referer(false)
            .redirect(reqwest::redirect::Policy::limited(3))
            // The environment's proxy settings are the program's to read, not the library's.
            .no_proxy();
        if let Some(rule) = &config.proxy {
            builder = builder.proxy(rule.build()?);
        }
        let client = builder
            .build()
            .map_err(|problem| Error::config(format!("cannot set up HTTP: {problem}")))?;
        let bucket = TokenBucket::new(burst, interval);
        Ok(Self {
            client,
            config: config.clone(),
            service,
            bucket,
        })
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.config.concurrency.max(1)
    }

    /// Asks until there is an answer, the failure is a lasting one, or time is up.
    pub(crate) async fn get(
        &self,
        request: &Request,
        inspect: impl Fn(&[u8]) -> Verdict,
        progress: &dyn Progress,
    ) -> Result<Body> {
        let start = Instant::now();
        let mut deadline = Deadline(start + self.config.total_timeout.min(LONGEST));
        let (mut attempt, mut timeouts) = (0_u32, 0);
        loop {
            let failure = match self.attempt(request, &inspect, &mut deadline).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            timeouts += u32::from(matches!(failure.error, Error::Timeout { .. }));
            let wait = failure
                .wait
                .unwrap_or_else(|| self.backoff(request, attempt));
            if !failure.passing
                || attempt >= self.config.max_retries
                || timeouts >= MAX_TIMEOUTS
                // A service may ask for any time at all.
                || wait >= deadline.left()
            {
                return Err(failure.error);
            }
            progress.event(&ProgressEvent::Retrying {
                series: request.series.clone(),
                why: failure.error.with_causes(),
                wait,
            });
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        inspect: &impl Fn(&[u8]) -> Verdict,
        deadline: &mut Deadline,
    ) -> Result<Body, Failure> {
        let start = Instant::now();
        let late = || Failure::lasting(self.timed_out(request, start));
        let send = async {
            self.bucket.take().await;
            self.client.get(request.url.clone()).send().await
        };
        let response = deadline
            .limit(send)
            .await
            .ok_or_else(late)?
            .map_err(|source| self.transport(request, start, source))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(request, status, &response));
        }
        let body = self.read(request, response, start, deadline).await?;
        match inspect(&body.bytes) {
            Verdict::Accept => Ok(body),
            Verdict::Retry(error, wait) => Err(Failure {
                error,
                passing: true,
                wait: Some(wait),
            }),
            Verdict::Fail(error) => Err(Failure::lasting(error)),
        }
    }

    async fn read(
        &self,
        request: &Request,
        mut response: Response,
        start: Instant,
        deadline: &mut Deadline,
    ) -> Result<Body, Failure> {
        let limit = self.config.max_body_bytes;
        let too_large = || {
            Failure::lasting(Error::TooLarge {
                url: request.shown.clone(),
                limit,
            })
        };
        if response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(too_large());
        }
        let mut buffer: Vec<u8> = Vec::new();
        let mut large = None;
        loop {
            let chunk = deadline
                .limit(response.chunk())
                .await
                .ok_or_else(|| Failure::lasting(self.timed_out(request, start)))?
                .map_err(|source| self.transport(request, start, source))?;
            let Some(chunk) = chunk else { break };
            if limit - buffer.len() < chunk.len() {
                return Err(too_large());
            }
            if large.is_none() && buffer.len() + chunk.len() > LARGE {
                large = deadline.wait_for_turn(&LARGE_TURN).await;
                // At once, for growing step by step would leave the smaller blocks behind. What
                // is not written to takes no memory.
                buffer.reserve_exact((limit - buffer.len()).min(LARGEST_RESERVE));
            }
            buffer.extend_from_slice(&chunk);
        }
        let bytes = Bytes::from(buffer);
        let sha256 = btc_files::sha256(&bytes);
        Ok(Body {
            bytes,
            sha256,
            _large: large,
        })
    }

    fn refused(&self, request: &Request, status: StatusCode, response: &Response) -> Failure {
        let url = request.shown.clone();
        let retry_after = retry_after(response.headers());
        let service = self.service.to_owned();
        let error = match status.as_u16() {
            429 => Error::RateLimited {
                service,
                problem: "HTTP status 429, too many requests".into(),
                retry_after,
            },
            401 | 403 if request.key.is_some() => Error::Unauthorized {
                service,
                problem: format!("HTTP status {}", status.as_u16()),
            },
            status => Error::Status { url, status },
        };
        let passing = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504);
        Failure {
            error,
            passing,
            wait: retry_after,
        }
    }

    fn transport(&self, request: &Request, start: Instant, source: reqwest::Error) -> Failure {
        if source.is_timeout() {
            return Failure::passing(self.timed_out(request, start));
        }
        let passing = !source.is_redirect() && !source.is_builder();
        // The error's own address has the key in it.
        let error = Error::Transport {
            url: request.shown.clone(),
            source: Box::new(source.without_url()),
        };
        Failure {
            error,
            passing,
            wait: None,
        }
    }

    fn timed_out(&self, request: &Request, start: Instant) -> Error {
        Error::Timeout {
            url: request.shown.clone(),
            waited: start.elapsed(),
        }
    }

    /// Doubles with every attempt, less a part that depends on seed, series and attempt.
    fn backoff(&self, request: &Request, attempt: u32) -> Duration {
        let full = self
            .config
            .first_backoff
            .saturating_mul(1 << attempt.min(16))
            .min(self.config.max_backoff)
            .min(LONGEST);
        let mut hash = btc_files::Sha256::default();
        hash.update(self.config.jitter_seed.to_le_bytes());
        hash.update(attempt.to_le_bytes());
        hash.update(&request.shown);
        let part = f64::from(hash.digest()[0]) / 255.0;
        full.mul_f64(1.0 - 0.5 * part)
    }
}

/// Reads `Retry-After`: seconds, or a date, taken relative to the answer's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| chrono::DateTime::parse_from_rfc2822(text).ok();
    (date(value)? - date(text(DATE)?)?).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_neither_key_nor_password() {
        let key = ApiKey::new("s3cret").unwrap();
        let request = Request::new(
            "x",
            "http://me:hunter2@h/base/",
            "/query",
            &[("a", "b c".into())],
            Some(&key),
        )
        .unwrap();
        assert_eq!(
            request.shown,
            "http://me:REDACTED@h/base/query?a=b+c&apikey=REDACTED"
        );
        assert!(request.url.as_str().ends_with("apikey=s3cret"));
        assert!(!format!("{request:?}").contains("apikey=s3cret"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            headers.insert(DATE, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("7"), Some(7));
        assert_eq!(wait("Wed, 21 Oct 2015 07:29:30 GMT"), Some(90));
        assert_eq!(wait("Wed, 21 Oct 2015 07:00:00 GMT"), None);
        assert_eq!(wait("soon"), None);
    }

    #[tokio::test]
    async fn waiting_for_ones_turn_does_not_count() {
        let turn = Semaphore::new(1);
        let taken = turn.acquire().await.unwrap();
        let before = Instant::now() + Duration::from_secs(1);
        let mut deadline = Deadline(before);
        {
            let mut wait = std::pin::pin!(deadline.wait_for_turn(&turn));
            assert!(futures::poll!(&mut wait).is_pending());
            // However long the other takes: here, longer than nothing.
            std::thread::sleep(Duration::from_millis(20));
            drop(taken);
            assert!(wait.await.is_some());
        }
        assert!(before + Duration::from_millis(20) <= deadline.0);
    }

    #[tokio::test]
    async fn no_setting_is_too_large() {
        let config = HttpConfig {
            connect_timeout: Duration::MAX,
            idle_timeout: Duration::MAX,
            total_timeout: Duration::MAX,
            max_retries: u32::MAX,
            first_backoff: Duration::MAX,
            max_backoff: Duration::MAX,
            max_body_bytes: usize::MAX,
            concurrency: usize::MAX,
            ..HttpConfig::default()
        };
        let client = Client::new("h", 1, Duration::from_secs(1), &config).unwrap();
        let server = wiremock::MockServer::start().await;
        let body = vec![b' '; 3 << 20];
        wiremock::Mock::given(wiremock::matchers::any())
            .respond_with(wiremock::ResponseTemplate::new(200).set_body_bytes(body.clone()))
            .mount(&server)
            .await;
        let request = Request::new("x", &server.uri(), "/", &[], None).unwrap();
        let answer = client
            .get(&request, |_| Verdict::Accept, &())
            .await
            .unwrap();
        assert_eq!(answer.bytes.len(), body.len());
        for attempt in [0, 1, 31, 32, u32::MAX] {
            assert!(client.backoff(&request, attempt) <= LONGEST);
        }
    }

    #[test]
    fn waits_double_up_to_the_limit_and_repeat_with_the_seed() {
        let client = |seed| {
            let config = HttpConfig {
                jitter_seed: seed,
                ..HttpConfig::default()
            };
            Client::new("h", 1, Duration::from_secs(1), &config).unwrap()
        };
        let request = Request::new("x", "http://h", "/", &[], None).unwrap();
        let waits = |seed| -> Vec<_> {
            (0..40)
                .map(|attempt| client(seed).backoff(&request, attempt))
                .collect()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        for (attempt, wait) in waits(3).into_iter().enumerate() {
            let full = Duration::from_millis(500 << attempt.min(5)).min(Duration::from_secs(15));
            assert!(
                wait <= full && wait >= full / 2,
                "attempt {attempt}: {wait:?}"
            );
        }
    }
}
