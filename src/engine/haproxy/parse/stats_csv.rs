//! `show stat`: a table that is indexed by row when it arrives and cut into fields only where somebody looks.
//!
//! A console reads a hundred thousand of these rows each second, most of whose 125 columns it never shows. So a row is
//! kept as the bytes that came; its commas are found eight bytes at a time. Quoted fields take a slower way.

use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use crate::model::Fields;

use super::ParseError;
use super::text::{Cuts, LONGEST, MOST_PARTS, clean};

const REPLY: &str = "show stat";
/// Index of a column in this table; a column that the engine does not have reads as empty.
pub type Column = usize;
/// The column of names that are not in the header.
pub const ABSENT: Column = usize::MAX;

/// Names of the columns. One engine prints the same in every reply: readings share it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// As it came.
    line: Box<[u8]>,
    columns: Vec<Box<str>>,
    /// Fields that a row has, the empty one after the last comma included.
    width: usize,
}

impl Header {
    fn parse(line: &[u8]) -> Result<Header, ParseError> {
        let names = line.strip_prefix(b"# ").ok_or_else(|| {
            let start = clean(line.get(..60).unwrap_or(line));
            ParseError::new(REPLY, 1, format!("not a statistics header: '{start}'"))
        })?;
        let names = names.strip_suffix(b"\r").unwrap_or(names);
        let width = memchr_iter(b',', names).count() + 1;
        // No version has half as many (below 400 in 3.x): it is not a statistics header.
        if width > MOST_PARTS {
            return Err(ParseError::new(REPLY, 1, format!("{width} columns; no version has that many")));
        }
        let mut columns: Vec<Box<str>> = names.split(|b| *b == b',').map(|name| clean(name).into()).collect();
        while columns.last().is_some_and(|name| name.is_empty()) {
            columns.pop(); // the header ends with a comma
        }
        Ok(Header { line: line.into(), columns, width })
    }

    pub fn columns(&self) -> &[Box<str>] {
        &self.columns
    }
    /// The first column of that name, or [`ABSENT`].
    pub fn column(&self, name: &str) -> Column {
        self.columns.iter().position(|c| &**c == name).unwrap_or(ABSENT)
    }
}

/// All rows of one `show stat`, by the header's names.
pub struct StatTable {
    text: Vec<u8>,
    header: Arc<Header>,
    rows: Vec<Span>,
    /// Some field is quoted, so commas alone do not end fields.
    quoted: bool,
    /// Where the table ends in `text`.
    end: usize,
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl std::fmt::Debug for StatTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatTable").field("columns", &self.header.columns.len()).field("rows", &self.rows.len()).finish()
    }
}

impl StatTable {
    /// Takes the reply of `show stat` (or the CSV of the statistics page). The header names the columns; every row must have
    /// as many fields as the header, so that a reply that was cut anywhere is an error and never half a row.
    pub fn parse(text: Vec<u8>) -> Result<StatTable, ParseError> {
        Self::parse_at(text, 0, &Arc::default())
    }

    /// The same where the table begins at byte `start` of a longer reply; what follows it is [`StatTable::tail`]. The
    /// header of another reply, `known`, is shared where it is the same.
    pub fn parse_at(text: Vec<u8>, start: usize, known: &Arc<Header>) -> Result<StatTable, ParseError> {
        let own = text.get(start..).unwrap_or_default();
        let quoted = memchr(b'"', own).is_some();
        let header_end = memchr(b'\n', own)
            .ok_or_else(|| ParseError::new(REPLY, 1, format!("the header is cut after {} bytes", own.len())))?;
        let line = own.get(..header_end).unwrap_or_default();
        let header = if *known.line == *line && !line.is_empty() { known.clone() } else { Arc::new(Header::parse(line)?) };
        let (rows, end) = index_rows(&text, start + header_end + 1, header.width, quoted)?;
        Ok(StatTable { text, header, rows, quoted, end })
    }

    /// What follows the table in the reply.
    pub fn tail(&self) -> &[u8] {
        self.text.get(self.end..).unwrap_or_default()
    }
    /// Gives up what follows the table, and its memory where that is much: giving back means to copy the rest.
    pub fn drop_tail(&mut self) {
        self.text.truncate(self.end);
        if self.text.capacity() > self.end * 2 {
            self.text.shrink_to_fit();
        }
    }

    pub fn header(&self) -> &Arc<Header> {
        &self.header
    }
    /// Rows, without the header.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// The first column of that name, or [`ABSENT`].
    pub fn column(&self, name: &str) -> Column {
        self.header.column(name)
    }
    /// Reads rows one after the other. Fields after column `last` are not looked for.
    pub fn reader(&self, last: Column) -> RowReader<'_> {
        RowReader { table: self, wanted: last.saturating_add(1).min(self.header.width), fields: Cuts::default() }
    }
}

