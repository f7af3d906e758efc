//! That `packaging/release.sh check` refuses a release which disagrees with itself, in a
//! repository of the test's own.

use std::path::PathBuf;
use std::process::{Command, Output};

use testkit::Dir;
use testkit::machine::ARCH;

use super::packaging::is_refused;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A repository with what the check looks at, in order.
struct Checkout {
    dir: Dir,
}

impl Checkout {
    fn new() -> Checkout {
        let checkout = Checkout { dir: Dir::new() };
        let copied = Command::new("cp")
            .args(["-r", "packaging", "Cargo.toml", ".gitignore"])
            .arg(checkout.dir.path())
            .status()
            .unwrap();
        assert!(copied.success());
        checkout.write(
            "CHANGELOG.md",
            &format!("# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2026-01-02\n\n- All.\n"),
        );
        // As in a checkout, also where these tests run in a source archive.
        checkout.write("packaging/commit.txt", "$Format:%H %ct$\n");
        checkout.git(&["init", "--quiet"]);
        checkout.commit();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(["-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"])
            .args(arguments)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=test"]);
    }

    fn check(&self, version: &str) -> Output {
        Command::new(self.path("packaging/release.sh"))
            .args(["check", version])
            .env_remove("REVISION")
            .output()
            .unwrap()
    }

    fn passes(&self, version: &str) {
        let output = self.check(version);
        assert!(output.status.success(), "{output:?}");
    }

    fn is_refused(&self, version: &str, words: &str) {
        is_refused(&self.check(version), words);
    }
}

#[test]
fn another_version_or_changelog_is_refused() {
    let checkout = Checkout::new();
    for wrong in ["", "v0.1.0", "0.1", "00.1.0", "0.1.0 "] {
        checkout.is_refused(wrong, &format!("VERSION={wrong} is no version"));
    }
    checkout.is_refused(
        "9.8.7",
        &format!("VERSION=9.8.7, and Cargo.toml has {VERSION}"),
    );
    for (changelog, begin) in [
        ("## [0.0.1] - 2026-01-02\n", "## [0.0.1] - 2026-01-02"),
        (
            "## [Unreleased]\n\n## [VERSION]\n",
            "## [Unreleased], ## [VERSION]",
        ),
        (
            "## [Unreleased]\n\n- More.\n\n## [VERSION] - 2026-01-02\n",
            "## [Unreleased], - More.",
        ),
    ] {
        checkout.write("CHANGELOG.md", &changelog.replace("VERSION", VERSION));
        let begin = begin.replace("VERSION", VERSION);
        checkout.is_refused(
            VERSION,
            &format!("CHANGELOG.md begins with '{begin}'; right would be"),
        );
    }
}

#[test]
fn what_is_not_committed_or_was_released_is_refused() {
    let checkout = Checkout::new();
    checkout.write("new", "");
    checkout.is_refused(VERSION, "the checkout has changes, of ?? new");
    checkout.commit();
    checkout.passes(VERSION);
    checkout.git(&["tag", &format!("v{VERSION}")]);
    checkout.passes(VERSION);
    checkout.commit();
    checkout.is_refused(VERSION, &format!("v{VERSION} is released: the tag is on"));
}

#[test]
fn a_binary_that_is_not_of_this_release_is_refused() {
    let checkout = Checkout::new();
    let binary = checkout.path(&format!("dist/livenessprobe-linux-{ARCH}"));
    let is_built = format!(". packaging/lib.sh && must_be_built livenessprobe {ARCH}");
    let check = |revision: &str| {
        Command::new("bash")
            .args(["-c", &is_built])
            .current_dir(checkout.dir.path())
            .env("REVISION", revision)
            .output()
            .unwrap()
    };
    let revision = checkout.git(&["rev-parse", "HEAD"]);
    is_refused(&check(&revision), "there is no dist/livenessprobe-linux-");
    std::fs::create_dir(checkout.path("dist")).unwrap();
    let content = format!("\x7fELF livenessprobe {VERSION} ({})\0", &revision[..12]);
    std::fs::write(binary, content).unwrap();
    let output = check(&revision);
    assert!(output.status.success(), "{output:?}");
    checkout.commit();
    let revision = checkout.git(&["rev-parse", "HEAD"]);
    is_refused(
        &check(&revision),
        &format!("is not of revision {}", &revision[..12]),
    );
}
