//! Daily Bitcoin prices and on-chain metrics as Parquet.