/// Finds the rows from `at` on, and the end of the table: a blank line, or the end of the text.
fn index_rows(text: &[u8], mut at: usize, width: usize, quoted: bool) -> Result<(Vec<Span>, usize), ParseError> {
    let mut rows = Vec::with_capacity(text.len() / 200);
    let mut line = 2;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(length) = row_length(rest, quoted) else {
            return Err(ParseError::new(REPLY, line, format!("the reply is cut after {} bytes of the row", rest.len())));
        };
        let row = rest.get(..length).unwrap_or_default();
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if row.is_empty() {
            at += length + 1;
            break;
        }
        if row.len() > LONGEST {
            return Err(ParseError::new(REPLY, line, format!("the row has {} bytes; no engine prints that many", row.len())));
        }
        let fields = if quoted { separators_outside_quotes(row) } else { memchr_iter(b',', row).count() } + 1;
        if fields != width {
            return Err(ParseError::new(REPLY, line, format!("the row has {fields} fields, the header {width}")));
        }
        rows.push(Span { start: at, end: at + row.len() });
        at += length + 1;
        line += 1;
    }
    Ok((rows, at.min(text.len())))
}

/// Bytes up to the line feed that ends the row: one inside quotes belongs to a field.
fn row_length(rest: &[u8], quoted: bool) -> Option<usize> {
    if !quoted {
        return memchr(b'\n', rest);
    }
    let mut from = 0;
    let mut quotes = 0;
    loop {
        let end = from + memchr(b'\n', rest.get(from..)?)?;
        quotes += memchr_iter(b'"', rest.get(from..end)?).count();
        if quotes % 2 == 0 {
            return Some(end);
        }
        from = end + 1;
    }
}

fn separators_outside_quotes(row: &[u8]) -> usize {
    let mut inside = false;
    row.iter()
        .filter(|b| {
            inside ^= **b == b'"';
            **b == b',' && !inside
        })
        .count()
}

/// Cuts one row at a time; keeps its scratch space between rows.
pub struct RowReader<'t> {
    table: &'t StatTable,
    /// Fields to find.
    wanted: usize,
    fields: Cuts,
}

impl<'t> RowReader<'t> {
    /// The fields of a row; None behind the last.
    pub fn row(&mut self, index: usize) -> Option<Row<'t, '_>> {
        let span = self.table.rows.get(index)?;
        let text = self.table.text.get(span.start..span.end)?;
        if self.table.quoted && memchr(b'"', text).is_some() {
            cut_quoted(text, &mut self.fields);
        } else {
            self.fields.cut::<b','>(text, self.wanted);
        }
        Some(Row { text, fields: &self.fields })
    }
}

/// One row, cut.
pub struct Row<'t, 'r> {
    text: &'t [u8],
    fields: &'r Cuts,
}

impl<'t> Row<'t, '_> {
    /// The field as it came, quotes included; empty where the table has no such column.
    #[inline]
    pub fn raw(&self, column: Column) -> &'t [u8] {
        self.fields.part(self.text, column)
    }
    /// The field unquoted and fit to be shown.
    pub fn text(&self, column: Column) -> std::borrow::Cow<'t, str> {
        let raw = self.raw(column);
        match raw.strip_prefix(b"\"") {
            None => clean(raw),
            Some(inner) => {
                let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
                let mut plain = Vec::with_capacity(inner.len());
                let mut bytes = inner.iter().copied().peekable();
                while let Some(b) = bytes.next() {
                    plain.push(b);
                    if b == b'"' && bytes.peek() == Some(&b'"') {
                        bytes.next(); // a doubled quote is one
                    }
                }
                std::borrow::Cow::Owned(clean(&plain).into_owned())
            }
        }
    }
}

fn cut_quoted(text: &[u8], fields: &mut Cuts) {
    fields.clear();
    let mut inside = false;
    let mut at = 0;
    for b in text {
        inside ^= *b == b'"';
        if *b == b',' && !inside {
            fields.push(at);
        }
        at += 1;
    }
    fields.push(at);
}

