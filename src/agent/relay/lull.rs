//! The moment at which a data thread has done all that has come so far.
//!
//! Whoever gathers what it writes sends it then: on a busy thread many answers leave with one system call, and on a thread with
//! nothing else to do an answer leaves at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// Turns of the reactor that nobody waits longer than, however much goes on coming: about half a millisecond of work.
const MOST_TURNS: u32 = 8;

thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<(Rc<Cell<bool>>, Waker)>> = const { RefCell::new(Vec::new()) };
}

/// Says that something came from a connection of this thread.
pub fn note_read() {
    READS.set(READS.get().wrapping_add(1));
}

/// Sets `reached` and wakes the task once this thread has done all that has come. Must be called within its runtime.
pub fn wait(reached: &Rc<Cell<bool>>, cx: &Context<'_>) {
    let first = WAITING.with_borrow_mut(|waiting| {
        waiting.push((Rc::clone(reached), cx.waker().clone()));
        waiting.len() == 1
    });
    if first {
        tokio::task::spawn_local(watch());
    }
}

async fn watch() {
    for _ in 0..MOST_TURNS {
        let before = READS.get();
        // All tasks that can go on do, and the reactor is asked what came meanwhile.
        tokio::task::yield_now().await;
        if READS.get() == before {
            break;
        }
    }
    for (reached, waker) in WAITING.take() {
        reached.set(true);
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    async fn reached() {
        let flag = Rc::<Cell<bool>>::default();
        let mut asked = false;
        poll_fn(|cx| {
            if !std::mem::replace(&mut asked, true) {
                wait(&flag, cx);
            }
            if flag.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_waited_for_while_something_comes_but_not_for_ever() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let turns = Rc::<Cell<u32>>::default();
                let count = |busy: u32| {
                    let turns = Rc::clone(&turns);
                    turns.set(0);
                    tokio::task::spawn_local(async move {
                        for turn in 0..busy {
                            note_read();
                            turns.set(turn + 1);
                            tokio::task::yield_now().await;
                        }
                    })
                };
                let quiet = count(0);
                reached().await;
                quiet.await.unwrap();
                let busy = count(1000);
                reached().await;
                let waited = turns.get();
                assert!((2..1000).contains(&waited), "{waited}");
                busy.abort();
            })
            .await;
    }
}
