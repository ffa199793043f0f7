//! The newest values of features, by key, in a SQLite file that Feast reads
//! and writes too.

use std::path::PathBuf;

use arrow::array::RecordBatch;

use crate::definition::FeatureView;
use crate::error::Result;
use crate::retrieve::newest_rows;
use crate::store::FeatureStore;

mod key;
mod materialize;
mod proto;
mod push;
mod read;
mod sqlite;
mod value;
mod windows;

pub use materialize::MaterializeReport;
pub use read::{
    FeatureStatus, OnlineFeatures, OnlineMetadata, OnlineRequest, OnlineResult, OnlineSelection,
};

pub(crate) use sqlite::OnlineDatabase;
pub(crate) use value::json_column;

impl FeatureStore {
    /// Where the online store is.
    pub(crate) fn online_path(&self) -> PathBuf {
        self.repo_dir().join(&self.config().online_store)
    }

    /// The newest rows of a view in a period of nanoseconds.
    pub(crate) async fn newest(
        &self,
        view: &FeatureView,
        period: (i64, i64),
    ) -> Result<RecordBatch> {
        let definitions = &self.registry().definitions;
        newest_rows(
            self.context(),
            definitions,
            self.repo_dir(),
            self.tables(),
            view,
            period,
        )
        .await
    }

    /// Deletes the online values of views that are no longer applied: another
    /// view of the same name, now or later, must not answer with them.
    pub(crate) fn forget_online(&self, views: &[String]) -> Result<()> {
        if views.is_empty() {
            return Ok(());
        }
        let path = self.online_path();
        let database = OnlineDatabase::open_existing(&path, &self.config().project)?;
        let Some(mut database) = database else {
            return Ok(());
        };
        views.iter().try_for_each(|view| database.drop_view(view))
    }
}