impl Fields for StatTable {
    fn row(&self, index: u32) -> Vec<(String, String)> {
        let mut reader = self.reader(self.header.width);
        let Some(row) = reader.row(index as usize) else { return Vec::new() };
        self.header
            .columns
            .iter()
            .enumerate()
            .filter(|(column, name)| !name.is_empty() && &***name != "-" && !row.raw(*column).is_empty())
            .map(|(column, name)| (name.to_string(), row.text(column).into_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> StatTable {
        StatTable::parse(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn fields_by_name_quotes_and_empty() {
        let t = table("# pxname,svname,qcur,last_chk,-,new_in_9,\nweb,w1,0,\"a, \"\"b\"\"\nc\",-,7,\nweb,BACKEND,,,-,,\n\n");
        assert_eq!(t.len(), 2);
        let mut reader = t.reader(t.column("new_in_9"));
        let row = reader.row(0).unwrap();
        assert_eq!(row.raw(t.column("qcur")), b"0");
        assert_eq!(row.text(t.column("last_chk")), "a, \"b\"\\x0ac");
        assert_eq!(row.raw(t.column("new_in_9")), b"7");
        assert_eq!(row.raw(t.column("nosuch")), b"");
        assert_eq!(reader.row(1).unwrap().raw(0), b"web");
        assert!(reader.row(2).is_none());
        let fields = t.row(0);
        assert_eq!(
            fields.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
            ["pxname", "svname", "qcur", "last_chk", "new_in_9"]
        );
    }

    /// The 2.6 one is real; the 3.2 one is made by hand from it, with the columns that came between.
    #[test]
    fn replies_of_several_versions() {
        let old = table(include_str!("../fixtures/2.6-show-stat.txt"));
        let new = table(include_str!("../fixtures/3.2-show-stat.txt"));
        assert_eq!(old.len(), new.len());
        assert!(new.header.columns.len() > old.header.columns.len() + 10);
        let row = old.row(1);
        let newer = new.row(1);
        assert!(row.iter().all(|field| newer.contains(field)), "what both have is the same");
        assert!(newer.contains(&("reqbin".into(), "100".into())) && !row.iter().any(|(n, _)| n == "reqbin"));
    }

    #[test]
    fn readings_share_a_header_that_is_the_same() {
        let first = table("# pxname,svname,\na,b,\n");
        let again = StatTable::parse_at(b"..# pxname,svname,\nc,d,\n".to_vec(), 2, first.header()).unwrap();
        assert!(Arc::ptr_eq(first.header(), again.header()));
        let other = StatTable::parse_at(b"# pxname,svname,x,\nc,d,e,\n".to_vec(), 0, first.header()).unwrap();
        assert_eq!(other.column("x"), 2);
        assert!(StatTable::parse_at(b"\na,\n".to_vec(), 0, &Arc::default()).is_err(), "nothing is no header");
        let wide = format!("# {}\n", "c,".repeat(MOST_PARTS));
        assert!(StatTable::parse(wide.into_bytes()).unwrap_err().what.contains("no version has that many"));
    }

    #[test]
    fn a_cut_reply_is_an_error_wherever_it_is_cut() {
        let whole = "# pxname,svname,status,\nweb,w1,UP,\nweb,\"w,2\",DOWN,\n";
        assert_eq!(table(whole).len(), 2);
        for cut in 0..whole.len() {
            let rows = whole[..cut].matches('\n').count();
            match StatTable::parse(whole.as_bytes()[..cut].to_vec()) {
                Ok(t) => assert!(whole[..cut].ends_with('\n') && t.len() + 1 == rows, "cut at {cut}"),
                Err(e) => assert_eq!(e.line, rows + 1, "{e}"),
            }
        }
        let short = StatTable::parse(b"# a,b,c,\n1,2,3,\n1,2,\n".to_vec()).unwrap_err();
        assert_eq!(short.to_string(), "show stat, line 3: the row has 3 fields, the header 4");
        assert!(StatTable::parse(b"Permission denied\n".to_vec()).unwrap_err().what.contains("Permission denied"));
    }

    proptest! {
        /// Whatever is in the fields, both ways of cutting agree and nothing is lost.
        #[test]
        fn written_fields_are_read_back(rows in prop::collection::vec(prop::collection::vec("[ -~\u{e9}]{0,12}", 5), 1..8)) {
            let mut text = String::from("# a,b,c,d,e\n");
            for row in &rows {
                let quoted: Vec<String> = row.iter().map(|f| {
                    if f.contains([',', '"']) { format!("\"{}\"", f.replace('"', "\"\"")) } else { f.clone() }
                }).collect();
                text.push_str(&quoted.join(","));
                text.push('\n');
            }
            let t = table(&text);
            prop_assert_eq!(t.len(), rows.len());
            let mut reader = t.reader(4);
            for (i, fields) in rows.iter().enumerate() {
                let row = reader.row(i).unwrap();
                for (c, field) in fields.iter().enumerate() {
                    prop_assert_eq!(&row.text(c), field);
                }
            }
        }
    }
}
