//! How often luck makes a champion: networks searched and registered on synthetic martingales,
//! whose changes nothing foretells.
//!
//! `cargo run --release -p btc-pipeline --example martingales -- 40`

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
use btc_models::ModelType;
use btc_pipeline::{EVENT_TIMESTAMP, PRICE, SearchSpace, TableFn, Workflow};
use btc_track::TrackingClient;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const DAYS: i64 = 730;
const NETWORKS: [ModelType; 3] = [ModelType::Lstm, ModelType::Cnn, ModelType::NLinear];

/// A price whose log changes are independent, with a standard deviation of 3 % a day.
fn martingale(seed: u64) -> Result<RecordBatch, Box<dyn Error + Send + Sync>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut price = 100.0;
    let close = (0..DAYS).map(|_| {
        // A sum of twelve uniform numbers is near enough to a normal one.
        let noise = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        price *= (0.03 * noise).exp();
        price
    });
    let close = Float64Array::from_iter_values(close.collect::<Vec<f64>>());
    let times = TimestampSecondArray::from_iter_values((1..=DAYS).map(|day| 86_400 * day));
    let columns: [(&str, ArrayRef); 2] =
        [(EVENT_TIMESTAMP, Arc::new(times)), (PRICE, Arc::new(close))];
    Ok(RecordBatch::try_from_iter(columns)?)
}

#[expect(clippy::print_stdout, reason = "an example shows what it finds")]
fn main() -> Result<(), Box<dyn Error>> {
    let series: u64 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 40,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let (mut verdicts, mut champions, mut below) = (BTreeMap::new(), 0, 0);
    for seed in 0..series {
        let folder = tempfile::tempdir()?;
        let client = TrackingClient::in_memory(folder.path())?;
        for model_type in NETWORKS {
            let source = TableFn::new(move || martingale(seed));
            let name = format!("martingale-{model_type}");
            let mut workflow = Workflow::new(name, source, client.clone());
            workflow.search.space = Arc::new(SearchSpace {
                model_types: vec![model_type],
                timesteps: Some(10),
            });
            workflow.search.seed = seed;
            workflow.study.seed = seed;
            workflow.register.allow_worse_than_naive = true;
            let table = runtime.block_on(workflow.table(None))?;
            workflow.search(&table, &())?;
            let registered = workflow.register(&table)?;
            *verdicts.entry(registered.verdict.name()).or_insert(0) += 1;
            champions += usize::from(registered.champion);
            below += usize::from(!registered.worse_than_naive);
        }
    }
    println!(
        "{series} martingales x {} networks: {verdicts:?}; {champions} champions by themselves; \
         {below} with an MAE below naive's",
        NETWORKS.len()
    );
    Ok(())
}
