//! Declare features and join them as of a time, on DataFusion.
