//! Small-sequence forecasting networks on candle, trained fast and judged honestly.
