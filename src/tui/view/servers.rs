//! Servers across nodes: one row a server, a cell a node. Where nodes disagree, the row is marked and says on what.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::model::{FleetView, Health, PoolName, ServerObs};
use crate::tui::event::Charted;
use crate::tui::state::State;
use crate::tui::state::class::Class;
use crate::tui::state::grid::{Align, Cell, Column, Ctx, Grid, Key, Listing, Row, Shape, natural};
use crate::tui::state::index::{self, CellAt, Index, ServerLine};
use crate::tui::theme::Tone;
use crate::tui::widget::chart::sparkline;
use crate::tui::widget::text::{put, short};

/// A server's line with its cells, so that the rows need nothing else.
pub struct ServerRow {
    line: ServerLine,
    cells: Box<[CellAt]>,
}

impl Row for ServerRow {
    fn key(&self) -> Key {
        Key::Server(self.line.server.clone())
    }
    fn search(&self, into: &mut String) {
        let line = &self.line;
        into.push_str(line.server.pool.as_str());
        into.push('/');
        into.push_str(line.server.server.as_str());
        for word in [&line.classes.text(), &line.disagree.text(), line.address.as_deref().unwrap_or_default()] {
            into.push(' ');
            into.push_str(word);
        }
        if line.drift {
            into.push_str(" reload");
        }
    }
    fn stale(&self) -> bool {
        self.line.classes.total() == 0
    }
    fn marked(&self) -> bool {
        self.line.disagree.any()
    }
}

fn weight(line: &ServerLine) -> Cell {
    match line.weight {
        None => Cell::dim("-"),
        Some((least, most)) if least == most => Cell::new(most.to_string(), if most == 0 { Tone::Warn } else { Tone::Plain }),
        Some((least, most)) => Cell::new(format!("{least}-{most}"), Tone::Warn),
    }
}

const COLUMNS: &[Column<ServerRow>] = &[
    Column::left(
        "SERVER",
        (8, 34),
        0,
        |r, _| Cell::name(&r.line.server.to_string()),
        |a, b| {
            let names = |r: &ServerRow| (r.line.server.pool.clone(), r.line.server.server.clone());
            let ((pool_a, server_a), (pool_b, server_b)) = (names(a), names(b));
            natural(pool_a.as_str(), pool_b.as_str()).then_with(|| natural(server_a.as_str(), server_b.as_str()))
        },
    ),
    Column::left(
        "STATE",
        (7, 28),
        0,
        |r, _| {
            let reload = if r.line.drift { " ⟲" } else { "" };
            Cell::new(format!("{}{reload}", r.line.classes.text()), r.line.classes.tone())
        },
        |a, b| b.line.classes.worst().cmp(&a.line.classes.worst()),
    ),
    Column::right("SESS", (4, 7), 1, |r, _| Cell::count(r.line.sessions), |a, b| a.line.sessions.cmp(&b.line.sessions)),
    Column::right("RATE/s", (6, 7), 3, |r, _| Cell::count(r.line.rate), |a, b| a.line.rate.cmp(&b.line.rate)),
    Column::right("WGT", (3, 7), 2, |r, _| weight(&r.line), |a, b| a.line.weight.cmp(&b.line.weight)),
    Column::right("QUEUE", (5, 6), 4, |r, _| Cell::fault(r.line.queue), |a, b| a.line.queue.cmp(&b.line.queue)),
    Column::right(
        "ms",
        (3, 6),
        4,
        |r, _| Cell::optional(r.line.latency_ms.map(u64::from)),
        |a, b| a.line.latency_ms.cmp(&b.line.latency_ms),
    ),
    Column::right("ERRORS", (6, 7), 5, |r, _| Cell::fault(r.line.errors), |a, b| a.line.errors.cmp(&b.line.errors)),
    Column::left(
        "DIFFER",
        (6, 24),
        1,
        |r, _| if r.line.disagree.any() { Cell::new(r.line.disagree.text(), Tone::Warn) } else { Cell::dim("-") },
        |a, b| a.line.disagree.text().cmp(&b.line.disagree.text()),
    ),
    Column::left(
        "ADDRESS",
        (7, 39),
        6,
        |r, _| Cell::plain(r.line.address.as_deref().unwrap_or("-").to_owned()),
        |a, b| natural(a.line.address.as_deref().unwrap_or(""), b.line.address.as_deref().unwrap_or("")),
    ),
];

/// The list of servers, followed by a column for each node of the picture.
pub struct ServerGrid {
    list: Listing<ServerRow>,
    view: Arc<FleetView>,
    /// Nodes that have a column: those that have any of the rows, or that could not be read.
    nodes: Vec<u32>,
}

impl ServerGrid {
    fn node(&self, column: usize) -> Option<u32> {
        self.nodes.get(column.checked_sub(COLUMNS.len())?).copied()
    }
    fn seen(&self, row: usize, node: u32) -> Option<&ServerObs> {
        let cells = &self.list.rows.get(row)?.cells;
        // Cells are in node order; a node may run two engines, then the first counts.
        let at = cells.partition_point(|c| c.node < node);
        let cell = cells.get(at).filter(|c| c.node == node)?;
        index::at(&self.view, *cell).map(|(_, server)| server)
    }
}

