//! The client connections of one data thread: counted, shown, told that the relay stops, and ended when somebody asks for it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::SystemTime;

use tokio::time::Instant;

/// Ids are unique in the process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// When sessions are to end: shared by those of one listener on one thread.
#[derive(Debug, Default)]
pub struct Closing(Cell<Option<Instant>>);

impl Closing {
    /// What is being done is finished. A connection that waits for its next request may still send it until `idle_until`: closed at once, it
    /// would be closed under the hands of clients that are just sending.
    pub fn begin(&self, idle_until: Instant) {
        self.0.set(Some(self.0.get().map_or(idle_until, |before| before.min(idle_until))));
    }
}

/// One client connection.
#[derive(Debug)]
pub struct Session {
    pub id: u64,
    pub listener: Arc<str>,
    /// `None` for a client on a unix socket.
    pub peer: Option<SocketAddr>,
    pub since: SystemTime,
    /// `pool/server` that it is with now.
    server: RefCell<Option<Arc<str>>>,
    killed: Cell<bool>,
    closing: Rc<Closing>,
    waker: RefCell<Option<Waker>>,
}

impl Session {
    /// Whether the relay stops or the listener is gone: finish what is being done and then close.
    pub fn is_closing(&self) -> bool {
        self.closing.0.get().is_some()
    }

    /// Until when it may wait for another request; None = as long as it is configured.
    pub fn idle_until(&self) -> Option<Instant> {
        self.closing.0.get()
    }

    /// Says which server (`pool/server`) the session is with.
    pub fn set_server(&self, server: Option<Arc<str>>) {
        *self.server.borrow_mut() = server;
    }

    pub fn server(&self) -> Option<Arc<str>> {
        self.server.borrow().clone()
    }

    /// Ends the session at once, in the middle of whatever it does.
    pub fn kill(&self) {
        self.killed.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// What [`Sessions::list`] shows of one.
#[derive(Clone, Debug)]
pub struct SessionView {
    pub id: u64,
    pub listener: Arc<str>,
    pub peer: Option<SocketAddr>,
    pub since: SystemTime,
    pub server: Option<Arc<str>>,
}

/// All sessions of one thread.
#[derive(Debug, Default)]
pub struct Sessions {
    open: RefCell<HashMap<u64, Rc<Session>>>,
}

thread_local! {
    static SESSIONS: Rc<Sessions> = Rc::new(Sessions::default());
}

impl Sessions {
    /// Those of the calling thread.
    pub fn here() -> Rc<Self> {
        SESSIONS.with(Rc::clone)
    }

    /// Runs a connection as a session, until it ends or is killed. `closing` is shared by all sessions of a listener on this thread.
    pub async fn run<F: Future<Output = ()>>(
        self: &Rc<Self>,
        listener: Arc<str>,
        peer: Option<SocketAddr>,
        closing: Rc<Closing>,
        connection: impl FnOnce(Rc<Session>) -> F,
    ) {
        let session = Rc::new(Session {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            listener,
            peer,
            since: SystemTime::now(),
            server: RefCell::default(),
            killed: Cell::new(false),
            closing,
            waker: RefCell::default(),
        });
        self.open.borrow_mut().insert(session.id, Rc::clone(&session));
        let _remove = Remove { sessions: self, id: session.id };
        let mut connection = pin!(connection(Rc::clone(&session)));
        poll_fn(|cx| {
            if session.killed.get() {
                return Poll::Ready(());
            }
            let mut waker = session.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            connection.as_mut().poll(cx)
        })
        .await;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// At most `limit` of them, of one server (`pool/server`) or of all.
    pub fn list(&self, server: Option<&str>, limit: usize) -> Vec<SessionView> {
        let open = self.open.borrow();
        let view = |s: &Rc<Session>| SessionView {
            id: s.id,
            listener: Arc::clone(&s.listener),
            peer: s.peer,
            since: s.since,
            server: s.server(),
        };
        let wanted = open.values().filter(|s| server.is_none() || s.server.borrow().as_deref() == server);
        wanted.take(limit).map(view).collect()
    }

    /// Ends one; whether it was there.
    pub fn kill(&self, id: u64) -> bool {
        let session = self.open.borrow().get(&id).cloned();
        session.inspect(|s| s.kill()).is_some()
    }

    /// Ends all that are with a server (`pool/server`); how many.
    pub fn kill_server(&self, server: &str) -> usize {
        let open = self.open.borrow();
        open.values().filter(|s| s.server.borrow().as_deref() == Some(server)).map(|s| s.kill()).count()
    }

    /// Ends all; how many.
    pub fn kill_all(&self) -> usize {
        self.open.borrow().values().map(|s| s.kill()).count()
    }

    /// Wakes all, so that those that wait for a request see that they are to close.
    pub fn wake_all(&self) {
        for session in self.open.borrow().values() {
            session.wake();
        }
    }
}

struct Remove<'a> {
    sessions: &'a Sessions,
    id: u64,
}

impl Drop for Remove<'_> {
    fn drop(&mut self) {
        let removed = self.sessions.open.borrow_mut().remove(&self.id);
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_are_listed_and_killed() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let sessions = Rc::new(Sessions::default());
                let (started, wait) = tokio::sync::oneshot::channel();
                let running = Rc::clone(&sessions);
                let task = tokio::task::spawn_local(async move {
                    let connection = |session: Rc<Session>| async move {
                        session.set_server(Some("web/a".into()));
                        started.send(session.id).unwrap();
                        std::future::pending::<()>().await;
                    };
                    running.run("main".into(), None, Rc::default(), connection).await;
                });
                let id = wait.await.unwrap();
                assert_eq!((sessions.count(), sessions.list(Some("web/b"), 9).len()), (1, 0));
                assert_eq!(sessions.list(Some("web/a"), 9)[0].id, id);
                assert!(!sessions.kill(id + 1_000_000));
                assert_eq!(sessions.kill_server("web/a"), 1);
                task.await.unwrap();
                assert_eq!(sessions.count(), 0);
            })
            .await;
    }
}
