//! The loop: events in, state changed, effects begun, at most one frame. The only place that waits, and it waits for events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use crossterm::event::{Event as TermEvent, EventStream};
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use futures::StreamExt;
use jiff::Timestamp;
use nix::sys::signal::{Signal as StopSignal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::app::{App, LoadFeed, PromptRequest};
use crate::model::{Exit, LoadPicture};

use super::event::{Clock, Effect, Event};
use super::state::State;
use super::tasks::Tasks;
use super::terminal::{self, Screen};
use super::theme::ThemeName;
use super::update::update;
use super::view;

/// Events that wait at most; senders wait when it is full, nothing is dropped.
const QUEUE: usize = 1024;
/// Ages grow and live lists are asked for again at this pace.
const TICK: Duration = Duration::from_millis(500);
/// A new picture is taken in no sooner than so many times what the last one cost: at most an eightieth of a core.
const PICTURE_SHARE: u32 = 80;
/// How long leaving waits for operations that were asked to stop, and for what is written after they end.
const PATIENCE: Duration = Duration::from_secs(3);
/// A process that was told to stop has stopped by then, in its own time.
const STOPPED_BY_THEN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Options {
    pub theme: Option<ThemeName>,
    /// Set where the environment says `NO_COLOR`.
    pub no_color: bool,
    /// Leave the mouse to the terminal.
    pub no_mouse: bool,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// A load on the fleet, to be shown with it.
    pub load: Option<LoadFeed>,
    /// Questions of connections: the other end of `Prompting::Channel`.
    pub prompts: Option<mpsc::Receiver<PromptRequest>>,
}

fn clock() -> Clock {
    Clock { now: Instant::now(), wall: Timestamp::now() }
}

/// The runtime that a console runs on: the thread that blocks on [`run`] draws and answers keys, one other reads nodes.
///
/// One, because a reading is short and comes every second: on many threads each finds its memory in another core's cache,
/// and the console of a large fleet takes a third more CPU (docs/benchmarks.md).
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Runs the console on this terminal until it is left.
///
/// # Errors
/// The terminal cannot be taken, read or written.
pub async fn run(app: App, options: Options) -> anyhow::Result<Exit> {
    let app = Arc::new(app);
    let mut signals = Signals::install()?;
    let mut screen = Screen::take(!options.no_mouse).context("cannot take the terminal")?;
    let polling = app.collector.start();
    let (sender, mut events) = mpsc::channel(QUEUE);
    let reader = tokio::spawn(read_terminal(sender.clone()));
    let asker = options.prompts.map(|prompts| tokio::spawn(pass_prompts(prompts, sender.clone())));

    let theme = ThemeName::initial(options.theme, options.no_color);
    let mut state = State::new(app.fleet.clone(), app.collector.view(), theme, clock());
    state.ascii = options.ascii;
    state.load = options.load.as_ref().map(|load| load.borrow().clone());
    let mut tasks = Tasks::new(app.clone(), sender);
    state.ask(Effect::Unfinished);
    state.ask(Effect::Sweep { if_due: true });
    state.ask_what_is_due();
    let ended = console(&mut screen, &mut state, &mut tasks, &mut events, options.load, &mut signals).await;

    reader.abort();
    if let Some(asker) = asker {
        asker.abort();
    }
    drop(polling);
    // The terminal is given back before anything that may take time.
    drop(screen);
    wind_down(&state, &mut tasks, &mut events).await;
    ended
}

async fn console(
    screen: &mut Screen,
    state: &mut State,
    tasks: &mut Tasks,
    events: &mut mpsc::Receiver<Event>,
    mut load: Option<LoadFeed>,
    signals: &mut Signals,
) -> anyhow::Result<Exit> {
    let mut pictures = tasks.app.collector.watch();
    let mut next_picture = tokio::time::Instant::now();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        for effect in state.take_effects() {
            if tasks.begin(effect, state) {
                return Ok(Exit::Ok);
            }
        }
        if std::mem::take(&mut state.suspend_asked) {
            suspend(screen, signals).await?;
        }
        paint(screen, state)?;
        let first = tokio::select! {
            biased;
            sign = signals.any() => match sign {
                Sign::End => return Ok(Exit::Ok),
                // Somebody else stopped us (kill -STOP) and let us go on: the shell has had the terminal meanwhile.
                Sign::GoOn => {
                    screen.give_back();
                    screen.take_again().context("cannot take the terminal again")?;
                    continue;
                }
            },
            event = events.recv() => match event {
                Some(event) => event,
                None => return Ok(Exit::Ok),
            },
            // Newest wins: pictures that came meanwhile were never taken.
            changed = wait_for_picture(&mut pictures, next_picture) => {
                changed.context("the collector has ended")?;
                Event::View(pictures.borrow_and_update().clone())
            }
            picture = next_load(&mut load) => Event::Load(picture),
            _ = tick.tick() => Event::Tick,
        };
        let is_picture = matches!(first, Event::View(_));
        let began = Instant::now();
        update(state, clock(), first);
        view::prepare(state);
        if is_picture {
            next_picture = tokio::time::Instant::now() + (began.elapsed() * PICTURE_SHARE).min(Duration::from_secs(2));
        }
        // Everything that waits is taken in before the next frame.
        while let Ok(event) = events.try_recv() {
            if let Event::Terminal(TermEvent::Key(_) | TermEvent::Mouse(_)) = &event {
                // Keys look at what the keys before them did, effects included.
                for effect in state.take_effects() {
                    if tasks.begin(effect, state) {
                        return Ok(Exit::Ok);
                    }
                }
            }
            update(state, clock(), event);
        }
    }
}

