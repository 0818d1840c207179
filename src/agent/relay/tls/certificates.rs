//! The certificates of a listener, found by the name that a client asks for (SNI).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::files::{self, CertificateFiles};

/// See the module.
#[derive(Debug)]
pub struct Certificates {
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// `*.example.org` as `example.org`.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// The first one: for clients without SNI and for names that nobody has.
    default: Arc<CertifiedKey>,
    /// Answer a name that no certificate has with an alert instead of the default certificate.
    strict: bool,
}

impl Certificates {
    /// Reads all files.
    ///
    /// # Errors
    /// The first file that cannot be read or used.
    pub fn load(files: &[CertificateFiles], strict: bool) -> Result<Self, TlsError> {
        let (mut exact, mut wildcard, mut default) = (HashMap::new(), HashMap::new(), None);
        for file in files {
            let path = || file.certificate.display().to_string();
            let chain = files::chain(&file.certificate)?;
            let key = files::key(file.key.as_ref().unwrap_or(&file.certificate))?;
            let key = any_supported_type(&key).map_err(|source| TlsError::Certificate { path: path(), source })?;
            let mut certified = CertifiedKey::new(chain, key);
            certified.keys_match().map_err(|source| TlsError::Certificate { path: path(), source })?;
            certified.ocsp = file.ocsp.as_deref().map(files::staple).transpose()?;
            let certified = Arc::new(certified);
            for name in dns_names(&certified) {
                // The first certificate of a name wins, as the first is the default.
                match name.strip_prefix("*.") {
                    Some(parent) => wildcard.entry(parent.into()).or_insert_with(|| Arc::clone(&certified)),
                    None => exact.entry(name.into()).or_insert_with(|| Arc::clone(&certified)),
                };
            }
            default.get_or_insert(certified);
        }
        let default = default.ok_or_else(|| TlsError::Name("no certificate".to_owned()))?;
        Ok(Self { exact, wildcard, default, strict })
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let found = name.and_then(|name| {
            let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
            self.exact.get(name).or_else(parent)
        });
        match (found, name) {
            (Some(key), _) => Some(Arc::clone(key)),
            (None, Some(_)) if self.strict => None,
            (None, _) => Some(Arc::clone(&self.default)),
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls gives the name in lower case.
        self.find(hello.server_name())
    }
}

/// The DNS names of a certificate in lower case; none where it has none or cannot be read (it still serves as the default).
fn dns_names(key: &CertifiedKey) -> Vec<String> {
    let leaf = key.cert.first().and_then(|der| webpki::EndEntityCert::try_from(der).ok());
    leaf.iter().flat_map(|leaf| leaf.valid_dns_names()).map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(folder: &std::path::Path, name: &str, names: &[&str]) -> CertificateFiles {
        let made = rcgen::generate_simple_self_signed(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        CertificateFiles { certificate, key: Some(key), ocsp: None }
    }

    #[test]
    fn names_find_their_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let all =
            vec![files(folder.path(), "a", &["a.test", "*.wild.test"]), files(folder.path(), "b", &["b.test", "x.wild.test"])];
        let lax = Certificates::load(&all, false).unwrap();
        let strict = Certificates::load(&all, true).unwrap();
        let leaf = |c: &Certificates, name: Option<&str>| c.find(name).map(|k| k.cert[0].clone());
        let (a, b) = (leaf(&lax, Some("a.test")).unwrap(), leaf(&lax, Some("b.test")).unwrap());
        assert_ne!(a, b);
        for (name, expected) in [(Some("y.wild.test"), &a), (Some("x.wild.test"), &b), (Some("z.y.wild.test"), &a), (None, &a)] {
            assert_eq!(leaf(&lax, name).as_ref(), Some(expected), "{name:?}");
        }
        assert_eq!(leaf(&strict, Some("nobody.test")), None);
        assert!(leaf(&strict, None).is_some());
    }

    #[test]
    fn a_bad_file_is_named_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let one = files(folder.path(), "a", &["a.test"]);
        let other = files(folder.path(), "b", &["a.test"]);
        fs::copy(other.key.as_ref().unwrap(), one.key.as_ref().unwrap()).unwrap();
        let error = Certificates::load(std::slice::from_ref(&one), false).unwrap_err().to_string();
        assert!(error.contains("a.pem"), "{error}");
        fs::write(one.key.as_ref().unwrap(), "hunter2").unwrap();
        let error = Certificates::load(&[one], false).unwrap_err().to_string();
        assert!(error.contains("a.key") && !error.contains("hunter2"), "{error}");
    }
}
