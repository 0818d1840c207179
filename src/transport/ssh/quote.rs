//! argv for a remote shell: sshd hands one string to the user's shell, and each word must arrive as it was.

/// Words in single quotes where they need it, joined by spaces. Holds for every shell of the Bourne family, and for csh and
/// fish as long as no word has a newline or a backslash.
pub(super) fn quote(argv: &[&str]) -> String {
    let mut out = String::new();
    for word in argv {
        if !out.is_empty() {
            out.push(' ');
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
        // A first word such as `a=b` would be taken for an assignment, hence no `=` among the plain ones.
        if !word.is_empty() && word.chars().all(plain) {
            out.push_str(word);
        } else {
            out.push('\'');
            out.push_str(&word.replace('\'', r"'\''"));
            out.push('\'');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What a shell makes of it.
    fn through(shell: &str, argv: &[&str]) -> Vec<String> {
        let mut all = vec!["printf", "%s\\0"];
        all.extend(argv);
        let out = Command::new(shell).arg("-c").arg(quote(&all)).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.strip_suffix('\0').map(|t| t.split('\0').map(str::to_owned).collect()).unwrap_or_default()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

        #[test]
        fn words_survive_the_shell(argv in prop::collection::vec("[ -~\\t\\né]{0,12}", 1..5)) {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            prop_assert_eq!(through("sh", &argv), argv.clone());
            prop_assert_eq!(through("bash", &argv), argv);
        }
    }
}
