//! A pool as a whole: who is chosen, who waits, who is out. Time is an argument wherever something is decided.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::agent::relay::config::check::OutlierConfig;
use crate::agent::relay::config::listener::Mode;
use crate::agent::relay::config::pool::{Balance, DrainPersistence, Persistence, ServerConfig};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn pool_of(servers: &[(&str, u16, u32)], with: impl FnOnce(&mut PoolConfig)) -> Arc<Pool> {
    let mut config = PoolConfig::new("app", Mode::Http);
    for (name, weight, maxconn) in servers {
        let mut server = ServerConfig::new(name, ([127, 0, 0, 1], 80).into());
        server.weight = *weight;
        server.maxconn = Some(*maxconn).filter(|n| *n > 0);
        config.servers.push(server);
    }
    with(&mut config);
    let config = Arc::new(config);
    let pool = Pool::new(config.clone(), 0);
    let slot = |c: &ServerConfig| Slot {
        server: pool.new_server(&c.name, Admin::Ready, c.maxconn.unwrap_or(0), 1),
        config: c.clone(),
        address: c.address,
        weight: c.weight,
        added: false,
    };
    let slots = config.servers.iter().map(slot).collect();
    pool.replace(ServerSet::new(config, slots));
    pool
}

fn server(pool: &Pool, name: &str) -> Arc<Server> {
    let set = pool.set();
    set.slots[set.index_of_name(name).unwrap()].server.clone()
}

fn request() -> Request<'static> {
    Request::from(CLIENT)
}

fn chosen(pool: &Pool, picker: &mut Picker, request: &Request<'_>, now: Millis) -> String {
    pool.pick(picker, request, now).map_or_else(|e| e.to_string(), |l| l.server.name.to_string())
}

#[test]
fn what_is_drained_gets_nothing_new_and_its_count_reaches_zero() {
    let pool = pool_of(&[("a", 1, 0), ("b", 1, 0)], |_| {});
    let mut picker = Picker::new(1);
    let held: Vec<Lease> = (0..4).map(|_| pool.pick(&mut picker, &request(), 1).unwrap()).collect();
    let a = server(&pool, "a");
    assert_eq!(a.in_use(), 2);
    pool.set_admin(&a, Admin::Drain, 2);
    assert!((0..50).all(|_| chosen(&pool, &mut picker, &request(), 3) == "b"));
    assert_eq!(a.in_use(), 2, "what it has, it keeps");
    drop(held);
    assert_eq!(a.in_use(), 0);
    pool.set_admin(&server(&pool, "b"), Admin::Maint, 4);
    assert_eq!(pool.pick(&mut picker, &request(), 5).unwrap_err(), PickError::NoServer);
    pool.set_admin(&a, Admin::Ready, 6);
    assert_eq!(chosen(&pool, &mut picker, &request(), 7), "a");
}

#[test]
fn backups_serve_only_where_no_other_can() {
    let pool = pool_of(&[("a", 1, 0), ("b", 1, 0)], |c| c.servers[1].backup = true);
    let mut picker = Picker::new(1);
    assert!((0..10).all(|_| chosen(&pool, &mut picker, &request(), 1) == "a"));
    pool.set_health(&server(&pool, "a"), Health::Down, 2);
    assert!((0..10).all(|_| chosen(&pool, &mut picker, &request(), 3) == "b"));
    pool.set_health(&server(&pool, "a"), Health::Up, 4);
    assert!((0..10).all(|_| chosen(&pool, &mut picker, &request(), 5) == "a"));
}

#[test]
fn least_connections_by_weight() {
    let pool = pool_of(&[("a", 1, 0), ("b", 3, 0)], |c| c.balance = Balance::LeastConn);
    let mut picker = Picker::new(1);
    let _held: Vec<Lease> = (0..400).map(|_| pool.pick(&mut picker, &request(), 1).unwrap()).collect();
    let (a, b) = (server(&pool, "a").in_use(), server(&pool, "b").in_use());
    assert!(a.abs_diff(100) <= 1 && b.abs_diff(300) <= 1, "{a} and {b}");
}

#[test]
fn a_server_that_came_back_warms_up() {
    let pool = pool_of(&[("a", 100, 0), ("b", 100, 0)], |c| c.slowstart = Some(Duration::from_secs(10)));
    let a = server(&pool, "a");
    pool.set_health(&a, Health::Down, 1_000);
    pool.set_health(&a, Health::Up, 2_000);
    let mut picker = Picker::new(1);
    let mut share = |now| (0..1_000).filter(|_| chosen(&pool, &mut picker, &request(), now) == "a").count();
    let (early, middle, late) = (share(2_500), share(7_000), share(12_001));
    assert!((30..=60).contains(&early) && (310..=350).contains(&middle) && late == 500, "{early} {middle} {late}");
}

