//! Any MLflow server as a store.

mod artifacts;
mod http;
mod registry;
mod tracking;

use std::sync::Arc;

use crate::client::TrackingClient;
use crate::clock::SystemClock;
use crate::error::Result;

pub use artifacts::RestArtifacts;
use http::Http;

/// How to reach an MLflow server.
#[derive(Debug, Clone, Default)]
pub struct RestConfig {
    /// Sent as `Authorization: Bearer`, unless there is a user name.
    pub token: Option<String>,
    /// User name and password, for a server behind basic authentication.
    pub basic: Option<(String, String)>,
    /// Such as `http://proxy.example:3128`; none connects directly.
    pub proxy: Option<String>,
}

/// Runs and models on an MLflow server.
///
/// It behaves as the server does. Against MLflow's own, a batch of more than
/// 1000 values is sent in parts, each of which is all or nothing, and a model
/// version with aliases takes several requests, undone if one fails.
/// Permanent deletion is the server's own business.
#[derive(Debug, Clone)]
pub struct RestStore {
    http: Arc<Http>,
}

impl RestStore {
    /// A store on the server at `uri`, such as `http://127.0.0.1:5000`.
    ///
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// `InvalidParameter` if `uri` is no HTTP address or the proxy is none.
    pub fn new(uri: &str, config: &RestConfig) -> Result<Self> {
        Ok(Self {
            http: Arc::new(Http::new(uri, config)?),
        })
    }

    /// The artifacts that the server keeps.
    pub fn artifacts(&self) -> RestArtifacts {
        RestArtifacts::new(self.http.clone())
    }
}

impl TrackingClient {
    /// Records on, and reads from, the MLflow server at `uri`.
    ///
    /// # Errors
    ///
    /// As [`RestStore::new`].
    pub fn rest(uri: &str, config: &RestConfig) -> Result<Self> {
        let store = Arc::new(RestStore::new(uri, config)?);
        let artifacts = Arc::new(store.artifacts());
        let clock = Arc::new(SystemClock);
        Ok(Self {
            tracking: store.clone(),
            registry: store,
            artifacts,
            clock,
        })
    }
}
