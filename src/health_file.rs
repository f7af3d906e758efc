//! A file that is there while the driver counts as healthy.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use program::log_throttle::LogThrottle;
use program::{escape, exit};

/// The file.
pub struct HealthFile {
    path: PathBuf,
    log: LogThrottle,
}

impl HealthFile {
    /// A file at `path`, which does not exist yet. One that an earlier process left is removed,
    /// because it says nothing about the driver now.
    ///
    /// # Errors
    ///
    /// When it can never be written. A full disk is not such a reason, because it may have room
    /// again.
    pub fn new(path: &Path) -> Result<HealthFile, String> {
        let file = HealthFile {
            path: path.to_owned(),
            log: LogThrottle::new(),
        };
        if path.is_dir() {
            return Err(file.cannot(&io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let removed = fs::remove_file(path);
        let tried = match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => file.try_out(),
        };
        match tried {
            Err(error) if is_permanent(&error) => Err(file.cannot(&error)),
            _ => {
                exit::remove_at_exit(path);
                Ok(file)
            }
        }
    }

    /// Creates the file if it does not exist. A failure is logged, and the next success tries
    /// again.
    pub fn write(&mut self) {
        // Another program may have removed it.
        if fs::symlink_metadata(&self.path).is_ok() {
            return;
        }
        match self.try_write() {
            Ok(()) => {
                self.log.is_worth_a_line(None, Instant::now());
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Removes the file if it exists.
    pub fn remove(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.complain(&error),
            _ => {}
        }
    }

    /// Writes the whole file elsewhere and renames it, so that no reader sees a part of it.
    fn try_write(&self) -> io::Result<()> {
        let beside = self.beside();
        let written = HealthFile::opened(&beside)
            .and_then(|mut file| file.write_all(b"ok\n"))
            .and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            // It may not exist.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn try_out(&self) -> io::Result<()> {
        let beside = self.beside();
        HealthFile::opened(&beside)?;
        fs::remove_file(&beside)
    }

    /// Creates a new file in place of anything that is there: writing through a link would change
    /// another file, and opening a FIFO would wait.
    fn opened(path: &Path) -> io::Result<fs::File> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// In the same directory, because rename(2) works within one file system.
    fn beside(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".new");
        self.path.with_file_name(name)
    }

    fn cannot(&self, error: &io::Error) -> String {
        let name = escape::one_line(&self.path.display().to_string());
        format!("cannot write the health file {name}: {error}")
    }

    fn complain(&mut self, error: &io::Error) {
        let reason = self.cannot(error);
        if self
            .log
            .is_worth_a_line(Some(&reason), Instant::now())
            .is_some()
        {
            log::error!(err = reason; "Health file is not as it should be, will try again");
        }
    }
}

/// Whether only a change of the manifest can help.
fn is_permanent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::InvalidFilename
    )
}
