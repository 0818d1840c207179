//! Colours by meaning. Every state is also told by a word or a symbol, so that a theme may have no colour at all.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text means. Views name tones, never colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tone {
    #[default]
    Plain,
    /// Secondary: labels, units, what can be overlooked.
    Dim,
    Ok,
    Warn,
    Bad,
    /// On purpose out of traffic: drain, maintenance.
    Held,
    /// Where the eye should go first: names, keys.
    Accent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThemeName {
    Dark,
    Light,
    HighContrast,
    /// No colours, only attributes (`NO_COLOR`).
    Mono,
}

impl ThemeName {
    pub const ALL: [ThemeName; 4] = [ThemeName::Dark, ThemeName::Light, ThemeName::HighContrast, ThemeName::Mono];

    pub const fn label(self) -> &'static str {
        match self {
            ThemeName::Dark => "dark",
            ThemeName::Light => "light",
            ThemeName::HighContrast => "high-contrast",
            ThemeName::Mono => "mono",
        }
    }

    pub fn parse(text: &str) -> Option<ThemeName> {
        Self::ALL.into_iter().find(|t| t.label() == text)
    }

    /// The theme to start with: `NO_COLOR` (any value but empty) rules out colour.
    pub fn initial(wanted: Option<ThemeName>, no_color: bool) -> ThemeName {
        if no_color { ThemeName::Mono } else { wanted.unwrap_or(ThemeName::Dark) }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Theme {
    pub name: ThemeName,
    /// Ground of the whole screen.
    pub base: Style,
    /// The status line and the hints.
    pub bar: Style,
    /// Column titles.
    pub head: Style,
    pub tab: Style,
    pub tab_on: Style,
    /// The row under the cursor.
    pub cursor: Style,
    /// Rows that are selected.
    pub selected: Style,
    pub border: Style,
    /// Ground of dialogs.
    pub dialog: Style,
    /// Input fields, and the one that has the focus.
    pub field: Style,
    pub field_on: Style,
    /// Keys in hints and help.
    pub key: Style,
    /// Keys that do nothing here.
    pub key_off: Style,
    dim: Style,
    ok: Style,
    warn: Style,
    bad: Style,
    held: Style,
    accent: Style,
}

const fn fg(color: Color) -> Style {
    Style::new().fg(color)
}
const fn ix(n: u8) -> Color {
    Color::Indexed(n)
}

impl Theme {
    pub const fn of(name: ThemeName) -> Theme {
        match name {
            ThemeName::Dark => Self::coloured(name, &DARK),
            ThemeName::Light => Self::coloured(name, &LIGHT),
            ThemeName::HighContrast => Self::coloured(name, &HIGH_CONTRAST),
            ThemeName::Mono => MONO,
        }
    }

    pub const fn tone(&self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Dim => self.dim,
            Tone::Ok => self.ok,
            Tone::Warn => self.warn,
            Tone::Bad => self.bad,
            Tone::Held => self.held,
            Tone::Accent => self.accent,
        }
    }

    const fn coloured(name: ThemeName, p: &Palette) -> Theme {
        Theme {
            name,
            base: fg(p.text).bg(p.ground),
            bar: fg(p.text).bg(p.raised),
            head: fg(p.head).bg(p.raised).add_modifier(Modifier::BOLD),
            tab: fg(p.dim).bg(p.ground),
            tab_on: fg(p.ground).bg(p.accent).add_modifier(Modifier::BOLD),
            cursor: Style::new().bg(p.cursor).add_modifier(Modifier::BOLD),
            selected: Style::new().bg(p.selected),
            border: fg(p.accent),
            dialog: fg(p.text).bg(p.raised),
            field: fg(p.text).bg(p.field),
            field_on: fg(p.ground).bg(p.accent),
            key: fg(p.accent).add_modifier(Modifier::BOLD),
            key_off: fg(p.dim).add_modifier(Modifier::CROSSED_OUT),
            dim: fg(p.dim),
            ok: fg(p.ok),
            warn: fg(p.warn),
            bad: fg(p.bad).add_modifier(Modifier::BOLD),
            held: fg(p.held),
            accent: fg(p.accent),
        }
    }
}

struct Palette {
    text: Color,
    ground: Color,
    raised: Color,
    field: Color,
    head: Color,
    dim: Color,
    accent: Color,
    ok: Color,
    warn: Color,
    bad: Color,
    held: Color,
    cursor: Color,
    selected: Color,
}

const DARK: Palette = Palette {
    text: ix(252),
    ground: ix(234),
    raised: ix(236),
    field: ix(239),
    head: ix(250),
    dim: ix(245),
    accent: ix(80),
    ok: ix(114),
    warn: ix(221),
    bad: ix(210),
    held: ix(111),
    cursor: ix(24),
    selected: ix(238),
};

const LIGHT: Palette = Palette {
    text: ix(235),
    ground: ix(255),
    raised: ix(253),
    field: ix(250),
    head: ix(238),
    dim: ix(242),
    accent: ix(25),
    ok: ix(28),
    warn: ix(130),
    bad: ix(160),
    held: ix(55),
    cursor: ix(153),
    selected: ix(252),
};

const HIGH_CONTRAST: Palette = Palette {
    text: Color::White,
    ground: Color::Black,
    raised: Color::Black,
    field: ix(18),
    head: Color::White,
    dim: ix(252),
    accent: ix(51),
    ok: ix(46),
    warn: ix(226),
    bad: ix(203),
    held: ix(117),
    cursor: ix(21),
    selected: ix(240),
};

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);

const MONO: Theme = Theme {
    name: ThemeName::Mono,
    base: PLAIN,
    bar: PLAIN,
    head: BOLD.add_modifier(Modifier::UNDERLINED),
    tab: PLAIN,
    tab_on: REVERSED,
    cursor: REVERSED,
    selected: BOLD,
    border: PLAIN,
    dialog: PLAIN,
    field: Style::new().add_modifier(Modifier::UNDERLINED),
    field_on: REVERSED,
    key: BOLD,
    key_off: Style::new().add_modifier(Modifier::DIM),
    dim: Style::new().add_modifier(Modifier::DIM),
    ok: PLAIN,
    warn: BOLD,
    bad: BOLD.add_modifier(Modifier::UNDERLINED),
    held: PLAIN,
    accent: BOLD,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_has_no_colour_at_all() {
        let theme = Theme::of(ThemeName::initial(Some(ThemeName::Light), true));
        let tones = [Tone::Plain, Tone::Dim, Tone::Ok, Tone::Warn, Tone::Bad, Tone::Held, Tone::Accent];
        let mut styles = vec![
            theme.base,
            theme.bar,
            theme.head,
            theme.tab,
            theme.tab_on,
            theme.cursor,
            theme.selected,
            theme.border,
            theme.dialog,
            theme.field,
            theme.field_on,
            theme.key,
            theme.key_off,
        ];
        styles.extend(tones.map(|t| theme.tone(t)));
        assert!(styles.iter().all(|s| s.fg.is_none() && s.bg.is_none()));
    }

    #[test]
    fn names_are_read_back() {
        for name in ThemeName::ALL {
            assert_eq!(ThemeName::parse(name.label()), Some(name));
        }
        assert_eq!(ThemeName::parse("pink"), None);
    }
}