async fn wait_for_picture<T>(
    pictures: &mut tokio::sync::watch::Receiver<T>,
    not_before: tokio::time::Instant,
) -> Result<(), tokio::sync::watch::error::RecvError> {
    tokio::time::sleep_until(not_before).await;
    pictures.changed().await
}

/// The next picture of the load; never where there is none, or none any more.
async fn next_load(load: &mut Option<LoadFeed>) -> Arc<LoadPicture> {
    if let Some(feed) = load
        && feed.changed().await.is_ok()
    {
        return feed.borrow_and_update().clone();
    }
    *load = None;
    std::future::pending().await
}

/// One frame, shown at once where the terminal can.
fn paint(screen: &mut Screen, state: &mut State) -> anyhow::Result<()> {
    anyhow::ensure!(terminal::is_taken(), "a part of the console has failed; its words are above");
    state.clock = clock();
    view::prepare(state);
    let mut shown = None;
    crossterm::queue!(std::io::stdout(), BeginSynchronizedUpdate).context("cannot write to the terminal")?;
    screen.terminal.draw(|canvas| shown = Some(view::draw(state, canvas))).context("cannot write to the terminal")?;
    crossterm::execute!(std::io::stdout(), EndSynchronizedUpdate).context("cannot write to the terminal")?;
    if let Some(frame) = shown {
        state.journey.here.list.top = frame.table.top;
        state.frame = frame;
    }
    Ok(())
}

/// Stops this process and what runs with it in the foreground, as the shell's Ctrl-Z does, until the shell's `fg`.
async fn suspend(screen: &mut Screen, signals: &mut Signals) -> anyhow::Result<()> {
    screen.give_back();
    // The whole group: behind `cargo run` the shell waits for the parent, and would not see us stop alone.
    kill(Pid::from_raw(0), StopSignal::SIGTSTP).context("cannot stop")?;
    // Nobody stops where no shell could ever let us go on; then nothing comes, and the console goes on.
    let _ = tokio::time::timeout(STOPPED_BY_THEN, signals.go_on.recv()).await;
    screen.take_again().context("cannot take the terminal again")
}

/// Operations that still run are asked to stop, and waited for a little: their locks are given back, their outcome recorded.
async fn wind_down(state: &State, tasks: &mut Tasks, events: &mut mpsc::Receiver<Event>) {
    let mut running: Vec<u64> = state.running().map(|r| r.id).collect();
    if !running.is_empty() {
        tasks.stop_all();
        let all_over = async {
            while !running.is_empty() {
                match events.recv().await {
                    Some(Event::OperationOver { run }) => running.retain(|r| *r != run),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, all_over).await;
    }
    // Blocked senders must not hold up what they are part of.
    events.close();
    tasks.app.ops.settle().await;
}

async fn read_terminal(events: mpsc::Sender<Event>) {
    let mut input = EventStream::new();
    while let Some(Ok(event)) = input.next().await {
        if events.send(Event::Terminal(event)).await.is_err() {
            return;
        }
    }
    // Nobody is there any more; that the loop has ended before is as well.
    let _ = events.send(Event::TerminalGone).await;
}

async fn pass_prompts(mut prompts: mpsc::Receiver<PromptRequest>, events: mpsc::Sender<Event>) {
    while let Some(request) = prompts.recv().await {
        if events.send(Event::Prompt(request)).await.is_err() {
            return;
        }
    }
}

/// What a signal asks for.
enum Sign {
    End,
    GoOn,
}

/// Signals that end the console as `q` does, at once, and the one that goes on after a stop.
struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    /// The end of a suspension.
    go_on: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Signals> {
        let one = |kind| signal(kind).context("cannot handle signals");
        Ok(Signals {
            terminate: one(SignalKind::terminate())?,
            hang_up: one(SignalKind::hangup())?,
            interrupt: one(SignalKind::interrupt())?,
            go_on: one(SignalKind::from_raw(StopSignal::SIGCONT as i32))?,
        })
    }
    async fn any(&mut self) -> Sign {
        tokio::select! {
            _ = self.terminate.recv() => Sign::End,
            _ = self.hang_up.recv() => Sign::End,
            _ = self.interrupt.recv() => Sign::End,
            _ = self.go_on.recv() => Sign::GoOn,
        }
    }
}
