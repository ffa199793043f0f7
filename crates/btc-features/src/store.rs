//! A feature store: definitions applied to a folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::definition::Definitions;
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::historical::{Input, Tables, feature_columns, parse_on_demand};
use crate::registry::{DatasetEntry, Plan, Registry, RegistryStore};
use crate::repo::{CONFIG_FILE, StoreConfig};

/// A feature store in a folder.
///
/// The folder holds the settings (`feature_store.toml`), definitions (any
/// other `*.toml`) and what is applied (`registry.toml`). A store sees the
/// registry as it was when it was opened, [reloaded](Self::reload) or applied
/// to.
///
/// The crate's documentation has an example from definitions to features.
pub struct FeatureStore {
    repo_dir: PathBuf,
    config: StoreConfig,
    registry_store: RegistryStore,
    registry: Registry,
    context: SessionContext,
    limits: Limits,
    tables: Tables,
}

#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    memory: Option<usize>,
    partitions: Option<usize>,
}

impl fmt::Debug for FeatureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeatureStore")
            .field("repo_dir", &self.repo_dir)
            .field("config", &self.config)
            .field("registry", &self.registry)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl FeatureStore {
    /// Opens the store in `repo_dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder has no `feature_store.toml` (see
    /// [`Self::init`]) or a file cannot be read, [`Error::Corrupt`] if one is
    /// not understood, [`Error::Conflict`] if the registry belongs to another
    /// project.
    pub fn open(repo_dir: &Path) -> Result<Self> {
        Self::with_config(repo_dir, StoreConfig::read(repo_dir)?)
    }

    /// Opens the store in `repo_dir`, which is made if it is not there: the
    /// folder, and settings that call the project `project`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and [`Error::Io`] if the folder cannot be written.
    pub fn init(repo_dir: &Path, project: &str) -> Result<Self> {
        std::fs::create_dir_all(repo_dir).map_err(Error::io("create", repo_dir))?;
        if !repo_dir.join(CONFIG_FILE).exists() {
            StoreConfig::new(project).write(repo_dir)?;
        }
        Self::open(repo_dir)
    }

    /// The store in `repo_dir` as it would be with `definitions` applied, to
    /// read from. Nothing is written; a folder that is not there counts as an
    /// empty one of the project `project`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`] and [`Self::apply`].
    pub fn preview(repo_dir: &Path, project: &str, definitions: &Definitions) -> Result<Self> {
        let config = match StoreConfig::read(repo_dir) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                StoreConfig::new(project)
            }
            read => read?,
        };
        let mut store = Self::with_config(repo_dir, config)?;
        let merged = store.registry.definitions.merged(definitions);
        store.planned(&store.registry.definitions, &merged)?;
        store.registry.definitions = merged;
        Ok(store)
    }

    fn with_config(repo_dir: &Path, config: StoreConfig) -> Result<Self> {
        let registry_store = RegistryStore::new(repo_dir, &config.project);
        let registry = registry_store.read()?;
        let limits = Limits::default();
        Ok(Self {
            repo_dir: repo_dir.to_path_buf(),
            config,
            registry_store,
            registry,
            context: limits.context()?,
            limits,
            tables: Tables::new(),
        })
    }

    /// Lets requests use no more than `bytes` of memory for what they hold;
    /// one that needs more ends in [`Error::MemoryLimit`].
    ///
    /// # Errors
    ///
    /// [`Error::DataFusion`] if DataFusion refuses the limit.
    pub fn with_memory_limit(mut self, bytes: usize) -> Result<Self> {
        self.limits.memory = Some(bytes);
        self.context = self.limits.context()?;
        Ok(self)
    }

    /// Lets requests use `partitions` threads; without this, as many as there
    /// are cores.
    ///
    /// # Errors
    ///
    /// [`Error::DataFusion`] if DataFusion refuses the number.
    pub fn with_target_partitions(mut self, partitions: usize) -> Result<Self> {
        self.limits.partitions = Some(partitions);
        self.context = self.limits.context()?;
        Ok(self)
    }

    /// Reads the rows of the source called `source` from a table instead of
    /// its files: any [`TableProvider`], as a view over a query. Among rows of
    /// one key and time the last of the last partition wins.
    #[must_use]
    pub fn with_table(mut self, source: impl Into<String>, table: Arc<dyn TableProvider>) -> Self {
        self.tables.insert(source.into(), table);
        self
    }

    /// The folder of the store.
    pub fn repo_dir(&self) -> &Path {
        &self.repo_dir
    }

    /// The settings of the store.
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// What is applied.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The DataFusion session that requests run in.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Reads the registry again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Corrupt`] if it cannot be read.
    pub fn reload(&mut self) -> Result<()> {
        self.registry = self.registry_store.read()?;
        Ok(())
    }

    /// Says what [`Self::apply`] would do.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`].
    pub fn plan(&self, definitions: &Definitions) -> Result<Plan> {
        let current = self.registry_store.read()?.definitions;
        self.planned(&current, &current.merged(definitions))
    }

    /// Adds definitions to the registry, in place of those of the same names.
    /// Others stay; see [`Self::apply_dir`] to remove what is not declared.
    ///
    /// The definitions are checked against each other and against the columns
    /// of sources that have files. Several processes may apply at once.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDefinition`], [`Error::SchemaMismatch`],
    /// [`Error::Conflict`] or [`Error::UnknownObject`] for a definition that
    /// cannot work; [`Error::Io`] or [`Error::Corrupt`] if the registry cannot
    /// be read or written. The registry is then as it was.
    pub fn apply(&mut self, definitions: &Definitions) -> Result<Plan> {
        self.update(|current| Ok(current.merged(definitions)))
    }

    /// Says what [`Self::apply_dir`] would do.
    ///
    /// # Errors
    ///
    /// As [`Self::apply_dir`].
    pub fn plan_dir(&self) -> Result<Plan> {
        let current = self.registry_store.read()?.definitions;
        self.planned(&current, &Definitions::from_dir(&self.repo_dir)?)
    }

    /// Makes the registry what the definitions in the store's folder say:
    /// what they do not declare is removed.
    ///
    /// The files are read while no one else can write the registry, so that
    /// of several processes the last sees every file.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`] and [`Definitions::from_dir`].
    pub fn apply_dir(&mut self) -> Result<Plan> {
        let dir = self.repo_dir.clone();
        self.update(|_| Definitions::from_dir(&dir))
    }

    /// Writes definitions into the file `name` of the store's folder, in place
    /// of what it declared, and applies them.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`]; nothing is written then.
    pub fn declare(&mut self, definitions: &Definitions, name: &str) -> Result<Plan> {
        self.plan(definitions)?;
        // Objects that other files declare stay there.
        let others = Definitions::from_dir_but(&self.repo_dir, name)?;
        let mut own = definitions.clone();
        own.without(&others);
        write_atomic(&self.repo_dir.join(name), own.to_toml().as_bytes())?;
        let mut plan = self.apply(definitions)?;
        let mut shared = definitions.clone();
        shared.without(&own);
        for change in Plan::between(&others, &others.merged(&shared)).changes {
            plan.notes.push(format!(
                "{} {:?} is declared otherwise in another file, which the next apply of the \
                 folder brings back; remove one of the two",
                change.kind, change.name
            ));
        }
        Ok(plan)
    }

    /// Says what [`Self::teardown`] would remove.
    pub fn plan_teardown(&self) -> Plan {
        Plan::between(&self.registry.definitions, &Definitions::new())
    }

    /// Removes everything from the registry and the online store; data and
    /// definitions stay.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Corrupt`] if the registry cannot be read or
    /// written.
    pub fn teardown(&mut self) -> Result<Plan> {
        #[cfg(feature = "sqlite")]
        if let Some(mut database) =
            crate::online::OnlineDatabase::open_existing(&self.online_path(), &self.config.project)?
        {
            for view in self.registry_store.read()?.definitions.feature_views.keys() {
                database.drop_view(view)?;
            }
        }
        self.update(|_| Ok(Definitions::new()))
    }

    /// Adds a data set to the registry.
    pub(crate) fn register_dataset(&mut self, entry: DatasetEntry) -> Result<()> {
        let (registry, ()) = self.registry_store.update(|current| {
            let mut next = current.clone();
            next.saved_datasets.insert(entry.name.clone(), entry);
            Ok((Some(next), ()))
        })?;
        self.registry = registry;
        Ok(())
    }

    /// The tables that stand in for the files of sources.
    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Whether a table stands in for the files of a source.
    pub(crate) fn has_table(&self, source: &str) -> bool {
        self.tables.contains_key(source)
    }

    fn update(&mut self, next: impl FnOnce(&Definitions) -> Result<Definitions>) -> Result<Plan> {
        let (registry, plan) = self.registry_store.update(|current| {
            let definitions = next(&current.definitions)?;
            let plan = self.planned(&current.definitions, &definitions)?;
            let next = (!plan.is_empty()).then(|| Registry {
                definitions,
                ..current.clone()
            });
            Ok((next, plan))
        })?;
        self.registry = registry;
        Ok(plan)
    }

    /// Checks the next definitions and compares them with the current ones.
    fn planned(&self, current: &Definitions, next: &Definitions) -> Result<Plan> {
        next.validate()?;
        let mut plan = Plan::between(current, next);
        for view in next.on_demand_feature_views.values() {
            for feature in &view.features {
                parse_on_demand(&self.context, next, view, feature)?;
            }
        }
        for view in next.feature_views.values() {
            let source = next.source(&view.source)?;
            let same = current.feature_views.get(&view.name) == Some(view)
                && current.sources.get(&view.source) == Some(source);
            if same {
                continue;
            }
            match Input::open(source, &self.repo_dir, &self.tables) {
                Ok(input) => {
                    let keys: Vec<String> = next
                        .join_keys(view)?
                        .into_iter()
                        .map(|entity| source.column_of(&entity.join_key).to_owned())
                        .collect();
                    input.check(&keys)?;
                    let names: Vec<String> = view
                        .features
                        .iter()
                        .map(|feature| feature.name.clone())
                        .collect();
                    feature_columns(view, &names, &input)?;
                }
                Err(Error::SourceMissing { name, path }) => plan.notes.push(format!(
                    "source {name:?} has no file at {} yet, so feature view {:?} was not \
                     checked against it",
                    path.display(),
                    view.name
                )),
                Err(error) => return Err(error),
            }
        }
        Ok(plan)
    }
}

impl Limits {
    fn context(&self) -> Result<SessionContext> {
        let mut config = SessionConfig::new();
        // Partitions that take each other's files would mix up the order of
        // entity rows, and that of source rows of one key and time.
        config
            .options_mut()
            .execution
            .enable_file_stream_work_stealing = false;
        if let Some(partitions) = self.partitions {
            config = config.with_target_partitions(partitions.max(1));
        }
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(bytes) = self.memory {
            runtime = runtime.with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
        }
        Ok(SessionContext::new_with_config_rt(
            config,
            runtime.build_arc()?,
        ))
    }
}
