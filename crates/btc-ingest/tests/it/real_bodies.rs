//! Bodies as the services really gave them, written out by hand and cut to a few rows.

use btc_ingest::{Error, Reason, alpha_vantage, blockchain};
use chrono::NaiveDate;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[test]
fn the_old_form_of_2019() {
    let body = br#"{"Meta Data":{"1. Information":"Daily Prices and Volumes for Digital Currency",
        "2. Digital Currency Code":"BTC","3. Digital Currency Name":"Bitcoin",
        "4. Market Code":"USD","5. Market Name":"United States Dollar",
        "6. Last Refreshed":"2019-07-28 (end of day)","7. Time Zone":"UTC"},
        "Time Series (Digital Currency Daily)":{"2019-07-28":{
        "1a. open (USD)":"9488.50408833","1b. open (USD)":"9488.50408833",
        "2a. high (USD)":"9569.95971173","2b. high (USD)":"9569.95971173",
        "3a. low (USD)":"9200.99536095","3b. low (USD)":"9200.99536095",
        "4a. close (USD)":"9538.97653615","4b. close (USD)":"9538.97653615",
        "5. volume":"42768.10768802","6. market cap (USD)":"407963975.73158306"}}}"#;
    let prices = alpha_vantage::parse(body, "USD").unwrap();
    assert_eq!(prices.last_refreshed, Some(day("2019-07-28")));
    assert_eq!(prices.symbol.as_deref(), Some("BTC"));
    let [bar] = &prices.bars[..] else {
        panic!("{prices:?}")
    };
    assert_eq!(
        (bar.open, bar.high, bar.low, bar.close),
        (9488.50408833, 9569.95971173, 9200.99536095, 9538.97653615)
    );
    assert_eq!(bar.volume, Some(42768.10768802));
    assert_eq!(prices.dead_market_caps, 0, "in 2019 it was a real one");
}

#[test]
fn the_old_form_in_another_currency() {
    let body = br#"{"Meta Data":{"2. Digital Currency Code":"ETH","4. Market Code":"CNY",
        "6. Last Refreshed":"2023-09-14 00:00:00"},
        "Time Series (Digital Currency Daily)":{"2023-09-14":{
        "1a. open (CNY)":"11692.14753000","1b. open (USD)":"1607.61000000",
        "2a. high (CNY)":"11838.98940000","2b. high (USD)":"1627.80000000",
        "3a. low (CNY)":"11688.07465000","3b. low (USD)":"1607.05000000",
        "4a. close (CNY)":"11806.04271000","4b. close (USD)":"1623.27000000",
        "5. volume":"15747.83960000","6. market cap (USD)":"15747.83960000"}}}"#;
    let yuan = alpha_vantage::parse(body, "CNY").unwrap();
    assert_eq!(yuan.bars[0].close, 11806.04271);
    assert_eq!(yuan.dead_market_caps, 1);
    let dollars = alpha_vantage::parse(body, "USD").unwrap();
    assert_eq!(dollars.bars[0].close, 1623.27);
    let euros = alpha_vantage::parse(body, "EUR").unwrap();
    assert_eq!(euros.bars.len(), 0);
    assert_eq!(euros.rejected[0].reason, Reason::Null);
}

#[test]
fn the_new_form_of_2026_without_a_last_refresh() {
    let body = br#"{"Meta Data":{"2. Digital Currency Code":"BTC","4. Market Code":"EUR"},
        "Time Series (Digital Currency Daily)":{
        "2026-06-10":{"1. open":"53505.38000000","2. high":"53614.71000000",
        "3. low":"53405.63000000","4. close":"53408.24000000","5. volume":"6.65581542"},
        "2026-06-09":{"1. open":"54714.98000000","2. high":"55003.51000000",
        "3. low":"52660.00000000","4. close":"53509.52000000","5. volume":"604.80028130"}}}"#;
    let prices = alpha_vantage::parse(body, "EUR").unwrap();
    assert_eq!(
        prices.bars.iter().map(|bar| bar.date).collect::<Vec<_>>(),
        [day("2026-06-09"), day("2026-06-10")]
    );
    assert_eq!(prices.last_refreshed, None);
    assert_eq!(
        prices.running_day(),
        Some(day("2026-06-10")),
        "the newest day is running"
    );
}

#[test]
fn rows_that_make_no_sense_are_set_aside() {
    let row = |date: &str, open: &str, high: &str, low: &str, close: &str| {
        format!(
            r#""{date}":{{"1. open":{open},"2. high":{high},"3. low":{low},"4. close":{close}}}"#
        )
    };
    let rows = [
        row("2026-06-01", "10", "12", "9", "11"),
        row("2026-06-02", "10", "10.5", "9", "11"),
        row("2026-06-03", "10", "12", "10.5", "11"),
        row("2026-06-04", "10", "12", "9", "-1"),
        row("2026-06-05", "10", "12", "9", "\"NaN\""),
        row("2026-06-06", "10", "12", "9", "\"?\""),
        row("2026-06-07", "10", "12", "9", "null"),
        row("2026-06-32", "10", "12", "9", "11"),
        row("2026-06-01", "20", "22", "19", "21"),
    ];
    let body = format!(
        r#"{{"Time Series (Digital Currency Daily)":{{{}}}}}"#,
        rows.join(",")
    );
    let prices = alpha_vantage::parse(body.as_bytes(), "USD").unwrap();
    assert_eq!(prices.bars.len(), 1);
    assert_eq!(
        prices.bars[0].open, 10.0,
        "of two rows for a day the first counts"
    );
    assert_eq!(prices.duplicates, 1);
    let reasons: Vec<Reason> = prices
        .rejected
        .iter()
        .filter(|rejected| rejected.series != "volume")
        .map(|rejected| rejected.reason)
        .collect();
    assert_eq!(
        reasons,
        [
            Reason::Inconsistent,
            Reason::Inconsistent,
            Reason::NotPositive,
            Reason::NotFinite,
            Reason::NotANumber,
            Reason::Null,
            Reason::BadStamp
        ]
    );
}

