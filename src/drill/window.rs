//! When a drill may run: `Mon-Thu 10:00-16:00 Europe/London`, and what stands against it at that moment.

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

/// What blocks a drill.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Something is gravely wrong with the fleet already.
    Incident,
    /// Another operation is under way.
    Deploy,
    OtherDrill,
}

impl Block {
    pub const WORDS: &'static [(&'static str, Block)] =
        &[("incident", Block::Incident), ("deploy", Block::Deploy), ("other_drill", Block::OtherDrill)];
}

#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Window {
    /// Any of them; empty means at any time.
    pub allow: Vec<Span>,
    pub block_if: Vec<Block>,
}

impl Window {
    /// May it run at this moment? Else in words when.
    pub fn open(&self, now: Timestamp) -> Result<(), String> {
        if self.allow.is_empty() || self.allow.iter().any(|span| span.holds(now)) {
            return Ok(());
        }
        let spans: Vec<&str> = self.allow.iter().map(|s| s.text.as_str()).collect();
        let first = self.allow.first().map(|s| now.to_zoned_datetime(s.zone.clone()).strftime("%a %H:%M %Z").to_string());
        Err(format!("it is {}, and the drill's window is {}", first.unwrap_or_default(), spans.join(", ")))
    }
}

/// Days of the week and hours of a place.
#[derive(Clone, PartialEq, Debug)]
pub struct Span {
    pub text: String,
    days: Vec<Weekday>,
    from: Time,
    /// Not after `from`: it goes on past midnight.
    to: Time,
    zone: TimeZone,
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
const FORM: &str = "write for instance 'Mon-Thu 10:00-16:00 Europe/London' or 'daily 22:00-04:00 UTC'";

impl Span {
    /// # Errors
    /// What is wrong, and after `; ` how to write it.
    pub fn parse(text: &str) -> Result<Span, String> {
        let bad = |what: String| format!("{what}; {FORM}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let [days, hours, zone] = words.as_slice() else {
            return Err(bad(format!("'{text}' is not days, hours and a time zone")));
        };
        let days = parse_days(days).ok_or_else(|| bad(format!("'{days}' are no days of the week")))?;
        let time = |t: &str| Time::strptime("%H:%M", if t == "24:00" { "00:00" } else { t }).ok();
        let (from, to) = hours
            .split_once('-')
            .and_then(|(from, to)| Some((time(from)?, time(to)?)))
            .ok_or_else(|| bad(format!("'{hours}' are no hours")))?;
        let zone = TimeZone::get(zone).map_err(|_| bad(format!("'{zone}' is no time zone that this machine knows")))?;
        Ok(Span { text: text.to_owned(), days, from, to, zone })
    }

    pub fn holds(&self, at: Timestamp) -> bool {
        let local = at.to_zoned_datetime(self.zone.clone());
        let (day, time) = (local.weekday(), local.time());
        if self.from < self.to {
            return self.days.contains(&day) && (self.from..self.to).contains(&time);
        }
        // Past midnight it is still the day on which it began.
        (time >= self.from && self.days.contains(&day)) || (time < self.to && self.days.contains(&day.previous()))
    }
}

fn parse_days(text: &str) -> Option<Vec<Weekday>> {
    let day = |word: &str| {
        let word = word.to_ascii_lowercase();
        DAYS.iter().find(|(name, _)| *name == word).map(|(_, day)| *day)
    };
    if text.eq_ignore_ascii_case("daily") {
        return Some(DAYS.iter().map(|(_, day)| *day).collect());
    }
    let mut days = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            None => days.push(day(part)?),
            Some((from, to)) => {
                let (mut at, to) = (day(from)?, day(to)?);
                days.push(at);
                while at != to {
                    at = at.next();
                    days.push(at);
                }
            }
        }
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn spans_hold_in_their_own_zone() {
        let span = Span::parse("Mon-Thu 10:00-16:00 Europe/London").unwrap();
        // 2026-07-06 is a Monday, and London is at UTC+1 then.
        assert!(!span.holds(at("2026-07-06T08:59:59Z")) && span.holds(at("2026-07-06T09:00:00Z")));
        assert!(span.holds(at("2026-07-06T14:59:59Z")) && !span.holds(at("2026-07-06T15:00:00Z")));
        assert!(!span.holds(at("2026-07-10T10:00:00Z")), "a Friday");
        assert!(span.holds(at("2026-01-05T10:00:00Z")) && !span.holds(at("2026-01-05T09:30:00Z")), "no summer time");
    }

    #[test]
    fn past_midnight_the_day_is_the_one_before() {
        let span = Span::parse("Fri,sun 22:00-04:00 UTC").unwrap();
        assert!(span.holds(at("2026-07-10T23:00:00Z")) && span.holds(at("2026-07-11T03:59:00Z")));
        assert!(!span.holds(at("2026-07-10T03:00:00Z")) && !span.holds(at("2026-07-11T23:00:00Z")));
        let whole = Span::parse("daily 00:00-24:00 UTC").unwrap();
        assert!(whole.holds(at("2026-07-10T00:00:00Z")) && whole.holds(at("2026-07-10T23:59:59Z")));
        let wrap = Span::parse("Sat-Mon 00:00-12:00 UTC").unwrap();
        assert!(wrap.holds(at("2026-07-12T01:00:00Z")) && !wrap.holds(at("2026-07-14T01:00:00Z")));
    }

    #[test]
    fn nonsense_says_how_to_write_it() {
        for bad in
            ["", "Mon", "Mon 10-12 UTC", "Mon 10:00-12:00", "Mux 10:00-12:00 UTC", "Mon 10:00-25:00 UTC", "Mon 1:00-2:00 Mars/X"]
        {
            assert!(Span::parse(bad).is_err_and(|e| e.contains("Mon-Thu 10:00-16:00")), "{bad}");
        }
        let window = Window { allow: vec![Span::parse("Mon 10:00-11:00 UTC").unwrap()], block_if: Vec::new() };
        assert!(window.open(at("2026-07-07T10:30:00Z")).is_err_and(|e| e.contains("Tue 10:30") && e.contains("Mon 10:00")));
        assert!(Window::default().open(at("2026-07-07T10:30:00Z")).is_ok());
    }
}
