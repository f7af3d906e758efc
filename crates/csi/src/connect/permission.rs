//! Whether owner and mode of a socket file let this process connect to it. If they do, and it
//! is refused, a security module has refused it.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The bit of CAP_DAC_OVERRIDE in a set of capabilities (capabilities(7)).
const DAC_OVERRIDE: u64 = 1 << 1;

/// Write permission of the others, the lowest of the three.
const WRITE: u32 = 0o002;

/// How stat(2) shows an owner or a group for which this process' user namespace has no
/// number (`/proc/sys/kernel/overflowuid`), in each system that does not change it.
const UNMAPPED: u32 = 65_534;

/// Whom the kernel takes this process for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Credentials {
    /// The effective user.
    user: u32,
    /// The effective group and the supplementary ones.
    groups: Vec<u32>,
    /// Whether CAP_DAC_OVERRIDE is effective: the mode is passed over.
    overrides: bool,
}

/// Whether owner and mode of the socket let this process write to it, which is what
/// connect(2) asks of it (unix(7)). `false` also where that cannot be known, so that nothing
/// is claimed: without /proc, or where the socket's owner and mode are not to be seen.
///
/// This is not found out by trying: a security module that refuses connect(2) may refuse
/// open(2) for writing, too (SELinux' sock_file { write }, AppArmor's rules without a "w"),
/// and access(2) goes by the real user. The directories on the way need no look of their own:
/// stat(2) searches each of them with the same permissions as connect(2) does, and fails if
/// one of them may not be searched. An access control list (acl(5)) is not considered.
pub(super) fn lets_us_write(path: &Path) -> bool {
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

/// What a file's mode, owner and group let this process do (`path_resolution(7)`): the bits of the
/// first class that it belongs to decide, even if those of a later one would give more.
fn may_write(mode: u32, owner: u32, group: u32, this_process: &Credentials) -> bool {
    let by_owner = mode & (WRITE << 6) != 0;
    let by_group = mode & (WRITE << 3) != 0;
    let by_others = mode & WRITE != 0;
    if owner == UNMAPPED || group == UNMAPPED {
        // Over a file of which a number is unknown here, a capability has no effect, and
        // this process' own number is not that of the file, though it looks the same
        // (user_namespaces(7)). What all bits give is given all the same.
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

/// Of the text of /proc/self/status (`proc_pid_status(5)`). `None` if a line is missing, or
/// has another form.
fn credentials(status: &str) -> Option<Credentials> {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    // Real, effective, saved, and that of the file system.
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
        for (mode, owner, group, who, expected) in [
            // The capability passes over all.
            (0o000, 1000, 1000, &root, true),
            (0o755, 0, 0, &root, true),
            // Root without it is like anybody else.
            (0o755, 0, 0, &bare_root, true),
            (0o755, 1000, 1000, &bare_root, false),
            (0o055, 0, 0, &bare_root, false),
            // The owner, even if others may more.
            (0o200, 1000, 0, &other, true),
            (0o077, 1000, 1000, &other, false),
            // The effective group, a supplementary one, neither.
            (0o020, 0, 1000, &other, true),
            (0o020, 0, 2000, &other, true),
            (0o707, 0, 2000, &other, false),
            (0o020, 0, 3000, &other, false),
            // The others.
            (0o755, 0, 0, &other, false),
            (0o777, 0, 0, &other, true),
            (0o002, 0, 0, &other, true),
            (0o775, 0, 0, &other, false),
            // With the bits of the type, as stat(2) has them.
            (0o140_755, 0, 0, &other, false),
            (0o140_777, 0, 0, &other, true),
        ] {
            let found = may_write(mode, owner, group, who);
            assert_eq!(found, expected, "{mode:o} of {owner}:{group} by {who:?}");
        }
    }

    #[test]
    fn nothing_is_claimed_of_an_owner_without_a_number() {
        let root = Credentials {
            overrides: true,
            ..user(0, &[0])
        };
        let unmapped = user(UNMAPPED, &[UNMAPPED]);
        for (owner, group) in [(UNMAPPED, UNMAPPED), (UNMAPPED, 0), (0, UNMAPPED)] {
            for who in [&root, &unmapped] {
                for mode in [0o755, 0o700, 0o770, 0o077] {
                    assert!(!may_write(mode, owner, group, who), "{mode:o} by {who:?}");
                }
                assert!(may_write(0o777, owner, group, who), "{who:?}");
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
    fn a_line_that_is_missing_or_odd_is_no_claim() {
        let status = "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10\nCapEff:\t0\n";
        assert!(credentials(status).is_some());
        for (line, odd) in [
            ("Uid:\t1\t2\t3\t4\n", "Uid:\t1\n"),
            ("Gid:\t5\t6\t7\t8\n", "Gid:\tx\tx\n"),
            ("Groups:\t10\n", "Groups:\t-1\n"),
            ("CapEff:\t0\n", "CapEff:\t\n"),
        ] {
            for text in ["", odd] {
                assert_eq!(credentials(&status.replace(line, text)), None, "{text:?}");
            }
        }
    }

    #[test]
    fn this_process_can_be_read() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(credentials(&status).is_some(), "{status}");
    }

    #[test]
    fn what_is_no_socket_or_not_there_is_no_claim() {
        assert!(!lets_us_write(Path::new("/proc/self/status")));
        assert!(!lets_us_write(Path::new("/does/not/exist")));
    }
}