#[test]
fn a_chart_mixes_whole_numbers_floats_and_powers_of_ten() {
    let body = br#"{"status":"ok","name":"Market Price (USD)","unit":"USD","period":"day",
        "description":"Average USD market price across major bitcoin exchanges.",
        "values":[{"x":1511827200,"y":9717.32},{"x":1511913600,"y":9919},{"x":1512000000,"y":2.5e-7}]}"#;
    let chart = blockchain::parse_json(body, "market-price").unwrap();
    assert_eq!(chart.unit.as_deref(), Some("USD"));
    let points: Vec<(NaiveDate, f64)> = chart
        .points
        .iter()
        .map(|point| (point.stamp.date_naive(), point.value))
        .collect();
    assert_eq!(
        points,
        [
            (day("2017-11-28"), 9717.32),
            (day("2017-11-29"), 9919.0),
            (day("2017-11-30"), 2.5e-7)
        ]
    );
}

#[test]
fn a_price_of_zero_is_no_price_but_zero_fees_are_fees() {
    let body = br#"{"status":"ok","values":[{"x":1230940800,"y":0},{"x":1231200000,"y":-1}]}"#;
    let price = blockchain::parse_json(body, "market-price").unwrap();
    assert_eq!((price.points.len(), price.rejected.len()), (0, 2));
    assert_eq!(price.rejected[0].reason, Reason::NotPositive);
    assert_eq!(price.rejected[0].stamp, "2009-01-03T00:00:00+00:00");
    let fees = blockchain::parse_json(body, "transaction-fees-usd").unwrap();
    assert_eq!((fees.points.len(), fees.rejected.len()), (1, 1));
}

#[test]
fn the_explorer_counts_in_milliseconds() {
    let body = br#"{"metric1":"hash-rate","metric2":"market-price",
        "hash-rate":[{"x":1231545600000,"y":1.0652200634920637e-7},{"x":1231891200000,"y":0.000002521020816931218}],
        "market-price":[{"x":1755475200000,"y":117455.5}],
        "type":"linear","average":"1d","timespan":"1year"}"#;
    let chart = blockchain::parse_json(body, "hash-rate").unwrap();
    assert_eq!(chart.points[0].stamp.date_naive(), day("2009-01-10"));
    assert_eq!(chart.points[1].value, 0.000002521020816931218);
    let price = blockchain::parse_json(body, "market-price").unwrap();
    assert_eq!(price.points[0].stamp.date_naive(), day("2025-08-18"));
    assert!(blockchain::parse_json(body, "difficulty").is_err());
}

#[test]
fn csv_has_no_header() {
    let chart = blockchain::parse_csv(
        b"2019-11-04 00:00:00,9266.7008\r\n2019-11-05 00:00:00,\n\n2019-11-06 12:30:00,9.3E3\n",
        "market-price",
    )
    .unwrap();
    assert_eq!((chart.points.len(), chart.rejected.len()), (2, 1));
    assert_eq!(chart.points[1].value, 9300.0);
    assert!(matches!(
        blockchain::parse_csv(b"<html>", "x"),
        Err(Error::Malformed { .. })
    ));
    assert!(matches!(
        blockchain::parse_csv(b"\xff", "x"),
        Err(Error::Malformed { .. })
    ));
    assert_eq!(blockchain::parse_csv(b"", "x").unwrap().points.len(), 0);
}

#[test]
fn what_is_no_chart_is_refused_with_its_beginning() {
    for (body, expected) in [
        (
            r#"{"status":"not-found","error":"chart not found"}"#,
            "chart not found",
        ),
        ("{}", "no values"),
        ("", "EOF"),
        ("[1]", "expected the object of a chart"),
        (r#"{"values":[{"x":1}]} x"#, "trailing characters"),
        (r#"{"values":[{"y":1}]}"#, "missing field `x`"),
        ("<html>", "<html>"),
    ] {
        let error = blockchain::parse_json(body.as_bytes(), "hash-rate").unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn stamps_out_of_the_calendar_are_set_aside() {
    let body =
        br#"{"values":[{"x":1e300,"y":1},{"x":-1e300,"y":1},{"x":null,"y":1},{"x":"x","y":1},
        {"x":9223372036854775807,"y":1},{"x":86400,"y":null},{"x":86400},{"x":86400,"y":true}]}"#;
    let chart = blockchain::parse_json(body, "hash-rate").unwrap();
    let reasons: Vec<&str> = chart
        .rejected
        .iter()
        .map(|rejected| rejected.reason.as_str())
        .collect();
    assert_eq!(chart.points, []);
    assert_eq!(
        reasons,
        [
            "bad-stamp",
            "bad-stamp",
            "bad-stamp",
            "bad-stamp",
            "bad-stamp",
            "null",
            "null",
            "not-a-number"
        ]
    );
}
