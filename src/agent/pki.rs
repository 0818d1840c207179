//! Certificates for the control API over TCP: an authority of the operator's own, certificates for agents and for consoles.
//!
//! Everything lies in one folder of the operator: `ca.pem`, `ca.key`, `server-NAME.pem`, `client-NAME.pem` and their keys, each
//! readable for its owner only. Renewing keeps the key, so that one rename replaces a certificate as a whole.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::Serialize;
use x509_parser::pem::Pem;
use x509_parser::prelude::GeneralName;

/// Clocks of nodes differ: a certificate holds from a little before it was made.
const EARLIER: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A folder with more files is no folder of certificates.
const MOST_FILES: usize = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {what}", path.display())]
    Wrong { path: PathBuf, what: String },
    #[error("'{name}': {why}")]
    Name { name: String, why: &'static str },
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
}

type Result<T, E = PkiError> = std::result::Result<T, E>;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Ca,
    /// An agent shows it.
    Server,
    /// A console shows it.
    Client,
}

/// One certificate of the folder.
#[derive(Clone, Debug, Serialize)]
pub struct Issued {
    pub file: PathBuf,
    pub kind: Kind,
    pub subject: String,
    /// Host names and addresses that it is for.
    pub names: Vec<String>,
    pub not_after: Timestamp,
}

/// The folder of one authority.
#[derive(Clone, Debug)]
pub struct Pki {
    folder: PathBuf,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PkiError + '_ {
    move |source| PkiError::Io { path: path.to_owned(), source }
}
fn wrong<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> PkiError + '_ {
    move |e| PkiError::Wrong { path: path.to_owned(), what: e.to_string() }
}

impl Pki {
    pub fn at(folder: impl Into<PathBuf>) -> Pki {
        Pki { folder: folder.into() }
    }
    fn certificate(&self, stem: &str) -> PathBuf {
        self.folder.join(format!("{stem}.pem"))
    }
    fn key(&self, stem: &str) -> PathBuf {
        self.folder.join(format!("{stem}.key"))
    }

    /// Makes the authority. An authority that is there already is never replaced.
    pub fn make_ca(&self, days: u32) -> Result<Issued> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(io(&self.folder))?;
        let (file, key_file) = (self.certificate("ca"), self.key("ca"));
        if let Some(there) = [&file, &key_file].into_iter().find(|f| f.exists()) {
            return Err(PkiError::Exists(there.clone()));
        }
        let key = KeyPair::generate().map_err(wrong(&key_file))?;
        let certificate = ca_params(days).self_signed(&key).map_err(wrong(&file))?;
        write(&key_file, &key.serialize_pem())?;
        write(&file, &certificate.pem())?;
        read_issued(&file)
    }

    /// Makes a certificate for an agent (`names`: the host names and addresses that consoles use for it) or a console.
    pub fn issue(&self, kind: Kind, names: &[String], days: u32) -> Result<Issued> {
        let Some(first) = names.first() else {
            return Err(PkiError::Name { name: String::new(), why: "a certificate needs a name" });
        };
        for name in names {
            check_name(name)?;
        }
        let stem = format!("{}-{first}", if kind == Kind::Server { "server" } else { "client" });
        let (file, key_file) = (self.certificate(&stem), self.key(&stem));
        if let Some(there) = [&file, &key_file].into_iter().find(|f| f.exists()) {
            return Err(PkiError::Exists(there.clone()));
        }
        let key = KeyPair::generate().map_err(wrong(&key_file))?;
        let text = self.sign(kind, first, names, days, &key, &file)?;
        write(&key_file, &key.serialize_pem())?;
        write(&file, &text)?;
        read_issued(&file)
    }

    /// Signs the certificate of a file anew, for the same names and the same key. The authority signs itself.
    pub fn renew(&self, issued: &Issued, days: u32) -> Result<Issued> {
        let key_file = issued.file.with_extension("key");
        let key = KeyPair::from_pem(&read(&key_file)?).map_err(wrong(&key_file))?;
        let text = match issued.kind {
            Kind::Ca => ca_params(days).self_signed(&key).map_err(wrong(&issued.file))?.pem(),
            kind => self.sign(kind, &issued.subject, &issued.names, days, &key, &issued.file)?,
        };
        write(&issued.file, &text)?;
        read_issued(&issued.file)
    }

    fn sign(&self, kind: Kind, subject: &str, names: &[String], days: u32, key: &KeyPair, file: &Path) -> Result<String> {
        let (ca, ca_key) = (self.certificate("ca"), self.key("ca"));
        let signing = KeyPair::from_pem(&read(&ca_key)?).map_err(wrong(&ca_key))?;
        let issuer = Issuer::from_ca_cert_pem(&read(&ca)?, signing).map_err(wrong(&ca))?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(wrong(file))?;
        params.distinguished_name = named(subject);
        (params.not_before, params.not_after) = lifetime(days);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match kind {
            Kind::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Kind::Client | Kind::Ca => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        Ok(params.signed_by(key, &issuer).map_err(wrong(file))?.pem())
    }

    /// All certificates of the folder, those that end first at the top.
    pub fn list(&self) -> Result<Vec<Issued>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io(&self.folder))?.take(MOST_FILES) {
            let path = entry.map_err(io(&self.folder))?.path();
            if path.extension().is_some_and(|e| e == "pem") {
                found.push(read_issued(&path)?);
            }
        }
        found.sort_by(|a, b| a.not_after.cmp(&b.not_after).then_with(|| a.file.cmp(&b.file)));
        Ok(found)
    }
}

