//! A market that never was, for trying things out without a network.

use crate::blockchain::DEFAULT_CHARTS;
use crate::error::{Error, Result};
use crate::fetched::{Fetched, Window};
use crate::series::SeriesName;
use crate::source::{DailySeries, OHLCV, Source, SourceError, daily_schema, to_batch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::{Datelike, Days, NaiveDate};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::RangeInclusive;

/// The name under which made-up data is stored, and the `price_source` of its rows.
pub(crate) const SYNTHETIC: &str = "synthetic";

/// The number of days that a sample has unless another number is asked for: three years.
pub const SAMPLE_DAYS: usize = 1096;

/// A made-up market: prices with calm and stormy times, and charts with a trend and a weekly
/// rhythm.
///
/// Equal seeds and first days give equal values on every machine: nothing but additions,
/// multiplications, divisions and square roots goes into them, which are exact everywhere.
///
/// ```
/// use btc_ingest::{Source, Synthetic, Window};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let first = "2021-01-01".parse()?;
/// let market = Synthetic::new(7, first);
/// let window = Window::of(first..="2021-01-31".parse()?, "2024-01-01T00:00:00Z".parse()?);
/// let batch = market.fetch(&window).await?.into_batch()?;
/// assert_eq!((batch.num_rows(), batch.num_columns()), (31, 21));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// # }).map_err(|error| error.to_string())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Synthetic {
    seed: u64,
    first_day: NaiveDate,
}

impl Synthetic {
    /// Begins a market on `first_day`.
    #[must_use]
    pub fn new(seed: u64, first_day: NaiveDate) -> Self {
        Self { seed, first_day }
    }

    pub(crate) fn series(&self, days: &RangeInclusive<NaiveDate>) -> Result<Vec<DailySeries>> {
        /// More days than this are a slip.
        const MOST_DAYS: i64 = 100_000;
        let length = (*days.end() - self.first_day).num_days() + 1;
        if length > MOST_DAYS {
            let problem = format!("a sample of {length} days is too long; at most {MOST_DAYS}");
            return Err(Error::config(problem));
        }
        let names = OHLCV
            .into_iter()
            .chain(DEFAULT_CHARTS)
            .map(SeriesName::of_chart);
        let mut series: Vec<DailySeries> = names
            .map(|name| DailySeries {
                name,
                values: Vec::new(),
            })
            .collect();
        let mut market = Market::new(self.seed);
        for index in 0..u64::try_from(length).unwrap_or(0) {
            let Some(day) = self.first_day.checked_add_days(Days::new(index)) else {
                break;
            };
            let values = market.next_day(day);
            if days.contains(&day) {
                for (series, value) in series.iter_mut().zip(values) {
                    series.values.push((day, value));
                }
            }
        }
        Ok(series)
    }
}

#[async_trait]
impl Source for Synthetic {
    fn name(&self) -> &str {
        SYNTHETIC
    }

    fn schema(&self) -> SchemaRef {
        let charts = DEFAULT_CHARTS.map(SeriesName::of_chart);
        daily_schema(
            OHLCV
                .into_iter()
                .chain(charts.iter().map(SeriesName::as_str)),
        )
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        let days = window.days("close");
        Ok(to_batch(self.schema(), &self.series(&days)?)?.into())
    }
}

/// Activity by day of the week, Monday first: weekends are quiet.
const WEEK: [f64; 7] = [1.02, 1.05, 1.06, 1.05, 1.03, 0.92, 0.87];

struct Market {
    random: Xoshiro256PlusPlus,
    close: f64,
    variance: f64,
    last_return: f64,
    /// Slow interest in the market, around 1.
    interest: f64,
    hash_rate: f64,
    difficulty: f64,
    days_to_retarget: u32,
    coins: f64,
    transactions: f64,
    wallets: f64,
    outputs: f64,
    megabytes: f64,
}

impl Market {
    fn new(seed: u64) -> Self {
        Self {
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            close: 20_000.0,
            variance: 0.0012,
            last_return: 0.0,
            interest: 1.0,
            hash_rate: 1.4e8,
            difficulty: 1.9e13,
            days_to_retarget: 14,
            coins: 18.6e6,
            transactions: 6.0e8,
            wallets: 6.3e7,
            outputs: 7.0e7,
            megabytes: 3.2e5,
        }
    }

