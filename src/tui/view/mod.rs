//! What the state looks like. `prepare` brings rows up to date once; `draw` only reads, does no I/O, and tells what it put
//! where, so that clicks and page keys mean what is seen.

pub mod ascii;
mod audit;
pub mod bars;
pub mod fields;
pub mod form;
pub mod frontends;
pub mod help;
pub mod leases;
mod load;
pub mod messages;
pub mod node;
pub mod nodes;
pub mod operations;
pub mod overview;
pub mod pools;
pub mod question;
pub mod server;
pub mod servers;
pub mod sessions;
pub mod tables;
pub mod unfinished;
pub mod vips;

use ratatui::layout::Rect;

use super::command::Command;
use super::state::grid::{Grid, Key};
use super::state::screen::{Kind, Screen};
use super::state::{State, Typing};
use super::theme::Tone;
use super::widget::table::{self, Drawn};
use super::widget::text::put;

/// The smallest terminal that the views are made for; below it a summary stands alone.
const LEAST: (u16, u16) = (60, 14);

/// Where a click landed.
#[derive(Clone, PartialEq, Debug)]
pub enum Hit {
    /// Place in the list.
    Row(usize),
    /// Title of a column.
    Title(usize),
    Screen(Screen),
    Do(Command),
    /// Field of the dialog.
    Field(usize),
}

/// What a frame showed where.
#[derive(Debug, Default)]
pub struct Frame {
    pub table: Drawn,
    pub hits: Vec<(Rect, Hit)>,
    /// Lines of the plan that could be scrolled to.
    pub page_lines: usize,
}

impl Frame {
    pub fn hit(&self, x: u16, y: u16) -> Option<Hit> {
        let at = ratatui::layout::Position { x, y };
        if let Some((_, hit)) = self.hits.iter().rev().find(|(area, _)| area.contains(at)) {
            return Some(hit.clone());
        }
        if self.table.rows.contains(at) {
            return Some(Hit::Row(self.table.top + usize::from(y - self.table.rows.y)));
        }
        self.table.titles.iter().find(|(area, _)| area.contains(at)).map(|(_, column)| Hit::Title(*column))
    }
}

/// Builds rows anew if what they show has changed, and puts them in order. Called before keys and frames look at rows.
pub fn prepare(state: &mut State) {
    if matches!(state.screen().kind(), Kind::Pools | Kind::Servers | Kind::Server) {
        state.need_index();
    }
    if std::mem::take(&mut state.grid_due) {
        state.grid = grid(state);
        state.order_due = true;
    }
    if std::mem::take(&mut state.order_due) {
        state.journey.here.list.arrange(state.grid.as_ref());
    }
}

fn grid(state: &State) -> Box<dyn Grid> {
    match state.screen() {
        Screen::Overview => Box::new(overview::grid(state)),
        Screen::Nodes => Box::new(nodes::grid(&state.sums.nodes)),
        Screen::Node(node) => Box::new(node::grid(&state.view, node)),
        Screen::Pools => Box::new(pools::grid(&state.index)),
        Screen::Servers(pool) => Box::new(servers::grid(&state.view, &state.index, pool.as_ref())),
        Screen::Server(server) => Box::new(server::grid(state, server)),
        Screen::Frontends => Box::new(frontends::grid(&state.view)),
        Screen::Vips => Box::new(vips::grid(&state.view)),
        Screen::Sessions { .. } => Box::new(sessions::grid(&state.sessions)),
        Screen::Tables => Box::new(tables::grid(&state.tables)),
        Screen::Entries { .. } => Box::new(tables::entries(&state.entries)),
        Screen::Leases => Box::new(leases::grid(&state.leases)),
        Screen::Audit => Box::new(audit::grid(&state.audit)),
        Screen::Operations => Box::new(operations::grid(&state.runs)),
        Screen::Operation(run) => Box::new(operations::lanes(&state.runs, *run)),
        Screen::Unfinished => Box::new(unfinished::grid(&state.unfinished)),
        Screen::Messages => Box::new(messages::grid(&state.messages)),
    }
}

