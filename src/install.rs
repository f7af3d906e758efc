//! `--install`: copies this program to a volume, from which another container runs it. The image
//! has no cp.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use program::escape;

/// The file that runs, also if its name was removed or replaced.
const MYSELF: &str = "/proc/self/exe";

/// Any user may run it.
const MODE: u32 = 0o755;

/// Copies this program to `to`. The copy appears whole or not at all, and a program that runs from
/// there is replaced and not written to.
///
/// # Errors
///
/// Names the file, and what could not be done.
pub fn install(to: &Path) -> Result<(), String> {
    let in_words = |what: &str, error: io::Error| {
        let name = escape::one_line(&to.display().to_string());
        format!("cannot {what} {name}: {error}")
    };
    if to.is_dir() {
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(in_words("install to", error) + "; name the file in it");
    }
    let (file, beside) = beside(to).map_err(|error| in_words("install to", error))?;
    let copied = copy(file).and_then(|()| fs::rename(&beside, to));
    copied.map_err(|error| {
        // A partial copy is of no use.
        let _ = fs::remove_file(&beside);
        in_words("install to", error)
    })
}

/// Creates a new file in the same directory, because rename(2) works within one file system. The
/// process id alone would not make its name unique: in a container it is 1, and another container
/// may copy to the same directory.
fn beside(to: &Path) -> io::Result<(File, PathBuf)> {
    const ATTEMPTS: u32 = 100;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.{attempt}", now.as_nanos()));
        let beside = to.with_file_name(name);
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&beside);
        match opened {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => {}
            opened => return opened.map(|file| (file, beside)),
        }
    }
}

fn copy(mut file: File) -> io::Result<()> {
    let mut from = File::open(MYSELF)?;
    io::copy(&mut from, &mut file)?;
    // The umask may have removed bits.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.sync_all()
}
