//! Help, manual, completions and docs/cli.md come from one definition and can be read by what reads them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn lbdeck(words: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_lbdeck")).args(words).env_remove("LBDECK_FLEET").stdin(Stdio::null()).output().unwrap()
}

fn stdout(words: &[&str]) -> String {
    let ran = lbdeck(words);
    assert_eq!(ran.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn docs_cli_md_is_what_the_binary_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let (written, said) = (std::fs::read_to_string(&path).unwrap(), stdout(&["man", "--format", "markdown"]));
    if let Some((line, (is, should))) = (1..).zip(written.lines().zip(said.lines())).find(|(_, (a, b))| a != b) {
        panic!("docs/cli.md:{line}: '{is}' should be '{should}'; run: cargo run -q -- man --format markdown > docs/cli.md");
    }
    assert_eq!(written, said, "run: cargo run -q -- man --format markdown > docs/cli.md");
}

#[test]
fn help_of_every_verb_has_examples() {
    let reference = stdout(&["man", "--format", "markdown"]);
    let mut verbs = 0;
    for section in reference.split("\n## `").skip(1) {
        let name = section.split('`').next().unwrap();
        if section.contains("\nCommands:\n") && name != "lbdeck" {
            continue;
        }
        verbs += 1;
        assert!(section.contains("Examples:\n  lbdeck") || section.contains("Examples:\n  "), "{name} has no examples");
        assert!(section.contains(&format!("  {name}")) || name == "lbdeck", "no example of {name} shows it");
    }
    assert!(verbs > 35, "{verbs} verbs");
}

#[test]
fn completions_are_read_by_their_shells() {
    for (shell, check) in [("bash", &["bash", "-n"][..]), ("zsh", &["zsh", "-n"]), ("fish", &["fish", "--no-execute"])] {
        let script = tempfile::NamedTempFile::new().unwrap();
        script.as_file().write_all(stdout(&["completions", shell]).as_bytes()).unwrap();
        let ran = Command::new(check[0]).args(&check[1..]).arg(script.path()).output().unwrap_or_else(|e| panic!("{shell}: {e}"));
        assert!(ran.status.success(), "{shell}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    // Sourced in a real shell, it completes a verb.
    let script = tempfile::NamedTempFile::new().unwrap();
    script.as_file().write_all(stdout(&["completions", "bash"]).as_bytes()).unwrap();
    let ask = "source \"$0\"; COMP_WORDS=(lbdeck server dr); COMP_CWORD=2; _lbdeck lbdeck dr server; echo \"${COMPREPLY[*]}\"";
    let ran = Command::new("bash").arg("-c").arg(ask).arg(script.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "drain", "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn manual_pages_are_written_for_every_verb_and_render() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&["man", "--dir", dir.path().to_str().unwrap()]);
    let pages: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    let sections = stdout(&["man", "--format", "markdown"]).matches("\n## `lbdeck").count();
    assert_eq!(pages.len(), sections);
    for page in ["lbdeck.1", "lbdeck-server-drain.1", "lbdeck-node-exec.1"] {
        let ran = Command::new("man").args(["--warnings", "-E", "UTF-8", "-l"]).arg(dir.path().join(page)).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && text.contains("SYNOPSIS") && text.contains("LBDECK_FLEET"), "{page}: {text}");
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{page}");
    }
    assert!(stdout(&["man", "server", "drain"]).contains("deadline"));
}

#[test]
fn version_help_and_no_verb() {
    assert_eq!(stdout(&["--version"]).trim(), concat!("lbdeck ", env!("CARGO_PKG_VERSION")));
    assert!(stdout(&["--help"]).contains("75  locked"));
    let ran = lbdeck(&[]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stdout.is_empty() && String::from_utf8_lossy(&ran.stderr).contains("Usage: lbdeck"));
    let ran = lbdeck(&["tui"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("needs a terminal"));
}
