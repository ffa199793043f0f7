//! The life of a Bitcoin price model as functions: retrieve, tune, register, predict.
