//! How fast the statistics of a large HAProxy are read: 10 backends of 1,000 servers, as 2.6 prints them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on should stop")]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lbdeck::engine::haproxy::parse::servers_state;
use lbdeck::engine::haproxy::parse::stats_csv::StatTable;
use lbdeck::engine::haproxy::{Known, Picture};

const HEADER_AND_ROWS: &str = include_str!("../src/engine/haproxy/fixtures/2.6-show-stat.txt");

/// `show stat` of `backends` backends with `servers` each: rows of a real reply under other names.
fn stats(backends: usize, servers: usize) -> Vec<u8> {
    let mut lines = HEADER_AND_ROWS.lines();
    let header = lines.next().expect("the fixture has a header");
    let row =
        |start: &str| HEADER_AND_ROWS.lines().find_map(|l| l.strip_prefix(start)).expect("the fixture has the row").to_owned();
    let (server, backend) = (row("web,web1"), row("web,BACKEND"));
    let mut text = format!("{header}\n");
    for b in 0..backends {
        for s in 0..servers {
            writeln!(text, "bk{b:02},srv{s:04}{server}").unwrap();
        }
        writeln!(text, "bk{b:02},BACKEND{backend}").unwrap();
    }
    text.push('\n');
    text.into_bytes()
}

fn states(backends: usize, servers: usize) -> Vec<u8> {
    let fixture = include_str!("../src/engine/haproxy/fixtures/2.6-show-servers-state.txt");
    let header = fixture.lines().find(|l| l.starts_with('#')).expect("the fixture has a header");
    let mut text = format!("1\n{header}\n");
    for b in 0..backends {
        for s in 0..servers {
            writeln!(text, "{b} bk{b:02} {s} srv{s:04} 10.0.{b}.9 2 0 10 10 905 6 3 4 6 0 0 0 - 8080 - 0 0 - - 0").unwrap();
        }
    }
    text.push('\n');
    text.into_bytes()
}

fn bench(c: &mut Criterion) {
    let (text, state_text) = (stats(10, 1000), states(10, 1000));
    let mut group = c.benchmark_group("10,000 servers");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("show stat: index and check every row", |b| {
        b.iter_with_setup(|| text.clone(), |text| StatTable::parse(text).unwrap());
    });
    let table = StatTable::parse(text.clone()).unwrap();
    let last = table.column("agg_check_status");
    group.bench_function("show stat: cut every field", |b| {
        b.iter(|| {
            let mut reader = table.reader(last);
            let mut sum = 0;
            for index in 0..table.len() {
                sum += reader.row(index).unwrap().raw(black_box(last - 3)).len();
            }
            sum
        });
    });
    group.bench_function("show stat: parse and cut every field", |b| {
        b.iter_with_setup(
            || text.clone(),
            |text| {
                let table = StatTable::parse(text).unwrap();
                let mut reader = table.reader(last);
                (0..table.len()).map(|i| reader.row(i).unwrap().raw(black_box(last - 3)).len()).sum::<usize>()
            },
        );
    });
    let (rows, _) = servers_state::parse(&state_text).unwrap();
    let mut known = Known::default();
    known.learn(&table, &Picture::of(&table, Some(&rows), &Known::default()).pools);
    group.bench_function("typed observation of a parsed table", |b| {
        b.iter(|| Picture::of(&table, Some(&rows), &known));
    });
    group.throughput(Throughput::Bytes((text.len() + state_text.len()) as u64));
    group.bench_function("whole reading: statistics, states, observation", |b| {
        b.iter_with_setup(
            || text.clone(),
            |text| {
                let table = StatTable::parse_at(text, 0, known.header()).unwrap();
                let (rows, _) = servers_state::parse(&state_text).unwrap();
                let picture = Picture::of(&table, Some(&rows), &known);
                (table, picture)
            },
        );
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
