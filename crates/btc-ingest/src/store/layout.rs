//! Where the states of a data folder lie, and how one takes the place of another.
//!
//! ```text
//! data/.snapshots/HASH/   a whole state: raw/, processed/, manifest.json
//! data/current            a symbolic link to the state that counts
//! data/raw                links through `current`, so that paths stay
//! data/processed
//! data/manifest.json
//! data/.lock              held by the one who writes
//! ```
//!
//! A state is never changed after it got its name, which is the hash of its manifest. A writer
//! puts the next one together beside it, hard-linking the files that stay as they are, and then
//! replaces the link `current`: that rename is the commit. Whoever resolved the link before reads
//! the old state to its end, whoever resolves it after reads the new one.
//!
//! # After a power loss
//!
//! Each step is durable before the next one is taken: the content of every new file (fsync), the
//! folders that name the files (fsync of each, the inner ones first), the name of the state in
//! `.snapshots`, and only then the link, followed by the data folder that holds it. A file that is
//! hard-linked from an earlier state was made durable with it. So wherever the power goes, the
//! link leads to the state before or to the state after, each complete. What a dead writer left
//! half done has a name that starts with a dot and is removed by the next one.
//!
//! # Old states
//!
//! A reader holds a shared lock on the folder of its state, which its process gives up however it
//! ends. After a commit, states that are neither the new one nor the one before it are removed,
//! if their lock is free. The one before stays for readers that do not know of the lock.

use super::legacy;
use super::manifest::MANIFEST;
use super::{PROCESSED, RAW};
use crate::error::{Error, Result};
use btc_files::{Lock, LockError, create_dirs, parent, sync_dir};
use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SNAPSHOTS: &str = ".snapshots";
const CURRENT: &str = "current";

/// What is found below the data folder itself.
const LINKED: [&str; 3] = [RAW, PROCESSED, MANIFEST];

/// The folder that holds one state of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A state of its own, never changed.
    Snapshot(PathBuf),
    /// Plain files: the layout of version 1, or a copy that followed the links.
    Plain(PathBuf),
}

impl Place {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Snapshot(path) | Self::Plain(path) => path,
        }
    }
}