/// Draws everything.
pub fn draw(state: &State, canvas: &mut ratatui::Frame<'_>) -> Frame {
    let area = canvas.area();
    let mut frame = Frame::default();
    canvas.buffer_mut().set_style(area, state.theme.base);
    if area.width < LEAST.0 || area.height < LEAST.1 {
        bars::compact(state, canvas, area);
        question::draw(state, canvas, area);
        if state.ascii {
            ascii::apply(canvas.buffer_mut());
        }
        return frame;
    }
    let line = |y: u16| Rect { y, height: 1, ..area };
    bars::status(state, canvas.buffer_mut(), line(0));
    bars::tabs(state, canvas.buffer_mut(), line(1), &mut frame);
    bars::trail(state, canvas.buffer_mut(), line(2), &mut frame);
    let body = Rect { y: 3, height: area.height - 5, ..area };
    draw_body(state, canvas, body, &mut frame);
    bars::talk(state, canvas.buffer_mut(), line(area.height - 2));
    bars::hints(state, canvas.buffer_mut(), line(area.height - 1), &mut frame);
    if let Typing::CommandLine(words) = &state.typing {
        bars::completions(state, words, canvas, Rect { height: area.height - 2, ..area });
    }
    if state.page.is_some() || state.form.is_some() || state.questions.is_open() {
        // What lies beneath cannot be clicked.
        frame.hits.clear();
    }
    help::draw(state, canvas, area);
    form::draw(state, canvas, area, &mut frame);
    question::draw(state, canvas, area);
    if state.ascii {
        ascii::apply(canvas.buffer_mut());
    }
    frame
}

/// The list of the view, between what stands above and below it.
fn draw_body(state: &State, canvas: &mut ratatui::Frame<'_>, body: Rect, frame: &mut Frame) {
    let rows = u16::try_from(state.journey.here.list.len()).unwrap_or(u16::MAX);
    let load = load::height(state, body.height);
    let (body, load) = (Rect { height: body.height - load, ..body }, Rect { y: body.bottom() - load, height: load, ..body });
    let (above, below) = match state.screen() {
        Screen::Overview => (overview::panel_height(state, body.height), 0),
        Screen::Node(_) => (node::panel_height(state, body.height), 0),
        Screen::Server(_) => (server::FACTS, server::charts_height(body.height, rows)),
        Screen::Servers(Some(_)) => (if body.height >= 14 { 1 } else { 0 }, 0),
        Screen::Operation(_) => (1, operations::log_height(body.height, rows)),
        Screen::Sessions { .. }
        | Screen::Tables
        | Screen::Entries { .. }
        | Screen::Leases
        | Screen::Audit
        | Screen::Unfinished => (1, 0),
        _ => (0, 0),
    };
    let top = Rect { height: above, ..body };
    let bottom = Rect { y: body.bottom() - below, height: below, ..body };
    let middle = Rect { y: body.y + above, height: body.height - above - below, ..body };
    let buf = canvas.buffer_mut();
    load::panel(state, buf, load);
    match state.screen() {
        Screen::Overview => overview::panel(state, buf, top),
        Screen::Node(node) => node::panel(state, node, buf, top),
        Screen::Server(server) => {
            server::facts(state, server, buf, top);
            server::charts(state, server, buf, bottom);
        }
        Screen::Servers(Some(pool)) => servers::panel(state, pool, buf, top),
        Screen::Operation(run) => {
            operations::head(state, *run, buf, top);
            operations::log(state, *run, buf, bottom);
        }
        Screen::Sessions { .. } => status_line(state, buf, top, &state.sessions.status(state.clock.now)),
        Screen::Tables => status_line(state, buf, top, &state.tables.status(state.clock.now)),
        Screen::Entries { .. } => status_line(state, buf, top, &state.entries.status(state.clock.now)),
        Screen::Leases => status_line(state, buf, top, &leases::status(state)),
        Screen::Audit => status_line(state, buf, top, &audit::status(state)),
        Screen::Unfinished => status_line(state, buf, top, &unfinished::status(state)),
        _ => {}
    }
    frame.table = table::draw(buf, middle, state.grid.as_ref(), &state.journey.here.list, &state.ctx(), &state.theme);
    if state.journey.here.list.is_empty() && middle.height > 2 {
        let text = empty_text(state);
        put(buf, middle, middle.x + 2, middle.y + 2, &text, state.theme.tone(Tone::Dim));
    }
}

