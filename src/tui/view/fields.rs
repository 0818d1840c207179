//! Everything that is known of the row under the cursor, by the engine's own names.

use crate::model::{NodeObs, ServerRef};
use crate::tui::state::grid::Key;
use crate::tui::state::screen::Screen;
use crate::tui::state::{Page, State};
use crate::tui::update;

pub fn page_of_json(title: String, value: &serde_json::Value) -> Page {
    let mut lines = Vec::new();
    flatten("", value, &mut lines);
    update::page(title, lines)
}

fn flatten(path: &str, value: &serde_json::Value, into: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        serde_json::Value::Object(map) => map.iter().for_each(|(name, value)| flatten(&below(name), value, into)),
        serde_json::Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| flatten(&below(&at.to_string()), value, into));
        }
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => into.push((path.to_owned(), crate::model::sanitize(text).into_owned())),
        other => into.push((path.to_owned(), other.to_string())),
    }
}

pub fn page(state: &State) -> Option<Page> {
    let cursor = state.journey.here.list.cursor.as_ref()?;
    match (cursor, state.screen()) {
        (Key::Cell(node, server), _) => {
            let obs = state.view.node(node.as_str())?.last.as_deref()?;
            Some(update::page(format!("{server} on {node}"), server_fields(obs, server)?))
        }
        (Key::Node(node), _) => {
            let obs = state.view.node(node.as_str())?.last.as_deref()?;
            Some(update::page(
                format!("{node}: show info"),
                obs.engine.info.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            ))
        }
        (Key::Session(node, id), _) => {
            let (_, session) = state.sessions.rows().find(|(n, s)| *n == node && s.id == *id)?;
            Some(update::page(format!("session {id} on {node}"), vec![(String::new(), session.raw.clone())]))
        }
        (Key::Operation(id), Screen::Audit) => {
            let operation = state.audit.rows().iter().find(|o| o.id == *id)?;
            serde_json::to_value(operation).ok().map(|value| page_of_json(format!("operation #{id}"), &value))
        }
        (Key::Operation(id), Screen::Unfinished) => {
            let left = state.unfinished.rows().iter().find(|o| o.operation == *id)?;
            serde_json::to_value(left).ok().map(|value| page_of_json(format!("operation #{id}"), &value))
        }
        (Key::Lease(id), _) => {
            let lease = state.leases.rows().iter().find(|l| l.id == *id)?;
            serde_json::to_value(lease).ok().map(|value| page_of_json(format!("lease {id}"), &value))
        }
        (Key::Line(number), Screen::Messages) => {
            let message = state.messages.all().find(|m| m.number == *number)?;
            Some(update::page(message.at.to_string(), vec![(String::new(), message.text.clone())]))
        }
        _ => None,
    }
}

fn server_fields(obs: &NodeObs, server: &ServerRef) -> Option<Vec<(String, String)>> {
    let seen = obs.server(server.pool.as_str(), server.server.as_str())?;
    let mut lines = vec![
        ("source".to_owned(), obs.source.to_string()),
        ("seen".to_owned(), obs.at.to_string()),
        ("admin state".to_owned(), format!("{:?}", seen.admin)),
    ];
    lines.extend(
        seen.drift
            .iter()
            .flat_map(|d| d.iter())
            .map(|d| (format!("lost on reload: {}", d.what), format!("{} now, {} in the file", d.runtime, d.file))),
    );
    lines.extend(obs.fields.as_ref().map(|f| f.row(seen.row)).unwrap_or_default());
    Some(lines)
}
