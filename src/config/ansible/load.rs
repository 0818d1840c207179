//! An inventory from disk, with the `group_vars` and `host_vars` that stand beside it.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::diagnostic::ConfigError;
use super::{Inventory, Vars, parse, parse_vars};

const MAX_FILE: usize = 16 << 20;

/// Reads an inventory and the variables beside it. What of the variables could not be read is told in words: an encrypted
/// file need not concern the hosts.
pub fn load(path: &Path) -> Result<(Inventory, Vec<String>), ConfigError> {
    let unreadable = |why: &str| ConfigError::Unreadable { path: path.to_owned(), why: why.to_owned() };
    if path.is_dir() {
        return Err(unreadable(
            "it is a folder; name one of its files, or `ansible-inventory -i FOLDER --list > inventory.json`",
        ));
    }
    let text = read(path).map_err(|e| unreadable(&e.to_string()))?;
    if text.starts_with("#!") {
        return Err(unreadable("it is a program; run `ansible-inventory -i PROGRAM --list > inventory.json` and name that file"));
    }
    let mut inventory = parse(&text, path)?;
    let mut notes = Vec::new();
    let base = path.parent().unwrap_or(Path::new("."));
    for group in inventory.group_names().map(str::to_owned).collect::<Vec<_>>() {
        for vars in vars_beside(&base.join("group_vars"), &group, &mut notes) {
            inventory.add_group_vars(&group, vars);
        }
    }
    for host in inventory.hosts().to_vec() {
        for vars in vars_beside(&base.join("host_vars"), &host, &mut notes) {
            inventory.add_host_vars(&host, vars);
        }
    }
    Ok((inventory, notes))
}

/// Variables of `NAME`, `NAME.yml`, `NAME.yaml`, `NAME.json` and the files of a folder `NAME`, as Ansible finds them.
fn vars_beside(folder: &Path, name: &str, notes: &mut Vec<String>) -> Vec<Vars> {
    // A name with a path in it would lead out of the folder.
    if name.contains('/') || !folder.is_dir() {
        return Vec::new();
    }
    let mut files: Vec<PathBuf> = ["", ".yml", ".yaml", ".json"].map(|end| folder.join(format!("{name}{end}"))).to_vec();
    if let Ok(entries) = std::fs::read_dir(folder.join(name)) {
        let mut inside: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        inside.sort();
        files.extend(
            inside.into_iter().filter(|p| matches!(p.extension().and_then(|e| e.to_str()), None | Some("yml" | "yaml" | "json"))),
        );
    }
    let mut found = Vec::new();
    for file in files.iter().filter(|f| f.is_file()) {
        match read(file).map_err(|e| e.to_string()).and_then(|text| parse_vars(&text, file).map_err(|e| e.to_string())) {
            Ok(vars) => found.push(vars),
            Err(why) => notes.push(why.lines().next().unwrap_or_default().to_owned()),
        }
    }
    found
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_string(&mut text)?;
    if text.len() > MAX_FILE {
        return Err(std::io::Error::other("larger than 16 MiB"));
    }
    Ok(text)
}
