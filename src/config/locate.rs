//! Where the fleet file is looked for: --fleet, $LBDECK_FLEET, the working folder, the XDG configuration folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::diagnostic::ConfigError;
use super::env;

/// Its name wherever it is looked for by name.
pub const FILE_NAME: &str = "lbdeck.yaml";

/// The fleet file to use. `lookup` reads the environment (tests give their own). A file that was named must exist;
/// where none was named, the first that exists is taken.
pub fn locate(flag: Option<&Path>, lookup: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, ConfigError> {
    let variable = |name: &str| lookup(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let named = flag.map(|path| (path.to_owned(), "--fleet")).or_else(|| variable(env::FLEET).map(|p| (p, "$LBDECK_FLEET")));
    if let Some((path, by)) = named {
        return if path.exists() { Ok(path) } else { Err(ConfigError::Missing { path, by }) };
    }
    let mut looked = vec![line("--fleet", "not given"), line("$LBDECK_FLEET", "not set")];
    let here = PathBuf::from(FILE_NAME);
    for (place, path) in [("working folder", Some(here)), ("configuration", user_file(&lookup))] {
        match path {
            Some(path) if path.exists() => return Ok(path),
            Some(path) => looked.push(line(place, &format!("no {}", path.display()))),
            None => looked.push(line(place, "neither $XDG_CONFIG_HOME nor $HOME is set")),
        }
    }
    Err(ConfigError::NotFound { looked })
}

fn line(place: &str, found: &str) -> String {
    format!("  {place:<15} {found}")
}

/// `lbdeck.yaml` in the user's configuration folder.
pub fn user_file(lookup: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let variable = |name: &str| lookup(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    // The XDG specification has relative paths ignored.
    variable(env::XDG_CONFIG_HOME)
        .filter(|p| p.is_absolute())
        .or_else(|| variable(env::HOME).map(|home| home.join(".config")))
        .map(|folder| folder.join("lbdeck").join(FILE_NAME))
}