/// Where the state is that counts now.
pub(super) fn current(root: &Path) -> Result<Place> {
    let link = root.join(CURRENT);
    match fs::read_link(&link) {
        Ok(target) if parent(&target) == Path::new(SNAPSHOTS) => {
            Ok(Place::Snapshot(root.join(target)))
        }
        Ok(target) => Err(Error::invalid(
            &link,
            format!("it leads to {}, which is no snapshot", target.display()),
        )),
        // A folder where the link should be: somebody copied what it leads to.
        Err(_) if link.is_dir() => Ok(Place::Plain(link)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Place::Plain(root.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(Place::Plain(root.to_owned())),
        Err(error) => Err(Error::read(&link, error)),
    }
}

/// A state that is being read, and stays as long as this value does.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) place: Place,
    _lock: Option<Lock>,
}

/// Finds the state that counts and holds it.
pub(super) fn hold(root: &Path) -> Result<Held> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let started = Instant::now();
    loop {
        if legacy::is_pending(root) {
            // The writer died after its commit; what it decided is carried out first.
            let _lock = lock(root)?;
            legacy::finish(root)?;
        }
        let place = current(root)?;
        let Place::Snapshot(path) = &place else {
            return Ok(Held { place, _lock: None });
        };
        let outcome = Lock::shared(path, Duration::ZERO);
        match outcome {
            // A state that was removed before it could be held was followed by another one.
            Ok(lock) if path.is_dir() => {
                return Ok(Held {
                    place,
                    _lock: Some(lock),
                });
            }
            Err(LockError::Io { source, .. }) if source.kind() != ErrorKind::NotFound => {
                if !path.is_dir() {
                    return Err(Error::read(path, source));
                }
                // A file system without locks: nothing is removed there either.
                return Ok(Held { place, _lock: None });
            }
            _ => {}
        }
        if PATIENCE <= started.elapsed() || (!path.exists() && current(root)? == place) {
            return Err(Error::invalid(
                &root.join(CURRENT),
                format!("it leads to {}, which is not there", path.display()),
            ));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Holds the data folder against other writers.
pub(super) fn lock(root: &Path) -> Result<Lock> {
    Lock::exclusive(root.join(".lock"), Duration::ZERO).map_err(|error| match error {
        LockError::Io { path, source } => Error::Write { path, source },
        _ => Error::Locked {
            path: root.to_owned(),
        },
    })
}

/// Makes a data folder ready to be written to; its lock is held.
pub(super) fn prepare(root: &Path) -> Result<()> {
    legacy::finish(root)?;
    for (name, is_right) in [
        (RAW, Path::is_dir as fn(&Path) -> bool),
        (PROCESSED, Path::is_dir),
        (MANIFEST, Path::is_file),
    ] {
        let path = root.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_symlink()) && !is_right(&path) {
            let in_the_way = std::io::Error::from(ErrorKind::AlreadyExists);
            return Err(Error::write(&path, in_the_way));
        }
    }
    for entry in super::parquet::entries(&root.join(SNAPSHOTS))? {
        if is_hidden(&entry) {
            fs::remove_dir_all(&entry).map_err(|source| Error::write(&entry, source))?;
        }
    }
    Ok(())
}

/// What is being put together, or taken apart.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// The next state, as it is put together.
#[derive(Debug)]
pub(super) struct Draft {
    root: PathBuf,
    dir: TempDir,
    base: Place,
    /// All files, with `/`.
    files: BTreeSet<String>,
    /// Whether any of them is another one than before.
    is_new: bool,
}

impl Draft {
    /// Begins a state that follows `base`.
    pub(super) fn begin(root: &Path, base: Place) -> Result<Self> {
        let folder = root.join(SNAPSHOTS);
        create_dirs(&folder).map_err(|source| Error::write(&folder, source))?;
        let dir = btc_files::temporary_dir(&folder, ".new-");
        Ok(Self {
            root: root.to_owned(),
            dir: dir.map_err(|source| Error::write(&folder, source))?,
            base,
            files: BTreeSet::new(),
            is_new: false,
        })
    }

    /// Adds a file.
    pub(super) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.place(name)?;
        self.is_new = true;
        fs::File::create_new(&path)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .map_err(|source| Error::write(&path, source))
    }

    /// Takes a file over from the state before.
    pub(super) fn keep(&mut self, name: &str) -> Result<()> {
        let (from, to) = (self.base.path().join(name), self.place(name)?);
        if fs::hard_link(&from, &to).is_ok() {
            return Ok(());
        }
        // On another file system, one without links, or with too many of them.
        let content = fs::File::open(&from).map_err(|source| Error::read(&from, source));
        let mut content = content?;
        fs::File::create_new(&to)
            .and_then(|mut copy| {
                std::io::copy(&mut content, &mut copy)?;
                copy.sync_all()
            })
            .map_err(|source| Error::write(&to, source))
    }

    /// Takes over what lies in the state before and nobody knows of: it is not ours to remove.
    pub(super) fn keep_unknown(&mut self, known: impl Fn(&str) -> bool) -> Result<()> {
        for name in files_below(self.base.path())? {
            if !known(&name) && !self.files.contains(&name) {
                self.keep(&name)?;
            }
        }
        Ok(())
    }

    fn place(&mut self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        let folder = parent(&path);
        fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
        self.files.insert(name.to_owned());
        Ok(path)
    }

    /// Gives the state its name and makes it the one that counts.
    pub(super) fn publish(mut self, manifest: &[u8]) -> Result<()> {
        let is_same = !self.is_new
            && matches!(self.base, Place::Snapshot(_))
            && fs::read(self.base.path().join(MANIFEST)).is_ok_and(|known| known == manifest);
        let place = match is_same {
            true => self.base.path().to_owned(),
            false => self.commit(manifest)?,
        };
        let is_move = matches!(self.base, Place::Plain(_));
        set_links(&self.root, is_move)?;
        collect(&self.root, &[&place, self.base.path()])
    }

    fn commit(&mut self, manifest: &[u8]) -> Result<PathBuf> {
        self.write(MANIFEST, manifest)?;
        for name in [RAW, PROCESSED] {
            let folder = self.dir.path().join(name);
            fs::create_dir_all(&folder).map_err(|source| Error::write(&folder, source))?;
        }
        sync_all_dirs(self.dir.path())?;
        let snapshots = self.root.join(SNAPSHOTS);
        let hash = name_of(manifest);
        // A state may come back, with a file repaired or after another one.
        let names = std::iter::once(hash.clone()).chain((1..).map(|n| format!("{hash}-{n}")));
        let name = names
            .into_iter()
            .find(|name| !snapshots.join(name).exists())
            .expect("there are more numbers than folders");
        let place = snapshots.join(&name);
        fs::rename(self.dir.path(), &place).map_err(|source| Error::write(&place, source))?;
        self.dir.disable_cleanup(true);
        sync(&snapshots)?;

        let current = self.root.join(CURRENT);
        if let Place::Plain(copy) = &self.base
            && *copy == current
        {
            // Until the link is there, what lies beside it counts, which is the same.
            let aside = snapshots.join(".copy");
            fs::rename(copy, &aside).map_err(|source| Error::write(copy, source))?;
        }
        link(&self.root, CURRENT, &Path::new(SNAPSHOTS).join(&name))?;
        Ok(place)
    }
}

/// Puts the links through `current` in their places. With `is_move`, what is there was taken over.
fn set_links(root: &Path, is_move: bool) -> Result<()> {
    let bin = root.join(SNAPSHOTS);
    for name in LINKED {
        let target = Path::new(CURRENT).join(name);
        let path = root.join(name);
        if fs::read_link(&path).is_ok_and(|found| found == target) {
            continue;
        }
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_symlink()) {
            set_aside(&path, is_move.then_some(bin.as_path()))?;
        }
        link(root, name, &target)?;
    }
    Ok(())
}

