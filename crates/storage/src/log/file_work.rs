//! What retention and compaction do to the files of old segments, without the log's lock: a rename or a removal may wait for
//! the file system's journal for as long as others' syncs take, and nobody who appends or reads shall wait with it. The log
//! has changed in memory before; a crash meanwhile leaves files that the next start deals with (`load.rs`).
//!
//! One such work runs at a time. Whoever makes files anew under the same names, or moves the directory, waits for it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use milena_types::Timestamp;

use super::Log;
use crate::disk::Disk;
use crate::error::{At, Error, Result};
use crate::files::{CLEANED, DELETED, Files, SWAP, file_name};
use crate::producer_snapshot::SNAPSHOT_SUFFIX;
use crate::segment::Segment;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Running,
    Failed,
}

/// Whose turn it is to change the files of old segments.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn(Arc<(Mutex<State>, Condvar)>);

impl Turn {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it; false if somebody has it.
    pub(super) fn take(&self) -> bool {
        let mut state = self.state();
        let is_free = *state != State::Running;
        if is_free {
            *state = State::Running;
        }
        is_free
    }

    pub(super) fn is_taken(&self) -> bool {
        *self.state() == State::Running
    }

    fn end(&self, how: State) {
        *self.state() = how;
        self.0.1.notify_all();
    }

