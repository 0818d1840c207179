//! Every algorithm with exact weights, times and randomness.

use super::hash::Ring;
use super::*;

fn candidates(weights: &[u32]) -> Vec<Candidate> {
    weights.iter().enumerate().map(|(index, weight)| Candidate { index, weight: *weight }).collect()
}

#[test]
fn smooth_spreads_the_turns_of_a_heavy_server() {
    let candidates = candidates(&[5, 1, 1]);
    let mut smooth = Smooth::default();
    smooth.follow(&candidates, 0);
    let turns: Vec<usize> = (0..14).filter_map(|_| smooth.next(&candidates, |_| true)).collect();
    // As nginx documents it: a a b a c a a.
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn equal_weights_go_round_from_where_the_thread_begins() {
    let candidates = candidates(&[7, 7, 7]);
    let mut smooth = Smooth::default();
    smooth.follow(&candidates, 2);
    let turns: Vec<usize> = (0..5).filter_map(|_| smooth.next(&candidates, |_| true)).collect();
    assert_eq!(turns, [2, 0, 1, 2, 0]);
    assert_eq!(smooth.next(&candidates, |i| i == 1), Some(1));
    assert_eq!(smooth.next(&candidates, |_| false), None);
}

#[test]
fn random_follows_the_weights() {
    let candidates = candidates(&[1, 2, 7]);
    let mut random = Random::new(42);
    let mut counts = [0u32; 3];
    for _ in 0..100_000 {
        counts[random.weighted(&candidates, |_| true).unwrap()] += 1;
    }
    for (count, wanted) in counts.iter().zip([10_000, 20_000, 70_000]) {
        assert!(count.abs_diff(wanted) < 600, "{counts:?}");
    }
    assert_eq!(random.weighted(&candidates, |i| i == 0), Some(0));
    assert_eq!(random.weighted(&candidates, |_| false), None);
}

/// The known result for balls into bins: the fullest of n bins with n balls holds about ln n / ln ln n by chance alone,
/// and about log2 ln n with two choices.
#[test]
fn two_choices_beat_one() {
    let candidates = candidates(&[1; 1000]);
    let mut random = Random::new(7);
    let (mut two, mut one) = (vec![0u64; 1000], vec![0u64; 1000]);
    for _ in 0..1000 {
        let of_two = random.of_two(&candidates, |_| true, |c| two[c.index]).unwrap();
        two[of_two] += 1;
        one[random.weighted(&candidates, |_| true).unwrap()] += 1;
    }
    let (two, one) = (two.iter().max().unwrap(), one.iter().max().unwrap());
    assert!(*two <= 3 && one > two, "fullest: {two} with two choices, {one} with one");
}

#[test]
fn two_choices_fall_back_to_whoever_is_usable() {
    let candidates = candidates(&[1; 50]);
    let mut random = Random::new(7);
    assert!((0..100).all(|_| random.of_two(&candidates, |i| i == 31, |_| 0) == Some(31)));
    assert_eq!(random.of_two(&[], |_| true, |_| 0), None);
}

#[test]
fn the_least_loaded_is_taken_and_ties_are_spread() {
    let candidates = candidates(&[1, 1, 1]);
    assert_eq!(random::least(&candidates, 0, |_| true, |c| [3, 1, 2][c.index]), Some(1));
    assert_eq!(random::least(&candidates, 0, |i| i != 1, |c| [3, 1, 2][c.index]), Some(2));
    assert_eq!(random::least(&candidates, 2, |_| true, |_| 5), Some(2));
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("server-{i}")).collect()
}

fn ring(names: &[String], weight: u16) -> Ring {
    Ring::new(names.iter().map(|n| (n.as_str(), weight)))
}

#[test]
fn a_server_that_leaves_moves_its_own_keys_and_no_others() {
    for n in [3, 10, 100] {
        let names = names(n);
        let before = ring(&names, 1);
        let after = ring(&names[..n - 1], 1);
        let keys = 20_000;
        let mut moved = 0;
        for key in 0..keys {
            let key = hash::mix(key);
            let (a, b) = (before.pick(key, |_, _| true).unwrap(), after.pick(key, |_, _| true).unwrap());
            if a == n - 1 {
                moved += 1;
                // Down is the same as gone: health does not disturb the others either.
                assert_eq!(before.pick(key, |i, _| i != n - 1), Some(b));
            } else {
                assert_eq!(a, b, "a key of another server moved");
            }
        }
        let share = f64::from(moved) / keys as f64;
        assert!(
            (0.6 / n as f64..1.6 / n as f64).contains(&share),
            "{n} servers: {share} of the keys moved, 1/n is {}",
            1.0 / n as f64
        );
    }
}

#[test]
fn equal_servers_have_about_equal_shares_and_weights_hold() {
    let names = names(10);
    let ring = ring(&names, 100);
    let mut counts = [0u32; 10];
    for key in 0..100_000u64 {
        counts[ring.pick(hash::mix(key), |_, _| true).unwrap()] += 1;
    }
    assert!(counts.iter().all(|c| (7_000..13_500).contains(c)), "{counts:?}");
    let weighted = Ring::new([("a", 100u16), ("b", 200), ("c", 0)].into_iter());
    let mut counts = [0u32; 3];
    for key in 0..90_000u64 {
        counts[weighted.pick(hash::mix(key), |_, _| true).unwrap()] += 1;
    }
    assert!((24_000..36_000).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
}

#[test]
fn hashes_are_the_same_on_every_node_and_in_every_version() {
    // Changing these moves the clients of every fleet that is upgraded node by node.
    let v4 = hash::of_address("192.0.2.7".parse().unwrap());
    assert_eq!(v4, hash::of_address("::ffff:192.0.2.7".parse().unwrap()));
    assert_eq!(hash::hash(b""), hash::mix(0xcbf2_9ce4_8422_2325));
    assert_eq!(hash::of_uri(b"/a?x=1"), hash::of_uri(b"/a?x=2"));
    assert_ne!(hash::of_uri(b"/a"), hash::of_uri(b"/b"));
}

#[test]
fn weight_grows_in_a_straight_line() {
    let at = |now| effective_weight(10, 1_000, Some(10_000), now);
    assert_eq!(at(1_000), (10, true), "a hundredth to begin with");
    assert_eq!(at(6_000), (500, true));
    assert_eq!(at(10_999), (999, true));
    assert_eq!(at(11_000), (1_000, false));
    assert_eq!(effective_weight(10, 0, Some(10_000), 5), (1_000, false), "nothing warms up at the start");
    assert_eq!(effective_weight(10, 1_000, None, 1_001), (1_000, false));
}