/// The name of the state that a manifest describes.
pub(super) fn name_of(manifest: &[u8]) -> String {
    btc_files::sha256(manifest)[..16].to_owned()
}

/// Whether a state's name is that of its manifest; plain files have no such name.
pub(super) fn has_its_name(place: &Place, manifest: &[u8]) -> bool {
    let Place::Snapshot(path) = place else {
        return true;
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('-').next() == Some(name_of(manifest).as_str())
}

/// The links of a data folder that do not lead where they should.
pub(super) fn wrong_links(root: &Path, place: &Place) -> Vec<&'static str> {
    let is_right = |name: &&str| {
        let target = Path::new(CURRENT).join(name);
        matches!(place, Place::Plain(_))
            || fs::read_link(root.join(name)).is_ok_and(|found| found == target)
    };
    LINKED.into_iter().filter(|name| !is_right(name)).collect()
}

/// The files in `raw` and `processed`, with `/`.
pub(super) fn files_below(dir: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![RAW.to_owned(), PROCESSED.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in super::parquet::entries(&dir.join(&folder))? {
            let name = path.file_name().unwrap_or_default();
            let name = name.to_str().ok_or_else(|| {
                Error::invalid(&path, "its name is not Unicode; move it elsewhere")
            })?;
            let name = format!("{folder}/{name}");
            if path.is_dir() {
                folders.push(name);
            } else {
                files.push(name);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Makes or replaces a link, all at once and durably.
fn link(root: &Path, name: &str, target: &Path) -> Result<()> {
    let path = root.join(name);
    let draft = root.join(format!(".{name}.link"));
    let failed = |source| Error::Link {
        path: path.clone(),
        source,
    };
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    symlink(target, &draft).map_err(failed)?;
    fs::rename(&draft, &path).map_err(failed)?;
    sync(root)
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Makes room for a link: what was taken over goes into the bin, anything else beside it.
fn set_aside(path: &Path, bin: Option<&Path>) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let failed = |source| Error::write(path, source);
    if let Some(bin) = bin {
        // A file cannot be removed as a folder, so it gets one.
        let bin = bin.join(format!(".old-{name}"));
        fs::create_dir_all(&bin).map_err(failed)?;
        return fs::rename(path, bin.join(&*name)).map_err(failed);
    }
    let aside = (1..)
        .map(|n| path.with_file_name(format!("{name}.replaced-{n}")))
        .find(|aside| !aside.exists())
        .expect("there are more numbers than files");
    fs::rename(path, aside).map_err(failed)
}

/// Removes states that nobody reads, but for those named.
fn collect(root: &Path, keep: &[&Path]) -> Result<()> {
    let snapshots = root.join(SNAPSHOTS);
    for entry in super::parquet::entries(&snapshots)? {
        let failed = |source| Error::write(&entry, source);
        if is_hidden(&entry) {
            fs::remove_dir_all(&entry).map_err(failed)?;
            continue;
        }
        if keep.contains(&entry.as_path()) {
            continue;
        }
        let Ok(_lock) = Lock::exclusive_existing(&entry, Duration::ZERO) else {
            continue;
        };
        // Under a name that is removed later, should this process die half way.
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let gone = snapshots.join(format!(".gone-{name}"));
        fs::rename(&entry, &gone).map_err(failed)?;
        fs::remove_dir_all(&gone).map_err(failed)?;
    }
    Ok(())
}

fn sync(dir: &Path) -> Result<()> {
    sync_dir(dir).map_err(|source| Error::write(dir, source))
}

/// Syncs a folder after those in it.
fn sync_all_dirs(dir: &Path) -> Result<()> {
    for entry in super::parquet::entries(dir)? {
        if entry.is_dir() {
            sync_all_dirs(&entry)?;
        }
    }
    sync(dir)
}
