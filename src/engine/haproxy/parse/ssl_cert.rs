//! `show ssl cert` and `show ssl cert FILE` (2.2 and later).

use jiff::Timestamp;

use crate::model::Certificate;

use super::ParseError;
use super::text::clean;

const REPLY: &str = "show ssl cert";

/// Names of the certificates in use. Lines that start with `*` are transactions that nobody has committed yet.
pub fn list(text: &[u8]) -> Result<Vec<String>, ParseError> {
    let mut files = Vec::new();
    for (i, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b"*") {
            continue;
        }
        // Without TLS frontends the reply is empty; at level user 2.6 says something else than it means.
        if line.starts_with(b"Permission denied") || line.starts_with(b"Can't ") || line.starts_with(b"Unknown command") {
            return Err(ParseError::new(REPLY, i + 1, clean(line)));
        }
        files.push(clean(line).into_owned());
    }
    Ok(files)
}

/// The details of one certificate.
pub fn details(file: &str, text: &[u8]) -> Result<Certificate, ParseError> {
    let mut certificate = Certificate { file: file.to_owned(), subject: String::new(), not_after: None, names: Vec::new() };
    let mut known = false;
    for line in text.split(|b| *b == b'\n') {
        let line = clean(line.trim_ascii());
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name {
            // The first certificate is the leaf; chain certificates follow under other names.
            "notAfter" if certificate.not_after.is_none() => {
                known = true;
                certificate.not_after = Some(openssl_time(value).ok_or_else(|| {
                    ParseError::new(
                        REPLY,
                        1,
                        format!("notAfter '{}' of {file} is no date", value.chars().take(60).collect::<String>()),
                    )
                })?);
            }
            "Subject" if certificate.subject.is_empty() => {
                known = true;
                certificate.subject = value.to_owned();
            }
            "Subject Alternative Name" if certificate.names.is_empty() => {
                certificate.names =
                    value.split(',').filter_map(|n| n.trim().split_once(':').map(|(_, host)| host.to_owned())).collect();
            }
            _ => {}
        }
    }
    if !known {
        let start: String = clean(text.trim_ascii()).chars().take(120).collect();
        return Err(ParseError::new(REPLY, 1, format!("no details of {file}: '{start}'")));
    }
    Ok(certificate)
}

/// OpenSSL's `Dec  3 14:41:56 2026 GMT`.
fn openssl_time(text: &str) -> Option<Timestamp> {
    let mut words = text.split_whitespace();
    let (month, day, time, year) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let spaced = format!("{day} {month} {year} {time} +0000");
    jiff::fmt::strtime::parse("%d %b %Y %H:%M:%S %z", spaced).ok()?.to_timestamp().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_replies() {
        assert_eq!(list(include_bytes!("../fixtures/2.6-show-ssl-cert.txt")).unwrap(), ["/tmp/hx/site.pem"]);
        let c = details("/tmp/hx/site.pem", include_bytes!("../fixtures/2.6-show-ssl-cert-details.txt")).unwrap();
        assert_eq!(c.names, ["a.example", "*.b.example"]);
        assert_eq!(c.subject, "/CN=a.example/O=x");
        assert_eq!(c.not_after.unwrap().to_string(), "2026-12-23T14:41:56Z");
    }

    #[test]
    fn refusals_are_errors() {
        assert!(list(b"\nPermission denied\n").is_err());
        assert!(list(b"\nCan't allocate memory!\n\n").unwrap_err().what.contains("allocate"));
        assert_eq!(list(b"\n").unwrap(), Vec::<String>::new());
        assert_eq!(list(b"# transaction\n*/a.pem\n# filename\n/a.pem\n").unwrap(), ["/a.pem"]);
        assert!(details("x", b"Can't display the certificate: Not found or the certificate is a bundle!\n").is_err());
        assert!(details("x", b"notAfter: soon\n").is_err());
        assert_eq!(openssl_time("Jan  2 03:04:05 2030 GMT").unwrap().to_string(), "2030-01-02T03:04:05Z");
    }
}
