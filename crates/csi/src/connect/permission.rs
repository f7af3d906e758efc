//! Decides whether the owner and the mode of a socket file allow this process to connect. If they
//! do and the kernel refuses all the same, a security module is the cause.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The bit of CAP_DAC_OVERRIDE in a capability set (capabilities(7)).
const DAC_OVERRIDE: u64 = 1 << 1;

/// The write permission of others. That of the group and of the owner lie 3 and 6 bits higher.
const WRITE: u32 = 0o002;

/// The id that stat(2) returns for an owner or a group which is not mapped into the user namespace
/// of this process. It is the default of `/proc/sys/kernel/overflowuid`.
const UNMAPPED: u32 = 65_534;

/// The credentials by which the kernel decides whether this process may write to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Credentials {
    /// The effective user id.
    user: u32,
    /// The effective group id and the supplementary ones.
    groups: Vec<u32>,
    /// Whether CAP_DAC_OVERRIDE is effective, with which the kernel ignores a file's mode.
    overrides: bool,
}

/// Whether the owner and the mode of the socket allow this process to write to it, which connect(2)
/// requires (unix(7)). It is false if this cannot be known, so that no message claims too much:
/// without /proc, or if stat(2) fails on the socket.
///
/// Rejected: trying it. A security module that refuses connect(2) may refuse open(2) for writing,
/// too (SELinux' sock_file { write }, AppArmor's rules without a "w"), and access(2) goes by the
/// real user id. The directories of the path need no check, because stat(2) needs the same search
/// permissions as connect(2), and fails without them. An access control list (acl(5)) is not
/// considered.
pub(super) fn allows_writing(path: &Path) -> bool {
    let Ok(found) = fs::metadata(path) else {
        return false;
    };
    let Some(this_process) = fs::read_to_string("/proc/self/status")
        .ok()
        .as_deref()
        .and_then(credentials)
    else {
        return false;
    };
    found.file_type().is_socket()
        && may_write(found.mode(), found.uid(), found.gid(), &this_process)
}

/// Whether a file's mode, owner and group allow this process to write (`path_resolution(7)`). The
/// first class that the process belongs to decides: owner, group, others. A later class does not
/// count, even if its bits allow more.
fn may_write(mode: u32, owner: u32, group: u32, this_process: &Credentials) -> bool {
    let by_owner = mode & (WRITE << 6) != 0;
    let by_group = mode & (WRITE << 3) != 0;
    let by_others = mode & WRITE != 0;
    if owner == UNMAPPED || group == UNMAPPED {
        // The real ids of this file are unknown (user_namespaces(7)). A capability has no effect on
        // it, and an equal id of this process is another one. Only if all three classes may write,
        // this process may.
        return by_owner && by_group && by_others;
    }
    if this_process.overrides {
        true
    } else if this_process.user == owner {
        by_owner
    } else if this_process.groups.contains(&group) {
        by_group
    } else {
        by_others
    }
}

