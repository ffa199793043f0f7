//! A feature store: definitions applied to a folder.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::definition::{Definitions, Entity, ValueType};
use crate::error::{Error, Result};
use crate::files::{create_folders, write_whole};
use crate::join::source::{Input, Tables};
use crate::registry::{DatasetEntry, Plan, Registry, RegistryStore};
use crate::repo::{CONFIG_FILE, REGISTRY_FILE, StoreConfig};
use crate::retrieve::{check_type, feature_columns, key_type, parse_on_demand};

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
    pub fn open(repo_dir: impl AsRef<Path>) -> Result<Self> {
        let repo_dir = repo_dir.as_ref();
        Self::with_config(repo_dir, StoreConfig::read(repo_dir)?)
    }

    /// Opens the store in `repo_dir`, which is made if it is not there: the
    /// folder, and settings that call the project `project`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and [`Error::Io`] if the folder cannot be written.
    pub fn init(repo_dir: impl AsRef<Path>, project: &str) -> Result<Self> {
        let repo_dir = repo_dir.as_ref();
        create_folders(repo_dir)?;
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
    pub fn preview(
        repo_dir: impl AsRef<Path>,
        project: &str,
        definitions: &Definitions,
    ) -> Result<Self> {
        let repo_dir = repo_dir.as_ref();
        let config = match StoreConfig::read(repo_dir) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                StoreConfig::new(project)
            }
            read => read?,
        };
        let mut store = Self::with_config(repo_dir, config)?;
        let mut merged = store.registry.definitions.merged(definitions);
        store.planned(&store.registry, &mut merged)?;
        store.registry.definitions = merged;
        Ok(store)
    }

    fn with_config(repo_dir: &Path, config: StoreConfig) -> Result<Self> {
        let registry_store = RegistryStore::new(repo_dir, &config.project);
        let registry = registry_store.read()?;
        Ok(Self {
            repo_dir: repo_dir.to_path_buf(),
            config,
            registry_store,
            registry,
            context: new_context(),
            limits: Limits::default(),
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
        self.limit()
    }

    /// Brings the session to the limits; what is registered in it stays.
    fn limit(mut self) -> Result<Self> {
        let state = self.context.state();
        // The catalog that is there is kept.
        let mut config = state
            .config()
            .clone()
            .with_create_default_catalog_and_schema(false);
        if let Some(partitions) = self.limits.partitions {
            config = config.with_target_partitions(partitions.max(1));
        }
        let mut runtime = RuntimeEnvBuilder::from_runtime_env(state.runtime_env());
        if let Some(bytes) = self.limits.memory {
            runtime = runtime.with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
        }
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .with_runtime_env(runtime.build_arc()?)
            .build();
        self.context = SessionContext::new_with_state(state);
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
        self.limit()
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
        let current = self.registry_store.read()?;
        self.planned(&current, &mut current.definitions.merged(definitions))
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
        let (plan, ()) =
            self.update(|current| Ok((current.merged(definitions), ())), |()| Ok(()))?;
        Ok(plan)
    }

    /// Says what [`Self::apply_dir`] would do.
    ///
    /// # Errors
    ///
    /// As [`Self::apply_dir`].
    pub fn plan_dir(&self) -> Result<Plan> {
        let current = self.registry_store.read()?;
        self.planned(&current, &mut Definitions::from_dir(&self.repo_dir)?)
    }

    /// Makes the registry what the definitions in the store's folder say:
    /// what they do not declare is removed, the online values of such views
    /// with it.
    ///
    /// The files are read while no one else can write the registry, so that
    /// of several processes the last sees every file.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`] and [`Definitions::from_dir`].
    pub fn apply_dir(&mut self) -> Result<Plan> {
        let dir = self.repo_dir.clone();
        let (plan, ()) = self.update(|_| Ok((Definitions::from_dir(&dir)?, ())), |()| Ok(()))?;
        Ok(plan)
    }

    /// Writes definitions into the file `name` of the store's folder, in place
    /// of what it declared, and applies them.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`]; nothing is written then.
    pub fn declare(&mut self, definitions: &Definitions, name: &str) -> Result<Plan> {
        let plain = Path::new(name).file_name() == Some(std::ffi::OsStr::new(name))
            && name.ends_with(".toml")
            && !name.starts_with('.');
        let taken = [CONFIG_FILE, REGISTRY_FILE];
        if !plain || taken.iter().any(|taken| name.eq_ignore_ascii_case(taken)) {
            return Err(Error::InvalidRequest(format!(
                "{name:?} cannot be a file of definitions; it is the name of a *.toml file in the \
                 folder of the store, and neither of {}",
                taken.join(" and ")
            )));
        }
        let path = self.repo_dir.join(name);
        let dir = self.repo_dir.clone();
        // Checked first and written under the registry's lock: what cannot be
        // applied leaves the file as it was.
        let (mut plan, (others, own)) = self.update(
            |current| {
                // Objects that other files declare stay there.
                let others = Definitions::from_dir_but(&dir, name)?;
                let mut own = definitions.clone();
                own.without(&others);
                Ok((current.merged(definitions), (others, own)))
            },
            |(_, own)| write_whole(&path, own.to_toml().as_bytes()),
        )?;
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
        let (plan, ()) = self.update(|_| Ok((Definitions::new(), ())), |()| Ok(()))?;
        Ok(plan)
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

    /// Turns the definitions into the next and, between the checks and the
    /// writing of the registry, does what goes with them.
    fn update<T>(
        &mut self,
        next: impl FnOnce(&Definitions) -> Result<(Definitions, T)>,
        along: impl FnOnce(&T) -> Result<()>,
    ) -> Result<(Plan, T)> {
        let mut before = Vec::new();
        let (registry, answer) = self.registry_store.update(|current| {
            before.extend(current.definitions.feature_views.keys().cloned());
            let (mut definitions, value) = next(&current.definitions)?;
            let plan = self.planned(current, &mut definitions)?;
            along(&value)?;
            let next = (!plan.is_empty()).then(|| Registry {
                definitions,
                ..current.clone()
            });
            Ok((next, (plan, value)))
        })?;
        self.registry = registry;
        before.retain(|view| !self.registry.definitions.feature_views.contains_key(view));
        self.forget_online(&before)?;
        Ok(answer)
    }

    #[cfg(not(feature = "sqlite"))]
    fn forget_online(&self, _: &[String]) -> Result<()> {
        Ok(())
    }

    /// Gives entities that declare no type that of their columns, as far as
    /// there are any; else the type they had.
    fn type_entities(&self, current: &Definitions, next: &mut Definitions) -> Result<()> {
        let mut types = BTreeMap::new();
        for view in next.feature_views.values() {
            let source = next.source(&view.source)?;
            let untyped = next
                .join_keys(view)?
                .into_iter()
                .filter(|entity| entity.value_type.is_none());
            let mut untyped = untyped.peekable();
            if untyped.peek().is_none() {
                continue;
            }
            let Ok(input) = Input::open(source, &self.repo_dir, &self.tables) else {
                continue;
            };
            for entity in untyped {
                let column = source.column_of(&entity.join_key);
                let found = input
                    .column_types(column)
                    .into_iter()
                    .filter_map(|(_, data_type)| ValueType::from_data_type(data_type));
                for found in found {
                    let known = types.entry(entity.name.clone()).or_insert(found);
                    // The wider of two integers holds both.
                    if (*known, found) == (ValueType::Int32, ValueType::Int64) {
                        *known = found;
                    }
                }
            }
        }
        for (name, entity) in &mut next.entities {
            if entity.value_type.is_none() {
                let before = current
                    .entities
                    .get(name)
                    .and_then(|known| known.value_type);
                entity.value_type = types.get(name).copied().or(before);
            }
        }
        Ok(())
    }

    /// Checks the next definitions and compares them with the current ones.
    fn planned(&self, registry: &Registry, next: &mut Definitions) -> Result<Plan> {
        let current = &registry.definitions;
        next.validate()?;
        self.type_entities(current, next)?;
        let next = &*next;
        let mut plan = Plan::between(current, next);
        registry.note_impact(&mut plan);
        for view in next.on_demand_feature_views.values() {
            for feature in &view.features {
                parse_on_demand(&self.context, next, view, feature)?;
            }
        }
        for view in next.feature_views.values() {
            let source = next.source(&view.source)?;
            let entities = |set: &Definitions| -> Vec<Option<Entity>> {
                let find = |name| set.entities.get(name).cloned();
                view.entities.iter().map(find).collect()
            };
            let same = current.feature_views.get(&view.name) == Some(view)
                && entities(current) == entities(next)
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
                    for (entity, column) in next.join_keys(view)?.into_iter().zip(&keys) {
                        let declared = key_type(&input, entity, column);
                        let object = format!("entity {:?}", entity.name);
                        check_type(&object, &entity.join_key, declared, column, &input)?;
                    }
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

fn new_context() -> SessionContext {
    let mut config = SessionConfig::new();
    let execution = &mut config.options_mut().execution;
    // Partitions that take each other's files would mix up the order of entity
    // rows, and that of source rows of one key and time.
    execution.enable_file_stream_work_stealing = false;
    // Nanoseconds, the default, wrap before 1677 and after 2262.
    execution.parquet.coerce_int96 = Some("us".into());
    SessionContext::new_with_config(config)
}