    /// A standard normal value, near enough: the sum of twelve uniform ones.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0
    }

    fn noise(&mut self, size: f64) -> f64 {
        (1.0 + size * self.normal()).max(0.2)
    }

    /// Open, high, low, close, volume, and the charts in the order of `DEFAULT_CHARTS`.
    fn next_day(&mut self, day: NaiveDate) -> [f64; 20] {
        let week = WEEK[day.weekday().num_days_from_monday() as usize];
        // Generalised autoregressive variance: storms feed on themselves and die down slowly.
        self.variance =
            0.000_04 + 0.09 * self.last_return * self.last_return + 0.88 * self.variance;
        let deviation = self.variance.sqrt();
        let change = (0.0005 + deviation * self.normal()).clamp(-0.4, 0.5);
        self.last_return = change;
        let open = self.close;
        self.close = (open * (1.0 + change)).max(1.0);
        let spread = 0.4 * deviation;
        let high = open.max(self.close) * (1.0 + spread * self.normal().abs());
        let low = open.min(self.close) * (1.0 - (spread * self.normal().abs()).min(0.5));

        self.interest = 0.95 * self.interest + 0.05 + 0.5 * (change.abs() - 0.025);
        let storm = 1.0 + 8.0 * change.abs();
        let activity = self.interest.clamp(0.3, 3.0) * week;
        let volume = 45_000.0 * activity * storm * self.noise(0.12);

        let blocks = 144.0 * self.noise(0.05);
        self.hash_rate *= 1.0 + 0.0008 + 0.0004 * self.normal();
        let hash_rate = self.hash_rate * blocks / 144.0;
        self.days_to_retarget -= 1;
        if self.days_to_retarget == 0 {
            self.days_to_retarget = 14;
            self.difficulty = self.hash_rate * 1.36e5;
        }
        let coins_before = self.coins;
        self.coins += blocks * 6.25;
        let transactions = 260_000.0 * (0.8 + 0.2 * activity) * self.noise(0.04);
        let transactions_before = self.transactions;
        self.transactions += transactions;
        self.wallets += 28_000.0 * self.noise(0.2);
        self.outputs += 20_000.0 * self.normal() + 20_000.0;
        let block_size = 1.25 * (0.9 + 0.1 * activity) * self.noise(0.04);
        self.megabytes += block_size * blocks;
        let fees = transactions * 1.5 * activity * storm * self.noise(0.15);
        let addresses = 0.0024 * 260_000.0 * 1_000.0 * (0.8 + 0.2 * activity) * self.noise(0.03);
        let unpopular = transactions * 0.985 * self.noise(0.003);
        let moved = transactions * 0.7 * self.close * (0.7 + 0.3 * activity) * self.noise(0.1);
        let trade_volume = 0.08 * volume * self.close * self.noise(0.08);
        let market_price = self.close * (1.0 + 0.0005 * self.normal());
        [
            open,
            high,
            low,
            self.close,
            volume,
            self.megabytes,
            block_size,
            transactions_before,
            hash_rate,
            self.difficulty,
            fees,
            addresses,
            transactions,
            self.wallets,
            self.outputs,
            unpopular,
            moved,
            trade_volume,
            coins_before,
            market_price,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(seed: u64) -> Vec<DailySeries> {
        let first: NaiveDate = "2021-01-01".parse().unwrap();
        let days = first..=first + Days::new(SAMPLE_DAYS as u64 - 1);
        Synthetic::new(seed, first).series(&days).unwrap()
    }

    fn close(seed: u64) -> Vec<f64> {
        series(seed)
            .swap_remove(3)
            .values
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    }

    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (mean_a, mean_b) = (mean(a), mean(b));
        let product = |x: &[f64], mean_x: f64, y: &[f64], mean_y: f64| -> f64 {
            x.iter()
                .zip(y)
                .map(|(x, y)| (x - mean_x) * (y - mean_y))
                .sum()
        };
        product(a, mean_a, b, mean_b)
            / (product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b)).sqrt()
    }

    #[test]
    fn equal_seeds_give_equal_markets() {
        assert_eq!(series(3), series(3));
        assert_ne!(close(3), close(4));
    }

    #[test]
    fn a_later_end_does_not_change_the_days_before_it() {
        let first: NaiveDate = "2021-01-01".parse().unwrap();
        let short = Synthetic::new(1, first)
            .series(&(first..=first + Days::new(9)))
            .unwrap();
        let long = Synthetic::new(1, first)
            .series(&(first..=first + Days::new(99)))
            .unwrap();
        for (short, long) in short.iter().zip(&long) {
            assert_eq!(short.values[..], long.values[..10]);
        }
    }

    #[test]
    fn every_value_is_a_possible_one() {
        for seed in 0..5 {
            let series = series(seed);
            for DailySeries { name, values } in &series {
                assert!(
                    values.iter().all(|(_, v)| v.is_finite() && *v > 0.0),
                    "{name}, {seed}"
                );
            }
            for day in 0..SAMPLE_DAYS {
                let [open, high, low, close] = [0, 1, 2, 3].map(|i: usize| series[i].values[day].1);
                assert!(low <= open.min(close) && high >= open.max(close));
            }
        }
    }

    #[test]
    fn large_moves_come_together_but_their_signs_do_not() {
        let mut clustering = 0.0;
        let mut direction = 0.0;
        for seed in 0..10 {
            let returns: Vec<f64> = close(seed)
                .windows(2)
                .map(|pair| pair[1] / pair[0] - 1.0)
                .collect();
            let sizes: Vec<f64> = returns.iter().map(|value| value.abs()).collect();
            clustering += correlation(&sizes[1..], &sizes[..sizes.len() - 1]) / 10.0;
            direction += correlation(&returns[1..], &returns[..returns.len() - 1]) / 10.0;
        }
        assert!(clustering > 0.05, "{clustering}");
        assert!(direction.abs() < 0.03, "{direction}");
    }
}