/// Parses the text of /proc/self/status (`proc_pid_status(5)`). Returns `None` if a line is missing
/// or malformed.
fn credentials(status: &str) -> Option<Credentials> {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    // The ids of a line are the real, the effective, the saved and the file system's.
    let effective =
        |name: &str| -> Option<u32> { field(name)?.split_whitespace().nth(1)?.parse().ok() };
    let mut groups = vec![effective("Gid")?];
    for group in field("Groups")?.split_whitespace() {
        groups.push(group.parse().ok()?);
    }
    let capabilities = u64::from_str_radix(field("CapEff")?.trim(), 16).ok()?;
    Some(Credentials {
        user: effective("Uid")?,
        groups,
        overrides: capabilities & DAC_OVERRIDE != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user: u32, groups: &[u32]) -> Credentials {
        Credentials {
            user,
            groups: groups.to_vec(),
            overrides: false,
        }
    }

    #[test]
    fn the_first_class_decides_as_in_the_kernel() {
        let root = Credentials {
            overrides: true,
            ..user(0, &[0])
        };
        let bare_root = user(0, &[0]);
        let other = user(1000, &[1000, 2000]);
        for (mode, owner, group, process, expected) in [
            // The capability overrides the mode.
            (0o000, 1000, 1000, &root, true),
            (0o755, 0, 0, &root, true),
            // Root without the capability is an ordinary user.
            (0o755, 0, 0, &bare_root, true),
            (0o755, 1000, 1000, &bare_root, false),
            (0o055, 0, 0, &bare_root, false),
            // The owner's bits decide, even if those of others allow more.
            (0o200, 1000, 0, &other, true),
            (0o077, 1000, 1000, &other, false),
            // The effective group, a supplementary one, and neither.
            (0o020, 0, 1000, &other, true),
            (0o020, 0, 2000, &other, true),
            (0o707, 0, 2000, &other, false),
            (0o020, 0, 3000, &other, false),
            // The others.
            (0o755, 0, 0, &other, false),
            (0o777, 0, 0, &other, true),
            (0o002, 0, 0, &other, true),
            (0o775, 0, 0, &other, false),
            // With the bits of the file type, which stat(2) returns, too.
            (0o140_755, 0, 0, &other, false),
            (0o140_777, 0, 0, &other, true),
        ] {
            let found = may_write(mode, owner, group, process);
            assert_eq!(
                found, expected,
                "{mode:o} of {owner}:{group} by {process:?}"
            );
        }
    }

    #[test]
    fn an_unmapped_owner_may_write_only_where_all_may() {
        let root = Credentials {
            overrides: true,
            ..user(0, &[0])
        };
        let unmapped = user(UNMAPPED, &[UNMAPPED]);
        for (owner, group) in [(UNMAPPED, UNMAPPED), (UNMAPPED, 0), (0, UNMAPPED)] {
            for process in [&root, &unmapped] {
                for mode in [0o755, 0o700, 0o770, 0o077] {
                    assert!(
                        !may_write(mode, owner, group, process),
                        "{mode:o} by {process:?}"
                    );
                }
                assert!(may_write(0o777, owner, group, process), "{process:?}");
            }
        }
    }

    #[test]
    fn credentials_are_the_effective_ones() {
        let status = "Name:\tUid: 7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\n\
                      Groups:\t10 20 \nCapPrm:\t0000000000000002\nCapEff:\t000001fffeffffff\n";
        assert_eq!(
            credentials(status),
            Some(Credentials {
                user: 2,
                groups: vec![6, 10, 20],
                overrides: true,
            })
        );
        let all_but_that = status.replace("000001fffeffffff", "000001fffefffffd");
        assert!(credentials(&all_but_that).is_some_and(|found| !found.overrides));
        let no_groups = status.replace("10 20 ", " ");
        assert!(credentials(&no_groups).is_some_and(|found| found.groups == [6]));
    }

    #[test]
    fn a_missing_or_malformed_line_gives_no_credentials() {
        let status = "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10\nCapEff:\t0\n";
        assert!(credentials(status).is_some());
        for (line, malformed) in [
            ("Uid:\t1\t2\t3\t4\n", "Uid:\t1\n"),
            ("Gid:\t5\t6\t7\t8\n", "Gid:\tx\tx\n"),
            ("Groups:\t10\n", "Groups:\t-1\n"),
            ("CapEff:\t0\n", "CapEff:\t\n"),
        ] {
            for text in ["", malformed] {
                assert_eq!(credentials(&status.replace(line, text)), None, "{text:?}");
            }
        }
    }

    #[test]
    fn the_status_of_this_process_is_parsed() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(credentials(&status).is_some(), "{status}");
    }

    #[test]
    fn a_missing_file_or_another_kind_of_file_does_not_allow_writing() {
        assert!(!allows_writing(Path::new("/proc/self/status")));
        assert!(!allows_writing(Path::new("/does/not/exist")));
    }
}
