//! Copying this program to where another container finds it: the image has no cp,
//! and an init container has nothing else.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::text;

/// What this program is read from: the file that runs, whatever has become of its
/// name.
const MYSELF: &str = "/proc/self/exe";

/// Who finds it runs it, as whatever user.
const MODE: u32 = 0o755;

/// Copies this program to `to`. It is there whole or not at all, and one that is
/// running there is replaced, not written to.
///
/// # Errors
///
/// Names the file, and what could not be done.
pub fn install(to: &Path) -> Result<(), String> {
    let in_words = |what: &str, error: io::Error| {
        let name = text::one_line(&to.display().to_string());
        format!("cannot {what} {name}: {error}")
    };
    if to.is_dir() {
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(in_words("install to", error) + "; name the file in it");
    }
    // Beside it, because rename(2) does not leave a file system.
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = to.with_file_name(name);
    let copied = copy(&beside).and_then(|()| fs::rename(&beside, to));
    copied.map_err(|error| {
        // What is half done helps nobody; it may not even be there.
        let _ = fs::remove_file(&beside);
        in_words("install to", error)
    })
}

fn copy(to: &Path) -> io::Result<()> {
    let mut from = File::open(MYSELF)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(to)?;
    io::copy(&mut from, &mut file)?;
    // The umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.sync_all()
}
