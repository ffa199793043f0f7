//! Define-by-run hyperparameter optimisation on the database layout of Optuna.
