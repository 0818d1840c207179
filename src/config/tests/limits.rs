//! Hostile and oversized files, files that cannot be read, and where they are looked for.

use std::path::Path;

use super::{FULL, errors, read};
use crate::config::{load, locate};

#[test]
fn bombs_and_depth_are_refused() {
    let mut bomb = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        bomb.push_str(&format!("b{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
    }
    assert!(errors(&bomb).contains("grows beyond everything sensible"), "{}", errors(&bomb));
    let deep = format!("nodes: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(errors(&deep).contains("grows beyond everything sensible"), "{}", errors(&deep));
    let deep = (0..500).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>();
    assert!(errors(&deep).contains("grows beyond everything sensible"), "{}", errors(&deep));
    let wide = format!("nodes: [{}]", "{name: a, x: [1,2,3]},".repeat(450_000));
    assert!(errors(&wide).contains("larger than 8MiB"), "{}", errors(&wide));
}

#[test]
fn only_so_many_errors_are_shown() {
    let text = format!("nodes: [{{name: a, local: true}}]\n{}", (0..100).map(|i| format!("key{i}: 1\n")).collect::<String>());
    let shown = errors(&text);
    assert_eq!(shown.matches("unknown key").count(), 20);
    assert!(shown.ends_with("f: and 80 more"), "{shown}");
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.yaml");
    let error = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        load(&path).expect_err("must be refused").to_string().replace(path.to_str().unwrap(), "f")
    };
    insta::assert_snapshot!(error(b"nodes:\n- name: \xff\n"), @"f: cannot read the fleet file: line 2 is not UTF-8 text");
    insta::assert_snapshot!(error(&vec![b'#'; 10 << 20]), @"f: larger than 8MiB, which no fleet file needs to be");
    std::fs::remove_file(&path).unwrap();
    insta::assert_snapshot!(load(&path).unwrap_err().to_string().replace(path.to_str().unwrap(), "f"), @"f: cannot read the fleet file: No such file or directory (os error 2)");
    insta::assert_snapshot!(load(dir.path()).unwrap_err().to_string().replace(dir.path().to_str().unwrap(), "d"), @"d: cannot read the fleet file: Is a directory (os error 21)");
}

#[test]
fn the_search_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_owned();
    let none = locate(None, |name| (name == "HOME").then(|| home.clone().into())).unwrap_err().to_string();
    insta::assert_snapshot!(none.replace(home.to_str().unwrap(), "~"), @"
    no fleet file found; looked at
      --fleet         not given
      $LBDECK_FLEET   not set
      working folder  no lbdeck.yaml
      configuration   no ~/.config/lbdeck/lbdeck.yaml
    hint: `lbdeck fleet init` makes one, `lbdeck lab` shows a fleet without one, --fleet FILE names one
    ");
    insta::assert_snapshot!(locate(Some(Path::new("/nowhere/f")), |_| None).unwrap_err().to_string(), @"
    /nowhere/f: no such fleet file (named by --fleet)
    hint: `lbdeck fleet init --write /nowhere/f` makes it
    ");

    let user = home.join(".config/lbdeck/lbdeck.yaml");
    std::fs::create_dir_all(user.parent().unwrap()).unwrap();
    std::fs::write(&user, "").unwrap();
    assert_eq!(locate(None, |name| (name == "HOME").then(|| home.clone().into())).unwrap(), user);
    let xdg = home.join(".config");
    assert_eq!(locate(None, |name| (name == "XDG_CONFIG_HOME").then(|| xdg.clone().into())).unwrap(), user);
    assert_eq!(locate(None, |name| (name == "LBDECK_FLEET").then(|| user.clone().into())).unwrap(), user);
    assert!(locate(None, |name| (name == "LBDECK_FLEET").then(|| "/nowhere".into())).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn never_panics_on_any_text(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn never_panics_on_mutations(at in 0usize..FULL.len(), cut in 0usize..40, with in "[-:{}\\[\\]&*!|>'\"%@`#,? \n\ta1\u{e9}\u{1b}]{0,6}") {
        let mut text: String = FULL.chars().take(at).collect();
        text.push_str(&with);
        text.extend(FULL.chars().skip(at + cut));
        if let Err(error) = read(&text) {
            let shown = error.to_string();
            proptest::prop_assert!(!shown.contains('\u{1b}'), "{}", shown);
        }
    }
}
