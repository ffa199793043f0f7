//! Which features a request asks for.

/// Features to retrieve: those of a service, or a list of `view:feature`.
///
/// ```
/// # use btc_features::FeatureSelection;
/// let service = FeatureSelection::service("daily_bitcoin_v1");
/// let list = FeatureSelection::features(["ohlcv:close", "blockchain:hash_rate"])
///     .with_full_feature_names(true);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSelection {
    pub(crate) wanted: Wanted,
    pub(crate) full_feature_names: bool,
    pub(crate) filter_by_created_timestamp: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Service(String),
    Features(Vec<String>),
}

impl FeatureSelection {
    /// Every feature of a service.
    pub fn service(name: impl Into<String>) -> Self {
        Self::new(Wanted::Service(name.into()))
    }

    /// The features named as `view:feature`, in this order.
    pub fn features<I>(references: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        Self::new(Wanted::Features(
            references.into_iter().map(Into::into).collect(),
        ))
    }

    fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            full_feature_names: false,
            filter_by_created_timestamp: false,
        }
    }

    /// Calls the columns `view__feature` instead of `feature`.
    #[must_use]
    pub fn with_full_feature_names(mut self, full: bool) -> Self {
        self.full_feature_names = full;
        self
    }

    /// Leaves out rows written after the entity row's time, so that later
    /// corrections do not leak into the past.
    #[must_use]
    pub fn with_filter_by_created_timestamp(mut self, filter: bool) -> Self {
        self.filter_by_created_timestamp = filter;
        self
    }
}
