//! The HAProxy engine against the real haproxy: every observation, every action, every fault.

use std::time::Duration;

use crate::support::app::{App, HeldRequest, get};
use crate::support::haproxy::{Haproxy, Pool, ask};
use crate::support::wait;

#[test]
fn the_test_haproxy_serves_reloads_and_ends() {
    let (one, two) = (App::start("one"), App::start("two"));
    let pool = Pool::new("web").server("web1", one.addr, "check inter 50ms").server("web2", two.addr, "");
    let mut haproxy = Haproxy::builder().pool(pool).master_worker().stats_page(true).tls(&["a.example"], (2030, 1, 2)).start();
    assert!(get(haproxy.frontend("web"), "/").ends_with("one\n"));
    assert_eq!(haproxy.stat("web", "web2", "type"), "2");
    assert!(ask(&haproxy.master_socket(), "show proc").unwrap().contains("worker"));
    assert!(ask(&haproxy.user_socket(), "show info").unwrap().contains("Version: 2"));

    let mut held = HeldRequest::open(haproxy.frontend("web"));
    assert_eq!(one.holding() + two.holding(), 1);
    let before = haproxy.worker_pid();
    haproxy.reload();
    assert_ne!(before, haproxy.worker_pid());
    assert!(!held.is_over(), "a reload keeps sessions");
    one.release();
    two.release();
    wait::until("the response to end", Duration::from_secs(5), || (one.holding() + two.holding() == 0).then_some(()));
}
