//! Sampling under load: beyond a rate only one line of several is kept, errors always.

/// When to sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleConfig {
    /// Lines a second of the whole relay that are kept in full.
    pub above: u32,
    /// Beyond them one of so many is kept.
    pub keep_one_of: u32,
}

/// The sampling of one thread: each has an equal part of the rate.
#[derive(Debug, Default)]
pub struct Sampler {
    second: u64,
    seen: u32,
}

impl Sampler {
    /// Whether a line is kept. `second`: any clock in whole seconds.
    pub fn keeps(&mut self, config: SampleConfig, threads: usize, second: u64, is_error: bool) -> bool {
        if second != self.second {
            (self.second, self.seen) = (second, 0);
        }
        self.seen = self.seen.saturating_add(1);
        let part = (config.above / u32::try_from(threads.max(1)).unwrap_or(1)).max(1);
        is_error || self.seen <= part || (self.seen - part).is_multiple_of(config.keep_one_of.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_rate_one_of_several_is_kept_and_every_error() {
        let config = SampleConfig { above: 200, keep_one_of: 10 };
        let mut sampler = Sampler::default();
        let kept = (0..600).filter(|_| sampler.keeps(config, 2, 7, false)).count();
        assert_eq!(kept, 100 + 50);
        assert!((0..100).all(|_| sampler.keeps(config, 2, 7, true)));
        assert!(sampler.keeps(config, 2, 8, false), "the next second begins anew");
    }
}