#[test]
fn source_hash_stays_and_moves_only_for_the_server_that_is_down() {
    let servers = [("a", 1, 0), ("b", 1, 0), ("c", 1, 0)];
    let pool = pool_of(&servers, |c| c.balance = Balance::Source);
    let (mut one, mut other) = (Picker::new(1), Picker::new(99));
    let ask = |picker: &mut Picker, n: u32, now| {
        let source = IpAddr::from(n.to_be_bytes());
        chosen(&pool, picker, &Request::from(source), now)
    };
    let before: Vec<String> = (0..3000).map(|n| ask(&mut one, n, 1)).collect();
    assert!((0..3000).all(|n| ask(&mut other, n, 1) == before[n as usize]), "all threads agree");
    pool.set_health(&server(&pool, "b"), Health::Down, 2);
    for (n, was) in before.iter().enumerate() {
        let is = ask(&mut one, n as u32, 3);
        assert!(is == *was || was == "b" && is != "b");
    }
}

#[test]
fn a_cookie_binds_and_drain_is_as_configured() {
    for (drain, then) in [(DrainPersistence::Keep, "a"), (DrainPersistence::Move, "b")] {
        let by = PersistBy::Cookie { name: "srv".into(), secure: true, http_only: true, max_age: None };
        let pool = pool_of(&[("a", 1, 0), ("b", 1, 0)], |c| c.persistence = Some(Persistence { by, drain }));
        let mut picker = Picker::new(1);
        let bound = Request { cookie: Some("a"), ..request() };
        assert!((0..10).all(|_| chosen(&pool, &mut picker, &bound, 1) == "a"));
        let lease = pool.pick(&mut picker, &bound, 1).unwrap();
        assert_eq!(pool.set_cookie(&lease), None, "it knows already");
        let lease = pool.pick(&mut picker, &request(), 1).unwrap();
        let cookie = pool.set_cookie(&lease).unwrap();
        assert_eq!(cookie, format!("srv={}; Path=/; HttpOnly; Secure; SameSite=Lax", lease.server.name));
        pool.set_admin(&server(&pool, "a"), Admin::Drain, 2);
        assert_eq!(chosen(&pool, &mut picker, &bound, 3), then, "{drain:?}");
        assert_eq!(chosen(&pool, &mut picker, &request(), 3), "b", "new clients never");
        pool.set_admin(&server(&pool, "a"), Admin::Maint, 4);
        assert_eq!(chosen(&pool, &mut picker, &bound, 5), "b");
        assert_eq!(chosen(&pool, &mut picker, &Request { cookie: Some("gone"), ..request() }, 5), "b");
    }
}

#[test]
fn source_persistence_outlives_other_weights() {
    let by = PersistBy::Source { expire: Duration::from_secs(1), size: 100 };
    let pool = pool_of(&[("a", 1, 0), ("b", 1, 0)], |c| {
        c.persistence = Some(Persistence { by, drain: DrainPersistence::Keep });
    });
    let mut picker = Picker::new(1);
    let first = chosen(&pool, &mut picker, &request(), 1);
    assert!((0..10).all(|_| chosen(&pool, &mut picker, &request(), 500) == first));
    pool.set_health(&server(&pool, &first), Health::Down, 600);
    let second = chosen(&pool, &mut picker, &request(), 700);
    assert_ne!(first, second);
    pool.set_health(&server(&pool, &first), Health::Up, 800);
    assert_eq!(chosen(&pool, &mut picker, &request(), 900), second, "the newest binding holds");
}

#[test]
fn a_retry_goes_elsewhere_where_it_can() {
    let pool = pool_of(&[("a", 1, 0), ("b", 1, 0)], |_| {});
    let mut picker = Picker::new(1);
    let a = [server(&pool, "a").id];
    assert!((0..10).all(|_| chosen(&pool, &mut picker, &Request { tried: &a, ..request() }, 1) == "b"));
    pool.set_admin(&server(&pool, "b"), Admin::Maint, 1);
    assert_eq!(chosen(&pool, &mut picker, &Request { tried: &a, ..request() }, 2), "a");
}