fn status_line(state: &State, buf: &mut ratatui::buffer::Buffer, area: Rect, text: &str) {
    put(buf, area, area.x + 1, area.y, text, state.theme.tone(Tone::Dim));
}

/// Why there is nothing to see.
fn empty_text(state: &State) -> String {
    if let Some(filter) = state.journey.here.list.filter.applied() {
        return format!("nothing matches /{filter}/; esc shows everything");
    }
    match state.screen() {
        Screen::Overview if state.findings.is_none() => "looking for problems…".into(),
        Screen::Overview => "no problems".into(),
        Screen::Operations => "no operation was begun from this console yet; audit shows all".into(),
        Screen::Leases if state.leases.got.is_some() => "no lease is open".into(),
        Screen::Audit if state.audit.got.is_some() => "nothing was recorded on this machine yet".into(),
        Screen::Unfinished if state.unfinished.got.is_some() => "nothing was left unfinished".into(),
        Screen::Sessions { .. } if !state.sessions.is_waiting() => "no sessions".into(),
        Screen::Tables if !state.tables.is_waiting() => "no stick tables".into(),
        Screen::Entries { .. } if !state.entries.is_waiting() => "the table is empty".into(),
        Screen::Messages => "nothing was said yet".into(),
        Screen::Nodes => "the fleet file names no nodes".into(),
        Screen::Vips if state.view.nodes.iter().all(|n| n.vrrp.is_none()) => {
            "no node of the fleet file has `engines: {keepalived: true}`".into()
        }
        _ if state.sums.whole.fresh == 0 => "nothing has been read yet".into(),
        _ => "nothing here, or nothing has been read yet".into(),
    }
}

/// Enter, or a click on the row under the cursor.
pub fn open(state: &mut State) {
    let Some(key) = state.journey.here.list.cursor.clone() else { return };
    let to = match (key, state.screen()) {
        (Key::Node(node), _) => Screen::Node(node),
        (Key::Vip(address), _) => match vips::owner_of(&state.view, address) {
            Some(node) => Screen::Node(node),
            None => return,
        },
        (Key::Pool(pool), _) => Screen::Servers(Some(pool)),
        (Key::Server(server), _) => Screen::Server(server),
        (Key::Cell(node, server), Screen::Server(_)) => Screen::Sessions { node: Some(node), server: Some(server) },
        (Key::Cell(_, server), _) => Screen::Server(server),
        (Key::Table(node, table), _) => Screen::Entries { node, table },
        (Key::Problem(_), _) => match overview::leads_to(state) {
            Some(screen) => screen,
            None => return,
        },
        (Key::Run(run), _) => Screen::Operation(run),
        (Key::Lease(_), _) => match leases::server(state) {
            Some(server) => Screen::Server(server),
            None => return,
        },
        _ => {
            if let Some(page) = fields::page(state) {
                state.page = Some(page);
            }
            return;
        }
    };
    state.go(to);
}

/// The sessions of what is under the cursor, or of what the view is about.
pub fn sessions_of(state: &State) -> Option<Screen> {
    let of = |node, server| Some(Screen::Sessions { node, server });
    match (&state.journey.here.list.cursor, state.screen()) {
        (Some(Key::Cell(node, server)), _) => of(Some(node.clone()), Some(server.clone())),
        (_, Screen::Server(server)) => of(None, Some(server.clone())),
        (Some(Key::Server(server)), _) => of(None, Some(server.clone())),
        (Some(Key::Node(node)), _) => of(Some(node.clone()), None),
        (Some(key @ Key::Problem(_)), _) => of(None, Some(state.problem_server(key)?)),
        (_, Screen::Node(node)) => of(Some(node.clone()), None),
        _ => None,
    }
}
