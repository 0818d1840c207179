//! Where drills are found: `playbooks/drills` beside the fleet file and in the working folder, and those that are built in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::read::{self, DrillFileError};
use super::spec::Drill;

/// The source of a drill that came with lbdeck.
pub const BUILT_IN: &str = "built-in";

const SHIPPED: &[(&str, &str)] = &[
    ("haproxy-kill.yaml", include_str!("../../playbooks/drills/haproxy-kill.yaml")),
    ("keepalived-crash.yaml", include_str!("../../playbooks/drills/keepalived-crash.yaml")),
    ("keepalived-freeze.yaml", include_str!("../../playbooks/drills/keepalived-freeze.yaml")),
    ("keepalived-stop.yaml", include_str!("../../playbooks/drills/keepalived-stop.yaml")),
    ("link-down.yaml", include_str!("../../playbooks/drills/link-down.yaml")),
    ("node-isolate.yaml", include_str!("../../playbooks/drills/node-isolate.yaml")),
    ("planned-failover.yaml", include_str!("../../playbooks/drills/planned-failover.yaml")),
    ("server-kill.yaml", include_str!("../../playbooks/drills/server-kill.yaml")),
    ("slow-network.yaml", include_str!("../../playbooks/drills/slow-network.yaml")),
    ("vrrp-silence.yaml", include_str!("../../playbooks/drills/vrrp-silence.yaml")),
];

/// A drill, or why its file is not one.
#[derive(Debug)]
pub struct Found {
    /// The file, or [`BUILT_IN`].
    pub source: String,
    pub drill: Result<Drill, DrillFileError>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum FindError {
    #[error(transparent)]
    File(#[from] DrillFileError),
    #[error("{}: {why}", folder.display())]
    Folder { folder: PathBuf, why: String },
    #[error("no drill is called '{name}'")]
    Unknown { name: String, near: Option<String>, known: Vec<String> },
}

impl FindError {
    pub fn hint(&self) -> Option<String> {
        match self {
            FindError::Unknown { near: Some(near), .. } => Some(format!("did you mean '{near}'?")),
            FindError::Unknown { known, .. } => Some(format!("`lbdeck drill list` has: {}", known.join(", "))),
            FindError::File(_) | FindError::Folder { .. } => None,
        }
    }
}

/// Folders in which drills are looked for, nearest first.
pub fn folders(fleet_file: Option<&Path>) -> Vec<PathBuf> {
    let beside = fleet_file.and_then(Path::parent).map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    let mut folders = Vec::new();
    for base in beside.into_iter().chain([Path::new(".")]) {
        let folder = base.join("playbooks/drills");
        let same = |other: &PathBuf| match (other.canonicalize(), folder.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => *other == folder,
        };
        if !folders.iter().any(same) {
            folders.push(folder);
        }
    }
    folders
}

/// All drills of these folders, then those that are built in and whose name no file has.
pub fn all(folders: &[PathBuf]) -> Result<Vec<Found>, FindError> {
    let mut found = Vec::new();
    for folder in folders {
        for path in files(folder)? {
            found.push(Found { source: path.display().to_string(), drill: read::load(&path) });
        }
    }
    let names: BTreeSet<String> = found.iter().filter_map(|f| f.drill.as_ref().ok()).map(|d| d.name.clone()).collect();
    let shipped = SHIPPED.iter().map(|(file, text)| Found {
        source: BUILT_IN.to_owned(),
        drill: read::parse(text, &Path::new("playbooks/drills").join(file), BUILT_IN),
    });
    found.extend(shipped.filter(|f| f.drill.as_ref().is_ok_and(|d| !names.contains(&d.name))));
    Ok(found)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, FindError> {
    let wrong = |e: std::io::Error| FindError::Folder { folder: folder.to_owned(), why: e.to_string() };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(wrong(e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// One drill: a file where the word has a slash or ends like one, else by its name.
pub fn one(word: &str, folders: &[PathBuf]) -> Result<Drill, FindError> {
    if word.contains('/') || word.ends_with(".yaml") || word.ends_with(".yml") {
        return Ok(read::load(Path::new(word))?);
    }
    let mut known = Vec::new();
    for found in all(folders)? {
        let stem = Path::new(&found.source).file_stem().is_some_and(|s| s == word);
        match found.drill {
            Ok(drill) if drill.name == word => return Ok(drill),
            Ok(drill) => known.push(drill.name),
            // A file of that name that is no drill is what was meant.
            Err(e) if stem => return Err(e.into()),
            Err(_) => {}
        }
    }
    let near = crate::config::nearest(word, known.iter().map(String::as_str)).map(str::to_owned);
    Err(FindError::Unknown { name: word.to_owned(), near, known })
}