#[test]
fn a_server_that_refuses_connections_is_the_last_choice_for_a_while() {
    let pool = pool_of(&[("a", 1, 0), ("b", 1, 0)], |c| c.balance = Balance::LeastConn);
    let (a, b) = (server(&pool, "a"), server(&pool, "b"));
    let mut picker = Picker::new(1);
    let all = |picker: &mut Picker, from: Millis| -> std::collections::BTreeSet<String> {
        (from..from + 20).map(|now| chosen(&pool, picker, &request(), now)).collect()
    };
    // Whoever refuses at once always has the fewest sessions.
    let _busy: Vec<Lease> =
        (0..9).map(|_| pool.pick(&mut picker, &Request { tried: &[a.id], ..request() }, 1).unwrap()).collect();
    assert_eq!(chosen(&pool, &mut picker, &request(), 2), "a");
    assert!(!pool.take_suspicion());
    pool.unreachable(&a, 10);
    assert!(pool.take_suspicion() && !pool.take_suspicion());
    assert_eq!((a.take_suspicion(), a.take_suspicion(), b.take_suspicion()), (Some(true), None, None));
    assert!(all(&mut picker, 20).iter().eq(["b"]));
    assert_eq!(chosen(&pool, &mut picker, &request(), 10 + server::AVOIDED), "a", "time alone brings it back");
    // For twice as long the second time, and never longer than sixteen times.
    pool.unreachable(&a, 2000);
    assert_eq!(a.avoided_until(), 2000 + 2 * server::AVOIDED);
    pool.unreachable(&a, 2001);
    assert_eq!(a.avoided_until(), 2000 + 2 * server::AVOIDED, "it is avoided already");
    let mut now = 10_000;
    for _ in 0..9 {
        pool.unreachable(&a, now);
        now = a.avoided_until();
    }
    pool.unreachable(&a, now);
    assert_eq!(a.avoided_until(), now + 16 * server::AVOIDED);
    assert!(all(&mut picker, now).iter().eq(["b"]));
    // Where there is no other one, it is tried.
    pool.unreachable(&b, now);
    assert_eq!(chosen(&pool, &mut picker, &request(), now + 1), "a");
    // A connection that was made ends it.
    pool.reached(&a);
    assert_eq!((a.avoided_until(), chosen(&pool, &mut picker, &request(), now + 2)), (0, "a".to_owned()));
    pool.unreachable(&a, now + 3);
    assert_eq!(a.avoided_until(), now + 3 + server::AVOIDED, "and it begins anew");
}

#[test]
fn leases_are_counted_by_pool_and_by_server() {
    let pool = pool_of(&[("a", 1, 0), ("b", 1, 0)], |_| {});
    let mut picker = Picker::new(1);
    let mut held: Vec<Lease> = (0..5).map(|_| pool.pick(&mut picker, &request(), 1).unwrap()).collect();
    assert_eq!(held.iter().map(Lease::busy).map(|(_, pool)| pool).collect::<Vec<_>>(), [5; 5]);
    held.truncate(1);
    assert_eq!(held[0].busy(), (1, 1));
}

#[test]
fn outliers_are_out_for_a_while_and_never_the_last() {
    let pool = pool_of(&[("a", 1, 0), ("b", 1, 0)], |c| {
        c.outliers = Some(OutlierConfig { consecutive: 3, eject: Duration::from_millis(100), max_ejected: 1.0 });
    });
    let (a, b) = (server(&pool, "a"), server(&pool, "b"));
    pool.failed(&a, 1);
    pool.failed(&a, 1);
    assert!(!a.is_ejected(2));
    pool.failed(&a, 1);
    assert!(a.is_ejected(100) && !a.is_ejected(101));
    (0..10).for_each(|_| pool.failed(&b, 50));
    assert!(!b.is_ejected(51), "the last one stays");
    let mut picker = Picker::new(1);
    assert!((0..10).all(|_| chosen(&pool, &mut picker, &request(), 60) == "b"));
    let names: std::collections::BTreeSet<String> = (0..10).map(|_| chosen(&pool, &mut picker, &request(), 101)).collect();
    assert_eq!(names.len(), 2, "time alone brings it back");
    (0..3).for_each(|_| pool.failed(&a, 200));
    assert!(a.is_ejected(399) && !a.is_ejected(400), "twice as long the second time");
}

#[test]
fn not_more_than_the_share_are_ejected() {
    let servers = [("a", 1, 0), ("b", 1, 0), ("c", 1, 0), ("d", 1, 0)];
    let pool = pool_of(&servers, |c| {
        c.outliers = Some(OutlierConfig { consecutive: 1, eject: Duration::from_secs(1), max_ejected: 0.5 });
    });
    for (name, ..) in servers {
        pool.failed(&server(&pool, name), 10);
    }
    assert_eq!(pool.set().slots.iter().filter(|s| s.server.is_ejected(11)).count(), 2);
}

#[tokio::test]
async fn those_who_wait_are_served_in_order() {
    let pool = pool_of(&[("a", 1, 1)], |_| {});
    let picker = RefCell::new(Picker::new(1));
    let held = pool.acquire(&picker, &request()).await.unwrap();
    assert_eq!(pool.pick(&mut picker.borrow_mut(), &request(), now()).unwrap_err(), PickError::Full);
    let order = RefCell::new(Vec::new());
    let waiter = |n: usize| {
        let (pool, picker, order) = (&pool, &picker, &order);
        async move {
            let lease = pool.acquire(picker, &request()).await.unwrap();
            order.borrow_mut().push(n);
            drop(lease);
        }
    };
    let release = async {
        while pool.queue().len() < 20 {
            tokio::task::yield_now().await;
        }
        drop(held);
    };
    futures::future::join(futures::future::join_all((0..20).map(waiter)), release).await;
    assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
    assert_eq!((server(&pool, "a").in_use(), pool.queue().len()), (0, 0));
    assert_eq!(server(&pool, "a").stats.max.load(Ordering::Relaxed), 1, "never more than maxconn");
}

