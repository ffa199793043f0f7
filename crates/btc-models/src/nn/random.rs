//! Seeded random numbers. candle's generator on the CPU cannot be seeded.

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A stream of random numbers that depends on nothing but a seed and a name.
#[derive(Debug, Clone)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// The stream called `name` of `seed`; streams of different names are independent.
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: a name's bits must stay the same over versions of Rust.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
        });
        Self(Xoshiro256PlusPlus::seed_from_u64(
            seed ^ hash.rotate_left(17),
        ))
    }

    /// A uniform number in [0, 1) with 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.0.random::<u32>() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// Brings the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        items.shuffle(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_name_only() {
        let draw = |seed, name: &str| Stream::new(seed, name).uniform();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn uniform_numbers_fill_the_unit_interval() {
        let mut stream = Stream::new(7, "uniform");
        let draws: Vec<f32> = (0..20_000).map(|_| stream.uniform()).collect();
        let mean = draws.iter().sum::<f32>() / 2e4;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!(draws.iter().all(|x| (0.0..1.0).contains(x)));
    }
}