/// The first certificate of a PEM file.
pub fn read_issued(file: &Path) -> Result<Issued> {
    let text = fs::read(file).map_err(io(file))?;
    let first = Pem::iter_from_buffer(&text).find(|pem| pem.as_ref().map_or(true, |pem| pem.label == "CERTIFICATE"));
    let pem = first.ok_or_else(|| wrong(file)("it holds no certificate"))?.map_err(wrong(file))?;
    issued(file, &pem).map_err(|what| PkiError::Wrong { path: file.to_owned(), what })
}

fn issued(file: &Path, pem: &Pem) -> Result<Issued, String> {
    let certificate = pem.parse_x509().map_err(|e| e.to_string())?;
    let usage = certificate.extended_key_usage().map_err(|e| e.to_string())?;
    let kind = match usage {
        _ if certificate.is_ca() => Kind::Ca,
        Some(usage) if usage.value.server_auth => Kind::Server,
        _ => Kind::Client,
    };
    let subject = certificate.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok()).unwrap_or_default();
    let mut names = Vec::new();
    if let Some(alternative) = certificate.subject_alternative_name().map_err(|e| e.to_string())? {
        for name in &alternative.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                _ => {}
            }
        }
    }
    let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp()).map_err(|e| e.to_string())?;
    Ok(Issued { file: file.to_owned(), kind, subject: crate::model::sanitize(subject).into_owned(), names, not_after })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

fn ca_params(days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("lbdeck agents");
    (params.not_before, params.not_after) = lifetime(days);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// From a little before now to so many days from now, as rcgen wants them.
fn lifetime<T: From<SystemTime>>(days: u32) -> (T, T) {
    let now = SystemTime::now();
    (T::from(now - EARLIER), T::from(now + DAY * days))
}

/// It becomes a file's name and a name in a certificate.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
    let why = match name {
        "" => "a name is needed",
        _ if name.len() > 200 => "longer than 200 characters",
        _ if name.starts_with(['.', '-']) => "begins with a dot or a dash",
        _ if !name.chars().all(plain) => "only letters, digits and - _ . : @ can stand in a name",
        _ => return Ok(()),
    };
    Err(PkiError::Name { name: name.to_owned(), why })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(io(path))
}

/// A whole file or none, for its owner only.
fn write(path: &Path, text: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{:016x}.tmp", rand::random::<u64>()));
    let beside = PathBuf::from(beside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&beside);
        PkiError::Io { path: path.to_owned(), source }
    })
}
