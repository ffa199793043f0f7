//! The files that well-known services give out, by name.

use super::mapping::ColumnMapping;
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A service whose files are known: which column is which series.
///
/// The rest of a file is recognised as always, for services change it; what a service's files
/// have looked like is in the project's documentation of imports.
///
/// ```
/// use btc_ingest::Preset;
///
/// let preset: Preset = "investing".parse()?;
/// let table = preset.columns().read_csv(
///     b"\"Date\",\"Price\",\"Open\",\"High\",\"Low\",\"Vol.\",\"Change %\"\n\
///       \"12/29/2024\",\"95,000.5\",\"94,000.0\",\"96,000.0\",\"93,000.0\",\"68.18K\",\"1.06%\"\n",
/// )?;
/// assert_eq!((table.num_rows(), table.num_columns()), (1, 6));
/// # Ok::<(), btc_ingest::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preset {
    /// CoinMarketCap's historical data: semicolons, newest first.
    CoinMarketCap,
    /// CryptoDataDownload: a URL before the header.
    CryptoDataDownload,
    /// Binance's public klines: no header; milliseconds until 2024, microseconds from 2025.
    Binance,
    /// The usual data sets on Kaggle.
    Kaggle,
    /// Yahoo Finance, also by way of `yfinance` with its three lines of header.
    Yahoo,
    /// Coin Metrics' community data.
    CoinMetrics,
    /// Bitstamp's candles.
    Bitstamp,
    /// Investing.com: thousands separators, K, M and B.
    Investing,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::CoinMarketCap,
        Self::CryptoDataDownload,
        Self::Binance,
        Self::Kaggle,
        Self::Yahoo,
        Self::CoinMetrics,
        Self::Bitstamp,
        Self::Investing,
    ];

    /// The name, as it is given.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CoinMarketCap => "coinmarketcap",
            Self::CryptoDataDownload => "cryptodatadownload",
            Self::Binance => "binance",
            Self::Kaggle => "kaggle",
            Self::Yahoo => "yahoo",
            Self::CoinMetrics => "coinmetrics",
            Self::Bitstamp => "bitstamp",
            Self::Investing => "investing",
        }
    }

    /// Which of the service's columns are taken.
    #[must_use]
    pub fn columns(self) -> ColumnMapping {
        let with = |date: &[&str], columns: &[(&[&str], &str)]| {
            let mut mapping = ColumnMapping::new("");
            mapping.date = date.iter().map(|name| (*name).to_owned()).collect();
            columns.iter().fold(mapping, |mapping, (names, series)| {
                // A file without a close tells no price; what else there is is welcome.
                mapping.with_one_of(names, series, *series != "close")
            })
        };
        match self {
            Self::CoinMarketCap => with(
                &["timeOpen", "Date"],
                &[
                    (&["open", "Open*"], "open"),
                    (&["high"], "high"),
                    (&["low"], "low"),
                    (&["close", "Close*"], "close"),
                    (&["volume"], "volume"),
                    (&["marketCap", "Market Cap"], "market_cap"),
                    (&["circulatingSupply"], "circulating_supply"),
                ],
            ),
            Self::CryptoDataDownload => with(
                &["date", "unix", "Unix Timestamp"],
                &[
                    (&["open"], "open"),
                    (&["high"], "high"),
                    (&["low"], "low"),
                    (&["close"], "close"),
                    (&["Volume BTC", "Volume*"], "volume"),
                ],
            ),
            Self::Binance => with(
                &["open_time", "Open time", "0"],
                &[
                    (&["open", "1"], "open"),
                    (&["high", "2"], "high"),
                    (&["low", "3"], "low"),
                    (&["close", "4"], "close"),
                    (&["volume", "5"], "volume"),
                ],
            ),
            Self::Kaggle => with(
                &["Timestamp", "Date", "time", "Open time", "unix"],
                &[
                    (&["Open"], "open"),
                    (&["High"], "high"),
                    (&["Low"], "low"),
                    (&["Close", "Price"], "close"),
                    (&["Volume_(BTC)", "Volume BTC", "Volume"], "volume"),
                    (&["Marketcap", "Market Cap"], "market_cap"),
                ],
            ),
            Self::Yahoo => with(
                &["Date", "Datetime", "Price"],
                &[
                    (&["Open"], "open"),
                    (&["High"], "high"),
                    (&["Low"], "low"),
                    (&["Close", "Close*"], "close"),
                    (&["Volume"], "volume"),
                ],
            ),
            Self::CoinMetrics => with(
                &["time"],
                &[
                    (&["PriceUSD", "ReferenceRateUSD", "ReferenceRate"], "close"),
                    (&["CapMrktCurUSD"], "market_cap"),
                    (&["HashRate"], "hash_rate"),
                    (&["DiffMean", "DiffLast"], "difficulty"),
                    (&["TxCnt"], "n_transactions"),
                    (&["AdrActCnt"], "active_addresses"),
                    (&["SplyCur"], "total_bitcoins"),
                ],
            ),
            Self::Bitstamp => with(
                &["timestamp", "unix", "date", "0"],
                &[
                    (&["open", "1"], "open"),
                    (&["high", "2"], "high"),
                    (&["low", "3"], "low"),
                    (&["close", "4"], "close"),
                    (&["Volume BTC", "volume", "5"], "volume"),
                ],
            ),
            Self::Investing => with(
                &["Date", "Datum"],
                &[
                    (&["Open", "Eröffn."], "open"),
                    (&["High", "Hoch"], "high"),
                    (&["Low", "Tief"], "low"),
                    (&["Price", "Zuletzt"], "close"),
                    (&["Vol.", "Vol"], "volume"),
                ],
            ),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::config(format!("{name:?} is no known service; known are {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_a_name_and_columns_that_can_be_series() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
            preset.columns().check().unwrap();
            assert!(!preset.columns().date.is_empty());
        }
        assert!("mtgox".parse::<Preset>().is_err());
    }
}