    /// Waits for the end; whether it is known what the files are called.
    fn wait(&self) -> bool {
        let mut state = self.state();
        while *state == State::Running {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state == State::Idle
    }
}

/// A change of one file, of a segment by its base offset.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// `.cleaned` becomes `.swap`.
    Stage(i64, &'static str),
    /// The name ends in `.deleted`.
    Delete(i64, &'static str),
    /// `.swap` becomes the file.
    Swap(i64, &'static str),
    /// A producer snapshot goes.
    RemoveSnapshot(i64),
}

/// Changes of files that the log has begun: to be run without its lock, and to be given back to `Log::end_work`.
#[derive(Debug)]
#[must_use = "run it without the log's lock and give it back to `Log::end_work`"]
pub struct FileWork<D: Disk> {
    files: Files<D>,
    turn: Turn,
    steps: Vec<Step>,
    /// Segments that retention takes out of the log, in order: those whose log file keeps its name are put back.
    removed: VecDeque<Segment<D>>,
    /// Those that an exchange takes out; until its log file is staged they can be put back.
    replaced: Vec<Segment<D>>,
    is_staged: bool,
    /// Files that are to be removed in their time.
    deleted: Vec<PathBuf>,
    outcome: Option<Result<()>>,
}

impl<D: Disk> FileWork<D> {
    /// The turn must have been taken.
    pub(super) fn new(log: &Log<D>, steps: Vec<Step>, removed: Vec<Segment<D>>, replaced: Vec<Segment<D>>) -> Self {
        Self {
            files: log.files.clone(),
            turn: log.turn.clone(),
            steps,
            removed: removed.into(),
            is_staged: false,
            replaced,
            deleted: Vec::new(),
            outcome: None,
        }
    }

    /// Segments that retention takes out of the log, before it ran.
    #[must_use]
    pub fn segments_to_delete(&self) -> usize {
        self.removed.len()
    }

    /// Changes the files. Blocks for as long as the file system takes.
    pub fn run(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let outcome = steps.iter().try_for_each(|step| self.take(*step));
        if outcome.is_err() && !self.is_staged {
            self.take_stage_back(&steps);
        }
        // Who waits for the turn has the lock that `end_work` needs.
        self.turn.end(if outcome.is_ok() { State::Idle } else { State::Failed });
        self.outcome = Some(outcome);
    }

    fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Stage(base_offset, kind) => {
                self.rename(base_offset, kind, (CLEANED, SWAP))?;
                self.is_staged |= kind == "log";
            }
            Step::Delete(base_offset, kind) => {
                self.delete(base_offset, kind)?;
                self.removed.pop_front_if(|first| kind == "log" && first.base_offset == base_offset);
            }
            Step::Swap(base_offset, kind) => self.rename(base_offset, kind, (SWAP, ""))?,
            Step::RemoveSnapshot(offset) => {
                let path = self.files.path(offset, SNAPSHOT_SUFFIX);
                match self.files.disk().remove(&path) {
                    // One too many does no harm: the next start removes it.
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(%error, path = %path.display(), "a producer snapshot stays");
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn delete(&mut self, base_offset: i64, kind: &str) -> Result<()> {
        let from = self.files.path(base_offset, kind);
        let to = self.files.directory.join(file_name(base_offset, kind) + DELETED);
        match self.files.disk().rename(&from, &to).at("rename", &from) {
            Ok(()) => self.deleted.push(to),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            // Once the log file has its new name the segment is gone; what lies there without it is removed by the next start.
            Err(error) if self.replaced.is_empty() && kind != "log" => {
                tracing::warn!(%error, "a file of a deleted segment stays");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Renames a file of a segment, if it is there.
    fn rename(&self, base_offset: i64, kind: &str, (from, to): (&str, &str)) -> Result<()> {
        let name = |end: &str| self.files.directory.join(file_name(base_offset, kind) + end);
        match self.files.disk().rename(&name(from), &name(to)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && kind != "log" => Ok(()),
            renamed => renamed.at("rename", &name(from)),
        }
    }

    /// Left alone they are removed by the next start, with the log file that is still `.cleaned`.
    fn take_stage_back(&self, steps: &[Step]) {
        for step in steps {
            let Step::Stage(base_offset, kind) = step else { continue };
            for end in [SWAP, CLEANED] {
                let path = self.files.directory.join(file_name(*base_offset, kind) + end);
                match self.files.disk().remove(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(%error, path = %path.display(), "a file of an abandoned exchange stays");
                    }
                    _ => {}
                }
            }
        }
    }
}

impl<D: Disk> Drop for FileWork<D> {
    fn drop(&mut self) {
        if self.outcome.is_none() {
            self.turn.end(State::Failed);
        }
    }
}

impl<D: Disk> Log<D> {
    /// Takes work back that ran.
    ///
    /// # Errors
    /// Those the work met. The log is as before it unless `Log::is_failed`; what a deletion did not come to is below the log's start.
    pub fn end_work(&mut self, mut work: FileWork<D>, now: Timestamp) -> Result<()> {
        let outcome = work.outcome.take().unwrap_or_else(|| Err(self.failure()));
        // Another log has taken its place, or its files were given up.
        if !Arc::ptr_eq(&self.turn.0, &work.turn.0) || self.failed {
            work.outcome = Some(Ok(()));
            return outcome;
        }
        let when = now.0.saturating_add(self.config.file_delete_delay_ms);
        self.deleted.extend(work.deleted.drain(..).map(|path| (when, path)));
        self.unsynced.directory_changed();
        let replaced = std::mem::take(&mut work.replaced);
        let first = replaced.first().map(|first| first.base_offset);
        let is_undone = outcome.is_err() && !work.is_staged;
        if let Some(at) = first.and_then(|first| self.segments.iter().position(|it| it.base_offset == first)) {
            for segment in self.segments.get(at).filter(|_| !is_undone).into_iter().chain(&replaced) {
                segment.unpin();
            }
            if is_undone {
                self.segments.splice(at..=at, replaced).for_each(|segment| segment.close());
            } else {
                replaced.iter().for_each(Segment::close);
                self.failed |= outcome.is_err();
            }
        }
        // None may be missing between those that are left: they go with the next deletion, below the log's start.
        self.segments.splice(0..0, work.removed.drain(..));
        if is_undone {
            self.turn.end(State::Idle);
        }
        work.outcome = Some(Ok(()));
        outcome
    }

    /// Waits until no file of an old segment is being renamed: the directory, or files of the same names, are about to change.
    ///
    /// # Errors
    /// Nothing is known of the files' names.
    pub fn await_work(&mut self) -> Result<()> {
        if self.turn.wait() {
            return Ok(());
        }
        self.failed = true;
        Err(self.failure())
    }

    /// Renamed files whose time has come, to be removed without the log's lock.
    pub fn take_deleted_files(&mut self, now: Timestamp) -> Vec<PathBuf> {
        self.deleted.extract_if(.., |(when, _)| *when <= now.0).map(|(_, path)| path).collect()
    }

    /// Could not be removed, in the order in which they were to be.
    pub fn put_back_deleted_files(&mut self, paths: impl IntoIterator<Item = PathBuf>, now: Timestamp) {
        self.deleted.extend(paths.into_iter().map(|path| (now.0, path)));
    }

    /// Removes renamed files whose time has come. How many.
    ///
    /// # Errors
    /// IO.
    pub fn remove_deleted_files(&mut self, now: Timestamp) -> Result<usize> {
        let mut paths = self.take_deleted_files(now).into_iter();
        let mut count = 0;
        while let Some(path) = paths.next() {
            match self.files.disk().remove(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    self.put_back_deleted_files(std::iter::once(path.clone()).chain(paths), now);
                    return Err(error).at("remove", &path);
                }
                _ => count += 1,
            }
        }
        Ok(count)
    }
}
