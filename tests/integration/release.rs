//! That `packaging/release.sh check` refuses a release which disagrees with itself, in a
//! repository of the test's own.

use std::path::PathBuf;
use std::process::{Command, Output};

use testkit::Dir;
use testkit::machine::ARCH;

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

    fn check(&self, arguments: &[&str]) -> Output {
        Command::new(self.path("packaging/release.sh"))
            .arg("check")
            .args(arguments)
            .env_remove("REVISION")
            .output()
            .unwrap()
    }

    fn passes(&self, arguments: &[&str]) {
        let output = self.check(arguments);
        assert!(output.status.success(), "{output:?}");
    }

    fn is_refused(&self, arguments: &[&str], words: &str) {
        let output = self.check(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(words),
            "{words}: {output:?}"
        );
    }
}

#[test]
fn another_version_or_changelog_is_refused() {
    let checkout = Checkout::new();
    for wrong in ["", "v0.1.0", "0.1", "00.1.0", "0.1.0 "] {
        checkout.is_refused(&[wrong], &format!("VERSION={wrong} is no version"));
    }
    checkout.is_refused(
        &["9.8.7"],
        &format!("VERSION=9.8.7, and Cargo.toml has {VERSION}"),
    );
    for (changelog, words) in [
        (
            "## [0.0.1] - 2026-01-02\n",
            "right would be ## [Unreleased]",
        ),
        (
            "## [Unreleased]\n\n## [VERSION]\n",
            "below Unreleased; right would be",
        ),
        (
            "## [Unreleased]\n\n- More.\n\n## [VERSION] - 2026-01-02\n",
            "what is not released: - More.",
        ),
    ] {
        checkout.write("CHANGELOG.md", &changelog.replace("VERSION", VERSION));
        checkout.is_refused(&[VERSION], words);
    }
}

#[test]
fn what_is_not_committed_or_was_released_is_refused() {
    let checkout = Checkout::new();
    checkout.write("new", "");
    checkout.is_refused(&[VERSION], "the checkout has changes, of ?? new");
    checkout.commit();
    checkout.passes(&[VERSION]);
    checkout.git(&["tag", &format!("v{VERSION}")]);
    checkout.passes(&[VERSION]);
    checkout.commit();
    checkout.is_refused(
        &[VERSION],
        &format!("v{VERSION} is released: the tag is on"),
    );
}

#[test]
fn a_binary_that_is_not_of_this_release_is_refused() {
    let checkout = Checkout::new();
    let arguments = [VERSION, ARCH];
    checkout.is_refused(&arguments, "is no ELF file");
    let revision = checkout.git(&["rev-parse", "HEAD"])[..12].to_owned();
    let right = format!("livenessprobe {VERSION} ({revision})");
    for says in [right.clone(), format!("livenessprobe {VERSION} (unknown)")] {
        let source = checkout.path("dist/main.c");
        std::fs::create_dir_all(checkout.path("dist")).unwrap();
        let program = "int puts(const char *);\nint main(void) { return puts(SAYS) < 0; }\n";
        std::fs::write(&source, program).unwrap();
        let built = Command::new("gcc")
            .args(["-static", "-s"])
            .arg(format!("-DSAYS=\"{says}\""))
            .arg("-o")
            .arg(checkout.path(&format!("dist/livenessprobe-linux-{ARCH}")))
            .arg(&source)
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        if says == right {
            checkout.passes(&arguments);
        } else {
            checkout.is_refused(
                &arguments,
                &format!("says '{says}'; right would be '{right}'"),
            );
        }
    }
}
