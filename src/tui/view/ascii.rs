//! Terminals and locales without UTF-8 get signs of ASCII. Views know nothing of it: the finished picture is gone over.

use ratatui::buffer::Buffer;
use unicode_width::UnicodeWidthStr;

use crate::config::env;

/// What stands for a sign: signs of one column that are told apart stay apart.
fn sign(c: char) -> char {
    match c {
        '●' => '*',
        '◇' => 'n',
        '○' | '◦' => 'o',
        '◐' => '%',
        '◑' => '&',
        '■' => '#',
        '✖' => 'X',
        '◌' => '~',
        '≠' => '!',
        '⟲' => '@',
        '✓' => '+',
        '•' => '*',
        '⇒' | '→' | '▸' | '▶' | '›' => '>',
        '←' | '◂' | '◀' | '‹' => '<',
        '↑' | '▲' => '^',
        '↓' | '▼' => 'v',
        '·' | '…' | '░' | '▒' => '.',
        '–' | '—' | '─' | '━' | '╌' => '-',
        '│' | '┃' | '║' => '|',
        '▁' | '▂' => '_',
        '▃' | '▄' => '-',
        '▅' | '▆' => '=',
        '▇' | '█' | '▓' => '#',
        // Corners and crossings of boxes.
        '\u{250c}'..='\u{257f}' => '+',
        // A dot of a chart; the empty pattern is a blank.
        '\u{2800}' => ' ',
        '\u{2801}'..='\u{28ff}' => '*',
        _ => '?',
    }
}

/// Leaves nothing but ASCII in the picture.
pub fn apply(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if symbol.is_ascii() {
            continue;
        }
        if symbol.width() > 1 {
            cell.set_symbol("??");
        } else {
            let plain = symbol.chars().next().map_or(' ', sign);
            cell.set_char(plain);
        }
    }
}

/// True where the locale that holds says something other than UTF-8, or the terminal is of a kind that has few signs.
/// Where no locale is set, nothing is known, and terminals of today are believed.
pub fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).filter(|v| !v.is_empty());
    let locale = set(env::LC_ALL).or_else(|| set(env::LC_CTYPE)).or_else(|| set(env::LANG));
    let other_than_utf8 = locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        !(locale.contains("utf-8") || locale.contains("utf8"))
    });
    let few_signs = set(env::TERM).is_some_and(|term| term == "linux" || term == "ansi" || term.starts_with("vt"));
    other_than_utf8 || few_signs
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;
    use crate::tui::state::class::Class;

    #[test]
    fn classes_stay_apart_and_widths_hold() {
        let mut signs: Vec<char> =
            Class::ALL.iter().map(|c| if c.symbol().is_ascii() { c.symbol() } else { sign(c.symbol()) }).collect();
        signs.sort_unstable();
        signs.dedup();
        assert_eq!(signs.len(), Class::ALL.len());
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 1));
        buffer.set_string(0, 0, "╭─日x⣿é", Style::default());
        apply(&mut buffer);
        let text: String = buffer.content.iter().map(|c| c.symbol()).collect();
        assert!(text.is_ascii(), "{text:?}");
        assert!(text.starts_with("+-??"), "{text:?}");
    }

    #[test]
    fn the_locale_and_the_terminal_decide() {
        let with = |set: &[(&str, &str)]| is_wanted(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        assert!(!with(&[]) && !with(&[("LANG", "de_DE.UTF-8")]) && !with(&[("LANG", "C.utf8"), ("LC_ALL", "")]));
        assert!(
            with(&[("LANG", "C")]) && with(&[("LANG", "de_DE.ISO-8859-1")]) && with(&[("LC_ALL", "POSIX"), ("LANG", "C.UTF-8")])
        );
        assert!(with(&[("TERM", "linux")]) && with(&[("TERM", "vt100")]) && !with(&[("TERM", "xterm-256color")]));
    }
}