/// `● UP 12`: state and sessions. `~` before what is old; `·` where nothing is known, `-` where the node has no such server.
pub fn cell(seen: Option<&ServerObs>, health: Health) -> Cell {
    let Some(server) = seen else {
        return match health {
            Health::Fresh => Cell::dim("-"),
            _ => Cell::dim("·"),
        };
    };
    let class = Class::of(server);
    let sessions = match server.gauges.sessions {
        0 => String::new(),
        n => format!(" {}", short(n.into())),
    };
    match health {
        Health::Fresh => Cell::new(format!("{} {}{sessions}", class.symbol(), class.word()), class.tone()),
        _ => Cell::dim(format!("~ {}{sessions}", class.word())),
    }
}

impl Grid for ServerGrid {
    fn len(&self) -> usize {
        self.list.len()
    }
    fn columns(&self) -> usize {
        COLUMNS.len() + self.nodes.len()
    }
    fn title(&self, column: usize) -> Cow<'_, str> {
        match self.node(column).and_then(|node| self.view.nodes.get(node as usize)) {
            Some(node) => match node.health {
                Health::Fresh => node.meta.name.as_str().into(),
                Health::Stale => format!("◌{}", node.meta.name).into(),
                Health::Dead => format!("✖{}", node.meta.name).into(),
                Health::Connecting => format!("…{}", node.meta.name).into(),
            },
            None => self.list.title(column),
        }
    }
    fn shape(&self, column: usize) -> Shape {
        match self.node(column) {
            Some(_) => Shape { title: "", align: Align::Left, min: 4, max: 13, rank: 1 },
            None => self.list.shape(column),
        }
    }
    fn key(&self, row: usize) -> Option<Key> {
        self.list.key(row)
    }
    fn search(&self, row: usize, into: &mut String) {
        self.list.search(row, into);
    }
    fn stale(&self, row: usize) -> bool {
        self.list.stale(row)
    }
    fn marked(&self, row: usize) -> bool {
        self.list.marked(row)
    }
    fn cell(&self, row: usize, column: usize, ctx: &Ctx<'_>) -> Cell {
        match self.node(column) {
            Some(node) => {
                let health = self.view.nodes.get(node as usize).map_or(Health::Dead, |n| n.health);
                cell(self.seen(row, node), health)
            }
            None => self.list.cell(row, column, ctx),
        }
    }
    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        match self.node(column) {
            Some(node) => {
                let class = |row| self.seen(row, node).map(Class::of);
                class(b).cmp(&class(a))
            }
            None => self.list.compare(a, b, column),
        }
    }
}

pub fn grid(view: &Arc<FleetView>, index: &Index, pool: Option<&PoolName>) -> ServerGrid {
    let rows: Vec<ServerRow> = index
        .servers
        .iter()
        .filter(|line| pool.is_none_or(|p| line.server.pool == *p))
        .map(|line| ServerRow { line: line.clone(), cells: index.cells(line).into() })
        .collect();
    let mut has = vec![false; view.nodes.len()];
    for cell in rows.iter().flat_map(|r| r.cells.iter()) {
        if let Some(slot) = has.get_mut(cell.node as usize) {
            *slot = true;
        }
    }
    let nodes = (0u32..)
        .zip(&view.nodes)
        .zip(has)
        .filter(|((_, node), has)| *has || node.last.is_none())
        .map(|((at, _), _)| at)
        .collect();
    ServerGrid { list: Listing { columns: COLUMNS, rows }, view: view.clone(), nodes }
}

/// The pool's rules and its last minutes, above its servers.
pub fn panel(state: &State, pool: &PoolName, buf: &mut Buffer, area: Rect) {
    if area.height == 0 {
        return;
    }
    let theme = &state.theme;
    let mut x = area.x + 1;
    if let Some(line) = state.index.pool(pool) {
        let mut words = vec![line.mode.to_string(), line.algorithm.to_string(), format!("on {} nodes", line.nodes)];
        words.extend(super::pools::rules(&state.fleet, pool));
        words.retain(|w| !w.is_empty());
        x = put(buf, area, x, area.y, &words.join(" · "), theme.tone(Tone::Dim)) + 2;
    }
    if let Some((Charted::Pool(of), curves)) = &state.history
        && of == pool
    {
        for (name, values) in [("rate/s", &curves.rate), ("sessions", &curves.sessions)] {
            x = put(buf, area, x, area.y, name, theme.tone(Tone::Dim)) + 1;
            x = put(buf, area, x, area.y, &sparkline(values, 20), theme.tone(Tone::Accent)) + 1;
            let last = values.last().copied().flatten().unwrap_or(0);
            x = put(buf, area, x, area.y, &short(u64::from(last)), theme.tone(Tone::Plain)) + 2;
        }
    }
}