#[tokio::test]
async fn the_queue_has_a_length_and_a_time_and_forgets_who_leaves() {
    let pool = pool_of(&[("a", 1, 1)], |c| {
        c.queue.length = 1;
        c.queue.timeout = Duration::from_millis(30);
    });
    let picker = RefCell::new(Picker::new(1));
    let held = pool.acquire(&picker, &request()).await.unwrap();
    {
        let asked = request();
        let mut waits = Box::pin(pool.acquire(&picker, &asked));
        assert!(futures::poll!(&mut waits).is_pending());
        assert_eq!(pool.acquire(&picker, &request()).await.unwrap_err(), PickError::QueueFull);
        assert_eq!(waits.await.unwrap_err(), PickError::QueueTimeout);
    }
    assert_eq!(pool.queue().len(), 0);
    let asked = request();
    let mut waits = Box::pin(pool.acquire(&picker, &asked));
    assert!(futures::poll!(&mut waits).is_pending());
    drop(waits);
    assert_eq!(pool.queue().len(), 0, "a client that hung up");
    drop(held);
    assert_eq!(server(&pool, "a").in_use(), 0);
}

#[tokio::test]
async fn new_capacity_serves_those_who_wait() {
    let pool = pool_of(&[("a", 1, 1), ("b", 1, 1)], |_| {});
    let (a, b) = (server(&pool, "a"), server(&pool, "b"));
    pool.set_admin(&b, Admin::Maint, 1);
    let picker = RefCell::new(Picker::new(1));
    let held = pool.acquire(&picker, &request()).await.unwrap();
    let asked = request();
    let mut first = Box::pin(pool.acquire(&picker, &asked));
    let mut second = Box::pin(pool.acquire(&picker, &asked));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    pool.set_admin(&b, Admin::Ready, 2);
    let first = first.await.unwrap();
    assert_eq!(&*first.server.name, "b");
    assert!(futures::poll!(&mut second).is_pending());
    pool.set_maxconn(&a, 2);
    assert_eq!(&*second.await.unwrap().server.name, "a");
    drop((held, first));
    assert_eq!((a.in_use(), b.in_use(), pool.queue().len()), (0, 0, 0));
}

/// Those who wait for their own server are sent elsewhere when it goes.
#[tokio::test]
async fn who_waits_for_a_server_that_goes_down_chooses_again() {
    let by = PersistBy::Cookie { name: "srv".into(), secure: false, http_only: true, max_age: None };
    let pool = pool_of(&[("a", 1, 1), ("b", 1, 1)], |c| {
        c.persistence = Some(Persistence { by, drain: DrainPersistence::Keep });
    });
    let picker = RefCell::new(Picker::new(1));
    let bound = Request { cookie: Some("a"), ..request() };
    let held = pool.acquire(&picker, &bound).await.unwrap();
    let mut waits = Box::pin(pool.acquire(&picker, &bound));
    assert!(futures::poll!(&mut waits).is_pending(), "it waits for its own server although b is free");
    pool.set_health(&server(&pool, "a"), Health::Down, 2);
    assert_eq!(&*waits.await.unwrap().server.name, "b");
    drop(held);
}

/// Many threads over few sessions: never more than maxconn, nobody lost, nothing left.
#[test]
fn maxconn_holds_over_threads() {
    let pool = pool_of(&[("a", 1, 2), ("b", 1, 3)], |c| c.queue.timeout = Duration::from_secs(20));
    let threads: Vec<_> = (0..4u64)
        .map(|seed| {
            let pool = pool.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let picker = RefCell::new(Picker::new(seed));
                    let one = || async {
                        for _ in 0..200 {
                            let lease = pool.acquire(&picker, &request()).await.unwrap();
                            tokio::task::yield_now().await;
                            drop(lease);
                        }
                    };
                    futures::future::join_all((0..8).map(|_| one())).await;
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let (a, b) = (server(&pool, "a"), server(&pool, "b"));
    assert_eq!((a.in_use(), b.in_use(), pool.queue().len()), (0, 0, 0));
    assert_eq!(a.stats.total.load(Ordering::Relaxed) + b.stats.total.load(Ordering::Relaxed), 4 * 8 * 200);
    assert!(a.stats.max.load(Ordering::Relaxed) <= 2 && b.stats.max.load(Ordering::Relaxed) <= 3);
}
