//! Responses that the relay makes itself: fixed ones of a route, and pages for errors. Their files are read when the configuration is.

use std::path::Path;
use std::sync::Arc;

use super::template::{Template, Vars};
use crate::agent::relay::http::head::ResponseHead;
use http::StatusCode;

/// Largest body that the configuration may bring, in bytes: it is held in memory.
pub const MAX_BODY: u64 = 1 << 20;

/// A body of the relay's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Empty,
    Fixed(Arc<[u8]>),
    /// Text with variables, for instance the request id on an error page.
    Text(Template),
}

/// A response of the relay's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    pub status: u16,
    pub content_type: Box<str>,
    pub body: Body,
}

impl Respond {
    /// Head and body; `Content-Length` is left to whoever writes them.
    pub fn make(&self, vars: &Vars<'_>) -> (ResponseHead, Arc<[u8]>) {
        let body: Arc<[u8]> = match &self.body {
            Body::Empty => Arc::default(),
            Body::Fixed(bytes) => Arc::clone(bytes),
            Body::Text(text) => text.render(vars).into_bytes().into(),
        };
        let mut head = ResponseHead::new(StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        if !body.is_empty() {
            head.headers.set("Content-Type", &*self.content_type);
        }
        (head, body)
    }
}

/// Pages for the relay's own errors, by status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorPages(Vec<Respond>);

impl ErrorPages {
    pub fn new(pages: Vec<Respond>) -> Self {
        Self(pages)
    }

    pub fn get(&self, status: u16) -> Option<&Respond> {
        self.0.iter().find(|p| p.status == status)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads the file of a body. Errors say what is wrong with the file, without its name.
pub fn read_body(path: &Path) -> Result<Arc<[u8]>, String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot read the file: {e}"))?;
    if !meta.is_file() {
        return Err("not a file".to_owned());
    }
    if meta.len() > MAX_BODY {
        return Err(format!("{} is too large: at most {}", size(meta.len()), size(MAX_BODY)));
    }
    std::fs::read(path).map(Into::into).map_err(|e| format!("cannot read the file: {e}"))
}

fn size(bytes: u64) -> String {
    crate::config::size::show_size(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Media type by the end of a file's name.
pub fn content_type_of(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("svg") => "image/svg+xml",
        Some("ico") => "image/x-icon",
        Some("png") => "image/png",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::tests::vars;
    use super::*;

    #[test]
    fn bodies_may_hold_variables() {
        let body = Body::Text(Template::parse("<p>{request_id}").unwrap());
        let (head, body) = Respond { status: 503, content_type: "text/html".into(), body }.make(&vars());
        assert_eq!(
            (head.status.as_u16(), head.headers.get("content-type"), &*body),
            (503, Some(&b"text/html"[..]), &b"<p>0192-x"[..])
        );
        let (head, body) = Respond { status: 204, content_type: "text/html".into(), body: Body::Empty }.make(&vars());
        assert!(head.headers.is_empty() && body.is_empty());
    }

    #[test]
    fn files_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("503.html");
        assert!(read_body(&page).unwrap_err().contains("cannot read"));
        assert_eq!(read_body(folder.path()).unwrap_err(), "not a file");
        std::fs::write(&page, "sorry").unwrap();
        assert_eq!(&*read_body(&page).unwrap(), b"sorry");
        std::fs::File::options().write(true).open(&page).unwrap().set_len(MAX_BODY + 1).unwrap();
        assert!(read_body(&page).unwrap_err().contains("too large"));
        assert_eq!(content_type_of(&page), "text/html; charset=utf-8");
    }
}
